"""Make the test vectors of the log, docs/spec/vectors/log: run only when the format changes.

Nothing in them is random, so every run gives the same files; `tests/unit/ledger/test_ledger_vectors.py` checks that.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from intact import ledger
from intact.crypto import SigningKey
from intact.ledger import Event, NoteKey, ServedModel, Verdict
from intact.ledger import folder as folders
from intact.ledger.receipt import PAYLOAD_TYPE
from intact.wire import encode

VECTORS = Path(__file__).parent / "spec" / "vectors" / "log"
ORIGIN = "models.example.com/log"
SIZE = 261
EARLIER = 6
SHOWN = 8
"""Entries whose events are in the vectors."""
KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
WITNESS = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
SEEN_S = 1_790_000_300
MODEL = ServedModel(name="digits", digest="ab" * 32, artifact="bca071b00390af356e57a557d84812a5", revision=3)


class Log:
    """A log in memory, small enough to be hashed anew for every question."""

    def __init__(self) -> None:
        events = [event(number).encode() for number in range(SIZE)]
        salts = [hashlib.sha256(b"salt %d" % number).digest() for number in range(SIZE)]
        self.salted = list(zip(salts, events, strict=True))
        self.entries = [ledger.entry_hash(salt, data) for salt, data in self.salted]
        self.leaves = [ledger.leaf_hash(entry) for entry in self.entries]

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Return hashes of a tile; the second level has one, of the only full tile."""
        leaves = self.leaves[256 * index :][:width] if level == 0 else [ledger.tile_root(b"".join(self.leaves[:256]))]
        return b"".join(leaves)

    def entry_hashes(self, start: int, stop: int) -> list[bytes]:
        """Return entries."""
        return self.entries[start:stop]

    def root(self, size: int) -> bytes:
        """Return the root of the first `size` entries."""
        return ledger.EMPTY.append(self.leaves[:size]).root()


def event(number: int) -> Event:
    """Return what happened as entry `number`."""
    time_ms = 1_790_000_000_000 + number
    if number == 0:
        fields = {"by": "local", "grant": 1, "model": MODEL.digest}
        return Event(type="grant.add", time_ms=time_ms, subject="alice", fields=fields)
    return ledger.answer_event(
        time_ms=time_ms,
        subject="zoë" if number == 1 else "alice",
        grant=None if number == 2 else 1,
        credential="Ab3dEf9h",
        model=MODEL,
        request_sha256=hashlib.sha256(b"request %d" % number).hexdigest(),
        response_sha256=hashlib.sha256(b"response %d" % number).hexdigest(),
        nonce='n "1" \\' if number == 3 else "",
        guard=(
            Verdict(check="energy", verdict="flag", score=-3.25e-05),
            Verdict(check="finite", verdict="ok", score=None),
            Verdict(check="range", verdict="ok", score=1.0),
        ),
        shows="top-3",
        transport="grpc" if number % 2 else "rest",
        refused=number == 4,
    )


def main(out: Path = VECTORS) -> None:
    """Write a log, receipts of it, proofs, and what must be refused."""
    shutil.rmtree(out, ignore_errors=True)
    log = Log()
    signer = ledger.CheckpointSigner(key=KEY, origin=ORIGIN)
    note = signer.sign(SIZE, log.root(SIZE)) + cosignature(
        ledger.Checkpoint(origin=ORIGIN, size=SIZE, root=log.root(SIZE))
    )
    folders.export(out / "served", note, SIZE, log)
    (out / "earlier").write_text(signer.sign(EARLIER, log.root(EARLIER)), encoding="utf-8")
    witness = NoteKey(name="witness.example/w1", type=4, raw=WITNESS.public_key().public_bytes_raw())
    tell(
        out,
        "keys.json",
        {"log": str(signer.verifier), "pem": KEY.verifying_key.to_pem().decode(), "witness": str(witness)},
    )
    tell(out, "entries.json", [entry(log, index) for index in range(SHOWN)])
    tell(out, "proofs.json", proofs(log))
    tell(out, "refused.json", refused(log))


def cosignature(checkpoint: ledger.Checkpoint) -> str:
    """Return the line of a witness."""
    key = NoteKey(name="witness.example/w1", type=4, raw=WITNESS.public_key().public_bytes_raw())
    signature = WITNESS.sign(f"cosignature/v1\ntime {SEEN_S}\n{checkpoint.text}".encode())
    data = key.id + SEEN_S.to_bytes(8, "big") + signature
    return f"\N{EM DASH} {key.name} {base64.b64encode(data).decode()}\n"


