"""`intact demo`: the whole way on real data, in seconds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from intact.cli.console import err, failures, out, progress
from intact.cli.options import Json, Quiet
from intact.errors import IntegrityError, UsageError

MARK = ".intact-demo"
"""A folder with this file in it was made by the demo, and may be made anew."""


def demo(
    target: Annotated[
        Path, typer.Option("--out", help="Folder for the artifact, its keys, the summary and the report.")
    ] = Path("intact-demo"),
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a small network on real digits, build it under a budget, seal it, damage it, and run it."""
    with failures(as_json=as_json), progress(quiet=quiet or as_json) as bar:
        _prepare(target)
        summary = run_demo(target, bar)
    if as_json:
        typer.echo(json.dumps(summary, indent=2, sort_keys=True))
        return
    for line in _lines(summary, target):
        out.print(line, markup=False)
    if not quiet:
        err.print(f"remark: look at {target / 'report.html'}", markup=False)


def _prepare(target: Path) -> None:
    if target.exists() and not (target / MARK).is_file():
        raise UsageError(f"'{target}' exists already and was not made by the demo", hint="choose another folder")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    (target / MARK).touch()


def run_demo(target: Path, bar: Any) -> dict[str, Any]:
    """Do all of it and return the summary, which is also written to summary.json."""
    from intact import pipeline, seal
    from intact.cli.digits import digits_spec
    from intact.report import write

    bar("train", 0, 1)
    spec = digits_spec()
    bar("train", 1, 1)
    keys = pipeline.new_keys(target / "keys")
    artifact = target / "model.intact"
    built = pipeline.build(
        spec,
        out=artifact,
        max_drop=0.01,
        recipients=[keys.recipient],
        signer=keys.signer,
        measure_costs=True,
        require_pass=True,
        progress=bar,
    )
    seal.verify(artifact, signers=[keys.verifier])
    bar("measure", 0, 1)
    timings = pipeline.measure(built)
    bar("measure", 1, 1)
    model = pipeline.open_model(artifact, identity=keys.identity, signer=keys.verifier, revisions=False)
    assert built.verdict is not None  # the digits come with an evaluate function
    assert built.agreement is not None  # and with calibration data
    best = {kind: min(t.median_ms for t in timings if t.kind == kind and t.rows == 1) for kind in ("float", "integer")}
    summary = {
        "float_accuracy": built.verdict.float_metric,
        "integer_accuracy": built.verdict.integer_metric,
        "agreement": agreement(built, spec),
        "float_bytes": built.float_bytes,
        "integer_bytes": seal.stored_size(built.program.model, built.stored),
        "sealed_bytes": sum(seal.inspect(artifact).sizes.values()),
        "float_ms": best["float"],
        "integer_ms": best["integer"],
        "exact": model.profile == "exact" and is_exact(built, model, spec),
        "tamper_refused": refuses_tampering(artifact, target, keys),
    }
    (target / "summary.json").write_text(json.dumps(summary, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    write(built, target / "report.html", timings=timings, command=f"intact demo --out {target}")
    return summary


def agreement(built: Any, spec: Any) -> float:
    """Share of test digits on which float and integer model give the same answer."""
    before, after = (model(spec.test).argmax(axis=1) for model in (built.reference, built.integer))
    return float((before == after).mean())


def is_exact(built: Any, model: Any, spec: Any) -> bool:
    """Whether the opened model and every conforming engine give the bits of the definition, on all test digits."""
    from intact import engine

    wanted = (
        engine.find()["reference"]
        .load(built.program, engine.Options(), "default")
        .run({model.inputs[0].name: spec.test})
    )
    names = [tried.name.partition("/")[0] for tried in built.loaded.tried if tried.outcome == engine.CONFORMS]
    sessions = [engine.load(built.program, built.vectors, engines=[name]).session for name in names]
    given = [session.run({model.inputs[0].name: spec.test}) for session in sessions] + [model.run(spec.test)]
    return all((result[name] == wanted[name]).all() for result in given for name in wanted)


def refuses_tampering(artifact: Path, target: Path, keys: Any) -> bool:
    """Flip one bit in the middle of the weights of a copy; say whether opening it is refused."""
    from intact import pipeline

    copy = target / "tampered.intact"
    shutil.copytree(artifact, copy)
    weights = copy / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    try:
        pipeline.open_model(copy, identity=keys.identity, signer=keys.verifier, revisions=False)
    except IntegrityError as error:
        err.print(f"one bit flipped, opening refused: {error.message}", markup=False)
        return True
    finally:
        shutil.rmtree(copy)
    return False


def _lines(summary: dict[str, Any], target: Path) -> list[str]:
    exact = "bit-identical on every engine here" if summary["exact"] else "NOT bit-identical"
    return [
        f"accuracy   {summary['float_accuracy']:.4f} -> {summary['integer_accuracy']:.4f}, "
        f"same answer on {summary['agreement']:.2%} of the test digits",
        f"size       {summary['float_bytes']:,} -> {summary['integer_bytes']:,} bytes, "
        f"{summary['sealed_bytes']:,} sealed",
        f"latency    {summary['float_ms']:.3f} -> {summary['integer_ms']:.3f} ms for one digit",
        f"integers   {exact}",
        f"tampering  {'refused' if summary['tamper_refused'] else 'NOT refused'}",
        f"written    {target / 'model.intact'}, keys, summary.json, report.html",
    ]
