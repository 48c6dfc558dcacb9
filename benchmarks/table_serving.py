"""Tables of serving in Markdown."""

from __future__ import annotations

from pathlib import Path

from results import pick
from table_text import interval, lines, made_with, markdown, only, title


def serving(folder: Path) -> str:
    """Processor time a request, by case and callers, and the ratio of ours to each peer."""
    records = lines("serving", folder)
    requests = pick(records, kind="request")
    cases = list(dict.fromkeys((record["case"], record["callers"]) for record in requests))
    rows = [
        [title(name), *(f"{only(requests, case=c, callers=n, candidate=name)['cpu_ms']:.2f}" for c, n in cases)]
        for name in dict.fromkeys(record["candidate"] for record in requests)
    ]
    ratios = pick(records, kind="ratio")
    for ours, peer in dict.fromkeys((each["ours"], each["peer"]) for each in ratios if each.get("target")):
        found = [only(ratios, case=case, callers=callers, ours=ours, peer=peer) for case, callers in cases]
        name = f"ratio, {ours.removeprefix('intact, ')} to {peer}"
        rows.append([name, *(interval(each) for each in found)])
    note = (
        "Intact with API key, grant with a limit, guard, durable log and signed receipt; the others with nothing on. "
        "Processor time of the whole server; ratios: median and bootstrap 95 % interval.  \n"
    )
    head = ["processor ms a request", *(f"{case}, {callers} callers" for case, callers in cases)]
    return markdown(head, rows, note + made_with(records, ("onnxruntime", "cryptography")))


def waits(folder: Path) -> str:
    """How long callers wait, by case and callers: median, and the 99th percentile as a multiple of it."""
    records = lines("serving", folder)
    requests = pick(records, kind="request")
    cases = list(dict.fromkeys((record["case"], record["callers"]) for record in requests))
    rows = []
    for name in dict.fromkeys(record["candidate"] for record in requests):
        found = [only(requests, case=case, callers=callers, candidate=name) for case, callers in cases]
        cells = [f"{each['median_ms']:.1f} / {each['p99_over_median']:.1f}x / {each['rate']:.0f}" for each in found]
        rows.append([title(name), *cells])
    note = "Load and server share two cores. Median wait in ms / 99th percentile over it / requests a second.  \n"
    head = ["", *(f"{case}, {callers} callers" for case, callers in cases)]
    return markdown(head, rows, note + made_with(records, ("onnxruntime", "cryptography")))
