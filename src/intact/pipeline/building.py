"""The main job: from a float model to a checked integer program, and to a sealed artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from intact import engine, seal
from intact import guard as guards
from intact.compress.calibrate import check_data, row_count
from intact.compress.check import Outcome, Verdict, compare
from intact.compress.encodings import Encoding
from intact.compress.plan import Plan
from intact.compress.recipe import Recipe
from intact.crypto import Secret
from intact.errors import CheckFailed, IntactError, UsageError
from intact.graph.program import Program
from intact.graph.run import Runner
from intact.graph.view import Port
from intact.pipeline import artifact, evidence, guarding, lineage, summary
from intact.pipeline.agreement import Agreement
from intact.pipeline.drafting import Draft, draft
from intact.pipeline.float_checks import refuse_changed, rows_are_apart
from intact.pipeline.layers import LayerFacts, costs, describe
from intact.pipeline.options import Options, Progress, silent
from intact.pipeline.predict import Predictor
from intact.pipeline.spec import Evaluate, Spec
from intact.pipeline.surveying import survey
from intact.pipeline.terms import Terms, settle

Array = NDArray[Any]

LAYER_ROWS = 64
"""Calibration rows on which layers are measured."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """A finished build: the integer program and all that is known of it.

    Args:
        name: What the model is called.
        plan: What became of every node.
        encodings: Code of every coded tensor.
        program: The integer graph and its tensors.
        stored: Those tensors as an artifact holds them.
        vectors: Self-test of the program.
        loaded: The engine chosen on this host.
        reference: The float model, to be called.
        integer: The integer model, to be called.
        rows_apart: Whether a row's result depends on that row alone.
        verdict: Outcome of the accuracy check; None where there was no `evaluate`.
        agreement: How far float and integer outputs agree on calibration data, for the output that agrees least; None
            without such data.
        layers: Facts of each quantized layer.
        float_bytes: Size of the float graph and its weights.
        source_sha256: Digest of the float model.
        lineage: in-toto statement; writing adds a salted digest of the calibration data.
        data_digest: Digest of the calibration data, not salted yet; None without such data.
        guard: What was learned of inputs and outputs; None where that was not asked for.
        calibration_rows: Rows of calibration data there were.
        manifest: The artifact written, if any.
        path: Where it lies.
        signed: Whether it is signed.
    """

    name: str
    plan: Plan
    encodings: Mapping[str, Encoding]
    program: Program
    stored: tuple[seal.StoredTensor, ...]
    vectors: engine.Vectors
    loaded: engine.Loaded
    reference: Predictor
    integer: Predictor
    rows_apart: bool
    verdict: Verdict | None
    agreement: Agreement | None
    layers: tuple[LayerFacts, ...]
    float_bytes: int
    source_sha256: str
    lineage: Mapping[str, Any]
    data_digest: Secret | None = None
    guard: guards.Contract | None = None
    calibration_rows: int = 0
    manifest: seal.Manifest | None = None
    path: Path | None = None
    signed: bool = False

    @property
    def size_bytes(self) -> int:
        """Size of the artifact on disk; of its graph and tensors as stored, where none was written."""
        return summary.size_bytes(self)

    @property
    def session(self) -> engine.Session:
        """The chosen engine's session."""
        return self.loaded.session

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What the model takes."""
        return self.integer.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what the model gives."""
        return self.integer.outputs

    def __call__(self, data: Any) -> Any:
        """Run the integer model."""
        return self.integer(data)

    def summary(self) -> list[str]:
        """Return the build in a few lines for a person."""
        return summary.lines(self)

    def to_json(self) -> dict[str, Any]:
        """Return the build as plain values for a machine."""
        return summary.to_json(self)


