"""Frozen dataclasses to JSON values and back, driven by their annotations and nothing in the data."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias, TypeVar, cast

from intact.errors import IntegrityError
from intact.wire.place import Place, show

Record = TypeVar("Record")
Reader: TypeAlias = Callable[[Any, Place], Any]

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
    return cast("Record", _reader(cast("Any", kind))(value, where))


@cache
def _reader(hint: Any) -> Reader:
    """Return the function that takes a JSON value as the annotation `hint` wants it."""
    if hint is Any:
        return lambda value, place: value
    if dataclasses.is_dataclass(hint):
        return _record_reader(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        (some,) = (_reader(argument) for argument in arguments if argument is not type(None))
        return lambda value, place: None if value is None else some(value, place)
    if origin is tuple:
        item = _reader(arguments[0])
        return lambda value, place: tuple(
            item(part, (place, index)) for index, part in enumerate(_exactly(list, value, place))
        )
    if origin is not None and issubclass(origin, Mapping):
        member = _reader(arguments[1])
        return lambda value, place: {
            key: member(part, (place, key)) for key, part in _exactly(dict, value, place).items()
        }
    if hint is bytes:
        return _hex
    if hint is float:
        return lambda value, place: float(value) if type(value) is int else _exactly(float, value, place)  # 1.0 is 1
    return lambda value, place: _exactly(hint, value, place)


def _record_reader(kind: Any) -> Reader:
    """Return the function that builds the dataclass `kind`."""
    hints = typing.get_type_hints(kind)
    readers = {field.name: _reader(hints[field.name]) for field in dataclasses.fields(kind)}

    def read(value: Any, place: Place) -> Any:
        if type(value) is not dict:
            raise IntegrityError(f"{show(place)} is not an object")
        if value.keys() != readers.keys():
            wrong = min(value.keys() ^ readers.keys())
            state = "unknown" if wrong in value else "missing"
            raise IntegrityError(f"{show(place)} has {state} field {wrong!a}")
        return kind(**{name: reader(value[name], (place, name)) for name, reader in readers.items()})

    return read


def _hex(value: Any, place: Place) -> bytes:
    """Return the bytes that `value` writes in lower-case hex."""
    text = _exactly(str, value, place)
    if _HEX.fullmatch(text) is None:
        raise IntegrityError(f"{show(place)} is not lower-case hex")
    return bytes.fromhex(text)


def _exactly(kind: type, value: Any, place: Place) -> Any:
    """Return `value`, which must be exactly of type `kind`: a bool is no int here."""
    if type(value) is not kind:
        raise IntegrityError(f"{show(place)} is {type(value).__name__}, wanted {kind.__name__}")
    return value
