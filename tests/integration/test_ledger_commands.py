"""`intact log` and `intact receipt`, on a database as a server fills it, on folders and over HTTP."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import intact
from intact import ledger, seal
from intact.ledger import Issuer
from intact.serve.state import Charge, Entry, Store, Terms
from support import databases
from support.ledgers import MODEL, ORIGIN, answer
from support.log_servers import Witness, folder_server, witness_server

Command = Callable[..., Any]
COUNT = 300


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A log in a database, its keys, and a receipt of it.

    Args:
        folder: Where all of it lies.
        state: URL of the database.
        file: The database.
        receipt: File of a receipt; of entry `index`.
        index: Which.
    """

    folder: Path
    state: str
    file: Path
    receipt: Path
    index: int


def charge(store: Store, grant: int, first: int, count: int) -> list[tuple[bytes, Entry]]:
    events = [answer(number).encode() for number in range(first, first + count)]
    found = []
    for start in range(0, count, 50):
        part = events[start : start + 50]
        entries = store.settle([Charge(grant, event, "jwt:test") for event in part])
        found += [(event, each) for event, each in zip(part, entries, strict=True) if isinstance(each, Entry)]
    assert len(found) == count
    return found


@pytest.fixture
def log(tmp_path: Path, keys: intact.Keys) -> Kept:
    """A log of a grant and `COUNT` answers, never signed yet."""
    file = tmp_path / "state.db"
    store = Store.open(f"sqlite:///{file}")
    try:
        grant = store.add_grant("alice", MODEL.digest, Terms())
        found = charge(store, grant.id, 0, COUNT)
    finally:
        store.close()
    event, entry = found[123]
    assert isinstance(keys.signer, seal.SigningKey)
    receipt = tmp_path / "answer.receipt"
    envelope = Issuer(key=keys.signer, origin=ORIGIN).issue(event, entry.index, entry.salt)
    receipt.write_text(ledger.to_header(envelope) + "\n")
    (tmp_path / "answer.json").write_bytes(envelope)
    (tmp_path / "request").write_bytes(b"request 123")
    (tmp_path / "response").write_bytes(b"response 123")
    return Kept(folder=tmp_path, state=f"sqlite:///{file}", file=file, receipt=receipt, index=entry.index)


@pytest.fixture
def run(command: Command, tmp_path: Path, key_files: Path) -> Command:
    """Run a command; "KEY" and "PUB" are the key files of the log."""
    names = {"KEY": key_files / "signing.key", "PUB": key_files / "signing.pub"}
    return lambda *words, **more: command(*(names.get(str(word), word) for word in words), cwd=tmp_path, **more)


def grow(log: Kept, count: int) -> None:
    store = Store.open(log.state)
    try:
        charge(store, store.grants()[0].id, 1000, count)
    finally:
        store.close()


def tamper(log: Kept, statement: str, *values: Any) -> None:
    """Change the database behind the server's back."""
    with sqlite3.connect(log.file) as connection:
        connection.execute(statement, values)
    connection.close()


def sign(run: Command, log: Kept, *words: Any) -> Any:
    return run("log", "checkpoint", "--state", log.state, "--sign", "KEY", "--origin", ORIGIN, *words)


# ---- signing and verifying


def test_a_log_is_signed_and_verified(run: Command, log: Kept) -> None:
    told = sign(run, log, "--out", "first.checkpoint")
    assert (told.code, told.out) == (0, f"wrote the checkpoint of {COUNT + 1} entries to first.checkpoint\n")
    told = run("log", "verify", "--state", log.state, "--key", "PUB")
    assert told.code == 0, told.err
    assert told.out.startswith(f"verified: log {ORIGIN}, {COUNT + 1} entries, root ")
    grow(log, 20)
    told = run("log", "verify", "--state", log.state, "--key", "PUB")
    assert "remark: 20 newer entries are in no checkpoint yet" in told.err
    assert run("log", "checkpoint", "--state", log.state, "--sign", "KEY", "--out", "second").code == 0, "name is known"
    facts = run("log", "verify", "--state", log.state, "--key", "PUB", "--since", "first.checkpoint", "--json").json
    assert (facts["since"], facts["size"], facts["events"], facts["unsigned"]) == (COUNT + 1, COUNT + 21, True, 0)
    told = run("log", "verify", "--state", log.state, "--key", "PUB", "--checkpoint", "first.checkpoint")
    assert f"{COUNT + 1} entries" in told.out


