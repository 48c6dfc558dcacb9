"""URLs that hold a password are no words of a command line: they may lie in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from intact.errors import UsageError

FILE: Final = "file:"
LIMIT_BYTES: Final = 4096


def from_file(url: str) -> str:
    """Return `url`; where it is "file:///PATH", what is in that file.

    Raises:
        UsageError: The file cannot be read, or holds no one line. What it holds is not shown.
    """
    if not url.startswith(FILE):
        return url
    path = Path(url.removeprefix(FILE).removeprefix("//"))
    try:
        with path.open("rb") as file:
            lines = file.read(LIMIT_BYTES + 1).decode().splitlines()
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or type(error).__name__
        raise UsageError(f"cannot read the URL in {str(path)!a:.200}: {said}") from None
    if len(lines) != 1 or not lines[0].strip() or len(lines[0]) >= LIMIT_BYTES or lines[0].startswith(FILE):
        raise UsageError(f"{str(path)!a:.200} holds no URL", hint="put the URL into its first and only line")
    return lines[0].strip()
