"""Bad input gets a clear error, and nothing is lost or left half-written: the requirements' list, item by item."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import intact
from intact import engine
from intact.errors import AccessError, CheckFailed, DataError, IntactError, IntegrityError, ModelError, UsageError
from support.nets import Net, data, mlp
from support.stages import compress

X = data(1, 64, 8)
ENGINES = ["onnxruntime"]
WORDS = ("traceback", "exception", "0x")


def is_clear(error: IntactError) -> bool:
    """Lower case, no full stop, no traceback's words; a hint is one action."""
    told = [error.message, *([error.hint] if error.hint else [])]
    return all(text and not text.endswith(".") and not any(w in text.lower() for w in WORDS) for text in told)


def external(location: str) -> bytes:
    proto = onnx.load_from_string(mlp())
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return proto.SerializeToString()


def changed_weight(value: float) -> bytes:
    proto = onnx.load_from_string(mlp())
    weight = numpy_helper.to_array(proto.graph.initializer[0]).copy()
    weight.flat[3] = value
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, proto.graph.initializer[0].name))
    return proto.SerializeToString()


def unknown_operator(domain: str = "") -> bytes:
    proto = onnx.load_from_string(mlp())
    proto.graph.node[1].op_type = "Reluu"
    proto.graph.node[1].domain = domain
    if domain:
        proto.opset_import.append(helper.make_opsetid(domain, 1))
    return proto.SerializeToString()


def doubled() -> bytes:
    net = Net(0, x=["n", 8])
    model = onnx.load_from_string(net.bytes(net.gemm("x", net.normal(3, 8), net.normal(3))))
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for port in (*model.graph.input, *model.graph.output):
        port.type.tensor_type.elem_type = TensorProto.DOUBLE
    return model.SerializeToString()


