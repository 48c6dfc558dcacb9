"""How good a model is at every width, and what it costs: ours by recipe files, the peers by their own toolkits.

`widths_resnet20.py`, `widths_minilm.py` and `widths_stories.py` each ask it of one model. Scores first.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import onnx

import intact
from contenders import Array, Contender, Feeds, ours, peer, save_calibration
from intact import engine
from peers import Run, onnxruntime_session, openvino_session
from places import ROOT, work
from results import Results
from timing import Plan, clocked, race

THREADS = 2
RECIPES = ROOT / "benchmarks" / "recipes"
SWEPT = (2, 3, 4, 5, 6, 8)
"""Widths at which every method is tried."""
CHECKED = 16
"""Rows on which an exact build is held against the definition, which is slow."""
METHODS = ROOT / "src" / "intact" / "compress" / "methods"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One model at every width.

    Args:
        name: Name of the benchmark, `widths_X`; the recipes `recipes/X_*.toml` are its builds.
        spec: What `intact build` needs.
        calibration: Calibration inputs in pieces.
        outputs: Runs the model on the test data.
        score: Scores by name from outputs and those of the float model.
        script: File of the peers' methods.
        methods: Their names.
        openvino: Settings of the peers' OpenVINO sessions, beyond its defaults.
        cases: Inputs that are timed, by name.
        raced: Names of candidates whose times are taken, ours and the peers'; ours on every engine.
        targets: For (ours, engine, peer): greatest ratio of times that is wanted.
    """

    name: str
    spec: intact.Spec
    calibration: Sequence[Feeds]
    outputs: Callable[[Run], Array]
    score: Callable[[Array, Array], dict[str, float]]
    script: str
    methods: Iterable[str]
    openvino: Mapping[str, str] = field(default_factory=dict)
    cases: Mapping[str, tuple[Feeds, Plan]] = field(default_factory=dict)
    raced: Sequence[str] = ()
    targets: Mapping[tuple[str, str, str], float] = field(default_factory=dict)


def main(question: Question) -> None:
    """Build, score, race, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reuse-peers", action="store_true", help="take what the peers made in an earlier run")
    parser.add_argument("--reuse", action="store_true", help="take our builds of an earlier run too")
    parser.add_argument("--no-sweep", action="store_true", help="do not try every method at every width")
    parser.add_argument("--no-times", action="store_true", help="take no times")
    parser.add_argument("--only", default="", help="look at candidates with this in their name alone")
    parser.add_argument("--times-only", action="store_true", help="score nothing; time what an earlier run made")
    options = parser.parse_args()
    folder = work(question.name)
    results = Results(question.name, THREADS)
    truth = prepare(question, folder, results)
    found: dict[str, Contender] = {}
    options.reuse |= options.times_only
    options.reuse_peers |= options.times_only
    for contender in contenders(question, folder, options):
        if isinstance(contender, Contender):
            if not options.times_only:
                score(question, contender, truth, results)
            found[contender.name] = contender
        else:
            name, reason = contender
            results.add("absent", candidate=name, reason=reason)
    if not options.no_times:
        times(question, folder, found, results)
    results.write(merge=bool(options.only) or options.times_only)


def prepare(question: Question, folder: Path, results: Results) -> Array:
    """Write the float model and the calibration inputs; return and score the float model's outputs."""
    source = folder / "float.onnx"
    onnx.save(question.spec.proto(), source)
    save_calibration(folder / "calibration.npz", question.calibration)
    truth = question.outputs(onnxruntime_session(source, THREADS))
    scores = question.score(truth, truth)
    results.add("point", model="float", owner="float", size_bytes=source.stat().st_size, **scores)
    return truth


def contenders(question: Question, folder: Path, options: argparse.Namespace) -> Iterable[Contender | tuple[str, str]]:
    """Yield every candidate, or its name and why there is none."""
    prefix = f"{question.name.removeprefix('widths_')}_"

    def wanted(name: str) -> bool:
        return options.only in name and (not options.times_only or name in question.raced)

    for recipe in sorted(RECIPES.glob(f"{prefix}*.toml")):
        title = label(recipe.stem.removeprefix(prefix))
        if title != "sweep" and wanted(f"intact {title}"):
            made = ours(f"intact {title}", recipe, folder, reuse=options.reuse)
            yield made if isinstance(made, Contender) else (f"intact {title}", made)
    for name, changes in () if options.no_sweep else swept():
        if wanted(name):
            made = ours(name, RECIPES / f"{prefix}sweep.toml", folder, changes=changes, reuse=options.reuse)
            yield made if isinstance(made, Contender) else (name, made)
    for method in question.methods:
        if wanted(method):
            made = peer(question.script, method, folder, reuse=options.reuse_peers)
            yield made if isinstance(made, Contender) else (method, made)


