"""A server's life: check everything, listen, answer until told to stop, finish what was begun."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import uvicorn
import uvloop

from intact.errors import UsageError
from intact.graph.run import is_batched
from intact.guard import Guard
from intact.ledger.checkpoint import CheckpointSigner
from intact.ledger.event import Event
from intact.ledger.receipt import Issuer
from intact.pipeline.guarding import plain
from intact.pipeline.model import Model
from intact.seal import SigningKey
from intact.serve import console, grpc_server, rest, tls
from intact.serve.access import Authenticator, Limiter, Oidc, Permits
from intact.serve.batching import Batcher
from intact.serve.computing import Computer
from intact.serve.connection import Connection, Patience
from intact.serve.console import Console
from intact.serve.core import Core, Parts
from intact.serve.metrics import Meters
from intact.serve.models import Models, Served
from intact.serve.settings import Settings
from intact.serve.state import Settler, Store
from intact.serve.tracing import tracing

LOG: Final = logging.getLogger("intact.serve")
KEEP_ALIVE_S: Final = 60
BACKLOG: Final = 1024
CLOCK_BACK_S: Final = 60
MOST_FILES: Final = 8192
"""Open files that the connections allowed, handshakes under way and the database need at most."""
LINGER_S: Final = 0.3
"""How long connections stay open after a stop; a request that crosses a closing would get no answer."""
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the server listens.

    Args:
        http: URL of the HTTP server.
        grpc: Host and port of the gRPC server; None where there is none.
    """

    http: str
    grpc: str | None


class _Http(uvicorn.Server):
    """uvicorn, but signals are handled here, and whoever has connected is still answered at the end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening; give requests on their way the time to come in; then close what is idle, and end.

        Meanwhile every response says that its connection ends, so what stands before this sends nothing more.
        """
        for server in self.servers:
            server.close()
        await asyncio.sleep(LINGER_S)
        await super().shutdown(sockets)


