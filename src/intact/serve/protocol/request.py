"""An inference request and its response, whatever wire they come over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from numpy.typing import NDArray

from intact.ledger.answer import is_nonce
from intact.serve.refused import bad_request

Array = NDArray[Any]

MOST_TENSORS: Final = 64
LONGEST_NAME: Final = 256

SETS_MEANING: Final = frozenset(
    {"classification", "shared_memory_region", "sequence_id", "sequence_start", "sequence_end"}
)
"""Parameters of Triton's extensions that would change what an answer is; others are advice, and not heeded."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output that is asked for.

    Args:
        name: Its name.
        binary: Whether its data come as bytes after the JSON (REST only).
    """

    name: str
    binary: bool


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What to compute.

    Args:
        id: The caller's own, given back.
        feeds: Inputs by name; nothing says yet that the model takes them.
        wanted: Outputs asked for, in order; empty for all.
        binary: Whether outputs not named in `wanted` come as bytes (REST only).
    """

    id: str
    feeds: Mapping[str, Array]
    wanted: tuple[Wanted, ...]
    binary: bool


@dataclass(frozen=True, slots=True)
class InferResponse:
    """What was computed.

    Args:
        model: Name the model is served under.
        version: Its revision.
        id: As in the request.
        outputs: Outputs by name, in order.
    """

    model: str
    version: str
    id: str
    outputs: Mapping[str, Array]


def check_name(value: object, what: str) -> str:
    """Return the name `value`.

    Raises:
        Refused: It is no text, or is empty or too long.
    """
    if type(value) is not str or not 0 < len(value) <= LONGEST_NAME:
        raise bad_request(f"{what} has no name of 1 to {LONGEST_NAME} letters")
    return value


def check_id(value: object) -> str:
    """Return the caller's id.

    Raises:
        Refused: It is no text, or is too long.
    """
    if type(value) is not str or len(value) > LONGEST_NAME:
        raise bad_request(f"id is not text of at most {LONGEST_NAME} letters")
    return value


def check_nonce(value: str) -> str:
    """Return the caller's nonce, which the receipt repeats.

    Raises:
        Refused: It is not that.
    """
    if not is_nonce(value):
        raise bad_request("nonce is not at most 64 printable letters of ASCII")
    return value


def check_count(count: int, what: str) -> None:
    """Accept a number of tensors.

    Raises:
        Refused: There are too many.
    """
    if count > MOST_TENSORS:
        raise bad_request(f"there are {count} {what}, more than the {MOST_TENSORS} allowed")


def refuse_meaning(parameters: Mapping[str, object] | None) -> None:
    """Accept parameters that are advice.

    Raises:
        Refused: One asks for what this server does not do, so that ignoring it would answer another question.
    """
    if parameters:
        for name in parameters:
            if name in SETS_MEANING:
                raise bad_request(f"parameter {name!a} is not supported", hint="leave it out")
