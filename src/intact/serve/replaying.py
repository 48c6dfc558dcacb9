"""Answering a recorded request again, on any machine: for exact models it must give the very bytes."""

from __future__ import annotations

from collections.abc import Mapping

from intact.errors import UsageError
from intact.ledger import Receipt, read_answer
from intact.pipeline.model import Model
from intact.serve.models import serve_as
from intact.serve.protocol import grpc_messages, rest, shows
from intact.serve.protocol.request import InferRequest, InferResponse
from intact.serve.refused import Refused


def replay(model: Model, receipt: Receipt, request: bytes, headers: Mapping[str, str]) -> bytes:
    """Return the body that the server answered, computed anew.

    Args:
        model: The model that the receipt names; the caller compared its digest.
        receipt: The receipt, verified; its event is an answer.
        request: The exact body of the request; the caller compared its digest.
        headers: Headers of the request by lower-case name. `inference-header-content-length` says how its body is to be
            read; where it is absent, the body itself does.

    Returns:
        The bytes whose digest the receipt has, where the model gives the same integers here as there.

    Raises:
        UsageError: The model is not of the exact profile, or the bytes are no request.
        IntegrityError: The receipt is of no answer.
        DataError: The model does not take these inputs.
    """
    if model.profile != "exact":
        raise UsageError(
            "the model is of the tolerant profile, whose answers differ from machine to machine",
            hint="only exact models can be asked again",
        )
    answer = read_answer(receipt.event)
    served = serve_as(answer.model.name, model)
    try:
        asked = _parse(answer.transport, request, headers)
        served.check_names(asked)
        outputs = model.run(asked.feeds)
        wanted = tuple(each.name for each in asked.wanted) or model.outputs
        shown = shows.apply(answer.shows, {name: outputs[name] for name in wanted})
        response = InferResponse(served.name, str(answer.model.revision), asked.id, shown)
        return (
            grpc_messages.format(response, asked) if answer.transport == "grpc" else rest.format(response, asked).data
        )
    except Refused as error:
        raise UsageError(f"the bytes are no request to this model: {error.message}", hint=error.hint) from error


def _parse(transport: str, request: bytes, headers: Mapping[str, str]) -> InferRequest:
    """Return the request in the bytes that came over `transport`.

    Raises:
        Refused: They are none.
    """
    if transport == "grpc":
        return grpc_messages.parse(grpc_messages.decode("ModelInferRequest", request))
    said = headers.get(rest.HEADER_LENGTH)
    if said is not None and not (said.isascii() and said.isdigit()):
        raise UsageError(f"header {rest.HEADER_LENGTH} is {said!a:.40}, wanted a number of bytes")
    return rest.parse(request, rest.header_length_of(request) if said is None else int(said))
