"""`intact tune` and `intact.tune`: the promise is kept or not made, and no finished trial is done twice."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest

import intact
from intact.errors import CheckFailed, DataError, UsageError
from intact.graph.run import Runner
from intact.pipeline.drafting import draft
from intact.pipeline.options import silent
from intact.tuning import Distiller
from intact.tuning.folder import JOURNAL
from support.nets import Net, data, mlp

TESTS = Path(__file__).parents[1]
X = data(1, 96, 12)
TEST = data(2, 600, 12)
FAST = ("--engine", "onnxruntime")
Command = Callable[..., Any]

SPECS = """
import os
import time
from pathlib import Path

import intact
from support.nets import data, mlp

TEST = data(2, 600, 12)
X = data(1, 96, 12)


def spec():
    labels = []

    def evaluate(predict):
        labels.append(predict(TEST).argmax(axis=1))
        with open("evaluated", "a") as file:
            file.write("x")
        time.sleep(float(os.environ.get("PAUSE", "0")))
        return labels[-1] == labels[0]

    return intact.Spec(model=mlp(0, 12, 24, 6), calibration=X, evaluate=evaluate, name="tiny")


def raises():
    seen = []

    def evaluate(predict):
        seen.append(predict(TEST).argmax(axis=1))
        if len(seen) > 2:
            raise OSError("the disk is gone")
        return seen[-1] == seen[0]

    return intact.Spec(model=mlp(0, 12, 24, 6), calibration=X, evaluate=evaluate)


def nan():
    evaluate = lambda predict: predict(TEST)[:, 0] * float("nan")
    return intact.Spec(model=mlp(0, 12, 24, 6), calibration=X, evaluate=evaluate)


def unchecked():
    return intact.Spec(model=mlp(0, 12, 24, 6), calibration=data(1, 300, 12), name="tiny")
"""


def labels() -> Callable[[Any], np.ndarray]:
    """Scores of 0 and 1 against the labels of the model that is asked first, the float one."""
    seen: list[np.ndarray] = []

    def evaluate(predict: Any) -> np.ndarray:
        seen.append(predict(TEST).argmax(axis=1))
        return np.asarray(seen[-1] == seen[0])

    return evaluate


def spec(**changes: Any) -> intact.Spec:
    given = {"model": mlp(0, 12, 24, 6), "calibration": X, "evaluate": labels(), "name": "tiny", **changes}
    return intact.Spec(**given)


AS_IT_IS = intact.Recipe(profile="exact", equalize=False)
"""Weights that two bits hold stay such."""


def narrow(seed: int, *shape: int) -> np.ndarray:
    """Weights that two bits hold as they are."""
    return (np.random.default_rng(seed).integers(-2, 2, shape) * 0.25).astype(np.float32)


def dense(first: np.ndarray, last: np.ndarray) -> bytes:
    """Two dense layers with a Relu between them."""
    net = Net(0, x=["n", first.shape[1]])
    inner = net.op("Relu", net.gemm("x", first, name="first"))
    return net.bytes(net.gemm(inner, last, name="last"))


def answering(model: bytes, inputs: np.ndarray) -> Callable[[Any], np.ndarray]:
    """Scores of 0 and 1 against the labels that `model` gives."""
    wanted = Runner(onnx.load_from_string(model))({"x": inputs}).popitem()[1].argmax(axis=1)
    return lambda predict: np.asarray(predict(inputs).argmax(axis=1) == wanted)


def tune(source: intact.Spec | None = None, **options: Any) -> intact.Tuned:
    given = {"max_drop": 0.05, "engines": ["onnxruntime"], "executor": "here", **options}
    return intact.tune(source or spec(), **given)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to work in, with specs."""
    (tmp_path / "specs.py").write_text(SPECS)
    return tmp_path


@pytest.fixture
def start(started: Command, folder: Path) -> Command:
    """Start a command in that folder as a user does."""
    return lambda *words, **more: started(*words, cwd=folder, PYTHONPATH=str(TESTS), **more)


@pytest.fixture
def run(command: Command, folder: Path) -> Command:
    """Run a command in that folder, in this process."""
    return lambda *words: command(*words, cwd=folder)


