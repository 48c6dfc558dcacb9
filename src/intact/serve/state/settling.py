"""Counting and recording, together or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from intact.ledger import Frontier, entry_hash, filled, leaf_hash, tile_root
from intact.ledger.tiles import WIDTH
from intact.ledger.tree import SALT_BYTES
from intact.seal.policy import timestamp
from intact.serve.errors import Reason, StateUnavailable
from intact.serve.state.session import Account, Head, Row, Session, TileRow
from intact.serve.state.values import Charge, Denied, Entry, is_key

SLACK_MS: Final = 60_000
"""The clocks of replicas may differ by this much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a batch is settled.

    Args:
        ms: Milliseconds since 1970.
        longest: Entries that the log was seen to have; it can only have more.
    """

    ms: int
    longest: int

    @property
    def s(self) -> float:
        """Seconds since 1970."""
        return self.ms / 1000


def settle(session: Session, charges: Sequence[Charge], moment: Moment) -> list[Entry | Denied]:
    """Settle charges inside a transaction that is the caller's.

    1. The head is locked; from here on nobody else counts or records.
    2. Grants and keys are looked at, as they are now.
    3. Each charge is denied, or gets the next place in the log; those that went before it count.
    4. All is written.

    Returns:
        An entry or a denial for each charge, in order.

    Raises:
        StateUnavailable: The clock or the log went back.
    """
    head = locked_head(session, moment)  # 1
    accounts = session.accounts({charge.grant for charge in charges})  # 2
    wanted = {charge.credential for charge in charges if is_key(charge.credential)}
    keys = session.good_keys(wanted, moment.s)
    uses: dict[int, int] = {}
    denials: list[Denied | None] = []
    for charge in charges:  # 3
        used, lost = uses.get(charge.grant, 0), charge.credential in wanted and charge.credential not in keys
        reason = Reason.CREDENTIAL if lost else _refusal(accounts.get(charge.grant), used, moment.s)
        denials.append(None if reason is None else Denied(reason))
        if reason is None:
            uses[charge.grant] = used + 1
    events = [charge.event for charge, denied in zip(charges, denials, strict=True) if denied is None]
    entries = iter(record(session, head, events, moment, uses=uses))  # 4
    return [next(entries) if denied is None else denied for denied in denials]


def locked_head(session: Session, moment: Moment) -> Head:
    """Return the head of the log, locked.

    Raises:
        StateUnavailable: The clock was set back, or the log is shorter than it was.
    """
    head = session.head()
    if moment.ms < head.time_ms - SLACK_MS:
        raise StateUnavailable(
            f"clock says {timestamp(moment.s)}, but the log has an entry of {timestamp(head.time_ms / 1000)}: "
            "it was set back",
            hint="set the clock; if it was ahead before, `intact grants accept-clock` goes on from now",
        )
    if head.size < moment.longest:
        raise StateUnavailable(
            f"log has {head.size} entries, and had {moment.longest}: it was cut, or an old copy was put in its place",
            hint="put the database back as it was, or keep the checkpoints and start anew",
        )
    return head


def record(
    session: Session, head: Head, events: Sequence[bytes], moment: Moment, *, uses: Mapping[int, int]
) -> list[Entry]:
    """Append events to the log; the head is locked.

    Args:
        session: Inside a transaction.
        head: The head as it is.
        events: What to append.
        moment: Now.
        uses: How often each grant was used.
    """
    if not events:
        return []
    fresh = os.urandom(SALT_BYTES * len(events))
    rows = []
    for number, event in enumerate(events):
        salt = fresh[SALT_BYTES * number : SALT_BYTES * (number + 1)]
        rows.append(Row(position=head.size + number, salt=salt, event=event, hash=entry_hash(salt, event)))
    frontier = Frontier.from_bytes(head.frontier).append([leaf_hash(row.hash) for row in rows])
    grown = Head(size=frontier.size, frontier=frontier.to_bytes(), time_ms=max(moment.ms, head.time_ms))
    session.write(uses, rows, grown)
    for level, number in filled(head.size, grown.size):
        start, stop = WIDTH * number, WIDTH * (number + 1)
        hashes = (
            [leaf_hash(each) for each in session.leaves(start, stop)]
            if level == 0
            else (session.roots(level - 1, start, stop))
        )
        whole = b"".join(hashes)
        session.add_tile(TileRow(level=level, number=number, hashes=whole, root=tile_root(whole)))
    return [Entry(row.position, row.salt) for row in rows]


def _refusal(account: Account | None, used: int, now: float) -> Reason | None:
    """Return why a grant that was used `used` times in this batch already is not charged; None where it is."""
    if account is None:
        return Reason.NO_GRANT
    if account.revoked is not None:
        return Reason.REVOKED
    if account.not_before is not None and now < account.not_before:
        return Reason.EARLY
    if account.not_after is not None and now > account.not_after:
        return Reason.EXPIRED
    if account.quota is not None and account.used + used >= account.quota:
        return Reason.USED_UP
    return None
