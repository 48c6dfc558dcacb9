"""Calibration data that can be proven and not guessed."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import intact
from intact import seal
from intact.crypto import Secret
from intact.errors import DataError, IntegrityError, UsageError
from intact.pipeline import artifact, evidence
from intact.pipeline.lineage import parse
from support.nets import data, mlp

X = data(1, 48, 8)


@pytest.fixture(scope="module")
def built() -> intact.Built:
    return intact.build(intact.Spec(model=mlp(), calibration=X), engines=["onnxruntime"])


def oracle(pieces: list[dict[str, Any]]) -> bytes:
    """The digest as its docstring has it, written anew."""
    text = b""
    for piece in pieces:
        text += b"piece\0"
        for name, array in sorted(piece.items()):
            text += f"{name}\0{array.dtype.name}\0{array.shape}\0".encode() + hashlib.sha256(array.tobytes()).digest()
    return hashlib.sha256(text).digest()


@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=3), elements=st.floats(-9, 9, width=32)))
def test_the_digest_is_as_specified_whatever_the_memory_looks_like(array: Any) -> None:
    wanted = oracle([{"x": array}, {"x": array, "a": array[:1]}])
    for other in (array, np.asfortranarray(array), array.astype(">f4").astype("<f4", copy=False)):
        assert evidence.digest([{"x": other}, {"a": other[:1], "x": other}]).value == wanted


def test_other_data_have_another_digest() -> None:
    others = [[{"x": X}], [{"y": X}], [{"x": X[::-1]}], [{"x": X[:24]}, {"x": X[24:]}], [{"x": X.reshape(24, 16)}]]
    others += [[{"x": X.astype(np.float64)}], [{"x": X + np.float32(1e-6)}], []]
    assert len({evidence.digest(pieces).value for pieces in others}) == len(others)


def test_the_salted_digest_is_an_hmac_and_a_salt_is_fresh() -> None:
    found, salt = evidence.digest([{"x": X}]), Secret(bytes(range(32)))
    assert evidence.salted(found, salt) == hmac.digest(salt.value, found.value, "sha256").hex()
    assert evidence.fresh_salt() != evidence.fresh_salt() and len(evidence.fresh_salt()) == evidence.SALT_BYTES


def test_the_data_are_recognised_and_others_are_not(built: intact.Built) -> None:
    payload = artifact.payload(built)
    assert evidence.holds(payload, X) and evidence.holds(payload, {"x": X}) and evidence.holds(payload, (X,))
    assert evidence.holds(payload, X.astype(np.float64))  # the same numbers once they are in the model's dtype
    changed = X.copy()
    changed[7, 3] = np.nextafter(changed[7, 3], np.float32(9))
    for other in (changed, X[:-1], X[::-1]):
        assert not evidence.holds(payload, other)
    with pytest.raises(DataError, match="the model wants"):
        evidence.holds(payload, X[:, :5])


def test_two_writings_have_two_salts_and_one_private_header(built: intact.Built) -> None:
    one, other = artifact.payload(built), artifact.payload(built)
    assert parse(one.lineage).calibration != parse(other.lineage).calibration
    assert parse(built.lineage).calibration is None
    assert one.header["calibration"] != other.header["calibration"]
    assert "salt" not in str(one.lineage) and "salt" not in str(one.card)


@pytest.mark.parametrize("field", [None, {}, {"salt": 3}, {"salt": "zz"}, {"salt": "ab"}])
def test_a_header_without_a_salt_is_refused(built: intact.Built, field: Any) -> None:
    whole = artifact.payload(built)
    header = {**whole.header, evidence.FIELD: field}
    payload = seal.Payload(program=whole.program, header=header, card=whole.card, lineage=whole.lineage)
    with pytest.raises(IntegrityError, match="salt"):
        evidence.holds(payload, X)


@pytest.mark.parametrize("inputs", [None, 3, [{}], [{"name": "x", "dtype": "nonsense", "shape": [1]}]])
def test_a_card_that_names_no_inputs_is_refused(built: intact.Built, inputs: Any) -> None:
    whole = artifact.payload(built)
    card = {**whole.card, "inputs": inputs}
    payload = seal.Payload(program=whole.program, header=whole.header, card=card, lineage=whole.lineage)
    with pytest.raises(IntegrityError, match="does not say what the model takes"):
        evidence.holds(payload, X)


def test_a_build_without_data_names_none() -> None:
    recipe = intact.Recipe(default=intact.LayerRecipe(activations="dynamic"))
    built = intact.build(mlp(), recipe=recipe, engines=["onnxruntime"])
    assert built.data_digest is None
    with pytest.raises(UsageError, match="names no calibration data"):
        evidence.holds(artifact.payload(built), X)
