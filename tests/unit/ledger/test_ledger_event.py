"""Events: what they are encoded as, and what is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.errors import IntegrityError, UsageError
from intact.ledger import Answer, Event, ServedModel, Verdict, answer_event, encode_answer, read_answer
from intact.ledger.event import KINDS, LIMIT_BYTES
from support.ledgers import MODEL, answer

TEXT = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=40)
SCORES = st.none() | st.floats(allow_nan=False, allow_infinity=False)
VERDICTS = st.builds(
    Verdict, check=st.sampled_from(["range", "energy"]), verdict=st.sampled_from(["ok", "flag", "refuse"]), score=SCORES
)


def changed(path: str, value: Any) -> bytes:
    """The encoding of an answer with one thing in it changed."""
    event = json.loads(answer().encode())
    *parents, last = path.split(".")
    holder = event
    for name in parents:
        holder = holder[name]
    if value is None:
        del holder[last]
    else:
        holder[last] = value
    return json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_an_event_is_one_line_of_canonical_json() -> None:
    event = Event(type="role.set", time_ms=5, subject="zoë", fields={"role": "admin", "by": None})
    wanted = '{"fields":{"by":null,"role":"admin"},"subject":"zoë","time_ms":5,"type":"role.set","version":1}'
    assert event.encode() == wanted.encode()


def test_an_answer_says_what_it_was_made_of() -> None:
    found = read_answer(Event.decode(answer(7, nonce="n 1").encode()))
    assert isinstance(found, Answer)
    assert (found.model, found.nonce, found.grant, found.transport) == (MODEL, "n 1", 1, "rest")
    assert found.guard[1] == Verdict(check="energy", verdict="flag", score=-3.5)


@given(
    subject=TEXT,
    nonce=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=64),
    name=TEXT,
    guard=st.lists(VERDICTS, max_size=8),
    grant=st.none() | st.integers(0, 2**53 - 1),
    time_ms=st.integers(0, 2**53 - 1),
)
def test_decode_undoes_encode(
    subject: str, nonce: str, name: str, guard: list[Verdict], grant: int | None, time_ms: int
) -> None:
    model = ServedModel(name=name, digest="0" * 64, artifact="a", revision=1)
    event = answer_event(
        time_ms=time_ms,
        subject=subject,
        grant=grant,
        credential="c",
        model=model,
        request_sha256="1" * 64,
        response_sha256="2" * 64,
        nonce=nonce,
        guard=guard,
        shows="top-3",
        transport="grpc",
    )
    data = event.encode()
    again = Event.decode(data)
    assert again.encode() == data
    assert (again.type, again.time_ms, again.subject) == ("answer", time_ms, subject)
    found = read_answer(again)
    assert (found.model, found.nonce, found.grant) == (model, nonce, grant)
    assert [each.check for each in found.guard] == [each.check for each in guard]


@given(
    subject=TEXT,
    credential=TEXT,
    name=TEXT,
    guard=st.lists(st.builds(Verdict, check=TEXT, verdict=st.just("flag"), score=st.none() | st.floats()), max_size=4),
    grant=st.none() | st.integers(0, 2**53 - 1),
    refused=st.booleans(),
)
def test_the_quick_encoding_is_the_encoding(
    subject: str, credential: str, name: str, guard: list[Verdict], grant: int | None, refused: bool
) -> None:
    model = ServedModel(name=name, digest="0" * 64, artifact="a", revision=1)
    facts: dict[str, Any] = {
        "time_ms": 5,
        "subject": subject,
        "grant": grant,
        "credential": credential,
        "model": model,
        "request_sha256": "1" * 64,
        "response_sha256": "2" * 64,
        "nonce": '"\\',
        "guard": guard,
        "shows": "top-3",
        "transport": "grpc",
        "refused": refused,
    }
    assert encode_answer(**facts) == answer_event(**facts).encode()


@pytest.mark.parametrize(
    "change", [{"nonce": "\n"}, {"subject": "\n"}, {"time_ms": -1}, {"shows": "x" * 9000}], ids=str
)
def test_the_quick_encoding_refuses_the_same(change: dict[str, Any]) -> None:
    facts: dict[str, Any] = {
        "time_ms": 5,
        "subject": "a",
        "grant": 1,
        "credential": "c",
        "model": MODEL,
        "request_sha256": "1" * 64,
        "response_sha256": "2" * 64,
        "shows": "full",
        "transport": "rest",
        **change,
    }
    for make in (encode_answer, lambda **given_: answer_event(**given_).encode()):
        with pytest.raises(UsageError):
            make(**facts)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), None])
def test_a_score_that_is_not_finite_is_left_out(score: float | None) -> None:
    guard = [Verdict(check="finite", verdict="refuse", score=score)]
    event = answer_event(
        time_ms=0,
        subject="",
        grant=None,
        credential="",
        model=MODEL,
        request_sha256="1" * 64,
        guard=guard,
        response_sha256="2" * 64,
        shows="full",
        transport="rest",
        refused=True,
    )
    assert event.type == "refusal"
    assert read_answer(event).guard[0].score is None


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_type_comes_back(kind: Any) -> None:
    assert Event.decode(Event(type=kind, time_ms=0, subject="a").encode()).type == kind


@pytest.mark.parametrize(
    "given_",
    [
        {"type": "else"},
        {"time_ms": -1},
        {"time_ms": 2**53},
        {"subject": "a" * 257},
        {"subject": "a\nb"},
        {"subject": "\ud800"},
    ],
    ids=str,
)
def test_what_is_no_event_is_not_made(given_: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Event(**{"type": "answer", "time_ms": 0, "subject": "a", **given_})


@pytest.mark.parametrize("nonce", ["a" * 65, "a\n", "é", "\x7f"])
def test_a_nonce_is_short_and_printable(nonce: str) -> None:
    with pytest.raises(UsageError, match="nonce"):
        answer(nonce=nonce)


def test_an_event_that_is_too_long_is_not_written() -> None:
    with pytest.raises(UsageError, match="more than the 8192 allowed"):
        Event(type="grant.add", time_ms=0, subject="a", fields={"x": "y" * LIMIT_BYTES}).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("version", 2),
        ("version", True),
        ("version", None),
        ("type", "else"),
        ("type", 1),
        ("time_ms", -1),
        ("time_ms", "0"),
        ("time_ms", 1.5),
        ("subject", 3),
        ("subject", "\u0000"),
        ("fields", []),
        ("more", 1),
    ],
)
def test_what_is_no_event_is_not_read(path: str, value: Any) -> None:
    with pytest.raises(IntegrityError):
        Event.decode(changed(path, value))


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"null", b" " + b"{}", b'{"a":1,"a":1}', b"[" * 8000, b"x" * 9000, b"\xff"]
)
def test_bytes_of_something_else_are_not_read(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        Event.decode(data)


def test_another_spelling_is_not_read() -> None:
    with pytest.raises(IntegrityError, match="canonical"):
        Event.decode(answer().encode().replace(b'"grant":1', b'"grant":1.0'))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("fields.request_sha256", "AB" * 32),
        ("fields.response_sha256", "ab"),
        ("fields.model.digest", "g" * 64),
        ("fields.model.more", 1),
        ("fields.model", None),
        ("fields.nonce", "é"),
        ("fields.nonce", "a" * 65),
        ("fields.credential", "a" * 257),
        ("fields.shows", "\n"),
        ("fields.transport", "smtp"),
        ("fields.guard", [{"check": "range", "score": 1, "verdict": "perhaps"}]),
        ("fields.guard", [{"check": "\u0007", "score": 1, "verdict": "ok"}]),
        ("fields.guard", [{"check": "c", "score": 1, "verdict": "ok"}] * 65),
        ("fields.guard", {"check": 1}),
        ("fields.grant", "1"),
        ("fields.extra", 1),
        ("type", "grant.add"),
    ],
)
def test_fields_that_no_answer_has_are_refused(path: str, value: Any) -> None:
    with pytest.raises(IntegrityError):
        read_answer(Event.decode(changed(path, value)))


@given(st.binary(max_size=200))
def test_noise_is_refused_as_such(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        Event.decode(data)