def build(
    source: Spec | Any,
    *,
    out: Path | str | None = None,
    recipe: Recipe | None = None,
    max_drop: float = 0.005,
    recipients: Sequence[seal.Recipient] = (),
    signer: seal.Signer | None = None,
    engines: Sequence[str] | None = None,
    threads: int | None = None,
    measure_costs: bool = False,
    require_pass: bool = False,
    policy: seal.Policy | None = None,
    revises: Path | str | None = None,
    artifact_id: str | None = None,
    revision: int | None = None,
    revisions: Path | str | bool = True,
    allow_older: bool = False,
    guard: bool = True,
    progress: Progress = silent,
    drafted: Draft | None = None,
) -> Built:
    """Build an integer model from a float one, check it, and write it if asked.

    Args:
        source: A `Spec`; or a model alone, as `Spec.model` takes it, where the recipe needs no calibration data.
        out: Where the artifact goes; nothing is written where it is None.
        recipe: How to compress; the default recipe where it is None.
        max_drop: Most that the metric may fall, in the units of `evaluate`.
        recipients: Who may open the artifact; it is not encrypted where there are none.
        signer: Key that signs it; it is not signed where it is None.
        engines: Engines to consider, by name; all that are installed where it is None.
        threads: Threads of the engine; it chooses where it is None.
        measure_costs: Measure what each layer costs even if the check passes.
        require_pass: Refuse an inconclusive or missing check too.
        policy: Limits on the use of the artifact; none where it is None.
        revises: The artifact that this one is the next revision of; `signer` must have signed it.
        artifact_id: Identity of the artifact that this is a revision of, where that one is not at hand.
        revision: Number of the revision; where it is None, 1, or one more than that of `revises` and of all
            that were opened before.
        revisions: Folder that remembers the highest revision opened of each artifact, for a later revision of one; the
            user's own where it is True, none where it is False. The new one is written down there, where it is signed.
        allow_older: Accept a `revises` older than a revision opened before, unless its owner withdrew it.
        guard: Whether to learn from the calibration data what the model accepts and gives, for servers to check calls.
        progress: Called with (stage, done, total).
        drafted: The integers, where training made them already; `recipe` is not looked at then.

    Returns:
        The build, its check passed or inconclusive (`built.verdict` says which).

    Raises:
        ModelError: The float model cannot be read or run.
        DataError: The data do not fit the model.
        UsageError: The recipe does not fit, or `out` exists already.
        AccessError: `revises` is not signed by `signer`, or older than a revision opened before.
        CheckFailed: Over budget (the message names the layers that cost most; nothing was written), or no engine of
            this host conforms.
    """
    spec = source if isinstance(source, Spec) else Spec(model=source)
    target = None if out is None else Path(out)
    if target is not None:
        refuse_existing(target)
    if recipe is not None and not isinstance(recipe, Recipe):
        raise UsageError(f"the recipe is a {type(recipe).__name__}, not an intact.Recipe", hint="intact.Recipe(...)")
    _refuse_texts(recipients, signer)
    terms = settle(
        policy,
        revises=None if revises is None else Path(revises),
        artifact=artifact_id,
        revision=revision,
        signer=signer,
        revisions=revisions,
        allow_older=allow_older,
    )
    names = terms.engines(engines)
    options = Options(
        max_drop=max_drop,
        threads=threads,
        engines=names,
        measure_costs=measure_costs,
        guard=guard,
        progress=progress,
    )
    made = drafted or draft(spec, recipe or Recipe(), progress)
    built = _finish(spec, made, options, by_recipe=drafted is None)
    _refuse_failed(built, require_pass=require_pass)
    return built if target is None else _write(built, target, recipients, signer, terms)


def _refuse_texts(recipients: Sequence[Any], signer: Any) -> None:
    """Keys must be loaded before the work starts; a text or a path is none yet."""
    for recipient in recipients:
        if not isinstance(recipient, seal.Recipient):
            raise UsageError(
                f"a recipient is a {type(recipient).__name__}, not a key", hint="intact.load_recipient(...)"
            )
    if signer is not None and not isinstance(signer, seal.SigningKey | seal.CertifiedKey):
        raise UsageError(f"the signer is a {type(signer).__name__}, not a key", hint="intact.load_signing_key(...)")


def _refuse_failed(built: Built, *, require_pass: bool) -> None:
    if _failed(built.verdict):
        raise OverBudget(built)
    if require_pass and (built.verdict is None or built.verdict.outcome != Outcome.PASS):
        why = "there is no evaluate function" if built.verdict is None else built.verdict.reason
        raise CheckFailed(f"the accuracy check did not pass: {why}", hint="evaluate on more examples")


def refuse_existing(target: Path) -> None:
    """Raise UsageError where something lies at `target`, before any work is done for it."""
    if target.exists() or target.is_symlink():
        raise UsageError(f"'{target}' exists already", hint="choose another name or remove it first")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"the folder of '{target}' does not exist", hint="make it first")


class OverBudget(CheckFailed):
    """The integer model loses more than the budget; `built` holds all that was found."""

    def __init__(self, built: Built) -> None:
        assert built.verdict is not None  # only a failed check comes here
        costly = [layer for layer in built.layers if layer.cost is not None and layer.cost > 0.0]
        worst = sorted(costly, key=lambda layer: -(layer.cost or 0.0))[:5]
        told = ", ".join(f"{layer.name} ({layer.cost:.0%} of the error)" for layer in worst)
        super().__init__(
            f"over budget: {built.verdict.reason}; layers that cost most: {told or 'not measured'}",
            hint='leave the costliest in float with [layers."NAME"] weights = "float" in a recipe, or raise --max-drop',
        )
        self.built = built