def entry(log: Log, index: int) -> dict[str, Any]:
    """Return all that there is about an entry."""
    salt, data = log.salted[index]
    receipt = ledger.Issuer(key=KEY, origin=ORIGIN).issue(data, index, salt)
    return {
        "index": index,
        "salt": salt.hex(),
        "event": data.decode(),
        "entry": log.entries[index].hex(),
        "leaf": log.leaves[index].hex(),
        "receipt": receipt.decode(),
        "header": ledger.to_header(receipt),
    }


def proofs(log: Log) -> dict[str, Any]:
    """Return proofs between small trees, and one to keep."""
    sizes = (0, 1, 2, 5, EARLIER, 7, 8, 256, SIZE)
    receipt = ledger.read_receipt(entry(log, 3)["receipt"].encode(), [KEY.verifying_key])
    checkpoint = ledger.Checkpoint(origin=ORIGIN, size=SIZE, root=log.root(SIZE))
    note = ledger.CheckpointSigner(key=KEY, origin=ORIGIN).sign(SIZE, checkpoint.root)
    return {
        "roots": {str(size): log.root(size).hex() for size in sizes},
        "inclusion": [
            {"index": index, "size": size, "hashes": hexes(ledger.inclusion_proof(index, size, hashes(log, size)))}
            for index, size in ((0, 1), (0, 5), (4, 5), (3, 7), (255, 256), (3, SIZE), (260, SIZE))
        ],
        "consistency": [
            {"old": old, "new": new, "hashes": hexes(ledger.consistency_proof(old, new, hashes(log, new)))}
            for old, new in ((0, 5), (1, 5), (5, 5), (EARLIER, 8), (7, 256), (256, SIZE), (EARLIER, SIZE))
        ],
        "tlog-proof": ledger.prove(receipt, checkpoint, note, log).to_text(),
    }


def hashes(log: Log, size: int) -> ledger.SubtreeHashes:
    """Return the subtrees of the first `size` entries."""
    return ledger.SubtreeHashes(log, size)


def refused(log: Log) -> list[dict[str, str]]:
    """Return what every reader must refuse, each with the reason."""
    good = json.loads(entry(log, 3)["receipt"])
    payload = base64.b64decode(good["payload"])
    more = payload.replace(b'"index":3', b'"index":4')
    swapped = {**good, "payload": base64.b64encode(more).decode()}
    spaced = json.dumps(good, separators=(", ", ": ")).encode()
    note = ledger.CheckpointSigner(key=KEY, origin=ORIGIN).sign(5, log.root(5))
    stranger = note.replace(f"\N{EM DASH} {ORIGIN}", "\N{EM DASH} else.example")
    pairs = (
        ("receipt", "payload changed, signature kept", encode(swapped)),
        ("receipt", "signed as another type", envelope(payload, "application/vnd.in-toto+json")),
        ("receipt", "another spelling of the envelope", spaced),
        ("receipt", "rightly signed, payload with a field too many", envelope(payload[:-1] + b',"more":1}')),
        ("receipt", "rightly signed, payload not canonical", envelope(payload.replace(b'"index":3', b'"index": 3'))),
        ("receipt", "rightly signed, event of version 2", envelope(payload.replace(b'"version":1', b'"version":2'))),
        ("receipt", "rightly signed, salt in upper case", envelope(upper(payload))),
        ("checkpoint", "size changed", note.replace("\n5\n", "\n6\n").encode()),
        ("checkpoint", "signature of an unknown key only", stranger.encode()),
        ("checkpoint", "no signature", note.partition("\n\n")[0].encode() + b"\n\n"),
        ("checkpoint", "line ends of another system", note.replace("\n", "\r\n").encode()),
    )
    return [{"kind": kind, "why": why, "text": data.decode()} for kind, why, data in pairs]


def envelope(payload: bytes, kind: str = PAYLOAD_TYPE) -> bytes:
    """Return any payload, signed as a `kind` and labelled a receipt."""
    signatures = [{"keyid": KEY.verifying_key.key_id, "sig": base64.b64encode(KEY.sign(kind, payload)).decode()}]
    return encode(
        {"payload": base64.b64encode(payload).decode(), "payloadType": PAYLOAD_TYPE, "signatures": signatures}
    )


def upper(payload: bytes) -> bytes:
    """Return a payload whose salt is in upper-case hex."""
    head, _, salt = payload.rpartition(b'"salt":')
    return head + b'"salt":' + salt.upper()


def hexes(found: list[bytes]) -> list[str]:
    """Return hashes in hex."""
    return [each.hex() for each in found]


def tell(out: Path, name: str, value: Any) -> None:
    """Write one JSON file."""
    (out / name).write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
