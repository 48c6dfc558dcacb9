"""What the log records: an answer, a refusal, or a change of who may ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

from intact.errors import IntegrityError, UsageError
from intact.wire import decode, encode
from intact.wire.canonical import SAFE_INTEGER

VERSION: Final = 1
LIMIT_BYTES: Final = 8192
"""Longest event: a receipt holds one, and travels in a header."""
LIMIT_VALUES: Final = 1024
LIMIT_SUBJECT: Final = 256

Kind: TypeAlias = Literal["answer", "refusal", "grant.add", "grant.revoke", "key.new", "key.revoke", "role.set"]
KINDS: Final[frozenset[str]] = frozenset(get_args(Kind))
WHERE: Final = "event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened.

    Args:
        type: What: one of `KINDS`.
        time_ms: When, in milliseconds since 1970 UTC.
        subject: Who asked, or whom a change is about; up to 256 printable characters.
        fields: The rest, by name: JSON values. For an answer or a refusal, those of `Answer`.
    """

    type: Kind
    time_ms: int
    subject: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.type not in KINDS:
            raise UsageError(f"event has type {self.type!a:.40}", hint=f"use one of {', '.join(sorted(KINDS))}")
        check_event(self.time_ms, self.subject)

    def encode(self) -> bytes:
        """Return the event as canonical JSON: what is hashed, stored and signed.

        Raises:
            UsageError: A field is none that JSON holds, or the event is longer than `LIMIT_BYTES`.
        """
        return bounded(
            encode(
                {
                    "fields": self.fields,
                    "subject": self.subject,
                    "time_ms": self.time_ms,
                    "type": self.type,
                    "version": VERSION,
                }
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> Event:
        """Return the event that `encode` gave `data` for.

        Raises:
            IntegrityError: `data` is too long, or is no event.
        """
        return cls.from_json(decode(data, where=WHERE, limit_bytes=LIMIT_BYTES, limit_values=LIMIT_VALUES))

    @classmethod
    def from_json(cls, value: Any) -> Event:
        """Return the event that a JSON value is.

        Raises:
            IntegrityError: It is none.
        """
        if not isinstance(value, dict) or value.keys() != {"fields", "subject", "time_ms", "type", "version"}:
            raise IntegrityError("event has not the fields of one")
        if type(value["version"]) is not int or value["version"] != VERSION:
            raise IntegrityError(f"event is not of version {VERSION}")
        fields, subject, time_ms, kind = (value[name] for name in ("fields", "subject", "time_ms", "type"))
        if not isinstance(fields, dict) or not isinstance(subject, str) or type(time_ms) is not int:
            raise IntegrityError("event has a field of another type")
        if not isinstance(kind, str) or kind not in KINDS or time_ms < 0 or not is_subject(subject):
            raise IntegrityError("event has a type, time or subject that no event has")
        return cls(type=kind, time_ms=time_ms, subject=subject, fields=fields)  # type: ignore[arg-type]  # checked


def is_subject(text: str) -> bool:
    """Whether `text` can be the subject of an event."""
    return len(text) <= LIMIT_SUBJECT and text.isprintable()


def check_event(time_ms: int, subject: str) -> None:
    """Check when an event happened, and whom it is about.

    Raises:
        UsageError: No event can have this time or this subject.
    """
    if not 0 <= time_ms <= SAFE_INTEGER:
        raise UsageError("event has a time before 1970 or beyond 2^53 milliseconds")
    if not is_subject(subject):
        raise UsageError(f"subject has more than {LIMIT_SUBJECT} characters, or some that cannot be printed")


def bounded(data: bytes) -> bytes:
    """Return the encoding of an event.

    Raises:
        UsageError: It is longer than `LIMIT_BYTES`.
    """
    if len(data) > LIMIT_BYTES:
        raise UsageError(f"event has {len(data)} bytes, more than the {LIMIT_BYTES} allowed")
    return data
