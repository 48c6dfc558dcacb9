"""The power fails, the disk fills, the user presses Ctrl-C: the artifact is there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from victims import tiny

from intact import seal
from intact.errors import UsageError
from intact.seal.recipients import x25519

OPERATIONS = ["open", "write", "fsync", "close", "mkdir", "rename"]


def fail_at(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> Callable[[], bool]:
    """Make file operation `number`, counted over all `OPERATIONS`, raise; return whether it came to that."""
    count = 0

    def failing(name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count != number:
                return operation(*arguments, **options)
            if name == "close":
                operation(*arguments, **options)
            raise error

        return call

    for name in OPERATIONS:
        monkeypatch.setattr(os, name, failing(name, getattr(os, name)))
    return lambda: count >= number


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device"), MemoryError()]
)
def test_failing_at_any_file_operation_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    pair, signer = x25519.generate(), seal.SigningKey.generate()
    wanted = UsageError if isinstance(error, OSError) else type(error)
    for number in range(1, 200):
        with pytest.MonkeyPatch.context() as monkeypatch:
            reached = fail_at(monkeypatch, number, error)
            try:
                seal.write(tiny(), tmp_path / "m", recipients=[pair.recipient], signer=signer)
                failed = False
            except wanted:
                failed = True
            hit = reached()
        if not hit:
            break
        assert failed, f"operation {number} failed unnoticed"
        assert list(tmp_path.iterdir()) == [], f"operation {number} left something"
    assert number > 30
    assert seal.read(tmp_path / "m", identities=[pair.identity], signers=[signer.verifying_key]).card == tiny().card


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_failing_while_keys_are_made_leaves_none(tmp_path: Path, error: BaseException) -> None:
    for number in range(1, 50):
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(sys.modules[__name__], "OPERATIONS", ["fsync", "mkdir"])
            reached = fail_at(monkeypatch, number, error)
            with contextlib.suppress(KeyboardInterrupt, UsageError):
                seal.new_keys(tmp_path / "keys")
            hit = reached()
        if not hit:
            break
        assert not list(tmp_path.rglob("*.*")), f"operation {number} left something"
    assert {path.name for path in (tmp_path / "keys").iterdir()} >= {"identity.key", "signing.key"}


KILLER = """
import os, signal

def killer(number, after):
    count = 0
    def killing(operation):
        def call(*arguments, **options):
            nonlocal count
            count += 1
            if count == number and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = operation(*arguments, **options)
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return result
        return call
    return killing
"""
"""Wraps functions so that call `number` of all of them is the last thing the process does, or would have done."""

KILL = """
import sys
from pathlib import Path
import numpy as np
from intact import seal
from intact.graph import Program
from intact.seal.recipients import x25519

folder = Path(sys.argv[1])
pair, signer = x25519.generate(), seal.SigningKey.generate()
program = Program(model=b"graph", tensors={"w": np.arange(64, dtype=np.int8)})
payload = seal.Payload(program=program, header={}, card={"name": "m"}, lineage={})

def child(out, number, after):
    killing = killer(number, after)
    for name in ("open", "write", "fsync", "close", "mkdir", "rename"):
        setattr(os, name, killing(getattr(os, name)))
    seal.write(payload, out, recipients=[pair.recipient], signer=signer)
    os._exit(0)

states = {"absent": 0, "whole": 0}
for after in (False, True):
    for number in range(1, 200):
        out = folder / f"{after}-{number}"
        process = os.fork()
        if process == 0:
            child(out, number, after)
        status = os.waitpid(process, 0)[1]
        if out.exists():
            found = seal.read(out, identities=[pair.identity], signers=[signer.verifying_key])
            assert found.card == {"name": "m"}
            states["whole"] += 1
        else:
            states["absent"] += 1
            seal.write(payload, out, recipients=[pair.recipient], signer=signer)  # and the way is free
        if os.waitstatus_to_exitcode(status) == 0:
            break
assert all(path.name.startswith(".") and path.name.endswith(".partial") for path in folder.iterdir()
           if not path.name.startswith(("True", "False")))
print(states["absent"], states["whole"])
"""


def test_killed_at_any_file_operation_leaves_whole_or_nothing(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", KILLER + KILL, tmp_path], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    absent, whole = map(int, result.stdout.split())
    assert absent > 40
    assert whole >= 2


CHANGE = """
import shutil, sys
from pathlib import Path
import numpy as np
from intact import seal
from intact.graph import Program
from intact.seal import replacing
from intact.seal.recipients import x25519

folder, change = Path(sys.argv[1]), sys.argv[2]
owner, other, signer = x25519.generate(), x25519.generate(), seal.SigningKey.generate()
program = Program(model=b"graph", tensors={"w": np.arange(64, dtype=np.int8)})
payload = seal.Payload(program=program, header={}, card={"name": "m"}, lineage={})
seal.write(payload, folder / "master", recipients=[owner.recipient], signer=signer)

