"""Try a fragile engine in a child process, where a crash costs nothing."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final

import onnx

from intact.engine import canary
from intact.engine.backend import Backend, EngineError, Options
from intact.engine.backends import get
from intact.engine.conformance import self_test
from intact.engine.spec import TensorSpec
from intact.engine.taps import load_session
from intact.engine.vectors import Vectors
from intact.errors import CheckFailed, IntactError
from intact.graph.program import Program

TIMEOUT_S: Final = 120
SIZES: Final = struct.Struct("<QQ")
"""Before the two parts that the child reads: their lengths."""

CHILD: Final = (
    "import site, sys; sys.path.extend(sys.argv[1:]); site.main(); from intact.engine.trial import child; child()"
)
"""Started with the standard library alone to import from; what `_search_path` gives follows it."""


def attempt(backend: Backend, variant: str, program: Program, vectors: Vectors, options: Options) -> None:
    """Load and self-test here what `child` does there.

    Raises:
        CheckFailed: The engine does not conform.
        EngineError: The engine failed.
    """
    canary.check(backend, variant)
    self_test(load_session(backend, program, options, variant), vectors)


def survive(backend: Backend, variant: str, program: Program, vectors: Vectors, options: Options) -> None:
    """Do `attempt` in a child process.

    Raises:
        CheckFailed: The engine does not conform.
        EngineError: The engine failed, crashed or did not finish.
    """
    task = {
        "engine": backend.name,
        "variant": variant,
        "threads": options.threads,
        "in_place": options.in_place,
        "taps": [[tap.name, tap.dtype] for tap in options.taps],
        "vectors": vectors.to_json(),
    }
    head, model = json.dumps(task).encode(), program.to_proto().SerializeToString()
    answer = _ask(backend.name, SIZES.pack(len(head), len(model)) + head + model)
    if answer.get("outcome") == "failed check":
        raise CheckFailed(answer["message"])
    if answer.get("outcome") != "conforms":
        raise EngineError(answer.get("message", f"{backend.name} ended without an answer"))


def _ask(engine: str, question: bytes) -> dict[str, str]:
    """Start the child, hand it the question, and read the last line it prints."""
    if not sys.executable:
        raise EngineError(f"{engine} cannot be tried: there is no python interpreter to start a child process with")
    command = [sys.executable, "-I", "-S", "-c", CHILD, *_search_path()]
    try:
        child = subprocess.run(command, input=question, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"{engine} did not finish the self-test within {TIMEOUT_S} s") from error
    if child.returncode < 0:
        raise EngineError(f"{engine} crashes on this host or model: it ended with signal {-child.returncode}")
    lines = child.stdout.decode(errors="replace").strip().splitlines()
    if child.returncode or not lines:
        last = child.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise EngineError(f"{engine} fails on this host: {''.join(last) or 'no message'}")
    answer: dict[str, str] = json.loads(lines[-1])
    return answer


def _search_path() -> list[str]:
    """Return where this process imports from, for the child to search after the standard library.

    The working directory holds whatever somebody sent, so it is left out, unless this package itself lies in it.
    """
    here, own = Path.cwd(), Path(__file__).parents[2]
    named = [path for path in sys.path if Path(path).is_absolute() and Path(path).resolve() != here]
    return named if str(own) in named else [*named, str(own)]


def _tap(name: str, dtype: str) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=None)


def child() -> None:
    """Answer one question from standard input with one line of JSON."""
    head_size, model_size = SIZES.unpack(sys.stdin.buffer.read(SIZES.size))
    task = json.loads(sys.stdin.buffer.read(head_size))
    program = Program.from_proto(onnx.load_from_string(sys.stdin.buffer.read(model_size)))
    vectors, taps = Vectors.from_json(task["vectors"]), tuple(_tap(*tap) for tap in task["taps"])
    options = Options(threads=task["threads"], in_place=task["in_place"], taps=taps)
    answer = {"outcome": "conforms"}
    try:
        attempt(get(task["engine"]), task["variant"], program, vectors, options)
    except CheckFailed as failure:
        answer = {"outcome": "failed check", "message": failure.message}
    except IntactError as failure:
        answer = {"outcome": "failed", "message": failure.message}
    sys.stdout.write(f"\n{json.dumps(answer)}\n")
    sys.stdout.flush()
    os._exit(0)  # an engine that crashes while it is taken down has answered already
