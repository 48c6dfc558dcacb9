"""What is kept about callers, and what passes in and out of the store: frozen values, checked when they are made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from intact.errors import UsageError
from intact.ledger.event import LIMIT_BYTES, LIMIT_SUBJECT
from intact.seal.policy import LATEST, timestamp
from intact.serve.errors import Reason
from intact.wire.canonical import SAFE_INTEGER

SUBJECT_LENGTH: Final = LIMIT_SUBJECT
OIDC_PREFIX: Final = "oidc:"
"""Subjects of tokens begin with this, and subjects of keys never do: an issuer cannot hand out a key's grants."""
TOKEN_PREFIX: Final = "jwt:"  # noqa: S105 - no secret
"""Credentials that are tokens begin with this; API keys have no colon in their ids."""
MOST_A_TIME: Final = 1_000_000

_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHOWS = re.compile(r"full|label|top-[1-9][0-9]{0,3}|rounded-[0-9]")
_RATE = re.compile(r"([1-9][0-9]{0,6})/(second|minute|hour|day)")


class Role(StrEnum):
    """What a principal may do: everything; read the log and what is kept; ask where there is a grant."""

    ADMIN = "admin"
    AUDITOR = "auditor"
    CALLER = "caller"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks.

    Args:
        subject: Whom the credential belongs to; "oidc:..." for one named by a token.
        role: What they may do besides what grants say.
        credential: Id of the key, or "jwt:" and digits of the token; no secret.
        expires: When the credential ends, in seconds since 1970; None for never.
    """

    subject: str
    role: Role
    credential: str
    expires: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInfo:
    """An API key without its secret.

    Args:
        id: Its public part, 8 letters and digits.
        subject: Whom it belongs to.
        role: What it may do.
        created: When it was made, in seconds since 1970.
        not_after: When it ends; None for never.
        revoked: When it was revoked; None where it was not.
    """

    id: str
    subject: str
    role: Role
    created: int
    not_after: int | None
    revoked: int | None

    def good(self, now: float) -> bool:
        """Whether it opens anything at `now`."""
        return self.revoked is None and (self.not_after is None or now <= self.not_after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a grant allows.

    Args:
        action: What may be done; "infer".
        not_before: Not before this time, in seconds since 1970; None for at once.
        not_after: Not after this time; None for no end.
        limit: How many requests ever; None for any number.
        rate: How many at a time, such as "100/minute"; None for any.
        shows: How much of an output is shown: "full", "label", "top-K" or "rounded-D".

    Raises:
        UsageError: A value is out of range.
    """

    action: str = "infer"
    not_before: int | None = None
    not_after: int | None = None
    limit: int | None = None
    rate: str | None = None
    shows: str = "full"

    def __post_init__(self) -> None:
        if self.action != "infer":
            raise UsageError(f"action of the grant is {self.action!a:.40}, wanted 'infer'")
        for name, low, high in (("not_before", 0, LATEST), ("not_after", 0, LATEST), ("limit", 1, SAFE_INTEGER)):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or not low <= value <= high):
                raise UsageError(f"{name} of the grant is {value!a:.40}, wanted an integer from {low} to {high}")
        if self.not_before is not None and self.not_after is not None and self.not_before > self.not_after:
            raise UsageError(
                f"grant ends at {timestamp(self.not_after)}, before it begins at {timestamp(self.not_before)}",
                hint="swap the two times",
            )
        rate = None if self.rate is None else _RATE.fullmatch(self.rate)
        if self.rate is not None and (rate is None or int(rate[1]) > MOST_A_TIME):
            raise UsageError(
                f"rate of the grant is {self.rate!a:.40}", hint="write a number and a time, such as 100/minute"
            )
        if _SHOWS.fullmatch(self.shows) is None:
            raise UsageError(
                f"the grant shows {self.shows!a:.40}", hint="give full, label, top-K such as top-3, or rounded-D"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """That a subject may use a model.

    Args:
        id: Its number; never used again.
        subject: Who may.
        model: Digest of the model's manifest, 64 hex digits.
        terms: What is allowed.
        used: How many requests were counted.
        created: When it was made, in seconds since 1970.
        revoked: When it was revoked; None where it was not.
    """

    id: int
    subject: str
    model: str
    terms: Terms
    used: int
    created: int
    revoked: int | None

    def refusal(self, now: float) -> Reason | None:
        """Return why it does not allow one more request at `now`; None where it does."""
        terms = self.terms
        if self.revoked is not None:
            return Reason.REVOKED
        if terms.not_before is not None and now < terms.not_before:
            return Reason.EARLY
        if terms.not_after is not None and now > terms.not_after:
            return Reason.EXPIRED
        if terms.limit is not None and self.used >= terms.limit:
            return Reason.USED_UP
        return None


@dataclass(frozen=True, slots=True)
class Charge:
    """A request that is about to be answered: to be counted, and recorded, or neither.

    Args:
        grant: Number of the grant it uses.
        event: What the log shall hold, as `ledger.Event.encode` writes it.
        credential: `Principal.credential`; a key that was revoked since is not charged.
    """

    grant: int
    event: bytes
    credential: str

    def __post_init__(self) -> None:
        if len(self.event) > LIMIT_BYTES:
            raise UsageError(f"event has {len(self.event)} bytes, at most {LIMIT_BYTES} allowed")


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a charge is in the log, on disk for good.

    Args:
        index: Its number in the log, from 0.
        salt: 32 random bytes that its hash begins with.
    """

    index: int
    salt: bytes


@dataclass(frozen=True, slots=True)
class Denied:
    """A charge that was neither counted nor recorded."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A signed statement of the log's size and root.

    Args:
        size: Entries it speaks of.
        note: The signed note.
        time_ms: When it was made, in milliseconds since 1970.
    """

    size: int
    note: str
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalCount:
    """How often requests were refused in a minute, for one reason.

    Args:
        minute: Its beginning, in seconds since 1970.
        model: Digest of the model; "" where none was found.
        subject: Who asked; "" where nobody was identified.
        reason: Why, in a word or a few.
        count: How often.
    """

    minute: int
    model: str
    subject: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmCount:
    """How often a check of the guard said something in a minute.

    Args:
        minute: Its beginning, in seconds since 1970.
        model: Digest of the model.
        check: Which check.
        verdict: What it said, "flag" or "refuse".
        count: How often.
    """

    minute: int
    model: str
    check: str
    verdict: str
    count: int


def checked_subject(subject: str) -> str:
    """Return `subject` if it can be one: 1 to 256 printable characters, no blanks at its ends.

    Raises:
        UsageError: It cannot.
    """
    if not 1 <= len(subject) <= SUBJECT_LENGTH or not subject.isprintable() or subject != subject.strip():
        raise UsageError(
            f"subject is {subject!a:.60}", hint=f"give 1 to {SUBJECT_LENGTH} printable characters, such as alice"
        )
    return subject


def checked_digest(digest: str) -> str:
    """Return `digest` if it can be a model's: 64 lower-case hex digits.

    Raises:
        UsageError: It cannot.
    """
    if _DIGEST.fullmatch(digest) is None:
        raise UsageError(
            f"model digest is {digest!a:.80}, wanted 64 lower-case hex digits", hint="`intact inspect` shows it"
        )
    return digest


def is_key(credential: str) -> bool:
    """Whether a credential is an API key, which can be revoked; tokens only expire."""
    return not credential.startswith(TOKEN_PREFIX)