def test_a_checkpoint_is_printed_as_it_is(run: Command, log: Kept, keys: intact.Keys) -> None:
    told = sign(run, log)
    assert isinstance(keys.verifier, seal.VerifyingKey)
    assert ledger.read_checkpoint(told.out.encode(), keys.verifier).checkpoint.size == COUNT + 1
    again = run("log", "checkpoint", "--state", log.state, "--key", "PUB")
    assert again.out == told.out
    assert run("log", "checkpoint", "--state", log.state, "--key", "PUB", "--json").json["note"] == told.out


def test_the_state_is_taken_from_the_environment(run: Command, log: Kept) -> None:
    sign(run, log)
    assert run("log", "verify", "--key", "PUB", INTACT_STATE=log.state).code == 0
    told = run("log", "verify", "--key", "PUB", XDG_STATE_HOME=str(log.folder / "nothing"))
    assert (told.code, "no checkpoint yet" in told.err) == (2, True)


def test_a_verifier_key_names_the_log(run: Command, log: Kept) -> None:
    sign(run, log)
    text = run("log", "key", "--key", "PUB", "--origin", ORIGIN).out
    assert text.startswith(f"{ORIGIN}+")
    (log.folder / "log.vkey").write_text(text)
    assert run("log", "verify", "--state", log.state, "--key", "log.vkey").code == 0
    (log.folder / "other.vkey").write_text(run("log", "key", "--key", "PUB", "--origin", "other.example").out)
    told = run("log", "verify", "--state", log.state, "--key", "other.vkey")
    assert (told.code, "not of 'other.example'" in told.err) == (4, True)


def test_a_strangers_key_verifies_nothing(run: Command, log: Kept, strangers_key_files: Path) -> None:
    sign(run, log)
    told = run("log", "verify", "--state", log.state, "--key", strangers_key_files / "signing.pub")
    assert (told.code, "not signed by" in told.err) == (4, True)
    told = run("receipt", "verify", log.receipt, "--key", strangers_key_files / "signing.pub")
    assert (told.code, "not named" in told.err) == (4, True)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "UPDATE log_entries SET event = CAST(replace(event, 'alice', 'mallo') AS BLOB) WHERE position = 40",
            "event 40",
        ),
        ("UPDATE log_entries SET event = 5000000000 WHERE position = 40", "not of bytes"),
        ("UPDATE log_entries SET salt = 'text' WHERE position = 40", "not of bytes"),
        ("UPDATE log_entries SET hash = 'text' WHERE position = 40", "not of bytes"),
        ("UPDATE log_entries SET hash = zeroblob(32) WHERE position = 40", "rewritten|tile 0"),
        ("UPDATE log_tiles SET hashes = zeroblob(8192) WHERE level = 0", "tile 0 of level 0"),
        ("DELETE FROM log_entries WHERE position = 40", "lacks entries"),
        ("UPDATE checkpoints SET note = replace(note, 'models', 'madels')", "not signed|does not verify|not of"),
    ],
)
def test_a_tampered_database_is_noticed(run: Command, log: Kept, statement: str, said: str) -> None:
    sign(run, log)
    assert run("log", "verify", "--state", log.state, "--key", "PUB").code == 0
    tamper(log, statement)
    told = run("log", "verify", "--state", log.state, "--key", "PUB", "--json")
    assert told.code in (3, 4)
    assert re.search(said, told.json["error"]), told.json


def test_a_cut_log_is_noticed(run: Command, log: Kept) -> None:
    sign(run, log, "--out", "kept")
    tamper(log, "DELETE FROM log_entries WHERE position > 200")
    told = run("log", "verify", "--state", log.state, "--key", "PUB")
    assert told.code == 3


# ---- receipts


