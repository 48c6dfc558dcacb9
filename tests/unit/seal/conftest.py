"""Payloads and keys for the tests of the artifact."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from intact import seal
from intact.graph import Program
from intact.seal.recipient import KeyPair
from intact.seal.recipients import x25519
from support.stored import samples


@pytest.fixture(scope="session")
def signer() -> seal.SigningKey:
    return seal.SigningKey.generate()


@pytest.fixture(scope="session")
def owner() -> KeyPair:
    return x25519.generate()


@pytest.fixture(scope="session")
def payload() -> seal.Payload:
    """Tensors of every type and storage form, empty, scalar, of one chunk exactly, and of several digest segments."""
    rng = np.random.default_rng(7)
    kinds = ["?", "u1", "i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8"]
    tensors = {f"layer.{kind}": rng.integers(0, 2, (3, 5)).astype(kind) for kind in kinds}
    tensors["empty"] = np.zeros((0, 4), np.float32)
    tensors["scalar"] = np.array(2.5, np.float32)
    tensors["one chunk"] = rng.integers(-128, 127, 16384, dtype=np.int8)
    tensors["wide/名前"] = rng.normal(size=(3, 250_000)).astype(np.float32)
    codes = rng.integers(-8, 8, (30, 64))
    tensors |= {"I4": codes.astype(ml_dtypes.int4), "U4": (codes + 8).astype(ml_dtypes.uint4)}
    tensors["several chunks"] = np.repeat(rng.integers(1, 9, (700, 24)), 32, axis=1) * rng.integers(-7, 8, (700, 768))
    tensors["several chunks"] = tensors["several chunks"].astype(np.int8)
    tensors |= samples()
    return seal.Payload(
        program=Program(model=b"\x08\x0agraph\n\x00", tensors=tensors),
        header={"guard": {"low": -1.5}, "vectors": ["00ff"]},
        card={"name": "tiny", "accuracy": 0.75},
        lineage={"_type": "https://in-toto.io/Statement/v1", "subject": []},
    )
