"""A log in memory, kept the slow and obvious way; keys and events to fill it with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from intact import ledger
from intact.crypto import SigningKey
from intact.ledger import Event, Issuer, ServedModel, Verdict, answer_event

ORIGIN = "models.example.com/log"
MODEL = ServedModel(name="digits", digest="ab" * 32, artifact="bca071b00390af356e57a557d84812a5", revision=3)


@cache
def mth(leaves: tuple[bytes, ...]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word, of leaf hashes."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\0" + entry).digest()


def answer(number: int = 0, subject: str = "alice", nonce: str = "") -> Event:
    """An event of an answer."""
    return answer_event(
        time_ms=1_790_000_000_000 + number,
        subject=subject,
        grant=1,
        credential="Ab3dEf9h",
        model=MODEL,
        request_sha256=hashlib.sha256(b"request %d" % number).hexdigest(),
        response_sha256=hashlib.sha256(b"response %d" % number).hexdigest(),
        nonce=nonce,
        guard=(Verdict(check="range", verdict="ok", score=0.25), Verdict(check="energy", verdict="flag", score=-3.5)),
        shows="full",
        transport="rest",
    )


@dataclass
class MemoryLog:
    """A log. What it serves can be tampered with: `events`, `entries` and `leaves` are what they are."""

    key: SigningKey = field(default_factory=SigningKey.generate)
    origin: str = ORIGIN
    salted: list[tuple[bytes, bytes]] = field(default_factory=list)
    entries: list[bytes] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)

    def append(self, event: Event) -> bytes:
        """Add an event; return its receipt."""
        salt = hashlib.sha256(b"salt %d" % len(self.entries)).digest()
        return self.append_salted(salt, event.encode())

    def append_salted(self, salt: bytes, event: bytes) -> bytes:
        self.salted.append((salt, event))
        self.entries.append(hashlib.sha256(salt + event).digest())
        self.leaves.append(leaf(self.entries[-1]))
        return Issuer(key=self.key, origin=self.origin).issue(event, len(self.entries) - 1, salt)

    def fill(self, count: int) -> MemoryLog:
        """Add answers until there are `count`."""
        for number in range(len(self.entries), count):
            self.append(answer(number))
        return self

    @property
    def size(self) -> int:
        return len(self.entries)

    def root(self, size: int | None = None) -> bytes:
        return mth(tuple(self.leaves[: self.size if size is None else size]))

    def note(self, size: int | None = None) -> str:
        """The signed checkpoint of a size."""
        size = self.size if size is None else size
        return ledger.CheckpointSigner(key=self.key, origin=self.origin).sign(size, self.root(size))

    def signed(self, size: int | None = None) -> ledger.Signed:
        return ledger.read_checkpoint(self.note(size).encode(), self.key.verifying_key)

    def tile(self, level: int, index: int, width: int) -> bytes:
        step = 256**level
        first = index * 256
        spans = ((first + number) * step for number in range(width))
        return b"".join(mth(tuple(self.leaves[start : start + step])) for start in spans)

    def entry_hashes(self, start: int, stop: int) -> Sequence[bytes]:
        return self.entries[start:stop]

    def events(self, start: int, stop: int) -> Sequence[tuple[bytes, bytes]]:
        return self.salted[start:stop]
