"""What every trial works on: the float model as ONNX, the calibration data and the base recipe. No code of the user's.

So a trial can run in any process or on any machine, whether the model came as a file, as a torch module in memory or
from a function in the user's own file; `evaluate` is called in the tuner's own process only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.calibrate import row_count
from intact.compress.recipe import Recipe
from intact.errors import DataError, UsageError
from intact.graph.normalise import normalise
from intact.graph.run import is_batched
from intact.pipeline.lineage import tool_versions
from intact.pipeline.npz import read_npz, write_npz
from intact.pipeline.spec import Spec, as_pieces

Array = NDArray[Any]
Piece = Mapping[str, Array]

MODEL, DATA = "model.onnx", "data.npz"
LEAST_HELD = 30
"""Rows that must be held out to judge by; below, an interval says nothing."""
HELD_SHARE = 1 / 3


@dataclass(frozen=True, kw_only=True)
class Material:
    """What trials work on.

    Args:
        name: What the model is called.
        model: The float model, as the bytes of an ONNX file.
        pieces: Calibration data by input name.
        recipe: Settings of all that is not tuned.
    """

    name: str
    model: bytes
    pieces: tuple[Piece, ...]
    recipe: Recipe

    @property
    def spec(self) -> Spec:
        """The same as a build takes it, without `evaluate`."""
        return Spec(model=self.model, calibration=list(self.pieces), name=self.name)

    def about(self) -> dict[str, Any]:
        """What a journal of its trials is about: digests of model and data, and versions."""
        return {
            "model": hashlib.sha256(self.model).hexdigest(),
            "calibration data": digest(self.pieces),
            "versions": tool_versions(),
        }


def save(material: Material, folder: Path) -> None:
    """Write model and data to `folder`; what is small stays with the caller."""
    (folder / MODEL).write_bytes(material.model)
    pieces = enumerate(material.pieces)
    write_npz(folder / DATA, {f"{number}/{name}": value for number, piece in pieces for name, value in piece.items()})


def load(folder: Path, name: str, recipe: Recipe) -> Material:
    """Read what `save` wrote."""
    pieces: dict[int, dict[str, Array]] = {}
    for key, value in read_npz(folder / DATA).items():
        number, _, port = key.partition("/")
        pieces.setdefault(int(number), {})[port] = value
    model = (folder / MODEL).read_bytes()
    return Material(name=name, model=model, pieces=tuple(pieces[number] for number in sorted(pieces)), recipe=recipe)


def digest(pieces: Sequence[Piece]) -> str:
    """SHA-256 of arrays, their names and shapes included, in hex."""
    hasher = hashlib.sha256()
    for piece in pieces:
        for name in sorted(piece):
            value = np.ascontiguousarray(piece[name])
            hasher.update(f"{name}\0{value.dtype.str}\0{value.shape}\0".encode())
            hasher.update(value.tobytes())
    return hasher.hexdigest()


def material_of(spec: Spec, recipe: Recipe) -> Material:
    """Capture the model of `spec` once and gather its calibration data.

    Raises:
        ModelError: The model cannot be read or captured.
        DataError: The calibration data are no arrays.
        UsageError: There are none.
    """
    proto = spec.proto()
    if spec.calibration is None:
        raise UsageError(
            "tuning needs calibration data, and none were given",
            hint="set Spec(calibration=...) or --calibrate data.npz; 100 to 1,000 typical inputs are enough",
        )
    pieces = as_pieces(spec.calibration, [port.name for port in normalise(proto).inputs])
    model = proto.SerializeToString(deterministic=True)
    return Material(name=spec.name, model=model, pieces=tuple(pieces), recipe=recipe)


def hold_out(material: Material) -> tuple[Material, tuple[Piece, ...]]:
    """Split the calibration data: two thirds to calibrate on, and a third to judge by, the last rows.

    Raises:
        DataError: Too few rows, or sizes that forbid to split.
    """
    rows = sum(row_count(piece) for piece in material.pieces)
    held = int(rows * HELD_SHARE)
    if held < LEAST_HELD:
        raise DataError(
            f"{rows} calibration inputs are too few to hold a third of them out as a test, wanted {3 * LEAST_HELD}",
            hint="give more, or return a Spec with evaluate=...",
        )
    ports = normalise(material.spec.proto()).inputs
    if len(material.pieces) == 1 and is_batched(ports):
        (piece,) = material.pieces
        kept = {name: value[: rows - held] for name, value in piece.items()}
        return replace(material, pieces=(kept,)), ({name: value[rows - held :] for name, value in piece.items()},)
    if len(material.pieces) < 3:
        raise DataError(
            f"calibration data in {len(material.pieces)} pieces of a fixed size cannot be split to hold a test out",
            hint="give them in more pieces, or return a Spec with evaluate=...",
        )
    cut = len(material.pieces) - max(1, len(material.pieces) // 3)
    return replace(material, pieces=material.pieces[:cut]), material.pieces[cut:]
