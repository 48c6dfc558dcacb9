"""A record that nobody can rewrite: events, receipts, and a Merkle tree over them (RFC 6962)."""

from intact.ledger.answer import (
    ANSWERS,
    Answer,
    ServedModel,
    Verdict,
    answer_event,
    encode_answer,
    is_nonce,
    read_answer,
)
from intact.ledger.checkpoint import Checkpoint, CheckpointSigner, Signed
from intact.ledger.checkpoint import read as read_checkpoint
from intact.ledger.event import Event, is_subject
from intact.ledger.note import Note, NoteKey
from intact.ledger.proof_file import Proof
from intact.ledger.proof_file import check as check_proof
from intact.ledger.proof_file import read as read_proof
from intact.ledger.proofs import (
    GetHash,
    check_consistency,
    check_inclusion,
    consistency_proof,
    frontier,
    inclusion_proof,
    tree_root,
)
from intact.ledger.receipt import Issuer, Receipt, from_header, issue, to_header
from intact.ledger.receipt import read as read_receipt
from intact.ledger.tiled import Fetch, TiledLog, newest_checkpoint
from intact.ledger.tiles import (
    EntryReader,
    LogReader,
    SubtreeHashes,
    Tile,
    TileReader,
    decode_entries,
    encode_entries,
    filled,
    parse_path,
    tile_root,
    tiles_of,
    width_of,
)
from intact.ledger.tree import EMPTY, EMPTY_ROOT, Frontier, entry_hash, leaf_hash, node_hash
from intact.ledger.verify import EventReader, check_events, check_follows, check_grown, check_log, prove
from intact.ledger.witness import submit

__all__ = [
    "ANSWERS",
    "EMPTY",
    "EMPTY_ROOT",
    "Answer",
    "Checkpoint",
    "CheckpointSigner",
    "EntryReader",
    "Event",
    "EventReader",
    "Fetch",
    "Frontier",
    "GetHash",
    "Issuer",
    "LogReader",
    "Note",
    "NoteKey",
    "Proof",
    "Receipt",
    "ServedModel",
    "Signed",
    "SubtreeHashes",
    "Tile",
    "TileReader",
    "TiledLog",
    "Verdict",
    "answer_event",
    "check_consistency",
    "check_events",
    "check_follows",
    "check_grown",
    "check_inclusion",
    "check_log",
    "check_proof",
    "consistency_proof",
    "decode_entries",
    "encode_answer",
    "encode_entries",
    "entry_hash",
    "filled",
    "from_header",
    "frontier",
    "inclusion_proof",
    "is_nonce",
    "is_subject",
    "issue",
    "leaf_hash",
    "newest_checkpoint",
    "node_hash",
    "parse_path",
    "prove",
    "read_answer",
    "read_checkpoint",
    "read_proof",
    "read_receipt",
    "submit",
    "tile_root",
    "tiles_of",
    "to_header",
    "tree_root",
    "width_of",
]
