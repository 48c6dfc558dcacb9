"""What the guard finds, what gets past it, and what it costs, as tables in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from results import Record, pick
from table_text import DASH, lines, made_with, markdown, only

CHECKS = ("mahalanobis", "energy", "confidence", "abstain", "range", "output_range", "squeeze")
TOGETHER = ("default checks", "all checks")
ATTACKS = ("FGSM", "PGD", "adaptive")
NOTE = (
    "AUROC, and after the stroke the share that the threshold finds, in percent; false alarms are of 10,000 test "
    "images. Attacked images are those that fool the integer model, of test images that it has right; the number "
    "beside an attack is how far a pixel may move.  \n"
)


def detection(folder: Path) -> str:
    """How well strangers and attacked images are told apart, a table a model."""
    records = lines("guard", folder)
    models = list(dict.fromkeys(record["model"] for record in records))
    tables = "\n\n".join(_detection(records, model) for model in models)
    return f"{tables}\n\n{NOTE}{_made(records)}"


def _made(records: list[Record]) -> str:
    return made_with(records, ("onnxruntime", "torch"))


def _detection(records: list[Record], model: str) -> str:
    found = pick(records, kind="detection", model=model)
    cases = list(dict.fromkeys(record["case"].split(": ")[0] for record in found))
    rows = []
    for check in (*CHECKS, *TOGETHER):
        alarms = pick(records, kind="false alarms", model=model, case=check)
        if not alarms:
            continue
        cells = [_cell(pick(found, case=f"{case}: {check}")) for case in cases]
        rows.append([f"**{check}**" if check in TOGETHER else f"`{check}`", f"{100 * alarms[0]['found']:.1f}", *cells])
    accuracy = only(records, kind="accuracy", model=model)["accuracy"]
    head = [f"{model}, accuracy {accuracy:.1f} %", "false alarms, %", *cases]
    return markdown(head, rows, "").rstrip()


def _cell(found: list[Record]) -> str:
    if not found:
        return DASH
    share = f"{100 * found[0]['found']:.0f}"
    return share if found[0]["auroc"] is None else f"{found[0]['auroc']:.3f} / {share}"


def evasion(folder: Path) -> str:
    """How many attacked images fool the model, and how many fool the guard too."""
    records = lines("guard", folder)
    found = pick(records, kind="attack")
    rows = []
    for model in dict.fromkeys(record["model"] for record in found):
        cases = [record["case"] for record in pick(found, model=model) if "unseen" not in record["case"]]
        for case in cases:
            alone = only(found, model=model, case=case)
            past = [pick(found, model=model, case=f"{case}, unseen by {which}") for which in TOGETHER]
            cells = [f"{100 * each[0]['fooled']:.0f}" if each else DASH for each in past]
            rows.append([f"{model}, {case}", f"{100 * alone['fooled']:.0f}", *cells, str(alone["images"])])
    head = ["attack, distance", "fools the model, %", "and the default checks, %", "and `squeeze` too, %", "images"]
    note = "FGSM and PGD know the float model; the adaptive attacker has the contract too, and attacks all checks.  \n"
    return markdown(head, rows, note + _made(records))


def probing(folder: Path) -> str:
    """How many subjects set off the alarm, by what they ask."""
    records = lines("guard", folder)
    found = pick(records, kind="probing")
    models = list(dict.fromkeys(record["model"] for record in found))
    rows = []
    for case in dict.fromkeys(record["case"] for record in found):
        each = [only(found, model=model, case=case) for model in models]
        rows.append([case, *(f"{one['alarms']} of {one['subjects']}, W {one['least']:.2f}" for one in each)])
    head = [f"{found[0]['queries']} queries a subject", *models]
    return markdown(head, rows, "Alarms, and the median over subjects of the least W.  \n" + _made(records))


def cost(folder: Path) -> str:
    """Microseconds a row, and what a build takes more."""
    records = lines("guard", folder)
    models = list(dict.fromkeys(record["model"] for record in records))
    times = pick(records, kind="cost")
    names = list(dict.fromkeys(record["case"] for record in times))
    rows = []
    for name in names:
        cells = [pick(times, model=model, case=name) for model in models]
        rows.append([name, *(f"{each[0]['microseconds']:.1f}" if each else DASH for each in cells)])
    builds = [only(records, kind="build", model=model) for model in models]
    rows.append(["a build, s more", *(f"{each['seconds_with'] - each['seconds_without']:.2f}" for each in builds)])
    rows.append(["an artifact, bytes more", *(f"{each['bytes_with'] - each['bytes_without']:,}" for each in builds)])
    head = ["microseconds of processor time a call of one row", *models]
    return markdown(head, rows, _made(records))


TABLES: Mapping[str, Callable[[Path], str]] = {
    "guard": detection,
    "guard_evasion": evasion,
    "guard_probing": probing,
    "guard_cost": cost,
}
