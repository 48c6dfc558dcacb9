"""Small pictures as inline SVG, coloured by the style sheet: no attribute of theirs is a style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from markupsafe import Markup

HEIGHT: Final = 132
TOP: Final = 20
"""Free room above, for the label of the highest."""
GAP: Final = 0.18
"""Of a column's room, how much stays free."""


@dataclass(frozen=True, slots=True)
class Column:
    """What was counted in a stretch of time.

    Args:
        start: Its begin, in seconds since 1970.
        counts: How many, by what they are, in the order of the looks.
    """

    start: int
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """All together."""
        return sum(self.counts)


def part(used: int, whole: int, title: str) -> Markup:
    """Draw how much of a whole is used."""
    share = 100 * min(used / whole, 1.0) if whole else 0.0
    frame = Markup(
        '<svg class="part" role="img" width="100%" height="8"><title>{}</title>'
        '<rect class="track" width="100%" height="8" rx="4"/>{}</svg>'
    )
    filled = Markup('<rect class="filled{}" width="{:.2f}%" height="8" rx="4"/>').format(
        " full" if used >= whole else "", share
    )
    return frame.format(title, filled if used else "")


def columns(found: Sequence[Column], looks: Sequence[tuple[str, str]], title: str, step_s: int) -> Markup:
    """Draw columns over time, their parts on top of each other.

    Args:
        found: They, in order, one for each stretch of time.
        looks: Class and name of each part, the lowest first.
        title: What a reader who cannot see it is told.
        step_s: Seconds of a stretch.
    """
    highest = max((column.total for column in found), default=0)
    room = 100 / max(1, len(found))
    shapes = [
        _part(column, place, name, index * room, room, highest)
        for index, column in enumerate(found)
        if column.total
        for place, name in enumerate(looks)
        if column.counts[place]
    ]
    labels = [
        Markup('<line class="axis" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(HEIGHT),
        Markup('<text x="0" y="12">{}</text>').format(f"highest {highest:,}" if highest else "none"),
    ]
    if found:
        labels += [
            Markup('<text x="0" y="{}">{}</text>').format(HEIGHT + 16, _moment(found[0].start)),
            Markup('<text x="100%" y="{}" text-anchor="end">{}</text>').format(
                HEIGHT + 16, _moment(found[-1].start + step_s)
            ),
        ]
    frame = Markup('<svg class="columns" role="img" width="100%" height="{}"><title>{}</title>{}</svg>')
    return frame.format(HEIGHT + 22, title, Markup("").join([*shapes, *labels]))


def _part(column: Column, place: int, name: tuple[str, str], left: float, room: float, highest: int) -> Markup:
    scale = (HEIGHT - TOP) / highest
    height = column.counts[place] * scale
    bottom = HEIGHT - sum(column.counts[:place]) * scale
    shape = Markup('<rect class="{}" x="{:.2f}%" width="{:.2f}%" y="{:.1f}" height="{:.1f}"><title>{}</title></rect>')
    said = f"{_moment(column.start)}: {column.counts[place]:,} {name[1]}"
    return shape.format(name[0], left + room * GAP / 2, room * (1 - GAP), bottom - height, max(height, 1.5), said)


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%d %b %H:%M")
