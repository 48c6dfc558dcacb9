"""intact.build and intact.open: the main job through the public API."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact import engine
from intact.errors import CheckFailed, DataError, UsageError
from support.nets import Net, cnn, data, mlp

ENGINES = ["onnxruntime"]
X = data(1, 64, 3, 8, 8)
TEST = data(2, 400, 3, 8, 8)
SEEN: list[np.ndarray] = []


def spec(**changes: Any) -> intact.Spec:
    return intact.Spec(**{"model": cnn(), "calibration": X, "name": "tiny", **changes})


def build(source: intact.Spec | None = None, **options: Any) -> intact.Built:
    return intact.build(source or spec(), engines=ENGINES, **options)


def same_labels(predict: Any) -> np.ndarray:
    """Scores of 0 and 1 against the labels of the float model, which is asked first."""
    SEEN.append(predict(TEST).argmax(axis=1))
    return np.asarray(SEEN[-1] == SEEN[0])


def nearness(predict: Any) -> np.ndarray:
    """Scores that fall with the distance from the float model's outputs."""
    SEEN.append(predict(TEST))
    return np.asarray(-np.abs(SEEN[-1] - SEEN[0]).mean(axis=1))


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


def nothing_in(folder: Path) -> bool:
    return not any(folder.iterdir())


# what a build gives


def test_a_build_is_written_opened_and_gives_the_same_integers(tmp_path: Path, keys: intact.Keys) -> None:
    out = tmp_path / "m.intact"
    built = build(out=out, recipients=[keys.recipient], signer=keys.signer)
    assert built.path == out
    assert built.manifest is not None
    assert built.manifest.sealed
    model = intact.open(out, identity=keys.identity, signer=keys.verifier, engines=ENGINES)
    assert (model.name, model.profile, model.engine) == ("tiny", "exact", "onnxruntime")
    np.testing.assert_array_equal(model(X), built(X))
    assert model.inputs == built.inputs
    assert model.run({"x": X}).keys() == set(built.outputs)
    assert "tiny" in repr(model)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.intact"]


def test_nothing_is_written_without_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert build().manifest is None
    assert nothing_in(tmp_path)


def test_a_build_without_evaluate_tells_agreement_and_no_verdict() -> None:
    built = build()
    assert built.verdict is None
    assert built.agreement is not None
    assert built.agreement.cosine > 0.999
    assert built.float_bytes > 0
    assert any("exact profile" in line for line in built.summary())
    assert built.to_json()["verdict"] is None


def test_a_model_alone_can_be_built_where_no_data_are_needed() -> None:
    recipe = intact.Recipe(default=intact.LayerRecipe(activations="none"))
    built = intact.build(mlp(), recipe=recipe, engines=ENGINES)
    assert built.agreement is None
    assert built.layers == ()
    assert built.plan.exact is False


def test_missing_calibration_data_are_asked_for() -> None:
    with pytest.raises(UsageError, match="none were given") as refused:
        intact.build(mlp())
    assert "--calibrate" in str(refused.value.hint)


# the accuracy check


def test_a_harmless_build_passes_with_an_interval() -> None:
    built = build(spec(evaluate=same_labels), max_drop=0.05, require_pass=True)
    assert built.verdict is not None
    assert built.verdict.outcome == "pass"
    assert built.verdict.interval is not None
    assert built.verdict.examples == len(TEST)
    assert any("PASS" in line for line in built.summary())


def test_over_budget_names_the_layers_and_writes_nothing(tmp_path: Path) -> None:
    recipe = intact.Recipe(default=intact.LayerRecipe(weights=2))
    with pytest.raises(intact.OverBudget) as failed:
        build(spec(evaluate=nearness), recipe=recipe, max_drop=0.01, out=tmp_path / "m.intact")
    assert "over budget" in failed.value.message
    assert "layers that cost most: " in failed.value.message
    assert any(f"{name} (" in failed.value.message for name in ("stem", "body", "head"))
    assert '[layers."NAME"]' in str(failed.value.hint)
    assert failed.value.exit_code == 1
    assert failed.value.built.verdict is not None
    assert failed.value.built.verdict.outcome == "fail"
    assert all(layer.cost is not None for layer in failed.value.built.layers)
    assert nothing_in(tmp_path)


