"""Frozen records to canonical JSON and back, refusing everything that is not exactly that."""

from intact.wire.canonical import count_values, decode, encode, parse
from intact.wire.record import from_json, to_json

__all__ = ["count_values", "decode", "encode", "from_json", "parse", "to_json"]
