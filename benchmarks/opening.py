"""Opening MiniLM: what do verifying, decrypting and self-testing cost beside opening the same model in the open?

Run `python benchmarks/opening.py`. Sealed and signed, against the same artifact neither sealed nor signed, against
onnxruntime alone on the same model as one ONNX file; page cache warm, in one process and in fresh ones.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx

import intact
from intact import engine, seal
from intact.pipeline import artifact
from peers import onnxruntime_session
from places import ROOT, example, work
from results import Results
from timing import Plan, Times, clocked, race

THREADS = 2
ENGINE = "onnxruntime"
PLAN = Plan(warm=1, burst=1, rounds=30, budget_s=60)
FRESH = Plan(warm=0, burst=1, rounds=15, budget_s=75)
SEALED, PLAIN, BARE = "intact, sealed and signed", "intact, neither", "onnxruntime, ONNX file"
TARGET = 1.3


def main() -> None:
    """Build, check, time, write; with a name, open that once and say how long it took."""
    if len(sys.argv) > 1:
        print(json.dumps(once(sys.argv[1])))
        return
    results = Results("opening", THREADS)
    prepare(results)
    check()
    compare("same process", race({name: clocked(way) for name, way in ways().items()}, PLAN), results)
    compare("fresh process", race({name: partial(spawn, name) for name in ways()}, FRESH), results)
    results.write()


def folder() -> Path:
    """Return where the three files of the comparison lie."""
    return work("opening")


def prepare(results: Results) -> None:
    """Build once, and write the program in three ways."""
    for name in ("sealed.intact", "plain.intact", "keys"):
        shutil.rmtree(folder() / name, ignore_errors=True)
    keys = intact.new_keys(folder() / "keys")
    spec = replace(example("minilm").spec(), evaluate=None)
    sealed = folder() / "sealed.intact"
    built = intact.build(
        spec, out=sealed, recipients=[keys.recipient], signer=keys.signer, engines=[ENGINE], threads=THREADS
    )
    seal.write(artifact.payload(built), folder() / "plain.intact", recipients=[], signer=None)
    onnx.save(built.program.to_proto(), folder() / "model.onnx")
    for name in ("sealed.intact", "plain.intact"):
        files = [path.stat().st_size for path in (folder() / name).iterdir()]
        results.add("size", model=name, size_bytes=sum(files), program_bytes=built.program.size_bytes)


def ways() -> dict[str, Callable[[], object]]:
    """Return the three ways of opening, keys read beforehand."""
    identity = intact.load_identity(folder() / "keys" / "identity.key")
    verifier = intact.load_verifying_key(folder() / "keys" / "signing.pub")
    limits = {"engines": [ENGINE], "threads": THREADS}
    return {
        SEALED: lambda: intact.open(folder() / "sealed.intact", identity=identity, signer=verifier, **limits),
        PLAIN: lambda: intact.open(folder() / "plain.intact", allow_unsigned=True, **limits),
        BARE: lambda: onnxruntime_session(folder() / "model.onnx", THREADS),
    }


def check() -> None:
    """Make sure that the two artifacts give the same numbers."""
    ids = np.arange(2000, 2018).reshape(2, 9)
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    sealed, plain, bare = (way() for way in ways().values())
    assert np.array_equal(sealed(feeds), plain(feeds))
    assert np.allclose(sealed(feeds), bare(feeds), atol=1e-5)


def compare(case: str, times: Times, results: Results) -> None:
    """Note times and ratios of one way of asking."""
    for name in times.calls_ms:
        results.add(
            "opening",
            case=case,
            candidate=name,
            **times.summary(name),
            others=times.others,
            rounds_run=times.rounds_run,
        )
    results.add("ratio", case=case, ours=SEALED, peer=PLAIN, **times.ratio(SEALED, PLAIN), target=TARGET)
    results.add("ratio", case=case, ours=SEALED, peer=BARE, **times.ratio(SEALED, BARE), target=None)


def spawn(name: str) -> float:
    """Return how many milliseconds a fresh process takes to open `name`."""
    command = [sys.executable, __file__, name]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def once(name: str) -> float:
    """Open once, with everything imported, and return the milliseconds."""
    way = ways()[name]
    engine.find()
    import onnxruntime  # noqa: F401 - its import is no part of opening

    return clocked(way)()


if __name__ == "__main__":
    main()
