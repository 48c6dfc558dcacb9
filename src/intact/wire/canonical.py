"""Canonical JSON: one value, one byte string (RFC 8785), and a decoder that takes nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from json.encoder import encode_basestring as _quote
from typing import Any

from intact.errors import IntegrityError, UsageError
from intact.wire.place import Place, show

LIMIT_BYTES = 16 * 2**20
"""Longest document `decode` reads unless told otherwise."""

LIMIT_DEPTH = 64
"""Deepest nesting of arrays and objects, in both directions."""

SAFE_INTEGER = 2**53 - 1
"""Largest integer every JSON reader keeps exactly (RFC 7493, section 2.2)."""


def encode(value: object) -> bytes:
    """Return the canonical JSON of `value`.

    Keys are sorted by UTF-16 code units, there is no white space, numbers are written as ECMAScript writes them.

    Args:
        value: None, bool, int up to 2^53 - 1, finite float, str, and sequences and string-keyed mappings of these.

    Returns:
        UTF-8 bytes; equal values give equal bytes, and `decode` gives the value back (1.0 comes back as 1).

    Raises:
        UsageError: A value of another type, a float that is not finite, a larger integer, a lone surrogate, or
            nesting deeper than `LIMIT_DEPTH`.

    Source:
        RFC 8785, JSON Canonicalization Scheme.
    """
    parts: list[str] = []
    _write(value, parts, "$", LIMIT_DEPTH)
    try:
        return "".join(parts).encode()
    except UnicodeEncodeError:
        raise UsageError("text with a lone surrogate cannot be written as JSON") from None


def count_values(data: bytes) -> int:
    """Return how many values JSON can hold at most: its commas and opening brackets, those in texts too.

    Nothing is parsed: a byte of empty lists costs thirty of memory, so they are counted before.
    """
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def decode(data: bytes, *, where: str, limit_bytes: int = LIMIT_BYTES, limit_values: int | None = None) -> Any:
    """Return the value whose canonical JSON is `data`.

    Args:
        data: The whole document.
        where: What the document is called in errors.
        limit_bytes: Longest document taken.
        limit_values: Most values it may hold, as `count_values` counts; any number where it is None.

    Returns:
        A value of None, bool, int, float, str, list and dict, with `encode(value) == data`.

    Raises:
        IntegrityError: As `parse`, or `data` holds too many values, or is not the canonical form of its value.
    """
    if limit_values is not None and count_values(data) > limit_values:
        raise IntegrityError(f"{where} of {len(data)} bytes has more than the {limit_values} values allowed")
    value = parse(data, where=where, limit_bytes=limit_bytes)
    try:
        canonical = encode(value)
    except (ValueError, RecursionError, UsageError):
        raise IntegrityError(f"{where} is not canonical JSON") from None
    if canonical != data:
        raise IntegrityError(f"{where} is not canonical JSON")
    return value


def parse(data: bytes, *, where: str, limit_bytes: int = LIMIT_BYTES) -> Any:
    """Return the value of JSON that others wrote: any spelling, but no key twice, no NaN, no infinity.

    Args:
        data: The whole document.
        where: What the document is called in errors.
        limit_bytes: Longest document taken.

    Raises:
        IntegrityError: `data` is longer than the limit, is not such JSON, or nests too deep to be read.
    """
    if len(data) > limit_bytes:
        raise IntegrityError(f"{where} has {len(data)} bytes, more than the {limit_bytes} allowed")
    try:
        return json.loads(
            data.decode(),
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError):
        raise IntegrityError(f"{where} is not JSON") from None


def _write(value: object, parts: list[str], place: Place, depth: int) -> None:
    """Append the canonical text of `value`, found at `place`, to `parts`."""
    if isinstance(value, str):
        parts.append(_quote(value))
    elif value is None or isinstance(value, bool):
        parts.append({None: "null", True: "true", False: "false"}[value])
    elif isinstance(value, int):
        if abs(value) > SAFE_INTEGER:
            raise UsageError(f"integer at {show(place)} is beyond 2^53 - 1, the largest that JSON keeps exactly")
        parts.append(str(int(value)))
    elif isinstance(value, float):
        parts.append(_number(value, place))
    elif depth == 0:
        raise UsageError(f"value at {show(place)} nests deeper than {LIMIT_DEPTH} levels")
    elif isinstance(value, Mapping):
        _write_object(value, parts, place, depth - 1)
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        _write_array(value, parts, place, depth - 1)
    else:
        raise UsageError(f"value at {show(place)} has type {type(value).__name__}, which JSON cannot hold")


def _write_object(value: Mapping[Any, object], parts: list[str], place: Place, depth: int) -> None:
    """Append a JSON object with its keys in canonical order."""
    if not all(isinstance(key, str) for key in value):
        raise UsageError(f"object at {show(place)} has a key that is not text")
    separator = "{"
    for key in sorted(value) if all(map(str.isascii, value)) else sorted(value, key=_utf16):
        parts.append(f"{separator}{_quote(key)}:")
        _write(value[key], parts, (place, key), depth)
        separator = ","
    parts.append("}" if value else "{}")


def _write_array(value: Sequence[object], parts: list[str], place: Place, depth: int) -> None:
    """Append a JSON array."""
    separator = "["
    for index, item in enumerate(value):
        parts.append(separator)
        _write(item, parts, (place, index), depth)
        separator = ","
    parts.append("]" if value else "[]")


def _number(value: float, place: Place) -> str:
    """Return `value` as ECMAScript's Number::toString writes it (ECMA-262, section 6.1.6.1.20)."""
    if not math.isfinite(value):
        raise UsageError(f"number at {show(place)} is not finite")
    if value == 0:
        return "0"
    _, raw, shift = Decimal(float.__repr__(abs(value))).as_tuple()
    digits = "".join(map(str, raw)).rstrip("0")
    count = len(digits)  # k in the specification
    point = len(raw) + int(shift)  # n: the decimal point stands after n digits
    if count <= point <= 21:
        text = digits + "0" * (point - count)
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        mantissa = digits if count == 1 else f"{digits[0]}.{digits[1:]}"
        text = f"{mantissa}e{point - 1:+d}"
    return f"-{text}" if value < 0 else text


def _utf16(key: str) -> bytes:
    """Return what keys are sorted by: their UTF-16 code units (RFC 8785, section 3.2.3)."""
    return key.encode("utf-16-be", "surrogatepass")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return `pairs` as a dict, refusing a key that comes twice."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError
    return value


def _integer(text: str) -> int | float:
    """Return an integer literal; beyond 2^53 - 1 it can only be a float that happens to be whole."""
    value = float(text)
    return int(text) if abs(value) <= SAFE_INTEGER else value


def _refuse_constant(_: str) -> None:
    """Refuse NaN and the infinities, which `json` would take."""
    raise ValueError