MODELS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a missing file": (lambda folder: folder / "none.onnx", "no model file"),
    "an empty file": (lambda folder: b"", "no ONNX graph"),
    "a truncated file": (lambda folder: mlp()[: len(mlp()) // 2], "not an ONNX model"),
    "another format": (lambda folder: b"\x80\x04pickle" * 9, "not an ONNX model"),
    "a web page": (lambda folder: b"<!doctype html><html></html>", "not an ONNX model"),
    "data outside": (lambda folder: written(folder, external("../../etc/passwd")), "outside the model's folder"),
    "data at an absolute path": (lambda folder: written(folder, external("/etc/passwd")), "outside the model's folder"),
    "data that are not there": (lambda folder: written(folder, external("weights.bin")), "which is not there"),
    "data beside bytes": (lambda folder: external("weights.bin"), "outside the given bytes"),
    "a NaN among the weights": (lambda folder: changed_weight(np.nan), "values that are NaN or infinite"),
    "an infinite weight": (lambda folder: changed_weight(-np.inf), "values that are NaN or infinite"),
    "an unknown operator": (lambda folder: unknown_operator(), "Reluu"),
    "an unknown domain": (lambda folder: unknown_operator("com.acme"), "'com.acme', which was not named"),
    "double precision": (lambda folder: doubled(), "float64, and only float32"),
    "no model at all": (lambda folder: None, "not a torch module"),
}


def written(folder: Path, model: bytes) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(model)
    return path


@pytest.mark.parametrize("case", MODELS)
def test_models_that_cannot_be_built(case: str, tmp_path: Path) -> None:
    make, message = MODELS[case]
    out = tmp_path / "m.intact"
    with pytest.raises(UsageError, match=message) as refused:
        intact.build(intact.Spec(model=make(tmp_path), calibration=X), out=out, engines=ENGINES)
    assert isinstance(refused.value, ModelError) or case == "no model at all"
    assert is_clear(refused.value)
    assert not out.exists()


def test_a_file_over_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "big.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)  # sparse: costs no disk
    with pytest.raises(ModelError, match="more than the limit"):
        intact.build(intact.Spec(model=path, calibration=X))


DATA: dict[str, tuple[Any, str]] = {
    "none": (None, "none were given"),
    "no rows": (X[:0], "no rows"),
    "no pieces": ([], "no pieces"),
    "a NaN": (np.where(X > 2, np.nan, X), "NaN or infinite"),
    "an infinity": (np.where(X > 2, np.inf, X), "NaN or infinite"),
    "another name": ({"image": X}, r"name the inputs \['image'\], the model \['x'\]"),
    "another width": (X[:, :5], r"shape \(64, 5\), the model wants \('n', 8\)"),
    "another rank": (X[:, None], r"shape \(64, 1, 8\)"),
    "complex numbers": (X.astype(np.complex64), "complex64"),
    "texts": (np.array([["a"] * 8]), "is <U1"),
    "a text": ("calibration.npz", "is <U1|is <U15"),
    "objects": (np.array([[None] * 8]), "is object"),
}


@pytest.mark.parametrize("case", DATA)
def test_calibration_data_that_do_not_fit(case: str, tmp_path: Path) -> None:
    value, message = DATA[case]
    with pytest.raises(UsageError, match=message) as refused:
        intact.build(intact.Spec(model=mlp(), calibration=value), out=tmp_path / "m.intact", engines=ENGINES)
    assert isinstance(refused.value, DataError) or case == "none"
    assert is_clear(refused.value)
    assert not any(tmp_path.iterdir())


def test_indices_beyond_their_table_are_refused_when_built_and_when_run(tmp_path: Path) -> None:
    net = Net(0)
    net.take_indices("ids", "n", 4)
    words = net.op("Gather", net.constant(net.normal(200, 32), "words.weight"), "ids")
    flat = net.op("Reshape", words, net.whole(-1, 128))
    model = net.bytes(net.gemm(flat, net.normal(3, 128, scale=0.1), net.normal(3)))
    good = np.random.default_rng(0).integers(0, 200, (32, 4))
    with pytest.raises(DataError, match="does not run on these inputs"):
        intact.build(intact.Spec(model=model, calibration=good + 100), engines=ENGINES)
    built = intact.build(intact.Spec(model=model, calibration=good), engines=ENGINES)
    with pytest.raises(IntactError) as refused:
        built(good + 500)
    assert is_clear(refused.value)


def test_an_operator_without_an_integer_form_stays_float_and_is_told() -> None:
    net = Net(0, x=["n", 8])
    inner = net.op("Softmax", net.gemm("x", net.normal(8, 8), net.normal(8), "first"))
    model = net.bytes(net.gemm(inner, net.normal(3, 8), net.normal(3), "last"))
    built = intact.build(intact.Spec(model=model, calibration=X), engines=ENGINES)
    assert any("Softmax" in line and "no integer form" in line for line in built.summary())
    assert built.to_json()["profile"] == "tolerant"
    with pytest.raises(UsageError, match="exact profile cannot be had: .*Softmax"):
        intact.build(intact.Spec(model=model, calibration=X), engines=ENGINES, recipe=intact.Recipe(profile="exact"))


# artifacts


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory, keys: intact.Keys) -> Path:
    out = tmp_path_factory.mktemp("artifact") / "m.intact"
    intact.build(
        intact.Spec(model=mlp(), calibration=X),
        out=out,
        recipients=[keys.recipient],
        signer=keys.signer,
        engines=ENGINES,
    )
    return out


@pytest.fixture
def copy(artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(artifact, tmp_path / "m.intact"))


def test_the_copy_opens(copy: Path, keys: intact.Keys) -> None:
    assert intact.open(copy, identity=keys.identity, signer=keys.verifier, engines=ENGINES)(X).shape == (64, 3)


def test_a_wrong_key_and_a_strangers_signature_are_refused(copy: Path, keys: intact.Keys, tmp_path: Path) -> None:
    stranger = intact.new_keys(tmp_path / "stranger")
    for identity, signer in ((stranger.identity, keys.verifier), (keys.identity, stranger.verifier)):
        with pytest.raises(AccessError) as refused:
            intact.open(copy, identity=identity, signer=signer)
        assert is_clear(refused.value)


def test_no_artifact_at_the_path(tmp_path: Path, keys: intact.Keys) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for name in ("none", "file", "empty"):
        with pytest.raises((UsageError, IntegrityError)) as refused:
            intact.open(tmp_path / name, identity=keys.identity, signer=keys.verifier)
        assert is_clear(refused.value)


def test_every_missing_file_is_refused(copy: Path, keys: intact.Keys) -> None:
    for path in sorted(copy.iterdir()):
        content = path.read_bytes()
        path.unlink()
        with pytest.raises((IntegrityError, AccessError)) as refused:
            intact.open(copy, identity=keys.identity, signer=keys.verifier)
        assert is_clear(refused.value)
        path.write_bytes(content)


