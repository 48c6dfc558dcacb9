"""The HTTP routes besides inference: health, metadata, metrics, the interface's own description."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from importlib.metadata import version as version_of
from typing import Annotated, Any, Final

from fastapi import APIRouter, FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from intact.errors import IntactError
from intact.serve import log_routes
from intact.serve.asgi import App
from intact.serve.core import WATCHERS, Core
from intact.serve.edge import Area, Edge, Gate, anybody, everybody, watchers
from intact.serve.openapi import ERRORS, RESPONSES, describe
from intact.serve.refused import Refused, as_refused
from intact.serve.state import Principal

SERVER: Final = "intact"
EXTENSIONS: Final = ("binary_tensor_data",)
TEXT: Final = "text/plain; version=1.0.0; charset=utf-8"

Name = Annotated[str, Path(min_length=1, max_length=100)]
Version = Annotated[str, Path(min_length=1, max_length=20, pattern=r"^[0-9]+$")]


def edge(core: Core, *, largest: int, open_health: bool = False, more: Sequence[Area] = ()) -> Edge:
    """Return the application that the server runs.

    Args:
        core: What answers.
        largest: Most bytes in the body of an inference request.
        open_health: Whether health routes need no credential.
        more: Areas of other parts of the server, each with its own gate.
    """
    app = application(core)
    known: Sequence[tuple[str, Gate]] = (
        ("/v2/health/", everybody if open_health else anybody(core)),
        ("/v2/", anybody(core)),
        ("/log/", watchers(core)),
        ("/metrics/", watchers(core)),
        ("/openapi.json/", anybody(core)),
    )
    areas = [Area(prefix=prefix, gate=gate, app=app) for prefix, gate in known]
    return Edge(core, [*more, *areas], largest=largest)


def application(core: Core) -> App:
    """Return the FastAPI application of all routes but inference."""
    app = FastAPI(title="Intact", docs_url=None, redoc_url=None, openapi_url="/openapi.json", redirect_slashes=False)
    for router in (health(core), metadata(core), log_routes.routes(core), operation(core)):
        app.include_router(router)
    app.add_exception_handler(IntactError, _told)
    app.add_exception_handler(HTTPException, _told)
    app.add_exception_handler(RequestValidationError, _told)
    describe(app)
    return app


def health(core: Core) -> APIRouter:
    """Return the routes that say whether the server lives and is ready."""
    router = APIRouter(prefix="/v2/health", tags=["health"], responses=RESPONSES)

    @router.get("/live")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @router.get("/ready", responses={503: ERRORS[503]})
    async def ready() -> dict[str, bool]:
        await core.check_ready()
        return {"ready": True}

    return router


def metadata(core: Core) -> APIRouter:
    """Return the routes that say what is served. Callers see the models they have a grant for, watchers all."""
    router = APIRouter(prefix="/v2", tags=["metadata"], responses={**RESPONSES, 403: ERRORS[403], 503: ERRORS[503]})

    async def described(request: Request, name: str, version: str) -> dict[str, Any]:
        served = await core.may_see(_principal(request), name, version)
        return served.metadata(core.models.versions(name))

    @router.get("")
    async def server() -> dict[str, Any]:
        return {"name": SERVER, "version": version_of("intact"), "extensions": list(EXTENSIONS)}

    @router.get("/models/{name}", responses={404: ERRORS[404], 422: ERRORS[422]})
    async def model(request: Request, name: Name) -> dict[str, Any]:
        return await described(request, name, "")

    @router.get("/models/{name}/versions/{version}", responses={404: ERRORS[404], 422: ERRORS[422]})
    async def revision(request: Request, name: Name, version: Version) -> dict[str, Any]:
        return await described(request, name, version)

    @router.get("/models/{name}/ready", responses={404: ERRORS[404], 422: ERRORS[422]})
    async def ready(request: Request, name: Name) -> dict[str, Any]:
        return await model_ready(request, name, "")

    @router.get("/models/{name}/versions/{version}/ready", responses={404: ERRORS[404], 422: ERRORS[422]})
    async def revision_ready(request: Request, name: Name, version: Version) -> dict[str, Any]:
        return await model_ready(request, name, version)

    async def model_ready(request: Request, name: str, version: str) -> dict[str, Any]:
        served = await core.may_see(_principal(request), name, version)
        await core.check_ready()
        return {"name": served.name, "ready": True}

    @router.post("/repository/index")
    async def index(request: Request) -> list[dict[str, str]]:
        return [
            {"name": served.name, "version": served.version, "state": "READY"}
            for served in await core.visible(_principal(request))
        ]

    return router


def operation(core: Core) -> APIRouter:
    """Return the routes for who operates the server."""
    router = APIRouter(tags=["operation"], responses={**RESPONSES, 403: ERRORS[403], 503: ERRORS[503]})

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        core.meters.log_size.set(await asyncio.to_thread(core.parts.store.size))
        core.meters.waiting.set(sum(batcher.waiting for batcher in core.parts.batchers.values()))
        return Response(core.meters.text(), media_type=TEXT)

    return router


def _principal(request: Request) -> Principal:
    principal = request.state.principal
    assert isinstance(principal, Principal)  # the gate of these routes lets nobody else pass
    return principal


async def _told(_: Request, error: Exception) -> Response:
    """Return the protocol's error object, whatever went wrong."""
    headers: Mapping[str, str] = {}
    if isinstance(error, IntactError):
        refused = as_refused(error)
        status, message = refused.status, refused.message
        headers = {} if refused.retry_after_s is None else {"retry-after": str(refused.retry_after_s)}
    elif isinstance(error, HTTPException):
        status, message, headers = error.status_code, str(error.detail).lower(), error.headers or {}
    else:
        status, message = 422, "a part of the address is not what it should be"
    return JSONResponse({"error": message}, status, dict(headers))


__all__ = ["WATCHERS", "Refused", "application", "edge"]
