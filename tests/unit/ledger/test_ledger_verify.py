"""Checking a log: an honest one passes, any change is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from intact import ledger
from intact.errors import AccessError, IntegrityError, UsageError
from intact.ledger import Checkpoint, TiledLog, folder, read_receipt
from intact.ledger import verify as verifying
from support.ledgers import MemoryLog, answer

SIZES = [0, 1, 5, 256, 300, 600]


@pytest.mark.parametrize("size", SIZES)
def test_an_honest_log_passes_from_every_earlier_state(size: int) -> None:
    log = MemoryLog().fill(size)
    now = log.signed().checkpoint
    done: list[tuple[int, int]] = []
    ledger.check_log(now, log, tell=lambda *step: done.append(step))
    assert size == 0 or done[-1] == (size, size)
    ledger.check_events(log, size)
    for old in {0, 1, size // 2, size} & set(range(size + 1)):
        ledger.check_log(now, log, since=log.signed(old).checkpoint)
        ledger.check_grown(log.signed(old).checkpoint, now, log)


def test_entries_beyond_the_checkpoint_do_not_matter() -> None:
    log = MemoryLog().fill(300)
    early = log.signed(260).checkpoint
    ledger.check_log(early, log)


def test_it_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "AT_ONCE", 7)
    monkeypatch.setattr(verifying, "EVENTS_AT_ONCE", 3)
    log = MemoryLog().fill(30)
    for old in range(31):
        ledger.check_log(log.signed().checkpoint, log, since=log.signed(old).checkpoint)
    ledger.check_events(log, 30)


def test_a_changed_entry_is_noticed_wherever_it_is() -> None:
    log = MemoryLog().fill(20)
    now = log.signed().checkpoint
    for index in range(20):
        forged = MemoryLog(key=log.key, salted=[*log.salted], entries=[*log.entries], leaves=[*log.leaves])
        forged.entries[index] = bytes(32)
        with pytest.raises(IntegrityError):
            ledger.check_log(now, forged)


def test_a_changed_tile_is_noticed_though_the_entries_are_right() -> None:
    log = MemoryLog().fill(300)
    now = log.signed().checkpoint
    log.leaves[5] = bytes(32)
    with pytest.raises(IntegrityError, match="tile 0 of level 0"):
        ledger.check_log(now, log)


def test_a_rewritten_log_is_noticed_by_who_kept_a_checkpoint() -> None:
    log = MemoryLog().fill(10)
    kept = log.signed(6).checkpoint
    forged = MemoryLog(key=log.key).fill(3)
    forged.append(answer(99))
    forged.fill(12)
    now = forged.signed().checkpoint
    ledger.check_log(now, forged)  # consistent in itself, and rightly signed
    for check in (lambda: ledger.check_log(now, forged, since=kept), lambda: ledger.check_grown(kept, now, forged)):
        with pytest.raises(IntegrityError, match="rewritten"):
            check()


def test_a_cut_log_is_noticed() -> None:
    log = MemoryLog().fill(10)
    with pytest.raises(IntegrityError, match="it was cut"):
        ledger.check_log(log.signed(6).checkpoint, log, since=log.signed(10).checkpoint)


def test_two_logs_of_one_size_are_noticed() -> None:
    log = MemoryLog().fill(4)
    other = MemoryLog(key=log.key)
    other.append(answer(50))
    other.fill(4)
    with pytest.raises(IntegrityError, match="not the same"):
        ledger.check_follows(log.signed().checkpoint, other.signed().checkpoint)


def test_checkpoints_of_two_logs_do_not_follow_each_other() -> None:
    log, other = MemoryLog().fill(1), MemoryLog(origin="other.example").fill(2)
    with pytest.raises(IntegrityError, match=r"of log 'other\.example'"):
        ledger.check_log(other.signed().checkpoint, other, since=log.signed().checkpoint)


def test_missing_entries_are_noticed() -> None:
    log = MemoryLog().fill(10)
    now = log.signed().checkpoint
    log.entries.pop()
    with pytest.raises(IntegrityError, match="lacks entries"):
        ledger.check_log(now, log)


def test_a_changed_event_is_noticed() -> None:
    log = MemoryLog().fill(10)
    salt, event = log.salted[4]
    for changed in ((salt, event + b" "), (bytes(32), event), (salt[:31], event)):
        log.salted[4] = changed
        with pytest.raises(IntegrityError, match="event 4"):
            ledger.check_events(log, 10)
    log.salted.pop()
    with pytest.raises(IntegrityError, match="has 9 events"):
        ledger.check_events(log, 10)


@pytest.mark.parametrize("size", [1, 5, 300])
def test_every_receipt_is_proved_and_its_proof_can_be_kept(size: int) -> None:
    log = MemoryLog()
    receipts = [read_receipt(log.append(answer(number)), [log.key.verifying_key]) for number in range(size)]
    signed = log.signed()
    for receipt in (receipts[0], receipts[size // 2], receipts[-1]):
        proof = ledger.prove(receipt, signed.checkpoint, str(signed.note), log)
        text = proof.to_text()
        assert text.startswith(f"c2sp.org/tlog-proof@v1\nindex {receipt.index}\n")
        kept = ledger.read_proof(text.encode())
        assert kept == proof
        assert ledger.check_proof(receipt, kept, log.key.verifying_key).checkpoint == signed.checkpoint


def test_extra_data_of_a_proof_is_passed_over() -> None:
    log = MemoryLog()
    receipt = read_receipt(log.append(answer()), [log.key.verifying_key])
    text = ledger.prove(receipt, log.signed().checkpoint, log.note(), log).to_text()
    with_extra = text.replace("\nindex", "\nextra YWJj\nindex", 1)
    ledger.check_proof(receipt, ledger.read_proof(with_extra.encode()), log.key.verifying_key)


def test_a_receipt_that_the_log_does_not_have_is_not_proved() -> None:
    log, other = MemoryLog().fill(5), MemoryLog()
    other.key = log.key
    receipt = read_receipt(other.append(answer(77)), [log.key.verifying_key])
    with pytest.raises(IntegrityError, match="not in the log"):
        ledger.prove(receipt, log.signed().checkpoint, log.note(), log)
    late = read_receipt(log.append(answer(5)), [log.key.verifying_key])
    with pytest.raises(UsageError, match="no entry 5"):
        ledger.prove(late, log.signed(5).checkpoint, log.note(5), log)
    elsewhere = MemoryLog(key=log.key, origin="other.example")
    stranger = read_receipt(elsewhere.append(answer(0)), [log.key.verifying_key])
    with pytest.raises(IntegrityError, match="other.example"):
        ledger.prove(stranger, log.signed().checkpoint, log.note(), log)


def test_a_proof_of_something_else_is_refused() -> None:
    log = MemoryLog()
    first, second = (read_receipt(log.append(answer(number)), [log.key.verifying_key]) for number in range(2))
    proof = ledger.prove(first, log.signed().checkpoint, log.note(), log)
    with pytest.raises(IntegrityError, match="of entry 0"):
        ledger.check_proof(second, proof, log.key.verifying_key)
    with pytest.raises(AccessError):
        ledger.check_proof(first, proof, MemoryLog().key.verifying_key)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"c2sp.org/tlog-proof@v1\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 01\n\nx",
        b"c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\nx",
        b"c2sp.org/tlog-proof@v2\nindex 1\n\nx",
        b"\xff",
        b"c2sp.org/tlog-proof@v1\nindex 1\n" + b"\n" * 2**17,
    ],
)
def test_what_is_no_proof_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        ledger.read_proof(data)


# ---- folders


@pytest.mark.parametrize("size", SIZES)
def test_an_exported_log_is_the_log(tmp_path: Path, size: int) -> None:
    log = MemoryLog().fill(size)
    out = tmp_path / "log"
    folder.export(out, log.note(), size, log)
    fetch = folder.fetch(out)
    data = ledger.newest_checkpoint(fetch)
    signed = ledger.read_checkpoint(data, log.key.verifying_key)
    ledger.check_log(signed.checkpoint, TiledLog(fetch=fetch, size=size))
    assert TiledLog(fetch=fetch, size=size).entry_hashes(size // 3, size) == log.entries[size // 3 :]


def test_a_later_export_adds_to_an_earlier_one(tmp_path: Path) -> None:
    log = MemoryLog().fill(300)
    folder.export(tmp_path, log.note(), 300, log)
    log.fill(600)
    assert folder.export(tmp_path, log.note(), 600, log) < 10
    for size in (300, 600):  # the earlier state is there as well
        ledger.check_log(log.signed(size).checkpoint, TiledLog(fetch=folder.fetch(tmp_path), size=size))
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_a_partial_tile_that_is_gone_is_read_from_the_full_one(tmp_path: Path) -> None:
    log = MemoryLog().fill(300)
    early = log.signed(100).checkpoint
    folder.export(tmp_path, log.note(), 300, log)
    ledger.check_log(early, TiledLog(fetch=folder.fetch(tmp_path), size=100))


def test_another_log_is_not_written_over(tmp_path: Path) -> None:
    log, other = MemoryLog().fill(300), MemoryLog()
    other.append(answer(99))
    folder.export(tmp_path, log.note(), 300, log)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(IntegrityError, match="holds another log"):
        folder.export(tmp_path, other.fill(300).note(), 300, other)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_a_folder_lacks_or_has_wrong_is_named(tmp_path: Path) -> None:
    log = MemoryLog().fill(5)
    fetch = folder.fetch(tmp_path)
    with pytest.raises(UsageError, match="no log"):
        ledger.newest_checkpoint(fetch)
    folder.export(tmp_path, log.note(), 5, log)
    tile = tmp_path / "tile" / "0" / "000.p" / "5"
    for data in (b"", b"x" * 159, b"x" * 9000):
        tile.write_bytes(data)
        with pytest.raises(IntegrityError):
            ledger.check_log(log.signed().checkpoint, TiledLog(fetch=fetch, size=5))
    tile.unlink()
    with pytest.raises(IntegrityError, match=r"lacks tile/0/000\.p/5"):
        ledger.check_log(log.signed().checkpoint, TiledLog(fetch=fetch, size=5))
    tile.mkdir()
    with pytest.raises(IntegrityError, match="regular file"):
        ledger.check_log(log.signed().checkpoint, TiledLog(fetch=fetch, size=5))


def test_a_link_in_a_folder_is_not_followed(tmp_path: Path) -> None:
    log = MemoryLog().fill(5)
    folder.export(tmp_path, log.note(), 5, log)
    tile = tmp_path / "tile" / "0" / "000.p" / "5"
    tile.rename(tmp_path / "moved")
    tile.symlink_to(tmp_path / "moved")
    with pytest.raises(UsageError, match="cannot read"):
        folder.fetch(tmp_path)("tile/0/000.p/5", 8192)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    log = MemoryLog().fill(1)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write the log"):
        folder.export(tmp_path / "file" / "log", log.note(), 1, log)


def test_checkpoints_are_told_apart_from_what_they_say() -> None:
    log = MemoryLog().fill(2)
    assert Checkpoint(origin=log.origin, size=2, root=log.root()) == log.signed().checkpoint
