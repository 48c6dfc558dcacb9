"""The tuner: the smallest, or fastest, model that is shown to keep the accuracy budget."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from intact import seal
from intact.compress.recipe import Recipe
from intact.errors import UsageError
from intact.graph.normalise import normalise
from intact.pipeline.building import Built, build, refuse_existing
from intact.pipeline.evidence import pieces_of
from intact.pipeline.options import Options, Progress, silent
from intact.pipeline.spec import Spec
from intact.tuning.choices import Choice, Space
from intact.tuning.clock import extra_ns
from intact.tuning.deadline import Deadline
from intact.tuning.distilling import Distiller
from intact.tuning.escalations import Escalation, Retrain, Situation, named
from intact.tuning.executors import Executor, Pool
from intact.tuning.executors import executor as executor_called
from intact.tuning.folder import JOURNAL, Journal, locked
from intact.tuning.judging import Judge, anchored, judge
from intact.tuning.laboratory import Counts, Laboratory
from intact.tuning.material import Material, hold_out, material_of
from intact.tuning.objective import Layer, Objective, layers_of, objective
from intact.tuning.recipe_file import to_toml, write_whole
from intact.tuning.results import BudgetMissed, Front, Tuned
from intact.tuning.search import Record, Winner, binding, search
from intact.tuning.sensitivity import assign, probe
from intact.tuning.working import cores

RECIPE = "recipe.toml"
FRONT = "pareto.json"
STEPS = 8
"""Most candidates that a round checks."""
FRONT_POINTS = 256
"""Most points of the predicted front that are told."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the user asked, checked."""

    spec: Spec
    out: Path | None
    max_drop: float
    minimize: str
    recipe: Recipe
    space: Space
    executor: Executor
    workers: int
    deadline: Deadline
    steps: int
    escalations: tuple[Escalation, ...]
    retrain: Retrain
    recipients: tuple[seal.Recipient, ...]
    signer: seal.Signer | None
    engines: tuple[str, ...] | None
    threads: int | None
    progress: Progress