def kept(folder: Path) -> list[dict[str, Any]]:
    """The trials in a folder's journal."""
    return [json.loads(line) for line in (folder / JOURNAL).read_text().splitlines()[1:]]


# ---- what a tuning gives


def test_a_tuned_model_is_narrower_passes_and_can_be_built_again_from_its_recipe(
    start: Command, folder: Path, key_files: Path
) -> None:
    words = ("tune", "specs.py:spec", "--out", "m.intact", "--max-drop", "0.05", "--json", *FAST)
    told = start(*words, "--workers", "2", "--recipient", key_files / "identity.pub", "--report", "report.html")
    assert told.code == 0, told.err
    assert told.err == ""
    tuning, verdict = told.json["tuning"], told.json["verdict"]
    assert verdict["outcome"] == "pass"
    assert tuning["chosen"]["mean_bits"] < 8
    assert tuning["chosen"]["verdict"]["outcome"] == "pass"
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} == {
        *("specs.py", "evaluated", "m.intact", "m.tuning", "report.html")
    }
    again = start(
        "build", "specs.py:spec", "--out", "again.intact", "--recipe", "m.tuning/recipe.toml", "--max-drop", "0.05",
        "--json", *FAST,
    )  # fmt: skip
    assert again.code == 0, again.err
    assert again.json["layers"] == told.json["layers"]
    assert again.json["verdict"] == verdict
    page = (folder / "report.html").read_text()
    assert "What could be had" in page
    assert page.count('<circle class="chosen"') == 1


def test_the_front_is_data(tmp_path: Path) -> None:
    tuned = tune(folder=tmp_path / "t", minimize="bits")
    front = json.loads((tmp_path / "t" / "pareto.json").read_text())
    assert front == json.loads(json.dumps(tuned.front.to_json()))
    costs = [point["cost"] for point in front["predicted"]]
    errors = [point["error"] for point in front["predicted"]]
    assert costs == sorted(costs, reverse=True)
    assert errors == sorted(errors)
    weights = sum(np.prod(shape) for shape in ((24, 12), (6, 24)))
    assert costs[0] == 8 * weights
    assert costs[-1] == 2 * weights
    assert set(front["sensitivities"]) == {"first", "last"}
    assert front["sensitivities"]["last"].keys() == {f"{bits} bits" for bits in (2, 3, 4, 5, 6, 8)}


def test_a_round_ends_with_the_first_that_does_not_pass() -> None:
    tuned = tune()
    first = [candidate for candidate in tuned.front.checked if candidate.round == "front"]
    assert all(candidate.passed for candidate in first[:-1])
    assert not first[-1].passed
    refined = [candidate for candidate in tuned.front.checked if candidate.round == "refined"]
    assert all(first[-1].cost < candidate.cost < first[-2].cost for candidate in refined)
    assert tuned.confidence == pytest.approx(0.9 if refined else 0.95)
    passed = [candidate for candidate in tuned.front.checked if candidate.passed]
    assert tuned.chosen == min(passed, key=lambda candidate: candidate.cost)
    assert tuned.verdict.outcome == "pass"


def test_two_tunings_give_the_same_recipe_whoever_does_the_trials(tmp_path: Path) -> None:
    tune(folder=tmp_path / "a")
    tune(folder=tmp_path / "b", executor="process", workers=2)
    assert (tmp_path / "a" / "recipe.toml").read_text() == (tmp_path / "b" / "recipe.toml").read_text()


def test_latency_of_equal_graphs_is_equal_so_that_accuracy_decides() -> None:
    tuned = tune(minimize="latency")
    assert tuned.chosen.mean_bits == 8
    assert tuned.chosen.cost == 0


def test_layers_that_the_recipe_fixes_stay_and_the_rest_is_tuned() -> None:
    fixed = intact.Recipe(overrides=(intact.Override(pattern="first", settings={"weights": 7}),))
    tuned = tune(recipe=fixed, space=intact.Space(widths=(4, 8)))
    assert set(tuned.chosen.assignment) == {"last"}
    assert tuned.chosen.recipe.layer("first").weights == 7
    assert {choice.bits for choice in tuned.chosen.assignment.values()} <= {4, 8}