@pytest.mark.parametrize("name", ["answer.receipt", "answer.json"])
def test_a_receipt_is_verified_offline(run: Command, log: Kept, name: str) -> None:
    words = ("receipt", "verify", name, "--key", "PUB", "--request", "request", "--response", "response")
    told = run(*words)
    assert told.code == 0, told.err
    assert told.out.splitlines() == [
        f"verified: answer to alice at 2026-09-21T14:13:20.123+00:00, entry {log.index} of log {ORIGIN}",
        f"model     digits, artifact {MODEL.artifact}, revision 3",
        "guard     energy: flag",
        "request   is the one it was signed for",
        "response  is the one it was signed for",
    ]
    facts = run(*words, "--json").json
    assert (facts["index"], facts["checked"], facts["logged"]) == (log.index, ["request", "response"], None)
    assert facts["event"]["model"]["digest"] == MODEL.digest


def test_a_receipt_of_something_else_is_refused(run: Command, log: Kept, artifact: Path) -> None:
    for name, value in (("--request", "response"), ("--response", "request"), ("--nonce", "n"), ("--model", artifact)):
        told = run("receipt", "verify", log.receipt, "--key", "PUB", name, value)
        assert (told.code, f"another {name[2:]}" in told.err) == (3, True), told.err
    told = run("receipt", "verify", log.receipt, "--key", "PUB", "--nonce", "")
    assert (told.code, "remark: give --request and --response" in told.err) == (0, True)


def test_a_changed_receipt_is_refused(run: Command, log: Kept) -> None:
    data = bytearray(log.receipt.read_bytes())
    for place in range(0, len(data) - 1, 97):
        data[place] ^= 1
        (log.folder / "changed").write_bytes(data)
        assert run("receipt", "verify", "changed", "--key", "PUB").code in (3, 4)
        data[place] ^= 1


def test_a_receipt_is_proved_against_the_log_and_the_proof_kept(run: Command, log: Kept) -> None:
    sign(run, log)
    told = run("log", "prove", log.receipt, "--state", log.state, "--key", "PUB", "--out", "p.tlog-proof")
    assert (told.code, told.out) == (0, f"proved: entry {log.index} is in log {ORIGIN} of {COUNT + 1} entries\n")
    log.file.unlink()  # nothing but the files is needed from here on
    told = run("receipt", "verify", log.receipt, "--key", "PUB", "--proof", "p.tlog-proof", "--quiet")
    assert told.out.splitlines()[-1] == f"log       has it, among {COUNT + 1} entries"
    (log.folder / "p.tlog-proof").write_text((log.folder / "p.tlog-proof").read_text().replace("index 1", "index 2", 1))
    assert run("receipt", "verify", log.receipt, "--key", "PUB", "--proof", "p.tlog-proof").code == 3


def test_a_receipt_that_the_log_lost_is_not_proved(run: Command, log: Kept, keys: intact.Keys) -> None:
    sign(run, log)
    assert isinstance(keys.signer, seal.SigningKey)
    other = Issuer(key=keys.signer, origin=ORIGIN).issue(answer(7777).encode(), 5, bytes(32))
    (log.folder / "lost").write_bytes(other)
    told = run("log", "prove", "lost", "--state", log.state, "--key", "PUB")
    assert (told.code, "is not in the log" in told.err) == (3, True)
    late = Issuer(key=keys.signer, origin=ORIGIN).issue(answer(7777).encode(), 5000, bytes(32))
    (log.folder / "late").write_bytes(late)
    told = run("log", "prove", "late", "--state", log.state, "--key", "PUB")
    assert (told.code, "no entry 5000" in told.err) == (2, True)


# ---- for others


