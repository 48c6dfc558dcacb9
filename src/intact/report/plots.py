"""Small pictures as inline SVG: pure functions of numbers, coloured by the page's style sheet.

Horizontal positions are percentages and vertical ones pixels: a picture fills its cell, its text keeps its size.
"""

from __future__ import annotations

from markupsafe import Markup

from intact.compress.check import Verdict
from intact.report.data import Span

BAR_HEIGHT = 14
MARGIN = 0.75
"""Room on either side of the verdict's plot, as a share of what it shows, for the labels."""


def bar(
    value: float, full: float, title: str, *, look: str = "integer", whisker: tuple[float, float] | None = None
) -> Markup:
    """Draw `value` as a bar on an axis from 0 to `full`.

    Args:
        value: Length, 0 to full; beyond it is cut.
        full: Value of the whole width, > 0.
        title: What a reader who cannot see it is told.
        look: Class of the bar: integer, float, sealed, error or costly.
        whisker: Ends of a spread to draw across the bar.
    """
    parts = [Markup('<rect class="{}" x="0" y="2" width="{}" height="10" rx="2"/>').format(look, _percent(value, full))]
    if whisker is not None:
        start, end = (_percent(point, full) for point in whisker)
        parts.append(Markup('<line class="whisker" x1="{}" x2="{}" y1="7" y2="7"/>').format(start, end))
        parts += [Markup('<line class="whisker" x1="{0}" x2="{0}" y1="4" y2="10"/>').format(x) for x in (start, end)]
    return _picture("bar", BAR_HEIGHT, title, parts)


def span(values: Span, title: str) -> Markup:
    """Draw the values seen over the values the codes hold; what the codes cut off has the class `clipped`."""
    low, high = min(values.low, values.code_low, 0.0), max(values.high, values.code_high, 0.0)

    def block(look: str, start: float, end: float, y: int, height: int) -> Markup:
        width = _percent(end - start, high - low)
        shape = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="2"/>')
        return shape.format(look, _percent(start - low, high - low), y, width, height)

    parts = [block("codes", values.code_low, values.code_high, 2, 10)]
    inside = max(values.low, values.code_low), min(values.high, values.code_high)
    if inside[0] < inside[1]:
        parts.append(block("seen", *inside, 4, 6))
    if values.low < values.code_low:
        parts.append(block("clipped", values.low, min(values.code_low, values.high), 4, 6))
    if values.high > values.code_high:
        parts.append(block("clipped", max(values.code_high, values.low), values.high, 4, 6))
    zero = _percent(-low, high - low)
    parts.append(Markup('<line class="zero" x1="{0}" x2="{0}" y1="0" y2="14"/>').format(zero))
    return _picture("span", BAR_HEIGHT, title, parts)


def interval(verdict: Verdict) -> Markup:
    """Draw the difference with its interval, the budget and the place of no change."""
    low, high = verdict.interval or (verdict.difference, verdict.difference)
    first, last = min(low, -verdict.max_drop), max(high, 0.0)
    room = (last - first or 1.0) * MARGIN
    start, full = first - room, last - first + 2 * room

    def place(value: float) -> str:
        return _percent(value - start, full)

    budget, zero = place(-verdict.max_drop), place(0.0)
    spread = (
        f"{signed(verdict.difference)} ({signed(low)} to {signed(high)})"
        if verdict.interval
        else signed(verdict.difference)
    )
    parts = [
        Markup('<rect class="allowed" x="{}" y="20" width="{}" height="28"/>').format(
            budget, _percent(full - (-verdict.max_drop - start), full)
        ),
        Markup('<line class="axis" x1="0" x2="100%" y1="34" y2="34"/>'),
        Markup('<line class="limit" x1="{0}" x2="{0}" y1="20" y2="48"/>').format(budget),
        Markup('<line class="zero" x1="{0}" x2="{0}" y1="20" y2="48"/>').format(zero),
        Markup('<text x="{}" dx="-6" y="13" text-anchor="end">budget {}</text>').format(
            budget, signed(-verdict.max_drop)
        ),
        Markup('<text x="{}" dx="6" y="13">no change</text>').format(zero),
        Markup('<rect class="interval" x="{}" y="30" width="{}" height="8" rx="4"/>').format(
            place(low), _percent(high - low, full)
        ),
        Markup('<circle class="point" cx="{}" cy="34" r="6"/>').format(place(verdict.difference)),
        Markup('<text class="strong" x="50%" y="66" text-anchor="middle">{}</text>').format(spread),
    ]
    return _picture("interval", 72, f"difference {spread}, budget {signed(-verdict.max_drop)}", parts)


def signed(value: float) -> str:
    """Write a number with its sign and three significant digits, `0` for zero."""
    if value == 0:
        return "0"
    return f"{'+' if value > 0 else '−'}{abs(value):.3g}"


def _percent(value: float, full: float) -> str:
    """Return value / full as a percentage between 0 and 100."""
    return f"{100 * min(max(value / full, 0.0), 1.0):.2f}%"


def _picture(look: str, height: int, title: str, parts: list[Markup]) -> Markup:
    """Wrap shapes in an SVG element that names itself."""
    frame = Markup('<svg class="{}" role="img" width="100%" height="{}"><title>{}</title>{}</svg>')
    return frame.format(look, height, title, Markup("").join(parts))
