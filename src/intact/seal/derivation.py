"""Which key opens what: every key of an artifact, derived from its data key and bound to its place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from intact.crypto import Secret, derive
from intact.wire import encode


def commitment(data_key: Secret, artifact: str, revision: int) -> str:
    """Return what the manifest says of the data key: 64 hex digits that fit one key only and reveal nothing of it."""
    return derive(data_key, "commitment", _place(artifact, revision)).value.hex()


def header_key(data_key: Secret, artifact: str, revision: int) -> Secret:
    """Return the key of header.enc."""
    return derive(data_key, "header", _place(artifact, revision))


def tensor_keys(
    data_key: Secret, artifact: str, revision: int, kinds: Iterable[tuple[str, Sequence[int]]]
) -> list[Secret]:
    """Return the key of each tensor, for (dtype, shape) in file order; another place, type or shape has another key."""
    return [
        derive(
            data_key,
            "tensor",
            encode({"artifact": artifact, "dtype": dtype, "index": index, "revision": revision, "shape": list(shape)}),
        )
        for index, (dtype, shape) in enumerate(kinds)
    ]


def _place(artifact: str, revision: int) -> bytes:
    """Return the context of the keys that an artifact has one of."""
    return encode({"artifact": artifact, "revision": revision})