def test_an_exported_log_is_verified_in_its_folder_and_served(run: Command, log: Kept) -> None:
    sign(run, log, "--out", "first")
    told = run("log", "export", "site/log", "--state", log.state, "--key", "PUB")
    assert told.out == f"wrote log {ORIGIN}, {COUNT + 1} entries, to site/log: 6 files new\n", told.err
    grow(log, 300)
    sign(run, log)
    assert run("log", "export", "site/log", "--state", log.state, "--key", "PUB").code == 0
    told = run("log", "verify", "site/log", "--key", "PUB", "--since", "first")
    assert told.code == 0, told.err
    assert f"goes on from the first {COUNT + 1}" in told.out
    assert run("log", "prove", log.receipt, "site/log", "--key", "PUB").code == 0
    with folder_server(log.folder / "site") as address:
        told = run("log", "verify", "--url", f"{address}/log", "--key", "PUB", "--since", "first")
        assert told.code == 0, told.err
        assert run("log", "prove", log.receipt, "--url", f"{address}/log", "--key", "PUB").code == 0
        told = run("log", "export", "mirror", "--url", f"{address}/log", "--key", "PUB")
        assert told.code == 0, told.err
    assert run("log", "verify", "mirror", "--key", "PUB").code == 0


def test_nothing_of_an_event_is_exported(run: Command, log: Kept) -> None:
    sign(run, log)
    run("log", "export", "out", "--state", log.state, "--key", "PUB")
    everything = b"".join(path.read_bytes() for path in (log.folder / "out").rglob("*") if path.is_file())
    assert b"alice" not in everything
    assert hashlib.sha256(answer(123).encode()).digest() not in everything, "it cannot be guessed either: salted"


def test_a_tampered_log_is_not_exported(run: Command, log: Kept) -> None:
    sign(run, log)
    tamper(log, "UPDATE log_entries SET hash = zeroblob(32) WHERE position = 299")
    assert run("log", "export", "out", "--state", log.state, "--key", "PUB").code == 3
    assert not (log.folder / "out").exists()


def test_a_witness_sees_the_log(run: Command, log: Kept, keys: intact.Keys) -> None:
    assert isinstance(keys.verifier, seal.VerifyingKey)
    witness = Witness(logs={ORIGIN: keys.verifier.key})  # type: ignore[dict-item]
    with witness_server(witness) as address:
        seen = ("--witness", address, "--witness-key", witness.verifier)
        told = sign(run, log, *seen, "--out", "seen")
        assert told.code == 0, told.err
        assert "seen by witness.example/w1 at 20" in told.out
        grow(log, 20)
        assert sign(run, log, *seen, "--out", "seen").code == 0
        told = run("log", "verify", "--state", log.state, "--key", "PUB", *seen[2:])
        assert (told.code, "not seen by" in told.err) == (4, True), "the database keeps the log's own line only"
        told = run("log", "verify", "--state", log.state, "--key", "PUB", "--checkpoint", "seen", *seen[2:])
        assert (told.code, "seen by witness" in told.out) == (0, True)
        assert witness.seen[ORIGIN][0] == COUNT + 21
        run("log", "prove", log.receipt, "--state", log.state, "--key", "PUB", "--checkpoint", "seen", "--out", "p")
        assert run("receipt", "verify", log.receipt, "--key", "PUB", "--proof", "p", *seen[2:]).code == 0


# ---- slips


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("log", "verify", "--key", "PUB", "--url", "http://127.0.0.1:1", "somewhere"), "more than one log"),
        (("log", "verify", "--key", "PUB", "nowhere"), "there is no folder"),
        (("log", "verify", "--key", "PUB", "--url", "ftp://x"), "no URL"),
        (("log", "verify", "--key", "absent", "."), "cannot read"),
        (("log", "verify", "--key", "KEY", "."), "no PEM public key"),
        (("log", "verify", "--key", "PUB", "."), "there is no log"),
        (("log", "verify", "--key", "PUB", ".", "--witness-key", "a+b+c"), "no verifier key"),
        (("log", "checkpoint", "--state", "sqlite:///x.db"), "no key of the log"),
        (("log", "checkpoint", "--state", "sqlite:///x.db", "--sign", "KEY"), "no checkpoint yet"),
        (("log", "checkpoint", "--state", "sqlite:///x.db", "--sign", "KEY", "--origin", "a b"), "cannot be named"),
        (("log", "checkpoint", "--key", "PUB", "--witness", "http://127.0.0.1:1"), "an address and a key"),
        (("log", "prove", "absent", "--key", "PUB", "."), "cannot read"),
        (("receipt", "verify", "absent", "--key", "PUB"), "cannot read"),
    ],
)
def test_a_slip_is_told(run: Command, words: tuple[str, ...], said: str) -> None:
    told = run(*words)
    assert (told.code, said in told.err) == (2, True), told.err
    assert "hint: " in told.err or "cannot" in told.err


