"""Report data to one HTML file that asks for nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined

from intact.report import plots
from intact.report.data import Latency, Layer, ReportData
from intact.report.pareto import picture

COSTLIEST = 5
"""How many layers the list of the costliest names."""


def render(data: ReportData) -> str:
    """Return the report as one HTML document.

    Every text in `data` is escaped. The document loads nothing: its one style sheet is inline and named by digest in a
    content security policy that forbids the rest, scripts included.
    """
    style = resources.files("intact.report").joinpath("style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            data=data,
            style=style,
            style_digest=digest,
            costliest=costliest(data.layers),
            speedups=speedups(data.latencies),
            by_shape=by_shape(data.latencies),
            full_db=max([1.0, *(db for layer in data.layers if (db := finite(layer.sqnr_db)) is not None)]),
        )
    )


def costliest(layers: Iterable[Layer]) -> list[Layer]:
    """Return the layers that cost most, worst first: by cost where it was measured, else by their own error."""
    known = [layer for layer in layers if layer.cost is not None and layer.cost > 0]
    if known:
        return sorted(known, key=lambda layer: -(layer.cost or 0.0))[:COSTLIEST]
    noisy = [layer for layer in layers if finite(layer.sqnr_db) is not None]
    return sorted(noisy, key=lambda layer: layer.sqnr_db or 0.0)[:COSTLIEST]


def by_shape(latencies: Iterable[Latency]) -> dict[str, list[Latency]]:
    """Return the times grouped by input shape, in the order given."""
    groups: dict[str, list[Latency]] = {}
    for row in latencies:
        groups.setdefault(row.shape, []).append(row)
    return groups


def speedups(latencies: Iterable[Latency]) -> list[tuple[str, float, float]]:
    """Return per shape the fastest float and the fastest integer median in ms, of the shapes that have both."""
    best = {
        shape: [min((row.median_ms for row in rows if row.kind == kind), default=None) for kind in ("float", "integer")]
        for shape, rows in by_shape(latencies).items()
    }
    return [
        (shape, before, after) for shape, (before, after) in best.items() if before is not None and after is not None
    ]


def finite(value: float | None) -> float | None:
    """Return a finite number, or None."""
    return value if value is not None and math.isfinite(value) else None


def size_in_words(size_bytes: int) -> str:
    """Write bytes in decimal units with three significant digits."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" else f"{three_digits(size)} {unit}"
        size /= 1000
    return f"{three_digits(size)} GB"


def time_in_words(milliseconds: float) -> str:
    """Write a time in ms with three significant digits."""
    return f"{three_digits(milliseconds)} ms"


def three_digits(value: float) -> str:
    """Write a number >= 0 with three significant digits, trailing zeros kept, and no exponent above 1."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:#.3g}"


def ratio_in_words(before: float, after: float, better: str, worse: str) -> str:
    """Say how many times better `after` is than `before`, smaller being better."""
    if min(before, after) <= 0:
        return ""
    factor = before / after
    return f"{factor:.2f}× {better}" if factor >= 1 else f"{1 / factor:.2f}× {worse}"


def metric_in_words(value: float) -> str:
    """Write a metric with four decimals where it is a share, else with four significant digits."""
    return f"{value:.4f}" if abs(value) <= 1 else f"{value:.4g}"


def range_in_words(low: float, high: float) -> str:
    """Write the ends of a range with three significant digits."""
    return f"{low:.3g} to {high:.3g}".replace("-", "−").replace("e−", "e-")


def sentence(text: str) -> str:
    """Write an error-style remark as a sentence."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


@cache
def _environment() -> Environment:
    """Return the template engine, everything escaped, nothing undefined let through."""
    environment = Environment(
        loader=PackageLoader("intact.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        size=size_in_words,
        digits=three_digits,
        time=time_in_words,
        sentence=sentence,
        metric=metric_in_words,
        signed=plots.signed,
        finite=finite,
    )
    environment.globals.update(
        bar=plots.bar, span=plots.span, interval=plots.interval, ratio=ratio_in_words, between=range_in_words
    )
    environment.globals.update(pareto=picture)
    return environment
