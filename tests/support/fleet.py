"""Several `intact serve` on one PostgreSQL and one Redis, behind nginx: what runs beyond one machine, on one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import pytest

from support import databases
from support.databases import Postgres, Server, free_port, wait_for_port
from support.serving import Site, make_site

TEMPLATE = Path(__file__).parents[2] / "deploy" / "nginx" / "nginx.conf.template"
WAIT_S = 60.0


@dataclass(kw_only=True)
class Replica(Server):
    """An `intact serve` on ports that stay the same when it is started again."""

    grpc_port: int

    @property
    def http(self) -> str:
        """URL of its HTTP server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def grpc(self) -> str:
        """Host and port of its gRPC server."""
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self.process is not None
        return self.process.pid

    def begin(self) -> None:
        """Start it, and do not wait."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **self.means
            )

    def ready(self) -> None:
        """Wait until it listens, which it does once it can answer."""
        assert self.process is not None
        wait_for_port(self.grpc_port, self.process, self.log)
        wait_for_port(self.port, self.process, self.log)


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Replicas and what they need.

    Args:
        site: Models, keys and the state database.
        replicas: The servers.
        nginx: What stands before them.
        grpc: Host and port of its gRPC side.
        postgres: Where the state lies.
        redis: Where bursts are counted.
    """

    site: Site
    replicas: Sequence[Replica]
    nginx: Server = field(repr=False)
    grpc: str
    postgres: Postgres = field(repr=False)
    redis: Server = field(repr=False)

    @property
    def http(self) -> str:
        """URL that clients know."""
        return f"http://127.0.0.1:{self.nginx.port}"


def nginx_program() -> str:
    """Return where nginx is."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        pytest.skip("nginx is not installed (nginx-light)")
    return found


@contextmanager
def nginx(values: Mapping[str, str], port: int) -> Iterator[Server]:
    """Run nginx with the template that is delivered, as nobody, in a folder of its own."""
    program, means = nginx_program(), databases._unprivileged()
    with tempfile.TemporaryDirectory(prefix="intact-nginx-") as name:
        folder = Path(name)
        config = folder / "nginx.conf"
        config.write_text(Template(TEMPLATE.read_text()).safe_substitute(FOLDER=name, **values))
        if means:
            os.chown(folder, means["user"], means["group"])
            config.chmod(0o644)
        words = [program, "-e", "stderr", "-p", name, "-c", str(config)]
        tested = subprocess.run(
            [*words, "-t"], capture_output=True, text=True, timeout=WAIT_S, check=False, cwd="/", **means
        )
        assert tested.returncode == 0, tested.stderr
        server = Server(words=words, port=port, log=folder / "log", means={**means, "cwd": "/"})
        server.start()
        try:
            yield server
        finally:
            server.stop()


def replica(site: Site, number: int, redis: Server, *options: object) -> Replica:
    """Return a server that is not started yet."""
    port, grpc_port = free_port(), free_port()
    words = [*(str(path) for path in site.models.values()), "--identity", site.keys / "identity.key"]
    words += ["--signer", site.keys / "signing.pub", "--receipt-key", site.keys / "signing.key", "--state", site.state]
    words += ["--port", port, "--grpc-port", grpc_port, "--redis", f"redis://127.0.0.1:{redis.port}", "--no-revisions"]
    environment = {**os.environ, **site.pepper, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(site.folder / "cache")}
    return Replica(
        words=[sys.executable, "-m", "intact", "serve", *map(str, [*words, *options])],
        port=port,
        grpc_port=grpc_port,
        log=site.folder / f"replica-{number}.log",
        means={"env": environment},
    )


@contextmanager
def fleet(folder: Path, *, count: int = 2, options: Sequence[object] = (), workers: int = 1) -> Iterator[Fleet]:
    """Start everything; end it when the block ends."""
    nginx_program()
    with ExitStack() as stack:
        postgres = stack.enter_context(databases.postgres())
        redis = stack.enter_context(databases.redis(folder / "redis"))
        site = make_site(folder, postgres.url())
        replicas = [replica(site, number, redis, *options) for number in range(count)]
        for each in replicas:
            stack.callback(each.stop)
            each.begin()
        ports = {"HTTP_LISTEN": free_port(), "GRPC_LISTEN": free_port()}
        values = {
            "HTTP_REPLICAS": upstreams([each.port for each in replicas]),
            "GRPC_REPLICAS": upstreams([each.grpc_port for each in replicas]),
            **{name: f"127.0.0.1:{port}" for name, port in ports.items()},
            "LARGEST_BODY": "16m",
            "WORKERS": str(workers),
            "TLS": "",
        }
        for each in replicas:
            each.ready()
        front = stack.enter_context(nginx(values, ports["HTTP_LISTEN"]))
        yield Fleet(
            site=site,
            replicas=replicas,
            nginx=front,
            grpc=values["GRPC_LISTEN"],
            postgres=postgres,
            redis=redis,
        )


def upstreams(ports: Sequence[int]) -> str:
    """Return the lines that name the servers behind nginx."""
    return "\n        ".join(f"server 127.0.0.1:{port} max_fails=1 fail_timeout=1s;" for port in ports)


def logged(path: Path) -> list[dict[str, Any]]:
    """Return the JSON lines that a server logged."""
    found = []
    for line in path.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


__all__ = ["Fleet", "Replica", "fleet", "logged", "nginx", "signal"]
