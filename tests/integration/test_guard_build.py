"""A contract is learned by a build, sealed in the header, and found again at opening."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import intact
from intact import engine, seal, wire
from intact.cli import app
from intact.errors import IntegrityError, UsageError
from intact.graph import view
from intact.guard import Guard, refused
from intact.pipeline import guarding, plain_contract, write_npz
from support.nets import Net, cnn, data, mlp
from support.zoo import ZOO, member

ENGINES = ["onnxruntime"]
X = data(1, 240, 3, 8, 8)
OPEN: dict[str, Any] = {"allow_unsigned": True, "engines": ENGINES, "revisions": False}


def build(out: Path | None = None, **options: Any) -> intact.Built:
    spec = intact.Spec(model=cnn(), calibration=options.pop("calibration", X), name="tiny")
    return intact.build(spec, engines=ENGINES, out=out, revisions=False, **options)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("guarded") / "m.intact"
    build(out)
    return out


def test_a_contract_is_sealed_with_the_model(tmp_path: Path, keys: intact.Keys) -> None:
    out = tmp_path / "m.intact"
    built = build(out, recipients=[keys.recipient], signer=keys.signer)
    model = intact.open(out, identity=keys.identity, signer=keys.verifier, engines=ENGINES, revisions=False)
    assert model.guard == built.guard
    assert model.guard is not None
    assert model.guard.rows == 240
    assert model.guard.tap is not None
    assert {"range", "mahalanobis", "energy", "squeeze"} <= set(model.guard.checks)
    assert b"mahalanobis" not in b"".join(path.read_bytes() for path in out.iterdir())  # sealed, not public


def test_two_builds_of_the_same_inputs_learn_the_same(artifact: Path, tmp_path: Path) -> None:
    build(tmp_path / "again.intact", threads=1)
    first, second = (
        seal.read(path, allow_unsigned=True).header["guard"] for path in (artifact, tmp_path / "again.intact")
    )
    assert wire.encode(first) == wire.encode(second)


def test_the_guard_changes_no_byte_of_the_program(artifact: Path, tmp_path: Path) -> None:
    build(tmp_path / "bare.intact", guard=False)
    with_, without = (seal.read(path, allow_unsigned=True) for path in (artifact, tmp_path / "bare.intact"))
    assert with_.program.model == without.program.model
    for name, tensor in without.program.tensors.items():
        np.testing.assert_array_equal(with_.program.tensors[name], tensor)
    assert with_.card == without.card
    assert set(with_.header) - set(without.header) == {"guard"}
    assert {key: value for key, value in with_.header.items() if key not in ("guard", "calibration")} == {
        key: value for key, value in without.header.items() if key != "calibration"
    }


def test_an_artifact_without_a_guard_opens_and_has_none(tmp_path: Path) -> None:
    built = build(tmp_path / "m.intact", guard=False)
    assert built.guard is None
    for guard in (False, True):
        model = intact.open(tmp_path / "m.intact", guard=guard, **OPEN)
        assert model.guard is None
        seen = model.observe(X[:3])
        assert seen.features is None
        np.testing.assert_array_equal(seen.outputs[model.outputs[0]], model(X[:3]))


def test_the_features_change_no_other_output_by_a_bit(artifact: Path) -> None:
    plain, tapped = (intact.open(artifact, guard=guard, **OPEN) for guard in (False, True))
    assert plain.outputs == tapped.outputs
    assert plain.inputs == tapped.inputs
    x = data(5, 150, 3, 8, 8)  # longer than one call of the engine
    seen = tapped.observe(x)
    assert seen.features is not None
    assert len(seen.features) == 150
    assert seen.features.dtype == np.uint8
    for found in (tapped.run(x), seen.outputs):
        assert set(found) == set(plain.outputs)
        for name, value in plain.run(x).items():
            assert found[name].tobytes() == value.tobytes()


@pytest.mark.parametrize("name", sorted(ZOO))
def test_no_kind_of_model_gives_other_bits_with_its_features_tapped(name: str) -> None:
    module, inputs, _ = member(name)
    spec = intact.Spec(model=module, inputs=tuple(value[:2] for value in inputs), calibration=inputs, name=name)
    built = intact.build(spec, engines=ENGINES)
    tap = guarding.last_codes(view.read(built.program.to_proto()))
    if tap is None:
        return
    options = engine.Options(taps=guarding.spec(tap))
    backend = engine.find()[built.session.engine]
    tapped = engine.load_session(backend, built.program, options, built.session.variant)
    engine.self_test(tapped, built.vectors)
    feeds = dict(zip([port.name for port in built.inputs], inputs, strict=True))
    seen, wanted = tapped.observe(feeds), built.session.run(feeds)
    assert set(seen.taps) == {tap.tensor}
    assert all(seen.outputs[output].tobytes() == value.tobytes() for output, value in wanted.items())


def test_some_kinds_of_model_have_features_to_tap() -> None:
    module, inputs, _ = member("mobilenet v2")
    spec = intact.Spec(model=module, inputs=tuple(value[:2] for value in inputs), calibration=inputs)
    assert guarding.last_codes(view.read(intact.build(spec, engines=ENGINES).program.to_proto())) is not None


def test_every_engine_gives_the_same_features(artifact: Path) -> None:
    names = [name for name, backend in engine.find().items() if backend.why_unavailable() is None]
    found = [intact.open(artifact, guard=True, **{**OPEN, "engines": [name]}).observe(X[:4]) for name in names]
    assert len(found) >= 2
    for other in found[1:]:
        assert other.features is not None and found[0].features is not None
        np.testing.assert_array_equal(other.features, found[0].features)
        np.testing.assert_array_equal(other.outputs["gemm7"], found[0].outputs["gemm7"])


def test_features_must_be_asked_for(artifact: Path) -> None:
    with pytest.raises(UsageError, match="not opened for observing") as wanted:
        intact.open(artifact, **OPEN).observe(X[:2])
    assert "guard=True" in str(wanted.value.hint)
    with pytest.raises(UsageError, match="guard"):
        intact.open(artifact, tensors=["x"], allow_unsigned=True, revisions=False, guard=True)  # type: ignore[call-overload]


def test_a_tapped_model_is_scrubbed_and_repaired_like_any_other(artifact: Path) -> None:
    model = intact.open(artifact, guard=True, scrub=True, **OPEN)
    model.stop_scrubbing()
    before = model.observe(X[:8])
    assert model.scrub().clean
    report = model.scrub()
    assert report.reproducible and report.witnessed
    tensor = next(value for value in model.program.tensors.values() if value.nbytes)
    from intact.engine.reach import flip

    flip(tensor.reshape(-1).view(np.uint8)[:1], 0x40)
    assert not model.scrub().clean
    after = model.observe(X[:8])
    np.testing.assert_array_equal(after.features, before.features)
    np.testing.assert_array_equal(after.outputs["gemm7"], before.outputs["gemm7"])


def test_a_guard_tells_good_rows_from_strange_ones(artifact: Path) -> None:
    model = intact.open(artifact, guard=True, **OPEN)
    assert model.guard is not None
    guard = Guard(model.guard, {"squeeze": "flag", "range": "refuse"}, run=model.run)

    def judge(x: np.ndarray) -> dict[str, str]:
        feeds = {"x": x}
        seen = model.observe(feeds)
        return {
            each.check: each.verdict for each in guard.inputs(feeds) + guard.outputs(feeds, seen.outputs, seen.features)
        }

    verdicts = [set(judge(data(seed, 1, 3, 8, 8)).values()) for seed in range(100, 130)]
    assert sum(each == {"ok"} for each in verdicts) >= 24
    strange = judge(100 * X[:1])
    assert strange["range"] == "refuse"
    assert refused(guard.inputs({"x": 100 * X[:1]})) is not None


def test_too_few_rows_are_said_to_be_too_few() -> None:
    built = build(calibration=X[:60])
    assert built.guard == plain_contract(built.plan.graph.inputs)
    assert built.guard is not None and built.guard.rows == 0
    assert any("guard" in line and "60" in line for line in built.summary())


def test_the_summary_says_what_was_learned() -> None:
    assert any(line.startswith("guard") and "240" in line for line in build().summary())
    assert build().to_json()["guard"]["rows"] == 240
    assert build(guard=False).to_json()["guard"] is None
    assert not any(line.startswith("guard") for line in build(guard=False).summary())


def test_rows_that_depend_on_each_other_are_not_learned_from() -> None:
    net = Net(3, x=("n", 8))
    mixed = net.op("Sub", "x", net.op("ReduceMean", "x", net.whole(0), keepdims=1))
    proto = net.proto(net.gemm(net.op("Relu", mixed), net.normal(4, 8)))
    built = intact.build(intact.Spec(model=proto, calibration=data(1, 200, 8)), engines=ENGINES)
    assert not built.rows_apart
    assert built.guard is not None and built.guard.rows == 0


def test_a_model_without_calibration_data_has_the_least_contract() -> None:
    recipe = intact.Recipe(default=intact.LayerRecipe(activations="none"))
    built = intact.build(mlp(), recipe=recipe, engines=ENGINES)
    assert built.guard is not None
    assert set(built.guard.checks) == {"shape", "finite", "output_finite"}


def test_rows_are_taken_from_all_over_the_data() -> None:
    low, high = data(1, 400, 3, 8, 8), data(2, 400, 3, 8, 8) + 4
    built = build(calibration=np.concatenate([low, high]))
    assert built.guard is not None
    assert built.guard.rows == 512
    found = Guard(built.guard, {"mahalanobis": "off"}).inputs({"x": high[:1]})
    assert {each.verdict for each in found} == {"ok"}


def test_the_command_leaves_the_guard_out(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(cnn())
    write_npz(tmp_path / "x.npz", {"x": X})
    common = ["build", str(tmp_path / "m.onnx"), "--calibrate", str(tmp_path / "x.npz"), "--engine", "onnxruntime"]
    for name, more in (("with", []), ("without", ["--no-guard"])):
        done = CliRunner().invoke(app, [*common, "--out", str(tmp_path / name), "--quiet", *more])
        assert done.exit_code == 0, done.output
    assert "guard" in seal.read(tmp_path / "with", allow_unsigned=True).header
    assert "guard" not in seal.read(tmp_path / "without", allow_unsigned=True).header


@pytest.mark.parametrize("change", [None, 3, {}, {"version": 9}], ids=str)
def test_a_contract_that_cannot_be_read_is_not_passed_over(artifact: Path, tmp_path: Path, change: Any) -> None:
    payload = seal.read(artifact, allow_unsigned=True)
    broken = seal.Payload(
        program=payload.program,
        header={**payload.header, "guard": change if change is not None else []},
        card=payload.card,
        lineage=payload.lineage,
    )
    seal.write(broken, tmp_path / "m.intact")
    with pytest.raises(IntegrityError, match="guard"):
        intact.open(tmp_path / "m.intact", **OPEN)
    shutil.rmtree(tmp_path / "m.intact")
