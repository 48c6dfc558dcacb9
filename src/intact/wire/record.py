"""Frozen dataclasses to JSON values and back, driven by their annotations and nothing in the data."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, cast

from intact.errors import IntegrityError

Record = TypeVar("Record")

_HEX = re.compile(r"(?:[0-9a-f]{2})*")


def to_json(value: Any) -> Any:
    """Return `value` as plain JSON: records become objects, bytes lower-case hex, tuples lists.

    Args:
        value: A dataclass instance, or anything canonical JSON holds, nested as deep as it likes.

    Returns:
        A value `encode` takes; `from_json` with the record's class gives the record back.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [to_json(item) for item in value]
    return value


def from_json(kind: type[Record], value: Any, *, where: str) -> Record:
    """Build the record `kind` from the JSON object `value`.

    Args:
        kind: A dataclass whose fields are annotated with bool, int, float, str, bytes, Any, `X | None`,
            `tuple[X, ...]`, `Mapping[str, X]` or another such dataclass.
        value: What `decode` returned.
        where: What the value is called in errors.

    Returns:
        The record. Every field came from the data: nothing is filled in, nothing is ignored.

    Raises:
        IntegrityError: A field is missing or unknown, or has another type than its annotation.
    """
    hints = _hints(cast("Any", kind))
    if not isinstance(value, dict):
        raise IntegrityError(f"{where} is not an object")
    if value.keys() != hints.keys():
        wrong = sorted(value.keys() ^ hints.keys())[0]
        state = "unknown" if wrong in value else "missing"
        raise IntegrityError(f"{where} has {state} field {wrong!a}")
    return kind(**{name: _take(hint, value[name], f"{where}.{name}") for name, hint in hints.items()})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """Return the resolved annotations of the fields of `kind`."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _take(hint: Any, value: Any, where: str) -> Any:
    """Return `value` as the annotation `hint` wants it."""
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return from_json(cast("type[Any]", hint), value, where=where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return None if value is None else _take(inner, value, where)
    if origin is tuple:
        items = _plain(list, value, where)
        return tuple(_take(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(items))
    if origin is not None and issubclass(origin, Mapping):
        members = _plain(dict, value, where)
        return {key: _take(arguments[1], item, f"{where}.{key!a}") for key, item in members.items()}
    if hint is float and type(value) is int:  # canonical JSON writes 1.0 as 1
        return float(value)
    if hint is bytes:
        text = _plain(str, value, where)
        if _HEX.fullmatch(text) is None:
            raise IntegrityError(f"{where} is not lower-case hex")
        return bytes.fromhex(text)
    return _plain(hint, value, where)


def _plain(kind: type, value: Any, where: str) -> Any:
    """Return `value`, which must be exactly of type `kind`: a bool is no int here."""
    if type(value) is not kind:
        raise IntegrityError(f"{where} is {type(value).__name__}, wanted {kind.__name__}")
    return value
