"""Numbers that somebody typed or uploaded, as arrays, and as the request that the protocol would have carried."""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact.errors import DataError
from intact.graph.view import Port
from intact.serve.protocol import tensors

Array = NDArray[Any]

MOST_FILES: Final = 64
LARGEST_UNPACKED: Final = 2**22
"""Most bytes of arrays in an .npz file, unpacked."""
LONGEST_HEADER: Final = 4096
NPY: Final = b"\x93NUMPY"
ZIP: Final = b"PK\x03\x04"
_HEAD: Final = re.compile(
    rb"\{'descr': '([<>|](?:b1|[iu][1248]|f[248]))', 'fortran_order': (True|False), 'shape': "
    rb"\(((?:\d{1,10}(?:, ?|(?=\))))*)\), \} *\n"
)
_BROKEN: Final = (ValueError, OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def from_text(text: str, inputs: Mapping[str, Port]) -> dict[str, Array]:
    """Return the arrays that `text` writes: a list for a model with one input, else an object of lists by name.

    Raises:
        DataError: It is neither.
    """
    try:
        found = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise DataError("the numbers are not JSON", hint="write [0.5, 1, 2], or rows as [[...], [...]]") from None
    if isinstance(found, dict) and inputs.keys() != found.keys():
        raise DataError(f"the names are {sorted(found)!a:.100}, the model's are {sorted(inputs)!a:.100}")
    named = found if isinstance(found, dict) else {_only(inputs): found}
    return {name: _fitted(name, _array(name, values), inputs[name]) for name, values in named.items()}


def from_file(data: bytes, inputs: Mapping[str, Port]) -> dict[str, Array]:
    """Return the arrays in an .npy or .npz file: never a pickle, and no larger than they say.

    Raises:
        DataError: It is neither, or has not the arrays that the model takes.
    """
    if data.startswith(NPY):
        found = {_only(inputs): _read_npy(data)}
    elif data.startswith(ZIP):
        found = _read_npz(data)
        if len(found) == len(inputs) == 1:
            found = {_only(inputs): next(iter(found.values()))}
    else:
        raise DataError("the file is neither .npy nor .npz", hint="write it with numpy.save or numpy.savez")
    if found.keys() != inputs.keys():
        raise DataError(f"the file has {sorted(found)!a:.100}, the model takes {sorted(inputs)!a:.100}")
    return {name: _fitted(name, value, inputs[name]) for name, value in found.items()}


def write(arrays: Mapping[str, Array]) -> tuple[bytes, int]:
    """Return the body of the request, with its data as bytes, and the length of its JSON."""
    items, data = [], []
    for name, value in arrays.items():
        raw = tensors.to_bytes(value)
        data.append(raw)
        items.append(
            {
                "name": name,
                "datatype": tensors.datatype_of(value.dtype),
                "shape": list(value.shape),
                "parameters": {"binary_data_size": len(raw)},
            }
        )
    head = json.dumps({"inputs": items}, separators=(",", ":")).encode()
    return b"".join((head, *data)), len(head)


def read_answer(body: bytes) -> list[dict[str, Any]]:
    """Return name, datatype, shape and the first values of every output in a response that is JSON alone."""
    document = json.loads(body)
    return [
        {**{key: each[key] for key in ("name", "datatype", "shape", "data")}, "size": len(each["data"])}
        for each in document["outputs"]
    ]


def _only(inputs: Mapping[str, Port]) -> str:
    """Return the name of the one input.

    Raises:
        DataError: There are several.
    """
    if len(inputs) != 1:
        raise DataError(f"the model has the inputs {sorted(inputs)!a:.100}", hint="name each")
    return next(iter(inputs))


def _array(name: str, values: object) -> Array:
    """Return nested lists as an array, of 64-bit floats or integers, or of truth values."""
    try:
        found = np.array(values)
    except ValueError:
        raise DataError(f"input {name!a:.80} is ragged: not all rows are of one length") from None
    if found.dtype.kind not in "biuf" or found.ndim > tensors.MOST_AXES:
        raise DataError(f"input {name!a:.80} has something that is no number")
    return found


def _fitted(name: str, value: Array, port: Port) -> Array:
    """Return `value` in the model's type, and with an axis of rows where just that is missing.

    Raises:
        DataError: The type cannot hold it.
    """
    if value.size == 0:
        raise DataError(f"input {name!a:.80} is empty")
    if value.ndim == len(port.shape) - 1:
        value = value[None]
    if value.dtype == port.dtype:
        return value
    wanted = np.dtype(port.dtype)
    if value.dtype.kind not in "biuf" or (value.dtype.kind == "b") != (wanted.kind == "b"):
        raise DataError(f"input {name!a:.80} is of type {value.dtype}, the model wants {wanted}")
    with np.errstate(all="ignore"):
        cast = value.astype(wanted)
        if wanted.kind in "iu" and not np.array_equal(cast.astype(np.float64), value.astype(np.float64)):
            raise DataError(f"input {name!a:.80} has values that {wanted} does not hold")
    return cast


def _read_npz(data: bytes) -> dict[str, Array]:
    """Return the arrays of an .npz file."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = archive.infolist()
            size = sum(each.file_size for each in files)
            if len(files) > MOST_FILES or size > LARGEST_UNPACKED:
                raise DataError(
                    f"the file holds {len(files):,} arrays of {size:,} bytes unpacked, more than "
                    f"{MOST_FILES} or {LARGEST_UNPACKED:,}"
                )
            return {each.filename.removesuffix(".npy"): _read_npy(archive.read(each)) for each in files}
    except _BROKEN as error:
        raise DataError("the file is damaged, or no .npz of plain arrays", hint="write it with numpy.savez") from error


def _read_npy(data: bytes) -> Array:
    """Return the array of an .npy file, which must be as long as its head says.

    Source:
        numpy.lib.format, "Format Version 1.0" and "2.0": as NumPy writes it, and nothing else that it would read.
    """
    width = {b"\1\0": 2, b"\2\0": 4}.get(data[6:8])
    if not data.startswith(NPY) or width is None:
        raise DataError("the file is no .npy of a plain array", hint="write it with numpy.save")
    start = 8 + width
    length = int.from_bytes(data[8:start], "little")
    found = _HEAD.fullmatch(data[start : start + min(length, LONGEST_HEADER)])
    if found is None:
        raise DataError("the file holds something else than numbers", hint="write it with numpy.save")
    dtype, shape = np.dtype(found[1].decode()), tuple(int(size) for size in found[3].split(b",") if size.strip())
    values = data[start + length :]
    if len(shape) > tensors.MOST_AXES or math.prod(shape) * dtype.itemsize != len(values):
        raise DataError("the file is not as long as its head says")
    array = np.frombuffer(values, dtype)
    ordered: Array = array.reshape(shape[::-1]).T if found[2] == b"True" else array.reshape(shape)
    return ordered.astype(dtype.newbyteorder("="))


def _refuse_constant(text: str) -> None:
    raise ValueError(text)