def tune(
    source: Spec | Any,
    *,
    out: Path | str | None = None,
    max_drop: float = 0.005,
    minimize: str = "size",
    recipe: Recipe | None = None,
    space: Space | None = None,
    folder: Path | str | None = None,
    executor: str = "process",
    workers: int | None = None,
    minutes: float | None = None,
    steps: int = STEPS,
    escalations: Sequence[str] | None = None,
    retrain: Retrain | None = None,
    recipients: Sequence[seal.Recipient] = (),
    signer: seal.Signer | None = None,
    engines: Sequence[str] | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Tuned:
    """Choose a width for every layer so that the model is as small as can be within the accuracy budget, and prove it.

    1. Build by `recipe` as it is, and score the float model.
    2. Measure what every layer does to the output at every choice, and find all the best assignments.
    3. Check assignments on held-out data, the surest first, until one does not pass; refine around the last that did.
    4. Where none passes, escalate: layers in float, heavier rounding, reconstruction, retraining.
    5. Build the best that passed, check it anew, and write it.

    Args:
        source: A `Spec`; or a model alone, as `Spec.model` takes it.
        out: Where the artifact goes; nothing is written where it is None.
        max_drop: Most that the metric may fall, in the units of `evaluate`. Without `evaluate`, most that agreement
            with the float model may fall below 1 on a held-out third of the calibration data.
        minimize: "size" (bytes of weights), "latency" (time of a call of 32 rows) or "bits" (mean width of weights).
        recipe: Settings of what is not tuned. Layers whose width an override says are left as they are.
        space: What may be chosen for a layer; widths of 2, 3, 4, 5, 6 and 8 bits for whole rows where it is None.
        folder: Where trials are kept, so that a tuning that was stopped goes on; nothing is kept where it is None.
        executor: "process", "here" (no other process) or "ray".
        workers: Trials at a time; one a core where it is None.
        minutes: Time after which nothing more is begun but the final build; no limit where it is None.
        steps: Most candidates that a round of checks looks at.
        escalations: What to try where widths alone do not do, by name; all where it is None.
        retrain: Trains the model further for a recipe; called last. A `Distiller` where it is None.
        recipients, signer, engines, threads: As `intact.build` takes them.
        progress: Called with (stage, done, total).

    Returns:
        The tuning, its final check passed.

    Raises:
        BudgetMissed: Nothing that may be chosen was shown to keep the budget; says what binds. No artifact is written.
        UsageError: What was asked cannot be, the folder is another tuning's or in use, or `evaluate` raised.
        ModelError, DataError, CheckFailed: As `intact.build` raises them.
    """
    target = None if out is None else Path(out)
    if target is not None:
        refuse_existing(target)
    Options(max_drop=max_drop, threads=threads)
    objective(minimize)
    if (workers is not None and workers < 1) or steps < 1:
        raise UsageError(f"workers is {workers} and steps is {steps}, wanted at least 1 of each")
    if recipe is not None and not isinstance(recipe, Recipe):
        raise UsageError(f"the recipe is a {type(recipe).__name__}, not an intact.Recipe", hint="intact.Recipe(...)")
    asked = Asked(
        spec=source if isinstance(source, Spec) else Spec(model=source),
        out=target,
        max_drop=max_drop,
        minimize=minimize,
        recipe=recipe or Recipe(),
        space=space or Space(),
        executor=executor_called(executor),
        workers=workers or cores(),
        deadline=Deadline.after(minutes),
        steps=steps,
        escalations=named(escalations),
        retrain=retrain or Distiller(),
        recipients=tuple(recipients),
        signer=signer,
        engines=None if engines is None else tuple(engines),
        threads=threads,
        progress=progress,
    )
    with _folder(folder) as place:
        return _tune(asked, place)


@contextmanager
def _folder(folder: Path | str | None) -> Iterator[Path]:
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="intact-tuning-") as name:
            yield Path(name)
        return
    with locked(Path(folder)):
        yield Path(folder)


@dataclass(frozen=True, kw_only=True)
class _Ground:
    """What the search stands on."""

    material: Material
    base: Built
    judge: Judge
    layers: tuple[Layer, ...]
    journal: Journal
    deadline: Deadline


def _ground(asked: Asked, place: Path) -> _Ground:
    """Capture the model, build it by the recipe as it is, score the float model, and open the journal."""
    start = time.monotonic()
    material = material_of(asked.spec, asked.recipe)
    if isinstance(asked.retrain, Distiller) and asked.retrain.data is not None:  # a slip there must not cost a tuning
        pieces_of(asked.retrain.data, normalise(material.spec.proto()).inputs)
    material, held = (material, ()) if asked.spec.evaluate is not None else hold_out(material)
    base = _build(asked, material, asked.recipe, progress=asked.progress)
    asked.progress("evaluate", 0, 1)
    found = judge(asked.spec.evaluate, base.reference, held, asked.max_drop)
    asked.progress("evaluate", 1, 1)
    layers = layers_of(base.plan)
    if not layers:
        raise UsageError("there is no layer to tune: none has an integer form, or the recipe says every width")
    spent = time.monotonic() - start
    return _Ground(
        material=material,
        base=base,
        judge=found,
        layers=layers,
        journal=Journal(place / JOURNAL, material.about()),
        deadline=asked.deadline.reserving(spent),  # the final build takes as long
    )


def _build(asked: Asked, material: Material, recipe: Recipe, *, progress: Progress = silent) -> Built:
    return build(material.spec, recipe=recipe, engines=asked.engines, threads=asked.threads, progress=progress)


