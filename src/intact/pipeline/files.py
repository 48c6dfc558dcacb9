"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from intact.errors import UsageError


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write to, which takes the place of `path` when the block ends well.

    Raises:
        UsageError: The system refuses to write there. Nothing is left behind then, nor after any other error.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write '{path}': {error.strerror}") from error


def refuse_unwritable(path: Path) -> None:
    """Raise UsageError where `path` lies in no folder, before any work is done for it."""
    if not path.absolute().parent.is_dir():
        raise UsageError(f"the folder of '{path}' does not exist", hint="make it first")
