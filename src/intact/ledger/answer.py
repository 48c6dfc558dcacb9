"""The fields of an answer or a refusal: which model, what came in and went out, what the checks said."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from json.encoder import encode_basestring as _quote
from typing import Any, Final, Protocol

from intact.errors import IntegrityError, UsageError
from intact.ledger.event import VERSION, Event, bounded, check_event
from intact.wire import encode, from_json, to_json

LIMIT_NONCE: Final = 64
LIMIT_TEXT: Final = 256
MOST_FINDINGS: Final = 64
ANSWERS: Final = ("answer", "refusal")
"""Types of the events that have these fields."""
TRANSPORTS: Final = ("rest", "grpc")
VERDICTS: Final = ("ok", "flag", "refuse")
_NONCE: Final = re.compile(r"[ -~]{0,64}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """The model that answered.

    Args:
        name: What the server calls it.
        digest: SHA-256 of its manifest.json, in hex.
        artifact: Identity of the artifact.
        revision: Its revision.
    """

    name: str
    digest: str
    artifact: str
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one check of the guard said.

    Args:
        check: Its name.
        verdict: "ok", "flag" or "refuse".
        score: What it was judged by; None where it has none that is finite.
    """

    check: str
    verdict: str
    score: float | None


class Judged(Protocol):
    """What is asked of a finding: the guard's own will do."""

    @property
    def check(self) -> str:
        """The check's name."""

    @property
    def verdict(self) -> str:
        """What it said."""

    @property
    def score(self) -> float | None:
        """What that was judged by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an event of type "answer" or "refusal" says.

    Args:
        grant: Number of the grant it was counted on; None where none was needed.
        credential: Which key or token asked.
        model: The model.
        request_sha256: Of the exact bytes of the request's body, in hex.
        response_sha256: Of the exact bytes of the response's body, in hex.
        nonce: What the caller wanted repeated, up to 64 printable ASCII characters.
        guard: What the checks said.
        shows: How much of the output the caller sees.
        transport: "rest" or "grpc".
    """

    grant: int | None
    credential: str
    model: ServedModel
    request_sha256: str
    response_sha256: str
    nonce: str
    guard: tuple[Verdict, ...]
    shows: str
    transport: str


def is_nonce(text: str) -> bool:
    """Whether `text` can be a nonce: up to 64 printable ASCII characters."""
    return _NONCE.fullmatch(text) is not None


def check_nonce(text: str) -> None:
    """Check that `text` can be a nonce.

    Raises:
        UsageError: It cannot.
    """
    if not is_nonce(text):
        raise UsageError(f"nonce has more than {LIMIT_NONCE} characters, or some that are not printable ASCII")


def answer_event(
    *,
    time_ms: int,
    subject: str,
    grant: int | None,
    credential: str,
    model: ServedModel,
    request_sha256: str,
    response_sha256: str,
    nonce: str = "",
    guard: Sequence[Judged] = (),
    shows: str,
    transport: str,
    refused: bool = False,
) -> Event:
    """Return the event of an answer, or of a refusal by the guard.

    Args:
        time_ms: When, in milliseconds since 1970 UTC.
        subject: Who asked.
        grant: As in `Answer`, and so are the others.
        credential: See there.
        model: See there.
        request_sha256: See there.
        response_sha256: See there.
        nonce: See there.
        guard: See there; scores are kept to six digits.
        shows: See there.
        transport: See there.
        refused: Whether the guard refused.

    Raises:
        UsageError: The nonce is no such text.
    """
    check_nonce(nonce)
    fields = {
        "credential": credential,
        "grant": grant,
        "guard": [{"check": each.check, "score": _six_digits(each.score), "verdict": each.verdict} for each in guard],
        "model": {
            "artifact": model.artifact,
            "digest": model.digest,
            "name": model.name,
            "revision": model.revision,
        },
        "nonce": nonce,
        "request_sha256": request_sha256,
        "response_sha256": response_sha256,
        "shows": shows,
        "transport": transport,
    }
    return Event(type="refusal" if refused else "answer", time_ms=time_ms, subject=subject, fields=fields)


def encode_answer(
    *,
    time_ms: int,
    subject: str,
    grant: int | None,
    credential: str,
    model: ServedModel,
    request_sha256: str,
    response_sha256: str,
    nonce: str = "",
    guard: Sequence[Judged] = (),
    shows: str,
    transport: str,
    refused: bool = False,
) -> bytes:
    """Return `answer_event(...).encode()`, the same bytes, in a third of the time: every request pays for it.

    Args:
        time_ms: As in `answer_event`, and so are the others.
        subject: See there.
        grant: See there.
        credential: See there.
        model: See there.
        request_sha256: See there.
        response_sha256: See there.
        nonce: See there.
        guard: See there.
        shows: See there.
        transport: See there.
        refused: See there.

    Raises:
        UsageError: As `answer_event` and `Event.encode`.
    """
    check_nonce(nonce)
    check_event(time_ms, subject)
    findings = ",".join(
        f'{{"check":{_quote(each.check)},"score":{_number(each.score)},"verdict":{_quote(each.verdict)}}}'
        for each in guard
    )
    text = (
        f'{{"fields":{{"credential":{_quote(credential)},"grant":{"null" if grant is None else grant},'
        f'"guard":[{findings}],"model":{_model(model)},"nonce":{_quote(nonce)},'
        f'"request_sha256":{_quote(request_sha256)},"response_sha256":{_quote(response_sha256)},'
        f'"shows":{_quote(shows)},"transport":{_quote(transport)}}},"subject":{_quote(subject)},'
        f'"time_ms":{time_ms},"type":"{"refusal" if refused else "answer"}","version":{VERSION}}}'
    )
    return bounded(text.encode())


def read_answer(event: Event) -> Answer:
    """Return what an answer or a refusal says.

    Raises:
        IntegrityError: The event is of another type, or its fields are not those of an answer.
    """
    if event.type not in ANSWERS:
        raise IntegrityError(f"event is of type {event.type}, which answers no request")
    fields: Any = dict(event.fields)
    answer = from_json(Answer, fields, where="event.fields")
    digests = (answer.request_sha256, answer.response_sha256, answer.model.digest)
    texts = (answer.credential, answer.model.name, answer.model.artifact, answer.shows)
    if any(_DIGEST.fullmatch(each) is None for each in digests):
        raise IntegrityError("event has a digest that is no SHA-256 in lower-case hex")
    if not is_nonce(answer.nonce) or any(len(each) > LIMIT_TEXT or not each.isprintable() for each in texts):
        raise IntegrityError("event has a text that is too long or cannot be printed")
    if answer.transport not in TRANSPORTS or len(answer.guard) > MOST_FINDINGS:
        raise IntegrityError("event names another transport than rest and grpc, or too many checks")
    if any(each.verdict not in VERDICTS or not _is_name(each.check) for each in answer.guard):
        raise IntegrityError("event has a check with another verdict than ok, flag and refuse")
    return answer


def _is_name(text: str) -> bool:
    return len(text) <= LIMIT_NONCE and text.isascii() and text.isprintable()


@lru_cache(maxsize=64)
def _model(model: ServedModel) -> str:
    return encode(to_json(model)).decode()


def _number(score: float | None) -> str:
    """Return what `_six_digits` gives as canonical JSON; only unusual numbers take the long way."""
    if score is None or not math.isfinite(score):
        return "null"
    text = f"{score:.6g}"
    return encode(float(text)).decode() if "e" in text or text == "-0" else text


def _six_digits(score: float | None) -> float | None:
    return None if score is None or not math.isfinite(score) else float(f"{score:.6g}")
