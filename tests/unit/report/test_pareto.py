"""The front in the report."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from intact.report import Mark, Pareto, ReportData, render, to_json
from intact.report.pareto import HEIGHT, picture

HOSTILE = "</title><script>alert(1)</script>\"' onload='x"
marks = st.builds(
    Mark,
    cost=st.integers(0, 10**12),
    error=st.floats(-1.0, 1e6),
    look=st.sampled_from(["predicted", "passed", "missed", "chosen"]),
    title=st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]), max_size=20),
)


def pareto(*checked: Mark, text: str = "bytes") -> Pareto:
    predicted = tuple(Mark(cost=100 - i, error=10.0 ** (i - 5), look="predicted", title=text) for i in range(5))
    return Pareto(unit=text, max_drop=0.01, predicted=predicted, checked=checked)


def circles(svg: str) -> list[ElementTree.Element]:
    return [shape for shape in ElementTree.fromstring(svg) if shape.tag == "circle"]  # noqa: S314


@given(st.lists(marks, max_size=6))
def test_every_point_lies_inside(checked: list[Mark]) -> None:
    for circle in circles(picture(pareto(*checked))):
        assert 0 <= float(circle.get("cx", "").removesuffix("%")) <= 100
        assert 0 <= float(circle.get("cy", "")) <= HEIGHT


def test_dearer_lies_to_the_right_and_worse_above() -> None:
    shown = circles(picture(pareto()))
    places = [(float(c.get("cx", "").removesuffix("%")), float(c.get("cy", ""))) for c in shown]
    assert places == sorted(places, reverse=True)


def test_one_point_alone_is_drawn_in_the_middle() -> None:
    mark = Mark(cost=5, error=0.0, look="chosen", title="only")
    (circle,) = circles(picture(Pareto(unit="u", max_drop=0.1, predicted=(), checked=(mark,))))
    assert circle.get("cx") == "50.00%"


def test_the_picture_names_itself_and_escapes_what_it_tells() -> None:
    svg = picture(pareto(Mark(cost=1, error=0.1, look="missed", title=HOSTILE), text=HOSTILE))
    assert "<script" not in svg
    assert ElementTree.fromstring(svg)[0].tag == "title"  # noqa: S314
    assert circles(svg)[-1][0].text == HOSTILE


def test_the_report_has_a_section_for_it_and_none_without() -> None:
    taken = Mark(cost=96, error=0.5, look="chosen", title="3.5 bits a weight, chosen: it passes")
    page = render(ReportData(model="m", pareto=pareto(taken)))
    assert "What could be had" in page
    assert "3.5 bits a weight, chosen: it passes" in page
    assert len(re.findall("<circle", page)) == 6
    assert "What could be had" not in render(ReportData(model="m"))
    assert to_json(ReportData(model="m", pareto=pareto(taken)))["pareto"]["checked"][0]["cost"] == 96
