import math
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from intact.compress.check import Verdict
from intact.report import (
    Artifact,
    Engine,
    KeptFloat,
    Latency,
    Layer,
    ReportData,
    Reproduction,
    Sizes,
    Span,
    render,
)
from intact.report.render import costliest, size_in_words, speedups, three_digits, time_in_words

CHROMIUM = Path("/usr/bin/chromium")
VOID = {"meta", "col", "br"}


class Page(HTMLParser):
    """A document read tag by tag, its nesting checked."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data if "style" not in self.open else ""

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def hostile(text: str) -> ReportData:
    """Return a report whose every text is `text`."""
    span = Span(low=-1.0, high=1.0, code_low=-2.0, code_high=2.0, encoding=text)
    times = {"engine": text, "shape": text, "median_ms": 1.0, "p10_ms": 1.0, "p90_ms": 1.0}
    return ReportData(
        model=text,
        created=text,
        profile=text,
        metric=text,
        sizes=Sizes(float_bytes=0, integer_bytes=0),
        latencies=(Latency(kind="float", **times), Latency(kind="integer", **times)),
        layers=(Layer(name=text, op=text, sqnr_db=-3.0, activation=span, weights=span, cost=1.0),),
        cost_unit=text,
        kept_float=(KeptFloat(name=text, op=text, reason=text),),
        engines=(Engine(name=text, version=text, conforms=False, note=text),),
        artifact=Artifact(artifact_id=text, digest=text, recipients=0, signer=text),
        reproduction=Reproduction(
            command=text,
            recipe=text,
            versions=((text, text),),
            host=text,
            source_digest=text,
            calibration_digest=text,
        ),
    )


def test_the_verdict_comes_first_and_every_section_is_there(report: ReportData) -> None:
    page = Page(render(report))
    headings = re.findall(r"<h[12][^>]*>([^<]+)<", render(report))
    assert headings == [
        "resnet20-cifar10",
        "Pass: the integer model is within its accuracy budget",
        "Accuracy",
        "Size",
        "Speed",
        "Layers",
        "What stayed float",
        "Engines",
        "Artifact",
        "To build it again",
    ]
    for text in ("3.44× smaller", "1.40× faster", "98.1", "no exact integer form", "vector 2 differs", "2⁻⁷"):
        assert text in page.text


@pytest.mark.parametrize(
    ("outcome", "headline"),
    [("pass", "Pass:"), ("fail", "Fail:"), ("inconclusive", "Inconclusive:"), ("by value", "Fail:")],
)
def test_every_outcome_has_its_banner(
    report: ReportData, verdicts: dict[str, Verdict], outcome: str, headline: str
) -> None:
    page = Page(render(replace(report, verdict=verdicts[outcome])))
    assert headline in page.text
    sections = [attributes["class"] for tag, attributes in page.tags if tag == "section" and "class" in attributes]
    assert sections == [f"verdict {verdicts[outcome].outcome}"]
    if outcome == "by value":
        assert "no interval can be given" in page.text


def test_nothing_but_a_name_still_makes_a_page() -> None:
    page = Page(render(ReportData(model="bare")))
    assert "Not checked: no evaluation was given" in page.text
    assert page.count("h2") == 1
    assert page.count("table") == page.count("dl") == page.count("svg") == 0


@pytest.mark.parametrize("part", ["sizes", "latencies", "layers", "kept_float", "engines", "artifact", "reproduction"])
def test_a_part_that_is_missing_takes_its_section_with_it(report: ReportData, part: str) -> None:
    whole, without = Page(render(report)), Page(render(replace(report, **{part: getattr(ReportData(model="m"), part)})))
    assert without.count("h2") == whole.count("h2") - 1


def test_layers_without_ranges_or_errors_leave_those_tables_out(report: ReportData) -> None:
    bare = replace(report, layers=(Layer(name="a", op="Conv"),))
    assert "Error per layer" not in render(bare)
    assert "Ranges and encodings" not in render(bare)
    assert "What costs most" not in render(bare)


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "\"' onmouseover='x", "&amp;<img src=x>", "]]>--><b>"])
def test_hostile_texts_stay_texts(text: str) -> None:
    page = Page(render(hostile(text)))
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "img", "b"})
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.text.count(text) > 20


def test_nothing_is_loaded_from_elsewhere(report: ReportData) -> None:
    source = render(report)
    page = Page(source)
    assert "http:" not in source
    assert "https:" not in source
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "img", "iframe", "object", "base", "form"})
    for _, attributes in page.tags:
        assert attributes.keys().isdisjoint({"src", "href", "style", "srcset"})
    assert "url(" not in source
    assert "@import" not in source


def test_headings_and_tables_can_be_read_aloud(report: ReportData) -> None:
    page = Page(render(report))
    assert page.count("caption") == page.count("table") == 7
    assert page.count("h1") == 1
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert pictures
    assert all(attributes["role"] == "img" for attributes in pictures)
    assert render(report).count("<title>") == len(pictures) + 1
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")


def test_the_same_data_make_the_same_bytes(report: ReportData) -> None:
    assert render(report) == render(replace(report))


def test_an_error_free_layer_is_called_exact() -> None:
    page = Page(render(ReportData(model="m", layers=(Layer(name="a", op="Conv", sqnr_db=math.inf),))))
    assert "exact" in page.text
    assert "What costs most" not in page.text


def test_a_layer_that_is_mostly_noise_has_no_bar() -> None:
    source = render(ReportData(model="m", layers=(Layer(name="a", op="Conv", sqnr_db=-3.0),)))
    assert re.findall(r'<rect class="(?:error|costly)"[^>]* width="([^"]+)"', source) == ["0.00%", "0.00%"]


def test_the_costliest_layers_come_worst_first() -> None:
    layers = [Layer(name=str(i), op="Conv", sqnr_db=30.0 - i, cost=float(i % 7)) for i in range(12)]
    assert [layer.name for layer in costliest(layers)] == ["6", "5", "4", "11", "3"]
    uncosted = [replace(layer, cost=None) for layer in layers]
    assert [layer.name for layer in costliest(uncosted)] == ["11", "10", "9", "8", "7"]
    assert "By the error of the layer&#39;s own output" in render(
        ReportData(model="m", layers=tuple(uncosted))
    ).replace("'", "&#39;")


def test_speedups_compare_the_fastest_of_each_model_shape_by_shape(report: ReportData) -> None:
    lonely = replace(report.latencies[0], shape="64x3x32x32")
    found = speedups([*report.latencies, lonely])
    assert [shape for shape, _, _ in found] == ["1x3x32x32", "32x3x32x32"]
    assert found[0][1:] == pytest.approx((0.334, 0.238))


def test_a_slower_integer_model_is_called_slower(report: ReportData) -> None:
    slow = tuple(
        replace(row, median_ms=9.0, p10_ms=9.0, p90_ms=9.0) if row.kind == "integer" else row
        for row in report.latencies
    )
    assert "26.95× slower" in render(replace(report, latencies=slow))


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (318_220, "318 kB"), (999_600, "1.00 MB"), (23_200_000, "23.2 MB"),
     (7_000_000_000, "7.00 GB"), (2_000_000_000_000, "2000 GB")],
)  # fmt: skip
def test_sizes_in_words(size: int, text: str) -> None:
    assert size_in_words(size) == text


def test_times_in_words() -> None:
    assert [time_in_words(ms) for ms in (0.238, 5.0, 138.4, 1500.0)] == ["0.238 ms", "5.00 ms", "138 ms", "1500 ms"]
    assert [three_digits(value) for value in (99.94, 99.96, 0.0)] == ["99.9", "100", "0.00"]


# in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    flags = ["no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
    flags += ["disable-component-update", "disable-sync"]
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=[f"--{flag}" for flag in flags])
        yield chromium
        chromium.close()


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("case", ["report", "hostile"])
def test_a_browser_shows_it_quietly(browser: object, report: ReportData, tmp_path: Path, case: str, width: int) -> None:
    file = tmp_path / "report.html"
    long = "<script>alert(1)</script>" + "very_long_name_" * 100
    file.write_text(render(report if case == "report" else hostile(long)), encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 900})  # type: ignore[attr-defined]
    spoken: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: spoken.append(message.text))
    page.on("pageerror", lambda error: spoken.append(str(error)))
    page.on("dialog", lambda dialog: spoken.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    headline = page.locator("h2").first
    assert headline.is_visible()
    assert ("Pass:" if case == "report" else "Not checked:") in headline.inner_text()
    # the style sheet passed the security policy, and nothing is wider than the window
    assert page.evaluate("getComputedStyle(document.querySelector('.verdict')).borderLeftWidth") == "6px"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert spoken == []
    assert asked == [file.as_uri()]
    page.close()


def test_the_report_says_when_float_is_faster() -> None:
    def row(kind: str, median: float) -> Latency:
        return Latency(engine="e", kind=kind, shape="1x3", median_ms=median, p10_ms=median, p90_ms=median)  # type: ignore[arg-type]

    wins = render(ReportData(model="m", latencies=(row("float", 1.0), row("integer", 2.0))))
    loses = render(ReportData(model="m", latencies=(row("float", 2.0), row("integer", 1.0))))
    assert "the float model is the faster one" in wins
    assert "the float model is the faster one" not in loses
