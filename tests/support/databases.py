"""PostgreSQL and Redis for tests: real ones, on free ports of loopback, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

WAIT_S = 30.0
PASSWORD = "p#ss:word"
"""Has what must be escaped in a URL."""


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until something listens on `port`."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        assert process.poll() is None, f"it ended: {log.read_text(errors='replace')[-2000:]}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on {port}: {log.read_text(errors='replace')[-2000:]}")


@dataclass(kw_only=True)
class Server:
    """A process that serves on a port, which can be killed and started again there."""

    words: Sequence[str]
    port: int
    log: Path
    stop_signal: int = signal.SIGTERM
    means: Mapping[str, Any] = field(default_factory=dict, repr=False)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **self.means
            )
        wait_for_port(self.port, self.process, self.log)

    def stop(self, number: int | None = None) -> None:
        """End it, and what it started, and wait until it is gone."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number or self.stop_signal)
        try:
            self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(WAIT_S)
        self.process = None


@dataclass(kw_only=True)
class Postgres(Server):
    """A PostgreSQL cluster of its own; `url` names a fresh database each time."""

    programs: Path
    made: int = 0

    def start(self) -> None:
        """Start it, and wait until it has recovered and lets one in."""
        super().start()
        words = [str(self.programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        end = time.monotonic() + WAIT_S
        while subprocess.run(words, timeout=WAIT_S, check=False).returncode != 0:
            assert time.monotonic() < end, f"it does not start: {self.log.read_text(errors='replace')[-2000:]}"
            time.sleep(0.05)

    def url(self) -> str:
        """Make a database, and return its URL."""
        self.made += 1
        name = f"state{self.made}"
        self.sql(f"CREATE DATABASE {name}")
        return self.url_of(name)

    def url_of(self, name: str) -> str:
        """Return the URL of a database."""
        return f"postgresql+pg8000://intact:p%23ss%3Aword@127.0.0.1:{self.port}/{name}"

    def sql(self, statement: str, name: str = "postgres") -> str:
        """Run a statement, and return what psql prints."""
        words = [str(self.programs / "psql"), "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]
        done = subprocess.run(
            [*words, "-p", str(self.port), "-U", "intact", "-d", name, "-c", statement],
            env={**os.environ, "PGPASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=True,
        )
        return done.stdout.strip()


def _postgres_programs() -> Path:
    """Return the folder of PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    elsewhere = shutil.which("initdb")
    if elsewhere is None:
        pytest.skip("PostgreSQL is not installed (postgresql)")
    return Path(elsewhere).parent


def _unprivileged() -> dict[str, Any]:
    """Return how to run a program as somebody PostgreSQL accepts: it refuses root."""
    if os.getuid() != 0:
        return {}
    who = pwd.getpwnam("nobody")
    return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a PostgreSQL server, with a password, in a folder of its own: those of pytest are closed to other users."""
    programs, means = _postgres_programs(), _unprivileged()
    with tempfile.TemporaryDirectory(prefix="intact-postgres-") as name:
        folder = Path(name)
        data, secret, log = folder / "data", folder / "password", folder / "log"
        secret.write_text(PASSWORD)
        for path in (folder, secret) if means else ():
            os.chown(path, means["user"], means["group"])
        words = [str(programs / "initdb"), "-D", str(data), "-U", "intact", "-A", "scram-sha-256"]
        words += ["--pwfile", str(secret), "-E", "UTF8", "--no-sync", "--locale", "C"]
        subprocess.run(words, check=True, capture_output=True, timeout=120, cwd="/", **means)
        port = free_port()
        options = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        words = [str(programs / "postgres"), "-D", str(data), "-c", "shared_buffers=16MB"]
        words += [word for option, value in options.items() for word in ("-c", f"{option}={value}")]
        server = Postgres(
            words=words, port=port, log=log, stop_signal=signal.SIGQUIT, means={**means, "cwd": "/"}, programs=programs
        )
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[Server]:
    """Run a Redis server that keeps nothing."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("Redis is not installed (redis-server)")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    words = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = Server(words=[*words, "--dir", str(folder)], port=port, log=folder / "log")
    server.start()
    try:
        yield server
    finally:
        server.stop()
