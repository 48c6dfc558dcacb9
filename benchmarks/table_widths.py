"""Tables of models at every width: each row a model, ours first, then the peers from the best to the worst."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from results import Record, pick
from table_text import DASH, interval, lines, made_with, markdown, milliseconds, only

PACKAGES = ("onnxruntime", "openvino", "torch")
ORDER = ("W8A8", "W8", "W4A8", "W4A4", "W4", "W3A8", "W3")
"""Widths as the tables go through them; others follow, the widest first."""
WIDTHS = re.compile(r"\bW(\d)(?:A(\d))?\b")

Cell = Callable[[Record], str]


def resnet20(folder: Path) -> str:
    """Both tables of ResNet-20."""
    columns = {
        "accuracy, %": lambda record: f"{record['accuracy']:.2f}",
        "agrees with float, %": lambda record: f"{record['agreement']:.2f}",
        "MB": lambda record: _size(record, 3),
        "made in, s": _seconds,
        "runs as": _runs,
    }
    records = lines("widths_resnet20", folder)
    return f"{_quality(records, columns, 'agreement')}\n\n{_latency(records)}"


def minilm(folder: Path) -> str:
    """Both tables of MiniLM."""
    columns = {
        "cosine to float, mean": lambda record: f"{record['mean_cosine']:.4f}",
        "worst": lambda record: f"{record['worst_cosine']:.3f}",
        "STS-B Spearman": lambda record: f"{record['spearman']:.2f}",
        "MB": lambda record: _size(record, 1),
        "made in, s": _seconds,
        "peak memory, MB": _memory,
    }
    records = lines("widths_minilm", folder)
    return f"{_quality(records, columns, 'mean_cosine')}\n\n{_latency(records)}"


def stories(folder: Path) -> str:
    """The table of stories260K."""
    columns = {
        "perplexity": lambda record: f"{record['perplexity']:.3f}",
        "MB": lambda record: _size(record, 3),
        "made in, s": _seconds,
    }
    return _quality(lines("widths_stories", folder), columns, "worse_nats", less=True)


def _quality(records: Sequence[Record], columns: dict[str, Cell], score: str, *, less: bool = False) -> str:
    """Return the table of all points, by width."""
    floating = only(records, kind="point", model="float")
    rows = [_row("float", floating, columns)]
    points = [record for record in pick(records, kind="point") if record is not floating]
    for width in _widths(points):
        group = [record for record in points if _width(record["model"]) == width]
        ours = [record for record in group if record["owner"] == "intact"]
        peers = [record for record in group if record["owner"] != "intact"]
        ordered = (*_best_first(ours, score, less), *_best_first(peers, score, less))
        rows += [_row(_name(record), record, columns) for record in ordered]
    notes = ["¹ counted: codes, scales and what stays float; its toolkit writes no file that small."]
    notes += [f"{each['candidate']} is missing: {each['reason']}." for each in pick(records, kind="absent")]
    return markdown(["", *columns], rows, "  \n".join([*notes, made_with(records, PACKAGES)]))


def _row(name: str, record: Record, columns: dict[str, Cell]) -> list[str]:
    return [name, *(cell(record) for cell in columns.values())]


def _best_first(records: Sequence[Record], score: str, less: bool) -> list[Record]:
    return sorted(records, key=lambda record: record[score], reverse=not less)


def _widths(points: Sequence[Record]) -> list[str]:
    """Return the widths there are, in the order of the tables."""
    found = {_width(record["model"]) for record in points}
    return [*(each for each in ORDER if each in found), *sorted(found - set(ORDER), reverse=True)]


def _width(name: str) -> str:
    match = WIDTHS.search(name)
    return match[0] if match else "W8A8"


def _name(record: Record) -> str:
    name = record["model"]
    return f"**Intact** {name.removeprefix('intact ')}" if record["owner"] == "intact" else name


def _size(record: Record, digits: int) -> str:
    return f"{record['size_bytes'] / 1e6:.{digits}f}{'¹' if record.get('counted') else ''}"


def _seconds(record: Record) -> str:
    return f"{record['seconds']:.0f}" if "seconds" in record else DASH


def _memory(record: Record) -> str:
    return f"{record['peak_bytes'] / 1e6:.0f}" if record.get("peak_bytes") else DASH


def _runs(record: Record) -> str:
    if record["owner"] == "float":
        return "float"
    if record["owner"] == "intact":
        return f"{record['profile']} integers"
    return "engine" if record["runs"] else "simulation"


def _latency(records: Sequence[Record]) -> str:
    """Return the table of times, with the ratios that were asked for."""
    timed = pick(records, kind="latency")
    if not timed:
        return "No times were taken."
    cases = list(dict.fromkeys(record["case"] for record in timed))
    rows = [
        [_candidate(name), *(milliseconds(only(timed, case=case, candidate=name)) for case in cases)]
        for name in dict.fromkeys(record["candidate"] for record in timed)
    ]
    ratios = pick(records, kind="ratio")
    for ours, peer in dict.fromkeys((record["ours"], record["peer"]) for record in ratios):
        found = [only(ratios, case=case, ours=ours, peer=peer) for case in cases]
        rows.append([f"ratio, {_candidate(ours)} to {_candidate(peer)}", *(interval(each) for each in found)])
    note = "Ratios: median and bootstrap 95 % interval.  \n"
    return markdown(["ms, median", *cases], rows, note + made_with(records, PACKAGES))


def _candidate(name: str) -> str:
    return f"**Intact** {name.removeprefix('intact ')}" if name.startswith("intact ") else name
