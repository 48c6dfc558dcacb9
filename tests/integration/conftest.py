"""What the integration tests share: a cache of their own, keys, and the command as a user starts it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact import seal
from intact.cli import app
from intact.graph import Program

COMMAND = [sys.executable, "-m", "intact"]
PLAIN = {"COLUMNS": "80", "NO_COLOR": "1"}


@pytest.fixture(scope="session")
def key_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four key files of an owner."""
    folder = tmp_path_factory.mktemp("keys") / "owner"
    intact.new_keys(folder)
    return folder


@pytest.fixture(scope="session")
def keys(key_files: Path) -> intact.Keys:
    """The keys in those files."""
    return intact.Keys(
        identity=intact.load_identity(key_files / "identity.key"),
        recipient=intact.load_recipient(key_files / "identity.pub"),
        signer=intact.load_signing_key(key_files / "signing.key"),
        verifier=intact.load_verifying_key(key_files / "signing.pub"),
    )


@pytest.fixture(scope="session")
def strangers_key_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four key files of somebody else."""
    folder = tmp_path_factory.mktemp("keys") / "stranger"
    intact.new_keys(folder)
    return folder


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON value."""
        return json.loads(self.out)


@pytest.fixture(scope="session")
def started() -> Callable[..., Told]:
    """Run `intact` in a process of its own."""

    def run(*words: object, cwd: Path | None = None, **environment: str) -> Told:
        done = subprocess.run(
            [*COMMAND, *(str(word) for word in words)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=cwd,
            env={**os.environ, **PLAIN, **environment},
        )
        return Told(code=done.returncode, out=done.stdout, err=done.stderr)

    return run


@pytest.fixture(scope="session")
def command() -> Callable[..., Told]:
    """Run `intact` in this process: the same words, the same answers, without the start."""

    def run(*words: object, cwd: Path | None = None, **environment: str) -> Told:
        out, err, code = io.StringIO(), io.StringIO(), 0
        with (
            contextlib.chdir(cwd or Path.cwd()),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.MonkeyPatch.context() as patch,
        ):
            for name, value in {**PLAIN, **environment}.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["intact", *(str(word) for word in words)])
            try:
                app(sys.argv[1:])
            except SystemExit as end:
                code = int(end.code or 0)
        return Told(code=code, out=out.getvalue(), err=err.getvalue())

    return run


@pytest.fixture(scope="session")
def master(tmp_path_factory: pytest.TempPathFactory, keys: intact.Keys) -> Path:
    """A small artifact for the owner of `key_files`, signed; not to be changed."""
    program = Program(model=b"graph", tensors={"w": np.arange(64, dtype=np.int8)})
    payload = seal.Payload(program=program, header={}, card={"name": "m"}, lineage={})
    out = tmp_path_factory.mktemp("master") / "m.intact"
    seal.write(payload, out, recipients=[keys.recipient], signer=keys.signer)
    return out


@pytest.fixture
def artifact(master: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(master, tmp_path / "m.intact"))
