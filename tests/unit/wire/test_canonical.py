"""Canonical JSON: the vectors of RFC 8785, the round trip, and everything that is refused."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.errors import IntegrityError, UsageError
from intact.wire import decode, encode
from intact.wire.canonical import LIMIT_DEPTH, SAFE_INTEGER

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-SAFE_INTEGER, SAFE_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)

NUMBERS = {  # RFC 8785, appendix B
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555556": "333333333.3333334",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_numbers_are_written_as_the_rfc_says(bits: str, text: str) -> None:
    value = struct.unpack(">d", bytes.fromhex(bits))[0]
    assert encode(value).decode() == text
    assert decode(text.encode(), where="number") == value


def test_keys_are_sorted_by_utf16_units() -> None:
    value = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
    assert list(json.loads(encode(value)).values()) == [2, 4, 6, 7, 1, 5, 3]  # RFC 8785, section 3.2.3


def test_text_is_escaped_only_where_json_must() -> None:
    assert encode("€$\x0f\nA'B\"\\/\u007f") == '"€$\\u000f\\nA\'B\\"\\\\/\u007f"'.encode()


@given(JSON)
def test_decode_undoes_encode(value: object) -> None:
    assert decode(encode(value), where="value") == value


@given(JSON)
def test_equal_values_have_equal_bytes(value: object) -> None:
    assert encode(json.loads(json.dumps(value))) == encode(value)


@given(JSON, st.data())
def test_no_two_byte_strings_decode_alike(value: object, data: st.DataObject) -> None:
    text = bytearray(encode(value))
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] ^= data.draw(st.integers(1, 255))
    try:
        other = decode(bytes(text), where="value")
    except IntegrityError:
        return
    assert encode(other) == text


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b" 1",
        b"1\n",
        b"1.0",
        b"-0",
        b"01",
        b"1E3",
        b"1e999",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b'{"a":1,"a":1}',
        b'{"b":1,"a":1}',
        b'{"a": 1}',
        b'"\\u0041"',
        b'"\\/"',
        b'"\\ud800"',
        b'"\xff"',
        b"\xef\xbb\xbf1",
        b"9007199254740993",
        b"[" * (LIMIT_DEPTH + 1) + b"]" * (LIMIT_DEPTH + 1),
        b"[" * 1_000_000,
        b"1" * 100_000,
    ],
)
def test_what_is_not_canonical_is_refused(text: bytes) -> None:
    with pytest.raises(IntegrityError, match="thing is not (canonical )?JSON"):
        decode(text, where="thing")


def test_a_document_over_the_limit_is_refused() -> None:
    assert decode(b'"123456"', where="thing", limit_bytes=8) == "123456"
    with pytest.raises(IntegrityError, match="9 bytes, more than the 8"):
        decode(b'"1234567"', where="thing", limit_bytes=8)


def test_a_document_of_too_many_values_is_refused() -> None:
    assert decode(b'[{},[1,","]]', where="thing", limit_values=6) == [{}, [1, ","]]
    with pytest.raises(IntegrityError, match="of 12 bytes has more than the 5 values allowed"):
        decode(b'[{},[1,","]]', where="thing", limit_values=5)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "number at \\$ is not finite"),
        ({"a": [1, float("inf")]}, r"number at \$\.a\[1\] is not finite"),
        (SAFE_INTEGER + 1, "beyond 2\\^53"),
        ({1: 2}, "key that is not text"),
        (b"bytes", "type bytes"),
        ({"a": {2}}, r"value at \$\.a has type set"),
        ("\ud800", "lone surrogate"),
    ],
)
def test_what_json_cannot_hold_is_refused(value: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        encode(value)


def test_nesting_has_a_limit() -> None:
    value: object = 1
    for _ in range(LIMIT_DEPTH):
        value = [value]
    assert decode(encode(value), where="value") == value
    with pytest.raises(UsageError, match="deeper than 64"):
        encode([value])