@pytest.mark.parametrize("name", ["notes.txt", "model.pkl", ".hidden"])
def test_an_extra_file_is_refused(name: str, copy: Path, keys: intact.Keys) -> None:
    (copy / name).write_text("extra")
    with pytest.raises(IntegrityError):
        intact.open(copy, identity=keys.identity, signer=keys.verifier)


def test_a_link_in_the_artifact_is_refused(copy: Path, keys: intact.Keys, tmp_path: Path) -> None:
    for path in sorted(copy.iterdir()):
        elsewhere = tmp_path / f"real-{path.name}"
        path.rename(elsewhere)
        path.symlink_to(elsewhere)
        with pytest.raises(IntegrityError):
            intact.open(copy, identity=keys.identity, signer=keys.verifier)
        path.unlink()
        elsewhere.rename(path)


def test_a_flipped_bit_anywhere_in_the_weights_is_refused(copy: Path, keys: intact.Keys) -> None:
    """One bit of every 97th byte; every bit of every file is turned in tests/attacks."""
    for path in sorted(copy.iterdir()):
        content = path.read_bytes()
        for place in range(0, len(content), 97):
            path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
            with pytest.raises((IntegrityError, AccessError)):
                intact.open(copy, identity=keys.identity, signer=keys.verifier)
        path.write_bytes(content)


