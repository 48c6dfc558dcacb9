import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.compress.check import Verdict, compare
from intact.report import Span, plots

HOSTILE = "</title><script>alert(1)</script>\"' onload='x"
reals = st.floats(-1e6, 1e6)


def shapes(svg: str, look: str) -> list[ElementTree.Element]:
    """Return the shapes of one class, read by a strict parser."""
    return [shape for shape in ElementTree.fromstring(svg) if shape.get("class") == look]  # noqa: S314


def horizontals(svg: str) -> list[float]:
    """Return every horizontal position and width, in percent."""
    return [float(number) for number in re.findall(r'(?:x|x1|x2|cx|width)="([-0-9.]+)%"', svg)]


def test_a_bar_is_as_long_as_its_share() -> None:
    svg = plots.bar(30, 120, "a quarter", look="float", whisker=(24, 60))
    assert [shape.get("width") for shape in shapes(svg, "float")] == ["25.00%"]
    spread = shapes(svg, "whisker")[0]
    assert (spread.get("x1"), spread.get("x2")) == ("20.00%", "50.00%")


def test_every_picture_names_itself_and_escapes_its_name(verdicts: dict[str, Verdict]) -> None:
    span = Span(low=0.0, high=1.0, code_low=0.0, code_high=2.0, encoding="uint8")
    for svg in (plots.bar(1, 2, HOSTILE), plots.span(span, HOSTILE), plots.interval(verdicts["pass"])):
        assert 'role="img"' in svg
        assert "<script" not in svg
        assert ElementTree.fromstring(svg)[0].tag == "title"  # noqa: S314
    assert ElementTree.fromstring(plots.bar(1, 2, HOSTILE))[0].text == HOSTILE  # noqa: S314


def test_a_span_shows_what_is_cut_off() -> None:
    svg = plots.span(Span(low=-1.0, high=5.0, code_low=0.0, code_high=4.0, encoding="uint8"), "cut")
    assert [(shape.get("x"), shape.get("width")) for shape in shapes(svg, "clipped")] == [
        ("0.00%", "16.67%"),
        ("83.33%", "16.67%"),
    ]
    assert [shape.get("width") for shape in shapes(svg, "seen")] == ["66.67%"]
    whole = plots.span(Span(low=0.0, high=4.0, code_low=0.0, code_high=4.0, encoding="uint8"), "whole")
    assert not shapes(whole, "clipped")


@given(st.tuples(reals, reals).map(sorted), st.tuples(reals, reals).map(sorted).filter(lambda ends: ends[0] < ends[1]))
def test_a_span_stays_inside_its_picture(seen: list[float], codes: list[float]) -> None:
    span = Span(low=seen[0], high=seen[1], code_low=codes[0], code_high=codes[1], encoding="")
    assert all(0 <= place <= 100 for place in horizontals(plots.span(span, "")))


@given(difference=st.floats(-1, 1), below=st.floats(0, 1), above=st.floats(0, 1), max_drop=st.floats(0, 1))
def test_the_verdict_stays_inside_its_picture(difference: float, below: float, above: float, max_drop: float) -> None:
    verdict = replace(
        compare(0.8, 0.8, max_drop), difference=difference, interval=(difference - below, difference + above)
    )
    svg = plots.interval(verdict)
    assert all(0 <= place <= 100 for place in horizontals(svg))
    budget, zero = (float(shapes(svg, look)[0].get("x1", "").rstrip("%")) for look in ("limit", "zero"))
    point = float(shapes(svg, "point")[0].get("cx", "").rstrip("%"))
    assert budget <= zero
    assert (point >= budget - 0.01) == (difference >= -max_drop) or abs(point - budget) < 0.02
    assert budget > 25  # room for its label


def test_a_verdict_without_interval_is_a_point(verdicts: dict[str, Verdict]) -> None:
    svg = plots.interval(verdicts["by value"])
    assert shapes(svg, "interval")[0].get("width") == "0.00%"
    assert "−0.01" in svg
    assert "to" not in "".join(ElementTree.fromstring(svg).itertext()).replace("no change", "").split()  # noqa: S314


@pytest.mark.parametrize(("value", "text"), [(0.0, "0"), (-0.001462, "−0.00146"), (0.5, "+0.5"), (12.0, "+12")])
def test_signed_numbers(value: float, text: str) -> None:
    assert plots.signed(value) == text
