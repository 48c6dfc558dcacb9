"""The log as others fetch it: its checkpoint, and its tiles in the C2SP tlog-tiles layout, under /log/.

Source:
    C2SP tlog-tiles, "Parameters", "Merkle Tree", "Log Entries".
"""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import APIRouter, Response

from intact.ledger.tiles import WIDTH, Tile, encode_entries, parse_path, width_of
from intact.serve.core import Core
from intact.serve.openapi import ERRORS, RESPONSES
from intact.serve.refused import Refused

FOREVER: Final = {"cache-control": "private, max-age=31536000, immutable"}
NEVER: Final = {"cache-control": "no-store"}
OCTETS: Final = "application/octet-stream"


def routes(core: Core) -> APIRouter:
    """Return the routes of the log."""
    router = APIRouter(
        prefix="/log",
        tags=["log"],
        responses={**RESPONSES, 403: ERRORS[403], 404: ERRORS[404], 503: ERRORS[503]},
        default_response_class=Response,
    )

    @router.get("/checkpoint", responses={200: {"content": {"text/plain": {}}}})
    async def checkpoint() -> Response:
        found = await asyncio.to_thread(core.parts.store.checkpoint_now, core.parts.signer.sign)
        return Response(found.note, media_type="text/plain", headers=NEVER)

    @router.get("/tile/{path:path}", responses={200: {"content": {OCTETS: {}}}})
    async def tile(path: str) -> Response:
        found = parse_path(f"tile/{path}")
        if found is None:
            raise Refused(404, "the log has no such tile")
        return Response(await asyncio.to_thread(read, core, found), media_type=OCTETS, headers=FOREVER)

    return router


def read(core: Core, tile: Tile) -> bytes:
    """Return the bytes of a tile or bundle.

    Raises:
        Refused: The log has not grown so far.
    """
    store = core.parts.store
    if tile.width > width_of(tile.level or 0, tile.index, store.size()):
        raise Refused(404, "the log has no such tile yet")
    if tile.level is not None:
        return store.tile(tile.level, tile.index, tile.width)
    start = tile.index * WIDTH
    return encode_entries(store.entry_hashes(start, start + tile.width))
