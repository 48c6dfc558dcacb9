"""Arrays in .npz files, in and out."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.errors import DataError
from intact.pipeline.files import whole_file
from intact.pipeline.spec import Spec
from intact.scan import scan

Array = NDArray[Any]


DAMAGED = (
    *(ValueError, OSError, EOFError, MemoryError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What reading a damaged or foreign file raises."""


def read_npz(path: Path) -> dict[str, Array]:
    """Read arrays from an .npz file; never a pickle.

    Raises:
        DataError: No such file, not .npz, or it holds Python objects.
    """
    _let_through(path)
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"'{path}' is one bare array, not an .npz file", hint="write it with numpy.savez")
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise DataError(f"no data file at '{path}'") from error
    except DAMAGED as error:
        raise DataError(f"'{path}' is not an .npz file of plain arrays", hint="write it with numpy.savez") from error


def _let_through(path: Path) -> None:
    """Refuse what would run code or fill memory, and say why; all else NumPy refuses itself."""
    if not path.is_file():
        return
    (found,) = scan(path).files
    why = next((finding for finding in found.findings if finding.kind != "unknown"), None)
    if why is not None:
        inside = f"{why.inside} is " if why.inside else ""
        raise DataError(
            f"'{path}' is not an .npz file of plain arrays: {inside}{why.told}", hint="write it with numpy.savez"
        )


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays to an .npz file: whole, or not at all.

    Raises:
        UsageError: The system refuses to write there.
    """
    with whole_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        for key, value in arrays.items():  # numpy.savez would take some names for its own arguments
            with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(value), allow_pickle=False)


def with_calibration(spec: Spec, path: Path | None) -> Spec:
    """Return `spec` with the calibration data of an .npz file in place of its own."""
    return spec if path is None else replace(spec, calibration=read_npz(path))