def _finish(spec: Spec, made: Draft, options: Options, *, by_recipe: bool) -> Built:
    """Choose an engine that conforms, check the accuracy, and measure the layers."""
    graph = made.plan.graph
    vectors = engine.make_vectors(made.program, made.profile, made.plan.recipe.seed, ranges=made.ranges())
    options.progress("engines", 0, 1)
    loaded = engine.load(
        made.program, vectors, engines=options.engines, options=engine.Options(threads=options.threads)
    )
    options.progress("engines", 1, 1)
    source, outputs = Runner(made.source), tuple(port.name for port in graph.outputs)
    synthetic = engine.inputs_of(loaded.session, vectors, _three_rows(graph.inputs))
    refuse_changed(source, Runner(graph, packs=False), made.some_rows(LAYER_ROWS) or synthetic)
    apart = rows_are_apart(source, graph.inputs, synthetic)
    reference = Predictor(
        inputs=graph.inputs,
        outputs=outputs,
        run=lambda feeds: source(check_data(graph.inputs, feeds)),
        rows_apart=apart,
    )
    integer = Predictor(inputs=graph.inputs, outputs=outputs, run=loaded.session.run, rows_apart=apart)
    verdict = _check(spec.evaluate, reference, integer, options)
    learning = _lesson(made, loaded.session, synthetic, apart=apart, options=options)
    agreement = survey(reference, integer, made.data, learning, apart=apart)
    return Built(
        name=spec.name,
        plan=made.plan,
        encodings=made.encodings,
        program=made.program,
        stored=tuple(seal.store(made.program)),
        vectors=vectors,
        loaded=loaded,
        reference=reference,
        integer=integer,
        rows_apart=apart,
        verdict=verdict,
        agreement=agreement,
        layers=_layers(made, measure_costs=options.measure_costs or _failed(verdict), progress=options.progress),
        float_bytes=made.float_bytes,
        source_sha256=made.source_sha256,
        lineage=lineage.statement(
            name=spec.name,
            program=made.program,
            source_sha256=made.source_sha256,
            recipe=made.plan.recipe.to_json(),
            accuracy=None if verdict is None else asdict(verdict),
            by_recipe=by_recipe,
        ),
        data_digest=evidence.digest(made.data) if made.data else None,
        guard=_contract(made, learning) if options.guard else None,
        calibration_rows=sum(row_count(piece) for piece in made.data),
    )


def _lesson(
    made: Draft, session: engine.Session, sample: Mapping[str, Array], *, apart: bool, options: Options
) -> guarding.Lesson | None:
    """What the guard learns with; None where there is nothing to learn from, or rows do not stand for themselves."""
    alone = apart or guarding.one_row(made.plan.graph.inputs)
    if not options.guard or not made.data or not alone:
        return None
    return guarding.lesson(made.program, made.emission.graph, session, options.threads, sample)


def _contract(made: Draft, learning: guarding.Lesson | None) -> guards.Contract:
    return guarding.plain(made.plan.graph.inputs) if learning is None else learning.contract()


def _three_rows(ports: Sequence[Port]) -> dict[str, int]:
    return {port.shape[0]: 3 for port in ports if port.shape and isinstance(port.shape[0], str)}


def _layers(made: Draft, *, measure_costs: bool, progress: Progress) -> tuple[LayerFacts, ...]:
    some = made.some_rows(LAYER_ROWS)
    if some is None:
        return ()
    layers = describe(made.plan, made.emission, made.encodings, made.statistics, some)
    if not measure_costs:
        return layers
    found = costs(
        made.plan,
        made.emission,
        made.encodings,
        made.statistics,
        some,
        lambda done, total: progress("costs", done, total),
    )
    return tuple(replace(layer, cost=found.get(layer.name)) for layer in layers)


def _check(evaluate: Evaluate | None, reference: Predictor, integer: Predictor, options: Options) -> Verdict | None:
    if evaluate is None:
        return None
    options.progress("evaluate", 0, 2)
    before = _score(evaluate, reference)
    options.progress("evaluate", 1, 2)
    after = _score(evaluate, integer)
    options.progress("evaluate", 2, 2)
    return compare(before, after, options.max_drop)


def _score(evaluate: Evaluate, predict: Predictor) -> Any:
    try:
        return evaluate(predict)
    except IntactError:
        raise
    except Exception as error:
        raise UsageError(f"evaluate raised {type(error).__name__}: {error}", hint="see the cause") from error


def _failed(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.outcome == Outcome.FAIL


def _write(
    built: Built, target: Path, recipients: Sequence[seal.Recipient], signer: seal.Signer | None, terms: Terms
) -> Built:
    payload = replace(artifact.payload(built), policy=terms.policy)
    manifest = seal.write(
        payload, target, recipients=recipients, signer=signer, artifact=terms.artifact, revision=terms.revision
    )
    if signer is not None:
        terms.remember(manifest)
    return replace(built, manifest=manifest, path=target, signed=signer is not None)
