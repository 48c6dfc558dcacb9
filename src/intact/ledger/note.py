"""Signed notes: a text, and lines under it by those who signed it or saw it.

Source:
    C2SP signed-note; C2SP tlog-cosignature, Ed25519.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from intact.crypto import SigningKey, VerifyingKey
from intact.errors import AccessError, IntegrityError, UsageError
from intact.ledger.origin import check_origin, is_origin

LIMIT_BYTES: Final = 2**16
"""Longest note that is read."""
MOST_SIGNATURES: Final = 64
SIGNS: Final = 1
"""Type of a key whose holder made the text."""
WITNESSES: Final = 4
"""Type of a key whose holder saw the text, at a time, as what follows all they saw before."""
KEY_BYTES: Final = 32
_LINE: Final = re.compile("\N{EM DASH} ([^ ]+) ([A-Za-z0-9+/]+={0,2})")
_CONTROLS: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteKey:
    """A public key with a name, that lines of notes are checked with.

    Args:
        name: Whose it is: a log's origin, or a witness.
        type: `SIGNS` or `WITNESSES`.
        raw: The Ed25519 public key, 32 bytes.
    """

    name: str
    type: int
    raw: bytes

    @classmethod
    def of(cls, key: VerifyingKey, name: str, *, witnesses: bool = False) -> NoteKey:
        """Return `key` under a name.

        Raises:
            UsageError: It is of another kind than Ed25519, or the name is none.
        """
        check_origin(name)
        if not isinstance(key.key, Ed25519PublicKey):
            raise UsageError("a log is signed with an Ed25519 key", hint="make one with `intact keys new`")
        return cls(name=name, type=WITNESSES if witnesses else SIGNS, raw=key.key.public_bytes_raw())

    @classmethod
    def from_text(cls, text: str) -> NoteKey:
        """Read a verifier key, such as models.example.com/log+1a2b3c4d+AbCd...=.

        Raises:
            UsageError: It is none, or of another type than an Ed25519 signature or cosignature.
        """
        name, _, rest = text.strip().partition("+")
        claimed, _, encoded = rest.partition("+")
        data = _from_base64(encoded)
        if data is None or len(data) != 1 + KEY_BYTES or data[0] not in (SIGNS, WITNESSES) or not is_origin(name):
            raise UsageError(
                "text is no verifier key of an Ed25519 signature", hint="write NAME+ID+KEY, as its owner did"
            )
        key = cls(name=name, type=data[0], raw=data[1:])
        if key.id.hex() != claimed:
            raise UsageError("verifier key has another id than its key gives", hint="copy it again, whole")
        return key

    @property
    def id(self) -> bytes:
        """Four bytes that say, with the name, which key made a line."""
        return sha256(b"%b\n%c%b" % (self.name.encode(), self.type, self.raw)).digest()[:4]

    @property
    def witnesses(self) -> bool:
        """Whether it is a witness'."""
        return self.type == WITNESSES

    @property
    def verifying_key(self) -> VerifyingKey:
        """The key without its name."""
        return VerifyingKey(Ed25519PublicKey.from_public_bytes(self.raw))

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([self.type]) + self.raw).decode()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line under a note, unverified.

    Args:
        name: Whose it says it is.
        id: Which of their keys.
        signature: The rest.
    """

    name: str
    id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"\N{EM DASH} {self.name} {base64.b64encode(self.id + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text and the lines under it, unverified.

    Args:
        text: The text; ends in a newline.
        lines: Its lines.
    """

    text: str
    lines: tuple[Line, ...]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.lines))}"

    def check(self, keys: Iterable[NoteKey]) -> Mapping[NoteKey, int | None]:
        """Return which of `keys` signed: for one that witnesses, when, in seconds since 1970; for others None.

        Raises:
            IntegrityError: A line that names one of them does not hold.
        """
        found: dict[NoteKey, int | None] = {}
        for key in keys:
            for line in self.lines:
                if line.name == key.name and hmac.compare_digest(line.id, key.id):
                    found[key] = _verify(key, line.signature, self.text)
        return found


def sign(text: str, key: SigningKey, name: str) -> Note:
    """Return `text` signed.

    Args:
        text: Ends in a newline.
        key: An Ed25519 key.
        name: Whose it is.

    Raises:
        UsageError: The key is of another kind, or the name is none.
    """
    public = NoteKey.of(key.verifying_key, name)
    assert isinstance(key.key, Ed25519PrivateKey)  # as its public half
    line = Line(name=name, id=public.id, signature=key.key.sign(text.encode()))
    return Note(text=text, lines=(line,))


def read(data: bytes) -> Note:
    """Read a note; nothing in it is verified.

    Raises:
        IntegrityError: It is none.
    """
    if len(data) > LIMIT_BYTES:
        raise IntegrityError(f"note has {len(data)} bytes, more than the {LIMIT_BYTES} allowed")
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise IntegrityError("note is not text") from None
    text, blank, rest = whole.rpartition("\n\n")
    if not blank or not text or _CONTROLS.search(whole):
        raise IntegrityError("note has no text with signatures under it")
    return Note(text=text + "\n", lines=read_lines(rest))


def read_lines(text: str) -> tuple[Line, ...]:
    """Read the lines under a note.

    Raises:
        IntegrityError: One is none, or there are none, or too many.
    """
    lines = text.split("\n")
    if lines.pop() or not 1 <= len(lines) <= MOST_SIGNATURES:
        raise IntegrityError(f"note does not have 1 to {MOST_SIGNATURES} signatures")
    return tuple(map(_line, lines))


def missing(key: NoteKey) -> AccessError:
    """The error where a key that was named has not signed."""
    act = "seen" if key.witnesses else "signed"
    return AccessError(
        f"checkpoint is not {act} by {key.name!a:.80} with key {key.id.hex()}",
        hint="name the key that belongs to the log, or to its witness",
    )


def _line(text: str) -> Line:
    found = _LINE.fullmatch(text)
    data = _from_base64(found[2]) if found else None
    if found is None or data is None or len(data) <= 4:
        raise IntegrityError("note has a line that is no signature")
    return Line(name=found[1], id=data[:4], signature=data[4:])


def _verify(key: NoteKey, signature: bytes, text: str) -> int | None:
    """Check one signature by `key`; return when it was made, where it says so."""
    time_s = None
    message = text.encode()
    if key.witnesses:
        time_s, signature = int.from_bytes(signature[:8], "big"), signature[8:]
        message = b"cosignature/v1\ntime %d\n%b" % (time_s, message)
        if time_s >= 2**63:
            raise IntegrityError(f"cosignature of {key.name!a:.80} has no time")
    try:
        Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise IntegrityError(f"signature of {key.name!a:.80} under the note does not verify") from None
    return time_s


def _from_base64(text: str) -> bytes | None:
    """Return what base64 spells in the one spelling that it has, None where it is none."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return data if base64.b64encode(data).decode() == text else None