def test_an_engine_that_does_not_conform_is_left_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The integers of this one are off by one in one place."""
    true = engine.find()["onnxruntime"]

    def load(program: Any, options: engine.Options, variant: str) -> engine.Session:
        session = true.load(program, options, variant)

        def execute(values: Any) -> dict[str, np.ndarray]:
            outputs = dict(session.execute(values))
            name = next(iter(outputs))
            outputs[name] = outputs[name].copy()
            outputs[name].flat[-1] += np.float32(2.0**-12)
            return outputs

        return replace(session, execute=execute)

    broken = replace(true, load=load)
    spec = intact.Spec(model=mlp(), calibration=X)
    with pytest.raises(CheckFailed, match="no engine on this host computes what the model defines") as refused:
        intact.build(spec, engines=[broken])  # type: ignore[list-item]
    assert is_clear(refused.value)
    built = intact.build(spec, engines=[broken, "reference"])  # type: ignore[list-item]
    assert built.session.engine == "reference"


# the same at the command line: exit code, two lines, no traceback


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, artifact: Path) -> Path:
    """Files for the commands."""
    place = tmp_path_factory.mktemp("commands")
    (place / "m.onnx").write_bytes(mlp())
    (place / "torn.onnx").write_bytes(mlp()[:99])
    (place / "nan.onnx").write_bytes(changed_weight(np.nan))
    np.savez(place / "x.npz", x=X)
    np.savez(place / "none.npz", x=X[:0])
    np.savez(place / "nan.npz", x=X * np.float32("nan"))
    np.savez(place / "named.npz", image=X)
    np.savez(place / "wide.npz", x=data(0, 4, 9))
    (place / "torn.npz").write_bytes((place / "x.npz").read_bytes()[:200])
    (place / "bad.toml").write_text("weights = 4\n")
    (place / "strict.toml").write_text('profile = "exact"\n[layers.first]\nweights = "float"\n')
    (place / "there").mkdir()
    shutil.copytree(artifact, place / "m.intact")
    shutil.copytree(artifact, place / "torn.intact")
    (place / "torn.intact" / "weights.safetensors").write_bytes(b"torn")
    return place


BUILD = ("build", "m.onnx", "--out", "out.intact", "--engine", "onnxruntime")
COMMANDS: dict[str, tuple[tuple[str, ...], int, str]] = {
    "a missing model": (("build", "none.onnx", "--out", "out.intact"), 2, "no model file at 'none.onnx'"),
    "a source that is none": (("build", "m.pt", "--out", "out.intact"), 2, "neither x.onnx nor file.py:name"),
    "a torn model": (("build", "torn.onnx", "--out", "out.intact", "--calibrate", "x.npz"), 2, "not an ONNX model"),
    "NaN weights": (("build", "nan.onnx", "--out", "out.intact", "--calibrate", "x.npz"), 2, "NaN or infinite"),
    "no calibration data": (BUILD, 2, "none were given"),
    "empty calibration data": ((*BUILD, "--calibrate", "none.npz"), 2, "no rows"),
    "NaN calibration data": ((*BUILD, "--calibrate", "nan.npz"), 2, "NaN or infinite"),
    "another input's name": ((*BUILD, "--calibrate", "named.npz"), 2, "rename the arrays"),
    "another shape": ((*BUILD, "--calibrate", "wide.npz"), 2, "shape (4, 9)"),
    "a torn data file": ((*BUILD, "--calibrate", "torn.npz"), 2, "not an .npz file"),
    "a missing data file": ((*BUILD, "--calibrate", "gone.npz"), 2, "no data file"),
    "an unknown key": ((*BUILD, "--calibrate", "x.npz", "--recipe", "bad.toml"), 2, "unknown key 'weights'"),
    "no exact profile": ((*BUILD, "--calibrate", "x.npz", "--recipe", "strict.toml"), 2, "exact profile cannot be had"),
    "a missing recipe": ((*BUILD, "--calibrate", "x.npz", "--recipe", "gone.toml"), 2, "gone.toml"),
    "an output that exists": (("build", "m.onnx", "--out", "there"), 2, "'there' exists already"),
    "an unknown engine": ((*BUILD[:-1], "trt", "--calibrate", "x.npz"), 2, "no engine 'trt'"),
    "a recipient that is none": ((*BUILD, "--calibrate", "x.npz", "--recipient", "nobody"), 2, "nobody"),
    "a signing key that is none": ((*BUILD, "--calibrate", "x.npz", "--sign", "x.npz"), 2, "private key"),
    "no artifact": (("inspect", "none.intact"), 2, "none.intact"),
    "no signer named": (("verify", "m.intact"), 2, "no public key was named"),
    "a torn artifact": (("verify", "torn.intact", "--signer", "{keys}/signing.pub"), 3, "weights.safetensors"),
    "a stranger's artifact": (("verify", "m.intact", "--signer", "{other}/signing.pub"), 4, ""),
    "a wrong key": (
        ("run", "m.intact", "--input", "x.npz", "--output", "y.npz", "--identity", "{other}/identity.key",
         "--signer", "{keys}/signing.pub"),
        4,
        "",
    ),
    "wrong inputs": (
        ("run", "m.intact", "--input", "wide.npz", "--output", "y.npz", "--identity", "{keys}/identity.key",
         "--signer", "{keys}/signing.pub", "--engine", "onnxruntime"),
        2,
        "shape",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", COMMANDS)
def test_commands_say_what_is_wrong(
    case: str, folder: Path, key_files: Path, strangers_key_files: Path, command: Callable[..., Any]
) -> None:
    words, code, message = COMMANDS[case]
    places = {"keys": key_files, "other": strangers_key_files}
    before = sorted(folder.iterdir())
    told = command(*(word.format(**places) for word in words), cwd=folder)
    assert told.code == code, told.err
    lines = told.err.splitlines()
    assert lines[0].startswith("error: ")
    assert message in told.err
    assert all(line.startswith(("error: ", "hint: ", "remark: ")) for line in lines)
    assert told.out == ""
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("case", ["NaN weights", "an output that exists", "a torn artifact", "a wrong key"])
def test_and_so_do_they_in_a_process_of_their_own(
    case: str, folder: Path, key_files: Path, strangers_key_files: Path, started: Callable[..., Any]
) -> None:
    words, code, message = COMMANDS[case]
    told = started(*(word.format(keys=key_files, other=strangers_key_files) for word in words), cwd=folder)
    assert told.code == code
    assert told.err.startswith("error: ")
    assert message in told.err
    assert "Traceback" not in told.err
    assert told.out == ""


def test_changed_bytes_of_a_model_give_a_model_or_a_clear_error() -> None:
    """Two hundred of them, one or two bytes each, all the way to the self-test."""
    net = Net(0, x=["n", 3, 6, 6])
    first = net.op("Relu", net.conv("x", net.normal(4, 3, 1, 1), net.normal(4), "first"))
    total = net.op("MaxPool", net.op("Add", first, net.op("Sigmoid", first)), kernel_shape=[2, 2])
    whole = net.bytes(net.gemm(net.op("Flatten", total), net.normal(3, 100), None, "last"))
    random = np.random.default_rng(0)
    built = 0
    for _ in range(200):
        changed = bytearray(whole)
        for _ in range(random.integers(1, 3)):
            changed[random.integers(len(whole))] = random.integers(256)
        try:
            compress(bytes(changed), {"x": data(0, 4, 3, 6, 6)})
            built += 1
        except IntactError as error:
            assert error.exit_code == 2
    assert 0 < built < 200