def test_an_inconclusive_build_is_written_unless_a_pass_is_required(tmp_path: Path) -> None:
    few = spec(evaluate=lambda predict: same_labels(predict)[:40])
    built = build(few, max_drop=0.0001, out=tmp_path / "m.intact")
    assert built.verdict is not None
    assert built.verdict.outcome == "inconclusive"
    assert built.verdict.needed_examples is not None
    SEEN.clear()
    with pytest.raises(CheckFailed, match="accuracy check did not pass") as failed:
        build(few, max_drop=0.0001, require_pass=True, out=tmp_path / "n.intact")
    assert "more examples" in str(failed.value.hint)
    assert [path.name for path in tmp_path.iterdir()] == ["m.intact"]


def test_a_pass_is_not_had_without_an_evaluate_function() -> None:
    with pytest.raises(CheckFailed, match="there is no evaluate function"):
        build(require_pass=True)


def test_one_number_gives_a_verdict_that_says_what_it_cannot_say() -> None:
    built = build(spec(evaluate=lambda predict: float(predict(TEST).mean())), max_drop=1.0)
    assert built.verdict is not None
    assert built.verdict.outcome == "pass"
    assert built.verdict.interval is None
    assert "no interval can be given" in built.verdict.reason
    with pytest.raises(intact.OverBudget):
        build(spec(evaluate=lambda predict: float(nearness(predict).mean())), max_drop=0.0)


SCORES: dict[str, tuple[Any, str]] = {
    "NaN": (lambda: np.full(50, np.nan), "hold a NaN"),
    "None": (lambda: None, "are object, wanted numbers"),
    "a text": (lambda: "0.9", "wanted numbers"),
    "a mapping": (lambda: {"accuracy": 0.9}, "are object"),
    "ragged lists": (lambda: [[1.0], [1.0, 2.0]], "no common shape"),
    "complex numbers": (lambda: np.ones(50) * 1j, "are complex128"),
    "a matrix": (lambda: np.ones((50, 2)), r"shape \(50, 2\)"),
    "nothing": (list, "has no scores"),
}


@pytest.mark.parametrize("case", SCORES)
def test_scores_that_are_none_are_refused(case: str, tmp_path: Path) -> None:
    make, message = SCORES[case]
    with pytest.raises(DataError, match=message):
        build(spec(evaluate=lambda predict: make()), out=tmp_path / "m.intact")
    assert nothing_in(tmp_path)


def test_scores_of_different_lengths_are_refused() -> None:
    lengths = iter([50, 51])
    with pytest.raises(DataError, match=r"shape \(50,\), integer model \(51,\)"):
        build(spec(evaluate=lambda predict: np.ones(next(lengths))))


def test_an_error_of_the_callers_own_function_is_told_with_its_cause(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="evaluate raised ZeroDivisionError") as refused:
        build(spec(evaluate=lambda predict: 1 / 0), out=tmp_path / "m.intact")
    assert isinstance(refused.value.__cause__, ZeroDivisionError)
    assert nothing_in(tmp_path)


def test_evaluate_may_call_with_lists_names_or_tensors() -> None:
    import torch

    def evaluate(predict: Any) -> np.ndarray:
        alone, named = predict(TEST[:50]), predict({"x": TEST[:50].astype(np.float64)})
        np.testing.assert_array_equal(alone, named)
        np.testing.assert_array_equal(alone, predict([torch.from_numpy(TEST[:50])]))
        return np.asarray(alone[:, 0] > 0)

    assert build(spec(evaluate=evaluate), max_drop=0.5).verdict is not None


def test_evaluate_that_calls_with_wrong_data_is_told_so() -> None:
    with pytest.raises(DataError, match="shape"):
        build(spec(evaluate=lambda predict: predict(TEST[:, :2])))