def test_no_api_key_is_sent_in_the_clear(run: Command) -> None:
    told = run("log", "verify", "--url", "http://example.com/log", "--key", "PUB", INTACT_API_KEY="intact_secret")
    assert (told.code, "unencrypted" in told.err) == (2, True)
    assert "intact_secret" not in told.err
    told = run("log", "verify", "--url", "http://127.0.0.1:1", "--key", "PUB", INTACT_API_KEY="two words")
    assert (told.code, "holds no API key" in told.err) == (4, True)


def test_a_refusal_is_not_replayed(run: Command, tmp_path: Path, keys: intact.Keys, artifact: Path) -> None:
    assert isinstance(keys.signer, seal.SigningKey)
    event = ledger.Event(type="refusal", time_ms=0, subject="alice", fields=answer().fields)
    (tmp_path / "refusal").write_bytes(Issuer(key=keys.signer, origin=ORIGIN).issue(event.encode(), 0, bytes(32)))
    (tmp_path / "request").write_bytes(b"request 0")
    told = run("receipt", "replay", "refusal", artifact, "--key", "PUB", "--request", "request")
    assert (told.code, "which no model answered" in told.err) == (2, True)
    assert "verified: refusal to alice" in run("receipt", "verify", "refusal", "--key", "PUB").out


def test_a_receipt_of_a_grant_shows_no_model(run: Command, tmp_path: Path, keys: intact.Keys) -> None:
    assert isinstance(keys.signer, seal.SigningKey)
    event = ledger.Event(
        type="grant.add", time_ms=0, subject="alice", fields={"model": 1, "guard": "x", "type": "answer"}
    )
    (tmp_path / "grant").write_bytes(Issuer(key=keys.signer, origin=ORIGIN).issue(event.encode(), 0, bytes(32)))
    assert "verified: grant.add to alice" in run("receipt", "verify", "grant", "--key", "PUB").out
    assert run("receipt", "verify", "grant", "--key", "PUB", "--json").json["event"]["type"] == "grant.add"
    (tmp_path / "request").write_bytes(b"request 0")
    assert run("receipt", "verify", "grant", "--key", "PUB", "--request", "request").code == 3


def test_what_is_no_receipt_is_told(run: Command, tmp_path: Path) -> None:
    for data in (b"", b"{", b"x", b"\xff\xff", json.dumps({"payload": ""}).encode()):
        (tmp_path / "wrong").write_bytes(data)
        assert run("receipt", "verify", "wrong", "--key", "PUB").code == 3


# ---- the other database


def test_a_log_in_postgresql_is_verified_proved_and_exported(run: Command, tmp_path: Path, keys: intact.Keys) -> None:
    assert isinstance(keys.signer, seal.SigningKey)
    with databases.postgres() as server:
        state = server.url()
        store = Store.open(state)
        try:
            found = charge(store, store.add_grant("alice", MODEL.digest, Terms()).id, 0, 270)
        finally:
            store.close()
        event, entry = found[3]
        receipt = Issuer(key=keys.signer, origin=ORIGIN).issue(event, entry.index, entry.salt)
        (tmp_path / "receipt").write_bytes(receipt)
        told = run("log", "checkpoint", "--state", state, "--sign", "KEY", "--origin", ORIGIN, "--out", "kept")
        assert told.code == 0, told.err
        for words in (("verify",), ("prove", "receipt"), ("export", "out")):
            told = run("log", *words, "--state", state, "--key", "PUB")
            assert told.code == 0, told.err
        server.sql("UPDATE log_entries SET event = 'x' WHERE position = 7", state.rpartition("/")[2])
        told = run("log", "verify", "--state", state, "--key", "PUB", "--since", "kept")
        assert (told.code, "event 7" in told.err) == (3, True), told.err
    told = run("log", "verify", "--state", state, "--key", "PUB")
    assert (told.code, "hint: " in told.err) == (2, True), "and it does not show the password"
    assert "ss:word" not in told.err
    assert "p%23ss" not in told.err
