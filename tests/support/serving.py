"""A server as a user starts it: sealed models, keys, a state database, and `intact serve` in a process of its own."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import intact
from intact.serve.state import Role, Store, Terms
from support import nets

WAIT_S = 60.0
INPUTS, OUTPUTS = 8, 3


@dataclass(frozen=True, kw_only=True)
class Site:
    """What servers are started from.

    Args:
        folder: Where everything lies.
        models: Paths of artifacts by name.
        digests: Digests of their manifests.
        state: URL of the state database.
    """

    folder: Path
    models: dict[str, Path]
    digests: dict[str, str]
    state: str

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def pepper(self) -> dict[str, str]:
        return {"INTACT_PEPPER_FILE": str(self.folder / "pepper")}

    @contextmanager
    def store(self) -> Iterator[Store]:
        before = os.environ.get("INTACT_PEPPER_FILE")
        os.environ.update(self.pepper)
        store = Store.open(self.state)
        try:
            yield store
        finally:
            store.close()
            if before is None:
                del os.environ["INTACT_PEPPER_FILE"]
            else:
                os.environ["INTACT_PEPPER_FILE"] = before

    def key(self, subject: str, role: Role = Role.CALLER, **options: Any) -> str:
        """A new key of `subject`."""
        with self.store() as store:
            text, _ = store.add_key(subject, role, **options)
        return text.value.decode()

    def caller(self, subject: str, model: str = "tiny", **terms: Any) -> str:
        """A new key of `subject`, with a grant for a model."""
        self.grant(subject, model, **terms)
        return self.key(subject)

    def grant(self, subject: str, model: str = "tiny", **terms: Any) -> int:
        """A new grant."""
        with self.store() as store:
            return store.add_grant(subject, self.digests[model], Terms(**terms)).id


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that runs.

    Args:
        process: Its process.
        http: URL of its HTTP server.
        grpc: Host and port of its gRPC server.
        errors: File that it writes its standard error to.
    """

    process: subprocess.Popen[bytes] = field(repr=False)
    http: str
    grpc: str
    errors: Path

    @property
    def port(self) -> int:
        return int(self.http.rpartition(":")[2])


def make_site(folder: Path, state: str | None = None) -> Site:
    """Build and seal two small models, and a second revision of the first; make keys for everything."""
    intact.new_keys(folder / "keys")
    (folder / "pepper").write_text(os.urandom(32).hex())
    (folder / "pepper").chmod(0o600)
    keys = folder / "keys"
    models, digests = {}, {}
    for number, name in enumerate(("tiny", "other")):
        path = folder / f"{name}.intact"
        intact.build(
            intact.Spec(
                model=nets.mlp(number, INPUTS, 16, OUTPUTS),
                calibration=nets.data(number, 200, INPUTS),
                name=name,
            ),
            out=path,
            recipients=[intact.load_recipient(keys / "identity.pub")],
            signer=intact.load_signing_key(keys / "signing.key"),
        )
        models[name], digests[name] = path, digest_of(path)
    return Site(folder=folder, models=models, digests=digests, state=state or f"sqlite:///{folder / 'state.db'}")


def digest_of(path: Path) -> str:
    from intact.crypto import sha256

    return sha256((path / "manifest.json").read_bytes())


def open_here(site: Site, name: str = "tiny") -> intact.Model:
    """Open one of the models in this process."""
    return intact.open(
        site.models[name],
        identity=intact.load_identity(site.keys / "identity.key"),
        signer=intact.load_verifying_key(site.keys / "signing.pub"),
        revisions=False,
    )


def command(site: Site, *options: object, models: Sequence[str] = ("tiny", "other")) -> list[str]:
    """The command that starts a server on free ports."""
    words = [*(str(site.models[name]) for name in models), "--identity", site.keys / "identity.key"]
    words += ["--signer", site.keys / "signing.pub", "--receipt-key", site.keys / "signing.key"]
    words += ["--state", site.state, "--port", 0, "--grpc-port", 0, "--no-revisions", "--json", *options]
    return [sys.executable, "-m", "intact", "serve", *map(str, words)]


@contextmanager
def serving(site: Site, *options: object, environment: dict[str, str] | None = None, **more: Any) -> Iterator[Server]:
    """A server until the block ends; it must then stop by itself."""
    errors = site.folder / f"errors-{time.monotonic_ns()}.txt"
    with errors.open("w") as sink:
        process = subprocess.Popen(
            command(site, *options, **more),
            stdout=subprocess.PIPE,
            stderr=sink,
            env={
                **os.environ,
                **site.pepper,
                "OMP_NUM_THREADS": "1",
                "XDG_CACHE_HOME": str(site.folder / "cache"),
                **(environment or {}),
            },
        )
    try:
        found = _announced(process, errors)
        yield Server(process=process, http=found["http"], grpc=found["grpc"], errors=errors)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(WAIT_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(WAIT_S)
        assert process.stdout is not None
        process.stdout.close()


def _announced(process: subprocess.Popen[bytes], errors: Path) -> dict[str, Any]:
    """What the server says once it listens."""
    assert process.stdout is not None
    text, end = b"", time.monotonic() + WAIT_S
    while time.monotonic() < end and not text.endswith(b"}\n"):
        ready, _, _ = select.select([process.stdout], [], [], 0.2)
        if ready:
            part = os.read(process.stdout.fileno(), 65536)
            text += part
            if not part:
                break
    if not text.endswith(b"}\n") or b'"error"' in text:
        raise AssertionError(f"the server did not start: {text.decode()}{errors.read_text()}")
    found: dict[str, Any] = json.loads(text)
    return found


def rows(count: int = 1, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Inputs of the small models."""
    return nets.data(seed + 100, count, INPUTS)
