"""Key derivation against RFC 5869 written out with `hmac`, and separation of purposes."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.crypto import Secret, derive
from intact.errors import UsageError

KEY = Secret(bytes(range(32)))


@given(st.binary(min_size=32, max_size=32), st.text("abc-", max_size=8), st.binary(max_size=80))
def test_derive_is_one_block_of_hkdf_expand(key: bytes, purpose: str, context: bytes) -> None:
    info = b"intact/v1/" + purpose.encode() + b"\0" + context
    assert derive(Secret(key), purpose, context).value == hmac.digest(key, info + b"\x01", hashlib.sha512)[:32]


def test_purpose_and_context_cannot_be_confused() -> None:
    keys = [derive(KEY, *pair).value for pair in [("a", b""), ("a", b"b"), ("ab", b""), ("b", b"a"), ("a", b"\0")]]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(("key", "purpose"), [(Secret(b"short"), "a"), (KEY, "a\0b")])
def test_bad_keys_and_labels_are_refused(key: Secret, purpose: str) -> None:
    with pytest.raises(UsageError, match="wanted 32 bytes and no zero byte"):
        derive(key, purpose)