def test_without_evaluate_agreement_on_held_out_rows_decides_and_it_is_said(start: Command, folder: Path) -> None:
    told = start("tune", "specs.py:unchecked", "--out", "m.intact", "--max-drop", "0.06", *FAST)
    assert told.code == 0, told.err
    assert "judged by agreement with the float model on 100 held-out inputs" in told.err
    assert "accuracy   1.0000 ->" in told.out


# ---- what cannot be


@pytest.mark.parametrize(
    ("changes", "options", "kind", "told"),
    [
        ({}, {"max_drop": -0.1}, UsageError, "max_drop is -0.1"),
        ({}, {"max_drop": float("nan")}, UsageError, "max_drop is nan"),
        ({}, {"max_drop": 0.001}, UsageError, "with 600 examples, even by a model that changes none"),
        ({}, {"minimize": "joy"}, UsageError, "not one of size, latency, bits"),
        ({}, {"executor": "magic"}, UsageError, "no executor is called"),
        ({}, {"minutes": 0}, UsageError, "minutes is 0"),
        ({}, {"workers": 0}, UsageError, "workers is 0"),
        ({}, {"escalations": ["pray"]}, UsageError, "no escalation"),
        ({}, {"recipe": "fast"}, UsageError, "not an intact.Recipe"),
        ({}, {"recipe": intact.Recipe(default=intact.LayerRecipe(weights="float"))}, UsageError, "no layer to tune"),
        ({"calibration": None}, {}, UsageError, "needs calibration data"),
        ({"evaluate": None}, {}, UsageError, "with 32 examples, even by a model .*about 52 would do"),
        ({"evaluate": None, "calibration": X[:5]}, {}, DataError, "5 calibration inputs are too few"),
        ({"evaluate": lambda predict: 1 / 0}, {}, UsageError, "evaluate raised ZeroDivisionError"),
        ({"evaluate": lambda predict: [float("nan")]}, {}, DataError, "hold a NaN"),
        ({"evaluate": lambda predict: np.ones(5) / 2 + predict(TEST)[:5, 0]}, {}, UsageError, "5 examples"),
    ],
    ids=lambda value: value.strip()[:20] if isinstance(value, str) else "",
)
def test_what_cannot_be_is_said_before_the_work(
    changes: dict[str, Any], options: dict[str, Any], kind: type[Exception], told: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=told):
        tune(spec(**changes), out=tmp_path / "m.intact", folder=tmp_path / "t", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_budget_that_nothing_keeps_is_a_failure_that_says_what_binds(tmp_path: Path) -> None:
    options = {"out": tmp_path / "m.intact", "folder": tmp_path / "t", "space": intact.Space(widths=(2,))}
    options["escalations"] = ("widen", "method")
    with pytest.raises(intact.BudgetMissed, match="what binds is the widths, at most 2 bits") as failure:
        tune(recipe=intact.Recipe(profile="exact"), **options)
    assert "not tried: widen, the exact profile allows no layer in float" in failure.value.message
    assert failure.value.front.checked
    assert not any(candidate.passed for candidate in failure.value.front.checked)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["journal.jsonl", "lock", "pareto.json", "t"]


def test_a_missed_budget_is_exit_1_and_leaves_no_artifact(run: Command, folder: Path) -> None:
    (folder / "exact.toml").write_text('profile = "exact"\n')
    told = run(
        "tune", "specs.py:spec", "--out", "m.intact", "--width", "2", "--max-drop", "0.05", "--executor", "here",
        "--recipe", "exact.toml", "--escalation", "widen", *FAST,
    )  # fmt: skip
    assert told.code == 1
    assert told.err.startswith("error: no candidate was shown to keep the budget of 0.05")
    assert not (folder / "m.intact").exists()


def test_an_evaluate_that_fails_later_is_told_and_what_was_found_before_is_kept(run: Command, folder: Path) -> None:
    words = ("tune", "specs.py:raises", "--out", "m.intact", "--max-drop", "0.05", "--executor", "here", *FAST)
    told = run(*words)
    assert told.code == 2
    assert "evaluate raised OSError: the disk is gone" in told.err
    assert not (folder / "m.intact").exists()
    assert {trial["kind"] for trial in kept(folder / "m.tuning")} == {"probe", "check"}
    told = run("tune", "specs.py:nan", "--out", "m.intact", "--executor", "here", "--folder", "n", *FAST)
    assert told.code == 2
    assert "hold a NaN" in told.err


def test_minutes_bound_the_time_and_what_was_left_is_said(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(CheckFailed, match="the time did not suffice"):
        tune(minutes=1e-4, folder=tmp_path / "t")
    assert time.monotonic() - start < 20
    whole = tune(folder=tmp_path / "t")
    again = tune(folder=tmp_path / "t", minutes=1e-4)  # all is known
    assert again.chosen == whole.chosen
    assert again.trials == (0, sum(whole.trials))


# ---- escalation


def test_the_costliest_layers_stay_float_where_no_width_keeps_the_budget() -> None:
    model, test = dense(data(5, 16, 8), narrow(6, 40, 16)), data(3, 400, 8)
    source = spec(model=model, calibration=data(1, 96, 8), evaluate=answering(model, test))
    tuned = tune(source, space=intact.Space(widths=(2,)), recipe=intact.Recipe(equalize=False))
    assert tuned.chosen.round == "widen"
    assert {name: str(choice) for name, choice in tuned.chosen.assignment.items()} == {
        "first": "float",
        "last": "2 bits",
    }
    assert [candidate.round for candidate in tuned.front.checked] == ["front", "widen"]
    assert tuned.confidence == pytest.approx(0.9)
    assert [step.layer for step in tuned.built.plan.floats] == ["first"]


def test_retraining_comes_last_and_is_judged_against_the_model_as_it_came() -> None:
    weights, test = (narrow(4, 16, 8), narrow(6, 12, 16)), data(3, 400, 8)
    blurred = [value + data(seed, *value.shape, scale=0.25) for seed, value in enumerate(weights)]
    asked: list[tuple[intact.Spec, intact.Recipe, float]] = []

    def retrain(source: intact.Spec, recipe: intact.Recipe, seconds: float) -> intact.Spec:
        asked.append((source, recipe, seconds))
        return intact.Spec(model=dense(*weights))

    source = spec(model=dense(*blurred), calibration=data(1, 96, 8), evaluate=answering(dense(*weights), test))
    options = {"space": intact.Space(widths=(2,)), "recipe": AS_IT_IS, "max_drop": 0.02}
    with pytest.raises(intact.BudgetMissed):
        tune(source, escalations=["widen", "method"], **options)
    tuned = tune(source, retrain=retrain, **options)
    assert [(each[0] is source, each[1].layer("first").weights) for each in asked] == [(True, 2)]
    assert tuned.chosen.round == "retrain"
    assert tuned.verdict.float_metric == source.evaluate(tuned_float(source)).mean()  # type: ignore[misc]
    assert tuned.verdict.integer_metric > tuned.verdict.float_metric
    assert tuned.verdict.outcome == "pass"


def test_integers_that_training_made_are_taken_as_they_are() -> None:
    test, steps = data(3, 400, 12), intact.Recipe(profile="exact")
    wide, labels_of = draft(spec(), steps, silent), answering(mlp(0, 12, 24, 6), test)
    options = {"space": intact.Space(widths=(2,)), "recipe": steps, "executor": "here"}
    tuned = tune(spec(evaluate=labels_of), retrain=lambda source, recipe, seconds: wide, **options)
    assert tuned.chosen.round == "retrain"
    assert tuned.built.program.model == wide.program.model
    assert "its recipe alone does not make it again" in tuned.remarks[-1]
    with pytest.raises(UsageError, match="retrain returned a str"):
        tune(spec(evaluate=labels_of), retrain=lambda source, recipe, seconds: "better", **options)


def test_without_a_hook_the_integers_are_distilled_from_the_float_model() -> None:
    options = {"space": intact.Space(widths=(2,)), "recipe": intact.Recipe(profile="exact"), "max_drop": 0.26}
    source = {"model": mlp(0, 12, 96, 6), "calibration": data(5, 600, 12)}
    with pytest.raises(intact.BudgetMissed):
        tune(spec(**source), escalations=["widen"], **options)
    distiller = Distiller(data=data(9, 6000, 12), steps=400)
    tuned = tune(spec(**source), escalations=["retrain"], retrain=distiller, **options)
    assert tuned.chosen.round == "retrain"
    assert "its recipe alone does not make it again" in tuned.remarks[-1]


def test_integers_that_reconstruction_chose_are_taken() -> None:
    options = {"space": intact.Space(widths=(2,)), "recipe": intact.Recipe(profile="exact"), "max_drop": 0.26}
    source = {"model": mlp(0, 12, 96, 6), "calibration": data(5, 600, 12)}
    with pytest.raises(intact.BudgetMissed):
        tune(spec(**source), escalations=["widen"], **options)
    tuned = tune(spec(**source), escalations=["reconstruct"], **options)
    assert tuned.chosen.round == "reconstruct"
    assert {choice.method for choice in tuned.chosen.assignment.values()} == {"gptq"}
    assert "the model was reconstructed: its recipe alone does not make it again" in tuned.remarks[-1]


def test_inputs_to_retrain_on_that_do_not_fit_are_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'x' has shape"):
        tune(retrain=Distiller(data={"x": data(1, 8, 3)}, steps=1), folder=tmp_path / "t")
    assert not (tmp_path / "t" / JOURNAL).exists()


def test_a_retraining_that_cannot_be_is_a_remark_and_the_budget_is_missed() -> None:
    def retrain(source: intact.Spec, recipe: intact.Recipe, seconds: float) -> intact.Spec:
        raise DataError("the labels are lost")

    options = {"space": intact.Space(widths=(2,)), "recipe": intact.Recipe(profile="exact"), "max_drop": 0.05}
    with pytest.raises(intact.BudgetMissed, match="not retrained: the labels are lost") as failure:
        tune(escalations=["retrain"], retrain=retrain, **options)
    assert not any(candidate.passed for candidate in failure.value.front.checked)


def test_without_evaluate_retraining_never_sees_what_is_held_out() -> None:
    seen: list[int] = []

    def retrain(source: intact.Spec, recipe: intact.Recipe, seconds: float) -> intact.Spec:
        seen.append(sum(len(piece["x"]) for piece in source.calibration))
        raise UsageError("enough seen")

    options = {"space": intact.Space(widths=(2,)), "recipe": intact.Recipe(profile="exact"), "max_drop": 0.06}
    with pytest.raises(intact.BudgetMissed, match="not retrained: enough seen"):
        tune(spec(evaluate=None, calibration=data(1, 300, 12)), escalations=["retrain"], retrain=retrain, **options)
    assert seen == [200]


def tuned_float(source: intact.Spec) -> Callable[[Any], np.ndarray]:
    """The float model of a spec, to be called."""
    runner = Runner(source.proto())
    return lambda x: runner({"x": x}).popitem()[1]


# ---- stopping and going on


def test_what_is_known_is_not_asked_again_and_another_budget_uses_it(run: Command, folder: Path) -> None:
    words = ("tune", "specs.py:spec", "--max-drop", "0.05", "--executor", "here", "--json", "--folder", "t", *FAST)
    first = run(*words, "--out", "a.intact").json
    second = run(*words, "--out", "b.intact").json
    assert first["tuning"]["trials"]["taken_over"] == 0
    assert second["tuning"]["trials"] == {"run": 0, "taken_over": first["tuning"]["trials"]["run"]}
    assert second["tuning"]["chosen"] == first["tuning"]["chosen"]
    third = run(*words, "--out", "c.intact", "--max-drop", "0.1").json
    assert third["tuning"]["trials"]["taken_over"] > 6
    told = run("tune", "specs.py:unchecked", "--out", "d.intact", "--max-drop", "0.06", "--folder", "t", *FAST)
    assert told.code == 2
    assert "journal of another tuning: it differs in calibration data" in told.err


def begun(folder: Path, *more: str, pause: str = "0.8") -> subprocess.Popen[str]:
    """Start a slow tuning, in a process group of its own."""
    words = ["tune", "specs.py:spec", "--out", "m.intact", "--max-drop", "0.05", "--workers", "2", *FAST, *more]
    return subprocess.Popen(
        [sys.executable, "-m", "intact", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS), "PAUSE": pause},
        start_new_session=True,
    )


def wait_for(ready: Callable[[], bool], child: subprocess.Popen[str]) -> None:
    """Wait until `ready`, a minute at most."""
    end = time.monotonic() + 60
    while not ready() and child.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    assert child.poll() is None, child.communicate()[1]
    assert ready()


def checks(folder: Path) -> int:
    """Checks in the journal of the tuning there."""
    path = folder / "m.tuning" / JOURNAL
    return path.read_text().count('"kind": "check"') if path.exists() else 0


def stopped(folder: Path, stop: Callable[[subprocess.Popen[str]], None]) -> tuple[int, str]:
    """Begin a tuning, stop it after two checks, and return its exit code and messages; no process is left."""
    child = begun(folder)
    try:
        wait_for(lambda: checks(folder) >= 2, child)
        family = psutil.Process(child.pid).children(recursive=True)
        assert family
        stop(child)
        _, err = child.communicate(timeout=60)
        _, alive = psutil.wait_procs(family, timeout=20)
        assert not alive
    finally:
        child.kill()
        child.wait()
    return child.returncode, err


def goes_on(folder: Path, start: Command) -> None:
    """Finish a stopped tuning; nothing that was kept is done again."""
    assert not (folder / "m.intact").exists()
    before = [trial["key"] for trial in kept(folder / "m.tuning")]
    evaluated = len((folder / "evaluated").read_text())
    told = start("tune", "specs.py:spec", "--out", "m.intact", "--max-drop", "0.05", "--json", *FAST)
    assert told.code == 0, told.err
    after = [trial["key"] for trial in kept(folder / "m.tuning")]
    assert after[: len(before)] == before
    assert len(set(after)) == len(after)
    assert told.json["tuning"]["trials"] == {"run": len(after) - len(before), "taken_over": len(before)}
    new_checks = checks(folder) - sum(trial["kind"] == "check" for trial in kept(folder / "m.tuning")[: len(before)])
    assert len((folder / "evaluated").read_text()) - evaluated == 1 + new_checks + 1  # float, new ones, the final build


def test_a_killed_tuning_goes_on_where_it_was(folder: Path, start: Command) -> None:
    code, _ = stopped(folder, lambda child: child.send_signal(signal.SIGKILL))
    assert code == -signal.SIGKILL
    goes_on(folder, start)


def test_ctrl_c_ends_with_130_and_the_tuning_goes_on(folder: Path, start: Command) -> None:
    code, err = stopped(folder, lambda child: os.killpg(child.pid, signal.SIGINT))  # as a terminal does
    assert code == 130, err
    assert err.startswith("error: interrupted")
    assert "Traceback" not in err
    goes_on(folder, start)


def test_two_tuners_on_one_folder_are_told(folder: Path, start: Command) -> None:
    child = begun(folder, pause="6")
    try:
        wait_for((folder / "m.tuning" / JOURNAL).exists, child)
        told = start("tune", "specs.py:spec", "--out", "other.intact", "--folder", "m.tuning", *FAST)
        assert told.code == 2
        assert "another tuner works in 'm.tuning'" in told.err
    finally:
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)


# ---- executors


def test_a_script_without_a_guard_is_told_what_it_lacks(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import intact
            from support.nets import data, mlp
            spec = intact.Spec(model=mlp(0, 12, 24, 6), calibration=data(1, 300, 12))
            intact.tune(spec, max_drop=0.06, engines=["onnxruntime"], workers=2)
            """
        )
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "a worker process ended before it answered" in done.stderr


def test_trials_run_on_ray(start: Command, folder: Path) -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed")
    words = ("tune", "specs.py:spec", "--max-drop", "0.05", "--json", "--workers", "2", *FAST)
    told = start(*words, "--out", "r.intact", "--executor", "ray")
    assert told.code == 0, told.err
    here = start(*words, "--out", "h.intact", "--executor", "here")
    assert told.json["tuning"]["trials"] == here.json["tuning"]["trials"]
    assert told.json["tuning"]["chosen"]["layers"] == here.json["tuning"]["chosen"]["layers"]
