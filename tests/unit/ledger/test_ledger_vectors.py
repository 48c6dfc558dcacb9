"""The vectors of docs/spec/log.md: they are what the code makes, and it takes and refuses what it should."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from intact import ledger
from intact.crypto import VerifyingKey
from intact.errors import AccessError, IntegrityError
from intact.ledger import NoteKey, TiledLog, folder

DOCS = Path(__file__).parents[3] / "docs"
VECTORS = DOCS / "spec" / "vectors" / "log"


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


KEYS = load("keys.json")
KEY = VerifyingKey.from_pem(KEYS["pem"].encode())
LOG_KEY, WITNESS = NoteKey.from_text(KEYS["log"]), NoteKey.from_text(KEYS["witness"])


def test_they_are_what_the_code_makes(tmp_path: Path) -> None:
    runpy.run_path(str(DOCS / "generate_log_vectors.py"))["main"](tmp_path)
    made, kept = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (tmp_path, VECTORS)
    )
    assert made.keys() == kept.keys()
    assert [name for name in made if made[name] != kept[name]] == []


@pytest.mark.parametrize("entry", load("entries.json"), ids=lambda entry: str(entry["index"]))
def test_receipts_are_read(entry: Any) -> None:
    receipt = ledger.read_receipt(ledger.from_header(entry["header"]), [KEY])
    assert (receipt.entry.hex(), receipt.index) == (entry["entry"], entry["index"])
    assert receipt.event.encode().decode() == entry["event"]
    if receipt.event.type != "grant.add":
        ledger.read_answer(receipt.event)


def test_the_log_is_verified() -> None:
    fetch = folder.fetch(VECTORS / "served")
    signed = ledger.read_checkpoint(ledger.newest_checkpoint(fetch), LOG_KEY, witnesses=[WITNESS])
    since = ledger.read_checkpoint((VECTORS / "earlier").read_bytes(), LOG_KEY).checkpoint
    reader = TiledLog(fetch=fetch, size=signed.checkpoint.size)
    ledger.check_log(signed.checkpoint, reader, since=since)
    ledger.check_grown(since, signed.checkpoint, reader)
    assert signed.seen == {WITNESS: 1_790_000_300}


def test_proofs_hold() -> None:
    found, entries = load("proofs.json"), load("entries.json")
    roots = {int(size): bytes.fromhex(root) for size, root in found["roots"].items()}
    for each in found["inclusion"]:
        if each["index"] < len(entries):
            leaf, hashes = bytes.fromhex(entries[each["index"]]["leaf"]), [bytes.fromhex(h) for h in each["hashes"]]
            ledger.check_inclusion(leaf, each["index"], each["size"], hashes, roots[each["size"]])
    for each in found["consistency"]:
        old, new, hashes = each["old"], each["new"], [bytes.fromhex(h) for h in each["hashes"]]
        ledger.check_consistency(old, new, roots[old], roots[new], hashes)
    receipt = ledger.read_receipt(entries[3]["receipt"].encode(), [KEY])
    ledger.check_proof(receipt, ledger.read_proof(found["tlog-proof"].encode()), KEY)


@pytest.mark.parametrize("each", load("refused.json"), ids=lambda each: each["why"])
def test_what_must_be_refused_is(each: Any) -> None:
    data = each["text"].encode()
    with pytest.raises((IntegrityError, AccessError)):
        ledger.read_receipt(data, [KEY]) if each["kind"] == "receipt" else ledger.read_checkpoint(data, LOG_KEY)
