"""Who keeps a log, with its key and its database, and wants to change what it says; and who does so without the key."""

from __future__ import annotations

import pytest

from intact import ledger
from intact.errors import AccessError, IntegrityError
from intact.ledger import NoteKey, read_receipt, web
from support.ledgers import MemoryLog, answer, leaf, mth
from support.log_servers import Witness, witness_server

SIZE = 40


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog().fill(SIZE)


def rewritten(log: MemoryLog, index: int, size: int = SIZE + 5) -> MemoryLog:
    """The log with another event at `index`, made whole again and signed by its keeper."""
    forged = MemoryLog(key=log.key).fill(index)
    forged.append(answer(123_456))
    return forged.fill(size)


def test_a_rewritten_log_does_not_continue_what_was_signed(log: MemoryLog) -> None:
    kept = log.signed().checkpoint
    for index in range(SIZE):
        forged = rewritten(log, index)
        now = forged.signed().checkpoint
        ledger.check_log(now, forged)  # it is consistent in itself, and rightly signed
        with pytest.raises(IntegrityError, match="rewritten"):
            ledger.check_log(now, forged, since=kept)
        with pytest.raises(IntegrityError, match="rewritten"):
            ledger.check_grown(kept, now, forged)


def test_a_cut_log_is_noticed(log: MemoryLog) -> None:
    kept = log.signed().checkpoint
    for size in range(SIZE):
        with pytest.raises(IntegrityError, match="it was cut"):
            ledger.check_log(log.signed(size).checkpoint, log, since=kept)


def test_two_histories_for_two_readers_are_noticed_when_they_compare(log: MemoryLog) -> None:
    one, other = log.signed().checkpoint, rewritten(log, 7, SIZE).signed().checkpoint
    with pytest.raises(IntegrityError, match="not the same"):
        ledger.check_follows(one, other)


def test_a_witness_signs_one_of_two_histories(log: MemoryLog) -> None:
    witness = Witness(logs={log.origin: log.key.key.public_key()})  # type: ignore[dict-item]
    key = NoteKey.from_text(witness.verifier)
    with witness_server(witness) as address, web.Server(address) as server:
        ledger.submit(log.signed(), log, key, server.post)
        for size in (SIZE, SIZE + 5):
            forged = rewritten(log, 7, size)
            with pytest.raises(IntegrityError, match="does not follow"):
                ledger.submit(forged.signed(), forged, key, server.post)
            with pytest.raises(AccessError, match="not seen by"):
                ledger.read_checkpoint(forged.note().encode(), log.key.verifying_key, witnesses=[key])


def test_an_answer_that_was_left_out_is_shown_by_its_receipt(log: MemoryLog) -> None:
    receipt = read_receipt(log.append(answer(999)), [log.key.verifying_key])
    forged = MemoryLog(key=log.key).fill(SIZE + 5)  # goes on as if that answer had not been
    with pytest.raises(IntegrityError, match="is not in the log"):
        ledger.prove(receipt, forged.signed().checkpoint, forged.note(), forged)


def test_every_changed_event_in_the_database_is_noticed(log: MemoryLog) -> None:
    for index in range(SIZE):
        salt, event = log.salted[index]
        for changed in ((salt, event.replace(b"alice", b"mallo")), (bytes(32), event), (salt, b"")):
            log.salted[index] = changed
            with pytest.raises(IntegrityError, match=f"event {index} "):
                ledger.check_events(log, SIZE)
        log.salted[index] = salt, event


def test_bytes_do_not_move_between_salt_and_event(log: MemoryLog) -> None:
    """SHA-256(salt || event) has one reading, since salts have one length."""
    salt, event = log.salted[3]
    log.salted[3] = (salt + event[:1], event[1:])
    with pytest.raises(IntegrityError):
        ledger.check_events(log, SIZE)


def test_an_inner_node_is_no_entry(log: MemoryLog) -> None:
    """Two leaf hashes joined, given out as an entry, would have the root of both if leaves and nodes hashed alike."""
    pair = log.leaves[0] + log.leaves[1]
    root = mth(tuple(log.leaves[:2]))
    with pytest.raises(IntegrityError):
        ledger.check_inclusion(leaf(pair), 0, 1, [], root)


def test_entries_that_change_places_are_noticed(log: MemoryLog) -> None:
    now = log.signed().checkpoint
    log.entries[4], log.entries[5] = log.entries[5], log.entries[4]
    with pytest.raises(IntegrityError):
        ledger.check_log(now, log)


def test_no_proof_shows_what_is_not_there(log: MemoryLog) -> None:
    """Proofs of every other entry, whole or in parts, do not show one that the log does not have."""
    checkpoint = log.signed().checkpoint
    stranger = leaf(b"never there")
    hashes = ledger.SubtreeHashes(log, SIZE)
    for index in range(SIZE):
        proof = ledger.inclusion_proof(index, SIZE, hashes)
        for part in (proof, proof[1:], proof[:-1], [*proof, log.leaves[0]], [log.leaves[index], *proof]):
            with pytest.raises(IntegrityError):
                ledger.check_inclusion(stranger, index, SIZE, part, checkpoint.root)