# nothing is lost or left half-written


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_what_exists_already_is_left_alone(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "m.intact"
    {"file": lambda: out.write_text("mine"), "folder": out.mkdir, "dangling link": lambda: out.symlink_to("none")}[
        kind
    ]()
    with pytest.raises(UsageError, match="exists already"):
        build(spec(model="never read"), out=out)
    assert [path.name for path in tmp_path.iterdir()] == ["m.intact"]
    assert kind != "file" or out.read_text() == "mine"


def test_a_missing_folder_is_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        build(spec(model="never read"), out=tmp_path / "none" / "m.intact")


@pytest.mark.parametrize("stage", ["capture", "calibrate", "engines", "evaluate"])
def test_an_interruption_leaves_nothing(stage: str, tmp_path: Path) -> None:
    def interrupt(name: str, done: int, total: int) -> None:
        if name == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(spec(evaluate=same_labels), out=tmp_path / "m.intact", progress=interrupt)
    assert nothing_in(tmp_path)


def test_an_interruption_while_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build(out=tmp_path / "m.intact")
    assert nothing_in(tmp_path)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """With a limit on the size of files, in a process of its own, so that the system's own error is met."""
    code = f"""
import resource, signal
import intact
from support.nets import cnn, data

def limit(stage, done, total):
    if stage == "engines":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (900, resource.RLIM_INFINITY))

spec = intact.Spec(model=cnn(), calibration=data(1, 64, 3, 8, 8))
try:
    intact.build(spec, out={str(tmp_path / "m.intact")!r}, engines=["onnxruntime"], progress=limit)
except intact.UsageError as error:
    print(error.message, "|", error.hint)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert "File too large | check the free space" in done.stdout, done.stderr
    assert nothing_in(tmp_path)


def test_a_disk_that_fills_while_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, left = os.write, [3000]

    def write_until_full(descriptor: int, piece: Any) -> int:
        if left[0] <= 0:
            raise OSError(28, "No space left on device")
        left[0] -= len(piece)
        return write(descriptor, piece)

    monkeypatch.setattr(os, "write", write_until_full)
    with pytest.raises(UsageError, match="No space left on device") as refused:
        build(out=tmp_path / "m.intact")
    assert "free space" in str(refused.value.hint)
    monkeypatch.undo()
    assert nothing_in(tmp_path)


# the same build gives the same bytes

PROGRAM = """
import hashlib, sys
import intact
from intact.pipeline.lineage import digest
from support.nets import cnn, data
recipe = intact.Recipe(default=intact.LayerRecipe(method="stochastic"))
spec = intact.Spec(model=cnn(), calibration=data(1, 64, 3, 8, 8))
built = intact.build(spec, engines=["onnxruntime"], threads=int(sys.argv[1]), recipe=recipe)
print(digest(built.program), hashlib.sha256(repr(built.vectors.to_json()).encode()).hexdigest())
"""


def elsewhere(threads: int, hash_seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(threads)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONHASHSEED": hash_seed},
    )
    return done.stdout


def test_processes_and_threads_give_the_same_program() -> None:
    assert elsewhere(1, "1") == elsewhere(2, "2")


def test_two_builds_are_the_same_but_for_their_keys_and_ids(tmp_path: Path) -> None:
    first, second = (build(out=tmp_path / name) for name in ("a.intact", "b.intact"))
    assert first.program.model == second.program.model
    assert first.lineage == second.lineage
    assert first.vectors.to_json() == second.vectors.to_json()
    one, other = (tmp_path / name / "weights.safetensors" for name in ("a.intact", "b.intact"))
    assert one.read_bytes() == other.read_bytes()  # neither is encrypted


# what is asked of a build must be sound

ASKED: dict[str, tuple[Callable[[], object], str]] = {
    "an unknown engine": (lambda: intact.build(spec(), engines=["tensorrt"]), "no engine 'tensorrt'"),
    "no engine": (lambda: intact.build(spec(), engines=[]), "no engine is named"),
    "no threads": (lambda: build(threads=0), "threads is 0"),
    "a negative budget": (lambda: build(max_drop=-0.1), "max_drop is -0.1"),
    "a budget that is no number": (lambda: build(max_drop=float("nan")), "max_drop is nan"),
    "a recipe by name": (lambda: build(recipe="fast.toml"), "the recipe is a str, not an intact.Recipe"),
    "a recipe for other layers": (
        lambda: build(recipe=intact.Recipe(overrides=(intact.Override(pattern="fc*", settings={}),))),
        "not there: fc",
    ),
    "a recipient by text": (lambda: build(recipients=["age1"], out="never.intact"), "recipient is a str"),
    "a signer by text": (lambda: build(signer="key", out="never.intact"), "signer is a str"),
}


@pytest.mark.parametrize("case", ASKED)
def test_what_cannot_be_done_is_refused(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ask, message = ASKED[case]
    with pytest.raises(UsageError, match=message):
        ask()
    assert nothing_in(tmp_path)


def test_progress_names_the_stages_in_order() -> None:
    told: list[str] = []

    def note(stage: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        told.append(stage)

    build(spec(evaluate=same_labels), progress=note, measure_costs=True)
    stages = list(dict.fromkeys(told))
    assert stages[0] == "capture"
    assert stages.index("calibrate") < stages.index("engines") < stages.index("evaluate") < stages.index("costs")


# what opening refuses


def test_opening_needs_the_right_keys(tmp_path: Path, keys: intact.Keys) -> None:
    out = tmp_path / "m.intact"
    build(out=out, recipients=[keys.recipient], signer=keys.signer)
    stranger = intact.new_keys(tmp_path / "stranger")
    with pytest.raises(intact.AccessError):
        intact.open(out, identity=stranger.identity, signer=keys.verifier)
    with pytest.raises(intact.AccessError):
        intact.open(out, signer=keys.verifier)
    with pytest.raises(intact.AccessError):
        intact.open(out, identity=keys.identity, signer=stranger.verifier)
    with pytest.raises(intact.AccessError):
        intact.open(out, identity=keys.identity)
    model = intact.open(
        out, identity=[stranger.identity, keys.identity], signer=[stranger.verifier, keys.verifier], engines=ENGINES
    )
    assert model(X).shape == (64, 5)


def test_unsigned_artifacts_open_only_when_that_is_allowed(tmp_path: Path) -> None:
    out = tmp_path / "m.intact"
    build(out=out)
    with pytest.raises(intact.AccessError):
        intact.open(out)
    assert intact.open(out, allow_unsigned=True, engines=ENGINES)(X).shape == (64, 5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"y": X}, "inputs are"),
        ({"x": X, "y": X}, "inputs are"),
        (X[:, :2], "shape"),
        (X[0], "shape"),
        (X[:0], "empty"),
        (np.where(X > 3, np.nan, X), "NaN or an infinity"),
        (X.astype(complex), "complex"),
        ("x", "not an array"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(given: Any, message: str, tmp_path: Path) -> None:
    out = tmp_path / "m.intact"
    build(out=out)
    model = intact.open(out, allow_unsigned=True, engines=ENGINES)
    with pytest.raises(DataError, match=message):
        model(given)


@pytest.mark.data
def test_a_trained_residual_net_on_real_pictures(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ResNet-20: the same bits on every engine, and hardly another answer than in float."""
    monkeypatch.setenv("INTACT_DATA", str(real_data))
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
    from real_data import cifar10_images
    from resnet20_cifar10 import float_model

    pictures = cifar10_images(512)
    calibration, held_out = pictures[:256], pictures[256:]
    built = intact.build(
        intact.Spec(model=float_model(), inputs=pictures[:2], calibration=calibration), engines=ENGINES
    )
    assert built.plan.exact
    assert built.program.size_bytes < 340_000
    wanted = built.reference(held_out).argmax(axis=1)
    assert float((built(held_out).argmax(axis=1) == wanted).mean()) >= 0.95
    (name,) = built.outputs
    integers = built.integer.run(held_out[:3])[name]
    for backend in engine.find().values():
        if backend.why_unavailable() is None:
            session = backend.load(built.program, engine.Options(threads=1), "default")
            np.testing.assert_array_equal(session.run({built.inputs[0].name: held_out[:3]})[name], integers)


@pytest.mark.parametrize("batch", [10, 128])
def test_a_batch_of_a_fixed_size_is_never_cut(batch: int) -> None:
    net = Net(0, x=[batch, 8])
    model = net.bytes(net.op("Relu", net.gemm("x", net.normal(16, 8, scale=0.4), name="first")))
    pieces = [{"x": data(seed, batch, 8)} for seed in range(-(-600 // batch))]
    made = intact.build(intact.Spec(model=model, calibration=pieces), engines=["onnxruntime"])
    assert made.agreement is not None
