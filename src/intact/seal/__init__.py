"""The sealed artifact: a directory that says nothing without the key and does not open once changed."""

from intact.crypto import SigningKey, VerifyingKey
from intact.seal.keyfiles import load_identity, load_recipient, load_signing_key, load_verifying_key, new_keys
from intact.seal.manifest import Manifest
from intact.seal.payload import Payload
from intact.seal.reader import Inspection, inspect, read, verify
from intact.seal.recipient import Identity, Recipient
from intact.seal.recipients.passphrase import identity as passphrase_identity
from intact.seal.recipients.passphrase import recipient as passphrase_recipient
from intact.seal.tensors import StoredTensor, store, stored_size
from intact.seal.writer import write

__all__ = [
    "Identity",
    "Inspection",
    "Manifest",
    "Payload",
    "Recipient",
    "SigningKey",
    "StoredTensor",
    "VerifyingKey",
    "inspect",
    "load_identity",
    "load_recipient",
    "load_signing_key",
    "load_verifying_key",
    "new_keys",
    "passphrase_identity",
    "passphrase_recipient",
    "read",
    "store",
    "stored_size",
    "verify",
    "write",
]
