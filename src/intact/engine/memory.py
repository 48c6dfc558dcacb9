"""Which engine won before on this host, in a small file that may be lost at any time."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

VERSION: Final = 1
LIMIT: Final = 64
"""Choices kept; the oldest go first."""

SIZE_LIMIT_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Remembered choices.

    Args:
        choices: Session name ("onnxruntime/wide") by key, the oldest first.
        trouble: Why the file could not be used, or "".
    """

    choices: Mapping[str, str]
    trouble: str = ""


def default_path() -> Path:
    """Return where choices are remembered for this user, as the XDG base directory specification says."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "intact" / "engines.json"


def recall(path: Path) -> Memory:
    """Read the file; a missing one is empty, a damaged one is empty with a note."""
    try:
        if path.stat().st_size > SIZE_LIMIT_BYTES:
            return Memory(choices={}, trouble=f"it is larger than {SIZE_LIMIT_BYTES} bytes")
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        return Memory(choices={})
    except OSError as error:
        return Memory(choices={}, trouble=f"it cannot be read: {error.strerror}")
    except (ValueError, RecursionError):
        return Memory(choices={}, trouble="it is no JSON")
    if not isinstance(record, dict) or record.get("version") != VERSION or not isinstance(record.get("choices"), dict):
        return Memory(choices={}, trouble="it has another format")
    if not all(isinstance(name, str) for name in record["choices"].values()):
        return Memory(choices={}, trouble="it has another format")
    return Memory(choices=record["choices"])


def remember(path: Path, key: str, choice: str) -> str:
    """Write one more choice, replacing the file in one step; return why that failed, or ""."""
    kept = {k: v for k, v in recall(path).choices.items() if k != key}
    kept[key] = choice
    newest = dict(list(kept.items())[-LIMIT:])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=path.name, delete=False) as file:
            json.dump({"version": VERSION, "choices": newest}, file, indent=1)
        Path(file.name).replace(path)
    except OSError as error:
        return f"it cannot be written: {error.strerror}"
    return ""
