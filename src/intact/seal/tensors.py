"""The tensors of a program, in the forms they are stored in and back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact.crypto import blake3
from intact.errors import IntegrityError, UsageError
from intact.graph import Program
from intact.numbers import storage
from intact.numbers.storage.frame import compress_text
from intact.seal import layout
from intact.seal.header import TensorSpec
from intact.seal.threads import spread

ALIGNMENT_BYTES: Final = 64
LARGEST_NIBBLE: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """A tensor as it goes into an artifact, before encryption.

    Args:
        spec: What it is.
        data: Its bytes in the form of `spec`.
    """

    spec: TensorSpec
    data: memoryview

    @property
    def bits(self) -> float:
        """Bits that an element takes."""
        return 8 * len(self.data) / max(1, math.prod(self.spec.shape))


def stored_size(model: bytes, tensors: Iterable[StoredTensor]) -> int:
    """Return about how many bytes a graph and its tensors take in an artifact, before encryption and descriptions."""
    return len(compress_text(model)) + sum(len(each.data) for each in tensors)


def store(program: Program) -> list[StoredTensor]:
    """Return the tensors of `program`, each in its smallest form, in file order: wide raw ones first, then by name.

    Raises:
        UsageError: A tensor's type or rank cannot be stored, or there are too many.
    """
    if len(program.tensors) > layout.MAX_TENSORS:
        raise UsageError(f"program has {len(program.tensors)} tensors, {layout.MAX_TENSORS} are allowed")
    for name, array in program.tensors.items():
        _refuse_foreign(name, array)
    found: list[StoredTensor] = []
    size = sum(array.nbytes for array in program.tensors.values())
    largest_first = sorted(program.tensors.items(), key=lambda item: -item[1].nbytes)
    spread(largest_first, lambda item, _: found.append(_store(*item)), lambda: None, size_bytes=size)
    return sorted(found, key=lambda each: (-_alignment(each), each.spec.name))


def allocate(sizes: Sequence[int]) -> list[NDArray[np.uint8]]:
    """Return uninitialised blocks of these many bytes, each aligned, all in one allocation."""
    steps = [-(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES for size in sizes]
    memory = np.empty(sum(steps) + ALIGNMENT_BYTES, np.uint8)
    start, blocks = -memory.ctypes.data % ALIGNMENT_BYTES, []
    for size, step in zip(sizes, steps, strict=True):
        blocks.append(memory[start : start + size])
        start += step
    return blocks


def restore(specs: Sequence[TensorSpec], stored: Sequence[NDArray[np.uint8]]) -> list[NDArray[Any]]:
    """Return the tensors that are stored in `stored`, read-only and aligned.

    Args:
        specs: What they are; their sizes were checked.
        stored: Their bytes; those of raw tensors become the tensors themselves.

    Raises:
        IntegrityError: Bytes that are no tensor in the form they should have.
    """
    packed = [number for number, spec in enumerate(specs) if spec.form != storage.RAW]
    blocks = list(stored)
    for number, block in zip(packed, allocate([specs[number].nbytes for number in packed]), strict=True):
        blocks[number] = block
    _decode(specs, stored, blocks, packed)
    for spec, block in zip(specs, blocks, strict=True):
        if spec.dtype in layout.NIBBLES and block.max(initial=0) > LARGEST_NIBBLE:
            raise IntegrityError(f"tensor {spec.name!a} of type {spec.dtype} has an element of more than four bits")
        block.flags.writeable = False
    return [
        block.view(layout.TENSOR_DTYPES[spec.dtype]).reshape(spec.shape)
        for block, spec in zip(blocks, specs, strict=True)
    ]


def _decode(
    specs: Sequence[TensorSpec],
    stored: Sequence[NDArray[np.uint8]],
    blocks: Sequence[NDArray[np.uint8]],
    packed: Sequence[int],
) -> None:
    """Decode the tensors with numbers `packed` from `stored` to `blocks`."""
    decoders: dict[int, storage.Decoder] = {}
    size = sum(specs[number].nbytes for number in packed)

    def start(number: int, _: None) -> None:
        spec = specs[number]
        decoders[number] = storage.Decoder(spec.form, spec.parameters, spec.shape, spec.itemsize, stored[number].data)

    def decode(task: tuple[int, int], _: None) -> None:
        number, chunk = task
        decoders[number].decode(chunk, blocks[number])

    spread(packed, start, lambda: None, size_bytes=size)
    chunks = [(number, chunk) for number in packed for chunk in range(decoders[number].chunks)]
    spread(chunks, decode, lambda: None, size_bytes=size)


def _refuse_foreign(name: str, array: NDArray[Any]) -> None:
    """Raise UsageError where an artifact cannot hold `array`."""
    if layout.dtype_name(array.dtype) is None:
        raise UsageError(
            f"tensor {name!a} has type {array.dtype}, which an artifact cannot hold",
            hint=f"store it as one of {', '.join(layout.TENSOR_DTYPES)}",
        )
    if array.ndim > layout.MAX_RANK:
        raise UsageError(f"tensor {name!a} has {array.ndim} axes, {layout.MAX_RANK} are allowed")


def _store(name: str, array: NDArray[Any]) -> StoredTensor:
    dtype = layout.dtype_name(array.dtype)
    assert dtype is not None  # refused before
    if dtype in layout.NIBBLES:
        array = np.ascontiguousarray(array).view(np.uint8) & np.uint8(LARGEST_NIBBLE)  # the other half means nothing
    found = storage.encode(array)
    plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
    spec = TensorSpec(
        name=name,
        dtype=dtype,
        shape=array.shape,
        blake3=blake3(plain.data),
        form=found.form,
        parameters=found.parameters,
    )
    return StoredTensor(spec=spec, data=found.data)


def _alignment(each: StoredTensor) -> int:
    """Return what a tensor's place in the file should be a multiple of."""
    return each.spec.itemsize if each.spec.form == storage.RAW else 1
