"""Where in a document a value is: cheap to carry along, put into words only when something is wrong there."""

from __future__ import annotations

from typing import TypeAlias

Place: TypeAlias = str | tuple["Place", str | int]
"""The name of the document, or the place of what holds the value and its key or index there."""


def show(place: Place) -> str:
    """Return `place` in words of ASCII, such as "manifest.json.tensors[3].dtype"."""
    steps: list[str] = []
    while not isinstance(place, str):
        place, step = place
        steps.append(f"[{step}]" if isinstance(step, int) else f".{ascii(step)[1:-1]}")
    return place + "".join(reversed(steps))