def work(out):
    if change == "add":
        seal.add_recipients(out, [other.recipient], identities=[owner.identity])
    elif change == "remove":
        seal.remove_recipients(out, [seal.list_recipients(out)[-1].id], identities=[owner.identity])
    elif change == "sign":
        seal.countersign(out, seal.SigningKey.generate(), signers=[signer.verifying_key])
    else:
        seal.rekey(out, [owner.recipient, other.recipient], identities=[owner.identity], signer=signer,
                   signers=[signer.verifying_key])

def child(out, number, after):
    killing = killer(number, after)
    for name in ("open", "write", "fsync", "close", "mkdir", "rename", "chmod", "unlink", "rmdir"):
        setattr(os, name, killing(getattr(os, name)))
    replacing.exchange = killing(replacing.exchange)
    work(out)
    os._exit(0)

if change == "remove":
    seal.add_recipients(folder / "master", [other.recipient], identities=[owner.identity])
states = {}
for after in (False, True):
    for number in range(1, 300):
        out = folder / f"{after}-{number}"
        shutil.copytree(folder / "master", out)
        process = os.fork()
        if process == 0:
            child(out, number, after)
        status = os.waitpid(process, 0)[1]
        found = seal.read(out, identities=[owner.identity], signers=[signer.verifying_key])
        assert found.card == {"name": "m"} and (found.program.tensors["w"] == np.arange(64)).all()
        count = len(seal.inspect(out).signed_by if change == "sign" else seal.list_recipients(out))
        state = (found.source.manifest.revision, count)
        states[state] = states.get(state, 0) + 1
        if os.waitstatus_to_exitcode(status) == 0:
            break
        if state == (1, 2 if change == "remove" else 1):
            work(out)  # and the way is free
assert all(path.name.startswith(".") and path.name.endswith(".partial") for path in folder.iterdir()
           if not path.name.startswith(("True", "False", "master")))
print(*sorted(f"{revision}.{count}={times}" for (revision, count), times in states.items()))
"""


@pytest.mark.parametrize(
    ("change", "old", "new", "least"),
    [("add", "1.1", "1.2", 8), ("remove", "1.2", "1.1", 8), ("sign", "1.1", "1.2", 8), ("rekey", "1.1", "2.2", 40)],
)
def test_killed_while_keys_change_leaves_the_old_or_the_new(
    tmp_path: Path, change: str, old: str, new: str, least: int
) -> None:
    words = [sys.executable, "-c", KILLER + CHANGE, tmp_path, change]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    states = dict(word.split("=") for word in result.stdout.split())
    assert states.keys() == {old, new}
    assert int(states[old]) > least
    assert int(states[new]) >= 2


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
@pytest.mark.parametrize("change", ["add", "rekey"])
def test_failing_while_keys_change_leaves_the_old_or_the_new(tmp_path: Path, change: str, error: BaseException) -> None:
    owner, other, signer = x25519.generate(), x25519.generate(), seal.SigningKey.generate()
    out = tmp_path / "m"
    seal.write(tiny(), out, recipients=[owner.recipient], signer=signer)
    options: dict[str, Any] = {"identities": [owner.identity], "signers": [signer.verifying_key]}
    seen = set()
    for number in range(1, 300):
        before = seal.inspect(out).manifest.revision, len(seal.list_recipients(out))
        with pytest.MonkeyPatch.context() as monkeypatch:
            reached = fail_at(monkeypatch, number, error)
            with contextlib.suppress(KeyboardInterrupt, UsageError):
                if change == "add":
                    seal.add_recipients(out, [other.recipient], identities=[owner.identity])
                else:
                    seal.rekey(out, [owner.recipient], signer=signer, **options)
            hit = reached()
        after = seal.inspect(out).manifest.revision, len(seal.list_recipients(out))
        seen.add(after == before)
        assert seal.read(out, **options).card == tiny().card, f"operation {number} left a mixture"
        for path in set(tmp_path.iterdir()) - {out}:  # removing the old artifact is what failed
            assert change == "rekey" and after != before and path.suffix == ".partial", (
                f"operation {number} left {path}"
            )
            shutil.rmtree(path)
        if change == "add" and after != before:
            seal.remove_recipients(out, [str(other.recipient.id)], identities=[owner.identity])
        if not hit:
            break
    assert seen == {True, False}


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from intact import seal
from intact.errors import UsageError
from intact.graph import Program

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
program = Program(model=b"graph", tensors={"w": np.zeros(1_000_000, np.int8)})
try:
    seal.write(seal.Payload(program=program, header={}, card={}, lineage={}), Path(sys.argv[1]) / "m")
except UsageError as error:
    print(error)
"""


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    result = subprocess.run([sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("cannot write ")
    assert "File too large" in result.stdout
    assert list(tmp_path.iterdir()) == []
