"""The same server as replicas of Ray Serve: REST only, on PostgreSQL and, where grants have a rate, Redis.

Ray Serve starts the replicas, sends each request to one of them, and replaces those that die. What must be one for all
lies outside of them: keys, grants, counts and the log in PostgreSQL, bursts in Redis. gRPC and the console are of
`intact serve` alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from intact import pipeline, seal
from intact.errors import UsageError
from intact.ledger.checkpoint import CheckpointSigner
from intact.serve import logs, rest, run
from intact.serve.asgi import App, Receive, Scope, Send
from intact.serve.models import Models, Served, check_served_name, serve_as
from intact.serve.settings import Settings
from intact.serve.state import Store

NAME: Final = "intact"
MOST_AT_A_TIME: Final = 128
"""Requests that a replica has at a time; Ray Serve keeps the others waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where replicas find what they open; every node that may run one must have these files.

    Args:
        models: Path of an artifact by the name it is served by.
        identity: Private key that opens them, such as a file.
        signer: Public key of who signed them, such as a file.
        receipt_key: File of the private key that signs receipts and checkpoints.
        engines: Engines to consider; None for all.
        threads: Threads of the engine.
        revisions: Folder that remembers the highest revision opened; None for none.
    """

    models: Mapping[str, str]
    identity: str
    signer: str
    receipt_key: str
    engines: tuple[str, ...] | None = None
    threads: int = 1
    revisions: str | None = None


def application(settings: Settings, sources: Sources, *, replicas: int = 2, **options: Any) -> Any:
    """Return an application for `ray.serve.run`.

    Args:
        settings: How to serve. Where it listens, TLS, gRPC and the console are Ray Serve's to say, or not there.
        sources: What to serve.
        replicas: How many.
        options: More of `ray.serve.deployment`, such as `ray_actor_options`: replicas need the pepper in their
            environment, {"runtime_env": {"env_vars": {"INTACT_PEPPER_FILE": ...}}}.

    Raises:
        UsageError: Ray Serve is not installed; or there is no model, or the state cannot be shared by replicas.
    """
    if not sources.models:
        raise UsageError("no model is to be served")
    for name in sources.models:
        check_served_name(name)
    if replicas != 1 and settings.state.startswith("sqlite"):
        raise UsageError(
            "replicas on several machines cannot share a SQLite file", hint="give the URL of a PostgreSQL database"
        )
    try:
        from ray import serve
    except ImportError:
        raise UsageError("Ray Serve is not installed", hint="pip install 'intact[ray-serve]'") from None
    chosen = {"name": NAME, "num_replicas": replicas, "max_ongoing_requests": MOST_AT_A_TIME, **options}
    ingress = serve.ingress(Replica(settings, sources))()
    return serve.deployment(**chosen)(ingress).bind()


class Replica:
    """An ASGI application that opens its models as its process starts, and finishes what it began as that ends.

    Args:
        settings: How to serve.
        sources: What to serve.
    """

    def __init__(self, settings: Settings, sources: Sources) -> None:
        self._settings = settings
        self._sources = sources
        self._app: App | None = None

    def __reduce__(self) -> tuple[type[Replica], tuple[Settings, Sources]]:
        """Travel to another process as what it is made from."""
        return Replica, (self._settings, self._sources)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or start and end with the process."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http" or self._app is None:
            raise UsageError(f"a connection of type {scope['type']!a:.20} is not spoken here")
        scope.setdefault("state", {})
        scope.setdefault("raw_path", scope["path"].encode())
        await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Start, wait for the end, and end."""
        await receive()
        async with AsyncExitStack() as stack:
            self._app = await self._start(stack)
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self, stack: AsyncExitStack) -> App:
        """Return the application, with everything it needs."""
        logs.configure()
        settings = self._settings
        key = pipeline.load_signing_key(Path(self._sources.receipt_key))
        assert isinstance(key, seal.SigningKey)  # no certificates were named
        served = await asyncio.to_thread(_open, settings, self._sources)
        store = stack.enter_context(closing(await asyncio.to_thread(Store.open, settings.state)))
        await asyncio.to_thread(run.check_store, store, time.time())
        signer = CheckpointSigner(key=key, origin=settings.origin)
        core = await stack.enter_async_context(run.assemble(settings, Models(served), signer, store))
        return rest.edge(core, largest=settings.largest_body, open_health=settings.open_health)


def _open(settings: Settings, sources: Sources) -> list[Served]:
    """Open all models."""
    return [
        serve_as(
            name,
            pipeline.open_model(
                path,
                identity=pipeline.identities([sources.identity]),
                signer=pipeline.trusted([sources.signer], None) or (),
                engines=sources.engines,
                threads=sources.threads,
                revisions=sources.revisions or False,
                guard=settings.guard is not None,
            ),
            settings.limits,
        )
        for name, path in sources.models.items()
    ]