def swept() -> list[tuple[str, list[str]]]:
    """Return every method of ours at every width: a name, and what it changes in the sweep's recipe."""
    methods = sorted(path.stem for path in METHODS.glob("*.py") if path.stem != "__init__")
    return [(f"sweep {name} W{bits}", [f"method='{name}'", f"weights={bits}"]) for name in methods for bits in SWEPT]


def label(stem: str) -> str:
    """Return a recipe's name as tables show it: `w4a8` as W4A8, `w4_small` as W4 small."""
    return " ".join(part.upper() if part[:1] == "w" and part[1:2].isdigit() else part for part in stem.split("_"))


def score(question: Question, contender: Contender, truth: Array, results: Results) -> None:
    """Score one candidate, after it was seen that the definition agrees where it must."""
    outputs = contender.outputs
    facts: dict[str, Any] = {"runs": outputs is None}
    if outputs is None:
        assert contender.file is not None
        outputs = question.outputs(sessions(question, contender.file)[0][1])
        if contender.file.suffix == ".intact":
            facts |= identity(question, contender.file)
    owner = "intact" if contender.name.startswith(("intact ", "sweep ")) else contender.name.split(" ")[0]
    results.add(
        "sweep" if contender.name.startswith("sweep ") else "point",
        model=contender.name,
        owner=owner,
        **question.score(outputs, truth),
        size_bytes=contender.size_bytes,
        counted=contender.counted,
        seconds=contender.seconds,
        cpu_seconds=contender.cpu_seconds,
        peak_bytes=contender.peak_bytes,
        packages=contender.packages,
        reused=contender.reused,
        **facts,
    )


def identity(question: Question, artifact: Path) -> dict[str, Any]:
    """Return an artifact's profile; where it is exact, see that onnxruntime gives the bits of the definition."""
    model = open_on(artifact, "onnxruntime")
    if model.profile != "exact":
        return {"profile": model.profile}
    feeds = {name: value[:CHECKED] for name, value in question.calibration[0].items()}
    first, second = (next(iter(each.run(feeds).values())) for each in (open_on(artifact, "reference"), model))
    differing = int((first.view("u4") != second.view("u4")).sum())
    assert differing == 0, f"{artifact}: {differing} outputs differ from the definition"
    return {"profile": model.profile, "differing": differing, "compared": first.size}


def open_on(artifact: Path, engine_name: str) -> intact.Model:
    """Open an artifact of ours on one engine."""
    return intact.open(artifact, allow_unsigned=True, engines=[engine_name], threads=THREADS)


def sessions(question: Question, file: Path) -> list[tuple[str, Run]]:
    """Return what can run a file, by engine; for ours every engine that conforms, onnxruntime first."""
    if file.suffix == ".onnx":
        return [("onnxruntime", onnxruntime_session(file, THREADS))]
    if file.suffix == ".xml":
        return [("openvino", openvino_session(file, THREADS, **question.openvino))]
    names = ["onnxruntime", *(name for name in engine.find() if name not in ("onnxruntime", "reference"))]
    found = []
    for name in names:
        try:
            session = open_on(file, name).session
        except intact.CheckFailed:
            continue
        found.append((name, _first_output(session)))
    return found


def _first_output(session: engine.Session) -> Run:
    name = session.outputs[0].name
    return lambda feeds: session.run(feeds)[name]


def times(question: Question, folder: Path, found: Mapping[str, Contender], results: Results) -> None:
    """Race the candidates that the question names, on each of its cases."""
    runs = {"float, onnxruntime": onnxruntime_session(folder / "float.onnx", THREADS)}
    for name in question.raced:
        file = found[name].file if name in found else None
        if file is None:
            continue
        runs |= {f"{name}, {engine_name}": run for engine_name, run in sessions(question, file)}
    for case, (feeds, plan) in question.cases.items():
        timed = race({name: clocked(partial(run, feeds)) for name, run in runs.items()}, plan)
        for name in runs:
            results.add("latency", case=case, candidate=name, **timed.summary(name), others=timed.others)
        for (ours_name, engine_name, peer_name), target in question.targets.items():
            first = f"{ours_name}, {engine_name}"
            second = next((name for name in runs if name.startswith(f"{peer_name}, ")), None)
            if first in runs and second is not None:
                results.add("ratio", case=case, ours=first, peer=peer_name, **timed.ratio(first, second), target=target)
