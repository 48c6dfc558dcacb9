"""Trying a model: the same path as any request takes, with its grant, guard, count, log entry and receipt."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Final

from intact.errors import IntactError
from intact.ledger import receipt as receipts
from intact.ledger.answer import read_answer
from intact.serve.console import arrays
from intact.serve.console.visit import ASKERS, Reply, Visit, get, post
from intact.serve.core import Admission, Asked
from intact.serve.core import Answer as Answered
from intact.serve.edge import Json
from intact.serve.models import Served
from intact.serve.protocol.rest import HEADER_LENGTH
from intact.serve.refused import bad_request

FIRST: Final = 100
"""How many values of an output are shown."""
LARGEST_LINK: Final = 2_000_000
"""Longest address of a download; browsers cut longer ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file that lies in the page itself, as an address.

    Args:
        name: What it is called.
        address: Its bytes, in a data: address; None where they are too many for that.
        size: How many.
    """

    name: str
    address: str | None
    size: int


async def show(visit: Visit) -> Reply:
    """Show the form."""
    return await _page(visit, visit.query.get("model", ""))


async def ask(visit: Visit) -> Reply:
    """Ask a model, and show what it answered."""
    form = visit.form
    name, _, version = form.text("model").partition("/")
    served: Served | None = None
    try:
        admission = await visit.house.core.admit(visit.principal, name, version)
        served = admission.served
        body, length = await visit.house.work(_body, visit, served)
        answered = await visit.house.core.answer(admission, Asked(body, length), Json())
    except IntactError as error:
        refused = visit.house.core.refuse(error, "console", visit.principal, served)
        return await _page(visit, form.text("model"), status=refused.status, why=refused)
    return await _answered(visit, admission, body, length, answered)


def _body(visit: Visit, served: Served) -> tuple[bytes, int]:
    """Return the request that carries what was typed or uploaded, and the length of its JSON.

    Raises:
        DataError: It is no numbers, or not what the model takes.
        Refused: It is both or neither.
    """
    text, file = visit.form.text("numbers"), visit.form.file
    if (not text) == (file is None):
        raise bad_request("numbers or a file are wanted, and one of them only")
    inputs = served.inputs
    return arrays.write(arrays.from_text(text, inputs) if file is None else arrays.from_file(file, inputs))


async def _page(visit: Visit, model: str, *, status: int = 200, why: Any = None) -> Reply:
    models = await visit.house.core.visible(visit.principal)
    return visit.page(
        "try",
        status=status,
        models=[(served, served.metadata([served.version])["inputs"]) for served in models],
        chosen=model,
        numbers=visit.form.text("numbers"),
        why=why,
    )


async def _answered(visit: Visit, admission: Admission, body: bytes, length: int, answered: Answered) -> Reply:
    parts, served = visit.house.core.parts, admission.served
    receipt = receipts.read(answered.receipt, [parts.signer.key.verifying_key])
    outputs = arrays.read_answer(answered.body.data) if answered.refused is None else []
    grants = await visit.house.work(visit.house.store.grants, visit.principal.subject, served.digest)
    grant = next((each for each in grants if each.id == admission.grant.id), admission.grant)
    return visit.page(
        "answer",
        status=200 if answered.refused is None else answered.refused.status,
        served=served,
        grant=grant,
        refused=answered.refused,
        outputs=[{**each, "data": each["data"][:FIRST]} for each in outputs],
        receipt=receipt,
        said=read_answer(receipt.event),
        key_id=parts.signer.key.verifying_key.key_id,
        header=f"{HEADER_LENGTH}: {length}",
        downloads=(
            _download("receipt.json", "application/json", answered.receipt),
            _download("request.bin", "application/octet-stream", body),
            _download("response.json", "application/octet-stream", answered.body.data),
        ),
    )


def _download(name: str, kind: str, data: bytes) -> Download:
    address = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return Download(name=name, address=address if len(address) < LARGEST_LINK else None, size=len(data))


ROUTES: Final = (
    get("/console/try", ASKERS, show, "try"),
    post("/console/try", ASKERS, ask, "try", files=True),
)
