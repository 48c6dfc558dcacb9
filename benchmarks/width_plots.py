"""Quality against bytes, one point a model, as an SVG that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from results import Record, pick
from table_text import lines, only

WIDTH, HEIGHT = 860, 460
LEFT, RIGHT, TOP, BOTTOM = 70, 210, 24, 54
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c6d00", "#56b4e9", "#7a5195", "#555555")
"""Okabe and Ito's, which colour-blind readers can tell apart, the yellow darkened, and two more."""
FAINT = 0.4
STYLE = (
    "text{font:13px sans-serif;fill:#333}.axis{stroke:#888}.grid{stroke:#8884;stroke-dasharray:2 3}"
    ".float{stroke:#333;stroke-dasharray:6 4}.note{font-size:11px}.ours{stroke:#000;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.ours{stroke:#fff}.float{stroke:#ddd}}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What is plotted of a benchmark.

    Args:
        score: Which score.
        title: What it is, for the reader.
        worst: The score at the bottom edge; what is worse is drawn there, as a triangle.
        best: The score at the top edge.
        form: How its ticks are written.
    """

    score: str
    title: str
    worst: float
    best: float
    form: str


AXES = {
    "widths_resnet20": Axis(
        score="agreement", title="agrees with float, % of 10,000 images", worst=60, best=100, form=".0f"
    ),
    "widths_minilm": Axis(score="mean_cosine", title="mean cosine to float", worst=0.95, best=1.0, form=".2f"),
    "widths_stories": Axis(score="perplexity", title="perplexity (less is better)", worst=5.5, best=3.9, form=".1f"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where a score and a size lie on the picture."""

    axis: Axis
    low: float
    high: float

    def x(self, size: float) -> float:
        """Return the place of a size, on a logarithmic axis."""
        share = (math.log(size) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, score: float) -> float:
        """Return the place of a score, kept within the picture."""
        share = (score - self.axis.worst) / (self.axis.best - self.axis.worst)
        return HEIGHT - BOTTOM - min(max(share, 0.0), 1.0) * (HEIGHT - TOP - BOTTOM)


def write(folder: Path, results: Path, *, check: bool) -> list[Path]:
    """Write the plot of every benchmark that has results; return those that were out of date."""
    changed = []
    for name, axis in AXES.items():
        if not (results / f"{name}.jsonl").exists():
            continue
        path, picture = folder / f"{name}.svg", plot(lines(name, results), axis)
        if not path.exists() or path.read_text(encoding="utf-8") != picture:
            changed.append(path)
            if not check:
                folder.mkdir(parents=True, exist_ok=True)
                path.write_text(picture, encoding="utf-8")
    return changed


def plot(records: Sequence[Record], axis: Axis) -> str:
    """Return the picture of a benchmark's points."""
    points = [record for record in pick(records, kind="point") if record["owner"] != "float"]
    swept = pick(records, kind="sweep")
    sizes = [record["size_bytes"] for record in (*points, *swept)]
    frame = Frame(axis=axis, low=min(sizes) / 1.15, high=max(sizes) * 1.15)
    owners = list(dict.fromkeys(record["owner"] for record in points if record["owner"] != "intact"))
    colours = dict(zip(owners, COLOURS[1:], strict=False))
    parts = [*_axes(frame), *_reference(frame, only(records, kind="point", owner="float")[axis.score])]
    parts += [_point(frame, record, COLOURS[0], 3, faint=True) for record in swept]
    parts += [_point(frame, record, colours[record["owner"]], 5) for record in points if record["owner"] in colours]
    ours = [record for record in points if record["owner"] == "intact"]
    parts += [_point(frame, record, COLOURS[0], 6.5, ours=True) for record in ours]
    parts += _labels(frame, ours)
    parts += _legend(["Intact, recipes", *(["Intact, every method"] if swept else []), *owners], colours)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    title = f"<title>{escape(axis.title)} against bytes</title><style>{STYLE}</style>"
    return "\n".join([head, title, *parts, "</svg>", ""])


def _axes(frame: Frame) -> list[str]:
    """Draw both axes with their ticks."""
    axis, bottom, right = frame.axis, HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [f'<path class="axis" fill="none" d="M{LEFT} {TOP}V{bottom}H{right}"/>']
    for step in range(6):
        score = axis.worst + step * (axis.best - axis.worst) / 5
        y = frame.y(score)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{score:{axis.form}}</text>')
    for size in _round_sizes(frame.low, frame.high):
        x = frame.x(size)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 5}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{_megabytes(size)}</text>')
    middle = (LEFT + right) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">MB on disk, logarithmic</text>')
    turned = f'transform="rotate(-90 18 {(TOP + bottom) / 2})"'
    parts.append(f'<text x="18" y="{(TOP + bottom) / 2}" text-anchor="middle" {turned}>{escape(axis.title)}</text>')
    return parts


def _round_sizes(low: float, high: float) -> list[float]:
    """Return round sizes between two, about five a decade."""
    steps = (1, 1.5, 2, 3, 5, 7)
    found = [step * 10**power for power in range(3, 10) for step in steps]
    return [size for size in found if low <= size <= high]


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.4g}"


def _reference(frame: Frame, score: float) -> list[str]:
    """Draw the float model as a line: it lies far to the right."""
    y = frame.y(score)
    return [f'<line class="float" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>']


def _point(frame: Frame, record: Record, colour: str, radius: float, *, ours: bool = False, faint: bool = False) -> str:
    """Draw one model: a circle, or a triangle at the bottom where its score lies below the picture."""
    score = record[frame.axis.score]
    x, y = frame.x(record["size_bytes"]), frame.y(score)
    title = f"<title>{escape(record['model'])}: {score:.5g}, {record['size_bytes']:,} bytes</title>"
    look = f'fill="{colour}" class="{"ours" if ours else "peer"}" opacity="{FAINT if faint else 1}"'
    axis = frame.axis
    if (score < axis.worst) if axis.worst < axis.best else (score > axis.worst):
        side = radius + 1
        return f'<path {look} d="M{x - side:.1f} {y - side:.1f}h{2 * side}L{x:.1f} {y + 2:.1f}z">{title}</path>'
    return f'<circle {look} cx="{x:.1f}" cy="{y:.1f}" r="{radius}">{title}</circle>'


def _labels(frame: Frame, ours: Sequence[Record]) -> list[str]:
    """Name our points."""
    return [
        f'<text class="note" x="{frame.x(each["size_bytes"]) - 9:.1f}" y="{frame.y(each[frame.axis.score]) - 8:.1f}" '
        f'text-anchor="end">{escape(each["model"].removeprefix("intact "))}</text>'
        for each in ours
    ]


def _legend(names: Sequence[str], colours: dict[str, str]) -> list[str]:
    """Say whose each colour is."""
    parts, x = [], WIDTH - RIGHT + 24
    for row, name in enumerate(names):
        y = TOP + 14 + 22 * row
        faint = name == "Intact, every method"
        colour, radius = colours.get(name, COLOURS[0]), 3 if faint else 5
        opacity = FAINT if faint else 1
        parts.append(f'<circle fill="{colour}" cx="{x}" cy="{y}" r="{radius}" opacity="{opacity}"/>')
        parts.append(f'<text x="{x + 14}" y="{y + 4}">{escape(name)}</text>')
    y = TOP + 14 + 22 * len(names)
    line = f'<line class="float" x1="{x - 8}" x2="{x + 8}" y1="{y}" y2="{y}"/>'
    return [*parts, line, f'<text x="{x + 14}" y="{y + 4}">float</text>']