def _tune(asked: Asked, place: Path) -> Tuned:
    ground, record = _ground(asked, place), Record()
    record.remarks += [ground.judge.remark] if ground.judge.remark else []
    with _pool(asked, ground.material) as pool:
        laboratory = Laboratory(
            base=ground.base,
            pool=pool,
            journal=ground.journal,
            judge=ground.judge,
            deadline=ground.deadline,
            progress=asked.progress,
            counts=Counts(),
        )
        situation = _situation(asked, ground, laboratory, record)
        winner = search(situation, asked.escalations, record)
    front = _front(asked, situation, record)
    write_whole(place / FRONT, json.dumps(front.to_json(), indent=2, sort_keys=True, allow_nan=False) + "\n")
    if winner is None:
        names = list(dict.fromkeys(candidate.round for candidate in record.checked))
        message, hint = binding(record, max(asked.space.widths), asked.max_drop, names)
        raise BudgetMissed("; ".join([message, *record.remarks]), hint=hint, front=front)
    write_whole(place / RECIPE, to_toml(winner.candidate.recipe))
    if winner.candidate.round in ("reconstruct", "retrain"):
        record.remarks.append(f"the model was {winner.candidate.round}ed: its recipe alone does not make it again")
    counts = laboratory.counts
    return Tuned(
        built=_final(asked, winner, ground.judge),
        chosen=winner.candidate,
        front=front,
        trials=(counts.ran, counts.known),
        confidence=record.confidence,
        remarks=tuple(record.remarks),
    )


def _pool(asked: Asked, material: Material) -> AbstractContextManager[Pool]:
    return asked.executor.open(material, asked.workers)


def _situation(asked: Asked, ground: _Ground, laboratory: Laboratory, record: Record) -> Situation:
    """Measure, and find the front."""
    found = probe(laboratory, asked.recipe, ground.layers, asked.space.choices())
    record.remarks += found.remarks
    aim = _objective(asked, ground)
    return Situation(
        spec=asked.spec
        if asked.spec.evaluate is not None
        else replace(asked.spec, calibration=list(ground.material.pieces)),
        material=ground.material,
        laboratory=laboratory,
        layers=ground.layers,
        errors=found.errors,
        objective=aim,
        points=assign(found.errors, ground.layers, aim),
        steps=asked.steps,
        retrain=asked.retrain,
        remark=record.remarks.append,
        open_pool=lambda material: _pool(asked, material),
        build=lambda material, recipe: _build(asked, material, recipe),
    )


def _objective(asked: Asked, ground: _Ground) -> Objective:
    if asked.minimize != "latency":
        return objective(asked.minimize)
    choices: list[Choice] = list(asked.space.choices())
    report: Callable[[int, int], None] = lambda done, total: asked.progress("latency", done, total)  # noqa: E731
    slower = extra_ns(
        ground.base,
        asked.recipe,
        ground.layers,
        choices,
        lambda recipe: _build(asked, ground.material, recipe),
        report,
    )
    return objective("latency", slower)


def _front(asked: Asked, situation: Situation, record: Record) -> Front:
    return Front(
        minimize=asked.minimize,
        unit=situation.objective.unit,
        max_drop=asked.max_drop,
        predicted=situation.candidates("", situation.spread(situation.points, FRONT_POINTS)),
        checked=tuple(record.checked),
        sensitivities={
            name: {str(choice): error for choice, error in sorted(errors.items())}
            for name, errors in situation.errors.items()
        },
    )


def _final(asked: Asked, winner: Winner, found: Judge) -> Built:
    """Build the winner as anybody would by its recipe, check it anew, and write it."""
    material = winner.round.material
    spec = replace(material.spec, evaluate=anchored(found))
    return build(
        spec,
        out=asked.out,
        recipe=winner.candidate.recipe,
        max_drop=asked.max_drop,
        recipients=asked.recipients,
        signer=asked.signer,
        engines=asked.engines,
        threads=asked.threads,
        require_pass=True,
        progress=asked.progress,
        drafted=winner.round.drafted,
    )