def serve(
    settings: Settings, served: Sequence[Served], key: SigningKey, *, announce: Callable[[Addresses], None]
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was begun and return.

    Args:
        settings: How.
        served: Models, opened.
        key: Signs receipts and checkpoints.
        announce: Called once with where the server listens.

    Raises:
        UsageError: A port is taken, a certificate or key cannot be used, the database cannot be reached.
    """
    _allow_files()
    models = Models(served)
    material = None if settings.tls is None else tls.load(settings.tls)
    signer = CheckpointSigner(key=key, origin=settings.origin)
    listener = _listen(settings.host, settings.port)
    with contextlib.closing(listener), contextlib.closing(Store.open(settings.state)) as store:
        check_store(store, time.time())
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(settings, models, signer, store, listener, material, announce))


async def _run(
    settings: Settings,
    models: Models,
    signer: CheckpointSigner,
    store: Store,
    listener: socket.socket,
    material: tls.Material | None,
    announce: Callable[[Addresses], None],
) -> None:
    """Answer until told to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.set)
    async with assemble(settings, models, signer, store) as core:
        pages = Console(core, secure=settings.tls is not None or settings.plaintext, modes=settings.guard)
        http = _http(core, settings, material, pages)
        rpc, rpc_port = _grpc(core, settings, material)
        if rpc is not None:
            await rpc.start()
        serving = asyncio.create_task(http.serve(sockets=[listener]))
        while not http.started and not serving.done():
            await asyncio.sleep(0.005)
        announce(_addresses(settings, listener, rpc_port))
        LOG.info("serving", extra={"fields": {"models": [f"{each.name}/{each.version}" for each in models.all()]}})
        await asyncio.wait({serving, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
        LOG.info("stopping")
        core.draining = True
        http.should_exit = True
        stopping = [serving] if rpc is None else [serving, asyncio.ensure_future(rpc.stop(settings.drain_s))]
        await asyncio.gather(*stopping)
        pages.close()
    LOG.info("stopped")


@contextlib.asynccontextmanager
async def assemble(settings: Settings, models: Models, signer: CheckpointSigner, store: Store) -> AsyncIterator[Core]:
    """Put the core together; at the end, finish what was begun and let go of everything."""
    async with contextlib.AsyncExitStack() as stack:
        authenticator = Authenticator(store, None if settings.oidc is None else Oidc(settings.oidc))
        stack.callback(authenticator.close)
        permits = Permits(store)
        stack.callback(permits.close)
        limiter = Limiter("memory://" if settings.redis is None else settings.redis)
        stack.push_async_callback(limiter.close)
        await limiter.ready()
        settler = Settler(store)
        stack.push_async_callback(settler.drain)
        batchers = {served: _batcher(served, settings) for served in models.all()}
        for batcher in batchers.values():
            stack.callback(batcher.close)
        yield Core(
            Parts(
                models=models,
                batchers=batchers,
                store=store,
                settler=settler,
                authenticator=authenticator,
                permits=permits,
                limiter=limiter,
                issuer=Issuer(key=signer.key, origin=signer.origin),
                signer=signer,
                meters=Meters(),
                trace=stack.enter_context(tracing(settings.traces)),
            )
        )


def _allow_files() -> None:
    """Have as many files open as the system lets us, within reason: its usual 1,024 are less than the connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _batcher(served: Served, settings: Settings) -> Batcher:
    """Return what runs a model."""
    model = served.model
    return Batcher(
        Computer(model, _guard(model, settings)),
        stacks=model.rows_apart and is_batched(model.inputs),
        workers=settings.workers,
    )


def _guard(model: Model, settings: Settings) -> Guard | None:
    """Return the guard of a model; of one that was built without, for shapes and finite values; None for no guard.

    Raises:
        UsageError: A mode is named for a check that there is not.
    """
    if settings.guard is None:
        return None
    return Guard(model.guard or plain(model.inputs), settings.guard, run=model.run)


def check_store(store: Store, now: float) -> None:
    """Accept a store whose keys the pepper fits, and a clock that is not behind the log.

    Raises:
        UsageError: The pepper is another; or the clock is behind: what has expired would be valid again.
    """
    store.check_pepper()
    size = store.size()
    if size == 0:
        return
    ((_, event),) = store.events(size - 1, size)
    behind = Event.decode(event).time_ms / 1000 - now
    if behind > CLOCK_BACK_S:
        raise UsageError(f"the clock is {behind:.0f} s behind the last entry of the log", hint="set the clock")


def _http(core: Core, settings: Settings, material: tls.Material | None, pages: Console) -> _Http:
    """Return the HTTP server."""
    config = uvicorn.Config(
        rest.edge(
            core,
            largest=settings.largest_body,
            open_health=settings.open_health,
            more=[console.area(pages)] if settings.console else [],
        ),
        http=_connections(settings),
        ws="none",
        lifespan="off",
        loop="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.drain_s),
        ssl_context_factory=None if material is None else lambda _config, _default: material.context(),
    )
    return _Http(config)


def _connections(settings: Settings) -> type[Connection]:
    """Return the class of connections with the operator's patience."""
    return type("Connection", (Connection,), {"patience": Patience.of(settings.patience_s)})


def _grpc(core: Core, settings: Settings, material: tls.Material | None) -> tuple[Any, int]:
    """Return the gRPC server and its port; None and 0 where there shall be none."""
    if settings.grpc_port is None:
        return None, 0
    patience = Patience.of(settings.patience_s)
    service = grpc_server.Service(
        core, largest=settings.largest_body, open_health=settings.open_health, message_s=patience.request_s
    )
    address = _joined(settings.host, settings.grpc_port)
    credentials = None if material is None else material.credentials()
    return grpc_server.build(service, address, credentials, largest=settings.largest_body)


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address.

    Raises:
        UsageError: It cannot be bound.
    """
    try:
        ((family, kind, protocol, _, address), *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"cannot listen on host {host!a:.80}: {error.strerror}") from error
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.setblocking(False)
    except OSError as error:
        found.close()
        raise UsageError(
            f"cannot listen on {_joined(host, port)}: {error.strerror}", hint="choose another --port, or 0 for any"
        ) from error
    return found


def _addresses(settings: Settings, listener: socket.socket, rpc_port: int) -> Addresses:
    scheme = "http" if settings.tls is None else "https"
    port = listener.getsockname()[1]
    grpc = _joined(settings.host, rpc_port) if rpc_port else None
    return Addresses(http=f"{scheme}://{_joined(settings.host, port)}", grpc=grpc)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
