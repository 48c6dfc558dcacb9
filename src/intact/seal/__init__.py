"""The sealed artifact: a directory that says nothing without the key and does not open once changed."""

from intact.crypto import Authority, CertifiedKey, SigningKey, VerifyingKey
from intact.seal.conditions import Conditions
from intact.seal.countersign import countersign
from intact.seal.entries import Entry
from intact.seal.keyfiles import (
    load_identity,
    load_recipient,
    load_signing_key,
    load_verifying_key,
    new_keys,
    shows_private_key,
)
from intact.seal.manifest import Manifest
from intact.seal.payload import Payload
from intact.seal.policy import Policy
from intact.seal.reader import Inspection, inspect, list_recipients, read, read_tensors, verify
from intact.seal.recipient import Identity, Recipient
from intact.seal.recipients.passphrase import identity as passphrase_identity
from intact.seal.recipients.passphrase import recipient as passphrase_recipient
from intact.seal.rekey import add_recipients, rekey, remove_recipients
from intact.seal.revisions import NOTHING as NOTHING_SEEN
from intact.seal.revisions import Revisions, Seen
from intact.seal.revisions import default_folder as default_revisions
from intact.seal.signing import Signer
from intact.seal.source import Source
from intact.seal.tensors import StoredTensor, store, stored_size
from intact.seal.trust import Leaf, Trust, all_of, any_of, threshold
from intact.seal.writer import write

__all__ = [
    "NOTHING_SEEN",
    "Authority",
    "CertifiedKey",
    "Conditions",
    "Entry",
    "Identity",
    "Inspection",
    "Leaf",
    "Manifest",
    "Payload",
    "Policy",
    "Recipient",
    "Revisions",
    "Seen",
    "Signer",
    "SigningKey",
    "Source",
    "StoredTensor",
    "Trust",
    "VerifyingKey",
    "add_recipients",
    "all_of",
    "any_of",
    "countersign",
    "default_revisions",
    "inspect",
    "list_recipients",
    "load_identity",
    "load_recipient",
    "load_signing_key",
    "load_verifying_key",
    "new_keys",
    "passphrase_identity",
    "passphrase_recipient",
    "read",
    "read_tensors",
    "rekey",
    "remove_recipients",
    "shows_private_key",
    "store",
    "stored_size",
    "threshold",
    "verify",
    "write",
]
