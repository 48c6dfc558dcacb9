"""`intact reproduce`, `verify --calibration` and `bom`: where the integers came from, shown and refuted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import intact
from intact import engine, seal
from intact.compress.methods import methods
from intact.errors import AccessError, DataError, IntegrityError, ModelError, UsageError
from intact.pipeline import artifact, calibrated_on, lineage, reproduce
from intact.pipeline.drafting import draft
from intact.pipeline.options import silent
from support.nets import cnn, data, mlp

X = data(1, 64, 3, 8, 8)
SPEC = intact.Spec(model=cnn(), calibration=X, name="tiny")
FAST = ["onnxruntime"]
Command = Callable[..., Any]


@pytest.fixture(scope="module")
def built(keys: intact.Keys, tmp_path_factory: pytest.TempPathFactory) -> intact.Built:
    out = tmp_path_factory.mktemp("built") / "m.intact"
    recipe = intact.Recipe(default=intact.LayerRecipe(weights=5, method="stochastic"), seed=11)
    return intact.build(SPEC, out=out, recipe=recipe, engines=FAST, recipients=[keys.recipient], signer=keys.signer)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model and the data as files."""
    place = tmp_path_factory.mktemp("work")
    (place / "m.onnx").write_bytes(cnn())
    np.savez(place / "x.npz", x=X)
    np.savez(place / "other.npz", x=X[::-1])
    return place


def changed(built: intact.Built, name: str, place: int) -> intact.Built:
    """What a quantizer makes that changes one integer and leaves no trace: self-test and lineage fit."""
    tensors = {key: value.copy() for key, value in built.program.tensors.items()}
    tensors[name].reshape(-1)[place] ^= 1
    program = replace(built.program, tensors=tensors)
    said = lineage.parse(built.lineage)
    return replace(
        built,
        program=program,
        stored=tuple(seal.store(program)),
        vectors=engine.make_vectors(program, artifact.profile(built), said.recipe.seed),
        lineage=lineage.statement(
            name=built.name,
            program=program,
            source_sha256=built.source_sha256,
            recipe=said.recipe.to_json(),
            accuracy=said.accuracy,
        ),
    )


def test_an_honest_artifact_is_reproduced(built: intact.Built, keys: intact.Keys) -> None:
    found = reproduce(built.path, SPEC, identity=keys.identity, signer=keys.verifier)
    assert found.equal and not found.differences and found.model_fits and found.calibration_fits is True
    assert found.changes == () and found.values > 500
    assert found.lines() == [f"reproduced: tiny, {found.values:,} values in {found.tensors:,} tensors compared"]


def test_one_integer_of_a_signed_artifact_is_found(built: intact.Built, keys: intact.Keys, tmp_path: Path) -> None:
    name = next(name for name, value in sorted(built.program.tensors.items()) if value.dtype == np.int8)
    out = tmp_path / "bad.intact"
    seal.write(artifact.payload(changed(built, name, 3)), out, recipients=[keys.recipient], signer=keys.signer)
    seal.verify(out, signers=[keys.verifier])
    intact.open(out, identity=keys.identity, signer=keys.verifier, engines=FAST)  # nothing else finds it
    found = reproduce(out, SPEC, identity=keys.identity, signer=keys.verifier)
    assert not found.equal and found.lineage_fits
    (difference,) = found.differences
    assert (difference.name, difference.differing, difference.largest) == (name, 1, 1.0)
    assert difference.layer and f"layer '{difference.layer}'" in found.lines()[1]


def test_a_lineage_of_other_integers_is_found(built: intact.Built, keys: intact.Keys, tmp_path: Path) -> None:
    payload = artifact.payload(built)
    about = json.loads(json.dumps(payload.lineage))
    about["subject"][0]["digest"][lineage.PROGRAM_DIGEST] = "0" * 64
    seal.write(replace(payload, lineage=about), tmp_path / "m.intact", signer=keys.signer)
    found = reproduce(tmp_path / "m.intact", SPEC, signer=keys.verifier)
    assert not found.equal and not found.differences and not found.lineage_fits
    assert "differs: the lineage names other integers than the artifact holds" in found.lines()


def test_other_data_or_another_model_are_said_to_be_that(built: intact.Built, keys: intact.Keys) -> None:
    access = {"identity": keys.identity, "signer": keys.verifier}
    found = reproduce(built.path, replace(SPEC, calibration=3 * X), **access)
    assert not found.equal and found.calibration_fits is False and found.model_fits
    assert "remark: the calibration data are not those that the lineage names" in found.lines()
    found = reproduce(built.path, replace(SPEC, model=cnn(seed=4)), **access)
    assert not found.equal and not found.model_fits and found.calibration_fits
    assert "remark: the float model is not the one that the lineage names" in found.lines()
    assert any(line.endswith("more") for line in found.lines())


def test_versions_and_hosts_that_differ_are_named(built: intact.Built, keys: intact.Keys, tmp_path: Path) -> None:
    payload = artifact.payload(built)
    text = json.dumps(payload.lineage)
    about = json.loads(text)
    definition = about["predicate"]["buildDefinition"]
    (tool,) = [each for each in definition["resolvedDependencies"] if each["name"] == "numpy"]
    tool["annotations"]["version"] = "1.0"
    definition["internalParameters"]["instructionSets"] = ["neon"]
    seal.write(replace(payload, lineage=about), tmp_path / "m.intact", signer=keys.signer)
    found = reproduce(tmp_path / "m.intact", SPEC, signer=keys.verifier)
    assert found.equal  # what differs is only said
    assert [(change.name, change.then) for change in found.changes] == [("numpy", "1.0"), ("instruction sets", "neon")]
    assert found.lines()[1].startswith("remark: numpy was 1.0 then, and is ")


def test_what_training_made_is_said_not_to_be_reproducible(tmp_path: Path) -> None:
    made = draft(SPEC, intact.Recipe(), silent)
    built = intact.build(SPEC, out=tmp_path / "m.intact", drafted=made, engines=FAST)
    assert not lineage.parse(built.lineage).by_recipe
    with pytest.raises(UsageError, match="its recipe alone does not make its integers again"):
        reproduce(tmp_path / "m.intact", SPEC, allow_unsigned=True)


def test_it_opens_like_any_reader(built: intact.Built, keys: intact.Keys, tmp_path: Path) -> None:
    stranger = intact.new_keys(tmp_path / "keys")
    with pytest.raises(AccessError):
        reproduce(built.path, SPEC, identity=stranger.identity, signer=keys.verifier)
    with pytest.raises(AccessError):
        reproduce(built.path, SPEC, identity=keys.identity, signer=stranger.verifier)
    with pytest.raises(DataError):
        reproduce(built.path, replace(SPEC, calibration=X[:, :2]), identity=keys.identity, signer=keys.verifier)
    with pytest.raises(ModelError):
        reproduce(built.path, replace(SPEC, model=b"none"), identity=keys.identity, signer=keys.verifier)
    other = replace(artifact.payload(built), lineage={"_type": "other"})
    seal.write(other, tmp_path / "m.intact")
    with pytest.raises(IntegrityError, match="not as its build type has it"):
        reproduce(tmp_path / "m.intact", SPEC, allow_unsigned=True)


def test_data_are_proven_from_the_artifact(built: intact.Built, keys: intact.Keys) -> None:
    access = {"identity": keys.identity, "signer": keys.verifier}
    assert calibrated_on(built.path, X, **access) and not calibrated_on(built.path, X[::-1], **access)
    model = intact.open(built.path, **access, engines=FAST)
    assert model.was_calibrated_on(X) and not model.was_calibrated_on(X[:-1])


# determinism

EVERY_METHOD = """
import sys
import torch
import intact
from intact.compress.methods import methods
from intact.pipeline import lineage
from intact.pipeline.drafting import draft
from intact.pipeline.options import silent
from support.nets import Net, cnn, data, mlp

spec = intact.Spec(model=cnn(), calibration=data(1, 64, 3, 8, 8))
for name in sorted(methods()):
    recipe = intact.Recipe(default=intact.LayerRecipe(weights=4, method=name), equalize=name == "gptq", seed=5)
    made = draft(spec, recipe, silent)
    print(name, lineage.digest(made.program), made.source_sha256)
recipe = intact.Recipe(default=intact.LayerRecipe(weights=4, group=32, method="gptq", activations="none"))
wide = intact.Spec(model=mlp(inputs=384, hidden=384, outputs=384), calibration=data(1, 1500, 384))
print("wide", lineage.digest(draft(wide, recipe, silent).program))  # so wide that sums are cut among threads
net = Net(1, a=["n", 16, 2445], b=["n", 2445, 53])  # products of two activations, one row at a time: sums as well
inner = net.op("Tanh", net.op("MatMul", net.op("MatMul", "a", "b"), net.constant(net.normal(53, 32, scale=0.002))))
model = net.bytes(net.op("MatMul", inner, net.constant(net.normal(32, 8))))
rows = [{"a": data(i, 1, 16, 2445), "b": data(100 + i, 1, 2445, 53)} for i in range(12)]
recipe = intact.Recipe(default=intact.LayerRecipe(weights=3, method="gptq", activations="none"))
print("rows", lineage.digest(draft(intact.Spec(model=model, calibration=rows), recipe, silent).program))
torch.manual_seed(3)
module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 5))
x = data(1, 64, 3, 8, 8)
made = draft(intact.Spec(model=module, inputs=x[:2], calibration=x), intact.Recipe(), silent)
print("torch", lineage.digest(made.program), made.source_sha256)
print("built", lineage.digest(intact.build(spec, engines=["onnxruntime"], threads=int(sys.argv[1])).program))
"""


def elsewhere(threads: int, hash_seed: int) -> str:
    """What another process makes of it, all of its libraries on so many threads."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "INTACT_THREADS")
    done = subprocess.run(
        [sys.executable, "-c", EVERY_METHOD, str(threads)],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
        env={
            **os.environ,
            **dict.fromkeys(names, str(threads)),
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "PYTHONHASHSEED": str(hash_seed),
        },
    )
    return done.stdout


def test_every_method_gives_the_same_integers_on_any_number_of_threads() -> None:
    one, two = elsewhere(1, 1), elsewhere(2, 20)
    assert one == two
    assert len(one.splitlines()) == len(methods()) + 4


# the command line


def opened(key_files: Path) -> tuple[object, ...]:
    return ("--identity", key_files / "identity.key", "--signer", key_files / "signing.pub")


def test_the_command_compares_and_tells(
    built: intact.Built, key_files: Path, keys: intact.Keys, command: Command, folder: Path, tmp_path: Path
) -> None:
    options = (*opened(key_files), "--from", folder / "m.onnx", "--calibration", folder / "x.npz")
    seen = command("reproduce", built.path, *options)
    assert seen.code == 0 and seen.out.startswith("reproduced: tiny, ") and not seen.err
    told = command("reproduce", built.path, *options, "--json").json
    assert told["equal"] is True and told["differences"] == [] and told["calibration_fits"] is True
    name = next(name for name, value in sorted(built.program.tensors.items()) if value.dtype == np.int8)
    bad = tmp_path / "bad.intact"
    seal.write(artifact.payload(changed(built, name, 0)), bad, recipients=[keys.recipient], signer=keys.signer)
    seen = command("reproduce", bad, *options)
    assert seen.code == 1 and f"tensor '{name}': 1 of " in seen.out
    seen = command("reproduce", bad, *options, "--json")
    assert seen.code == 1 and seen.json["differences"][0]["name"] == name
    (bad / "weights.safetensors").write_bytes(b"\0" * (bad / "weights.safetensors").stat().st_size)
    assert command("reproduce", bad, *options).code == 3
    assert command("reproduce", built.path, "--from", folder / "m.onnx").code == 4
    assert command("reproduce", built.path, *opened(key_files), "--from", folder / "m.onnx").code == 2


def test_names_and_versions_of_a_quantizer_cannot_steer_the_terminal(
    keys: intact.Keys, key_files: Path, command: Command, folder: Path, tmp_path: Path
) -> None:
    model = onnx.load_from_string(mlp())
    name = "y\x1b[2J"
    for node in model.graph.node:
        node.output[:] = [name if each == model.graph.output[0].name else each for each in node.output]
    model.graph.output[0].name = name
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    np.savez(tmp_path / "x.npz", x=data(1, 64, 8))
    spec = intact.Spec(model=tmp_path / "m.onnx", calibration=data(1, 64, 8), name="tiny")
    whole = artifact.payload(intact.build(spec, engines=FAST))
    said = json.loads(json.dumps(whole.lineage))
    said["subject"][0]["name"] = "\x1b[31mred\nreproduced: tiny"
    said["predicate"]["buildDefinition"]["resolvedDependencies"][-1]["annotations"]["version"] = "\x1b]0;title\x07"
    forged = seal.Payload(program=whole.program, header=whole.header, card=whole.card, lineage=said)
    out = tmp_path / "m.intact"
    seal.write(forged, out, recipients=[keys.recipient], signer=keys.signer)
    files = ("--from", tmp_path / "m.onnx", "--calibration", tmp_path / "x.npz")
    told = [command("reproduce", out, *opened(key_files), *files)]
    told += [command("run", out, *opened(key_files), "--input", tmp_path / "x.npz", "--output", tmp_path / "y.npz")]
    told += [command("inspect", out), command("recipients", "list", out), command("bom", out)]
    for seen in told:
        assert seen.code == 0, seen.err
        assert not {"\x1b", "\x07"} & set(seen.out + seen.err)
    assert "red" in told[0].out and "title" in told[0].out and told[0].out.startswith("reproduced: ")
    assert not any(line == "reproduced: tiny" for line in told[0].out.splitlines())


def test_verify_proves_the_data(built: intact.Built, key_files: Path, command: Command, folder: Path) -> None:
    seen = command("verify", built.path, *opened(key_files), "--calibration", folder / "x.npz")
    assert seen.code == 0 and seen.out.strip().endswith("and was calibrated on these data")
    seen = command("verify", built.path, *opened(key_files), "--calibration", folder / "other.npz")
    assert seen.code == 1 and "holds other data than the lineage names" in seen.err and not seen.out
    seen = command("verify", built.path, "--signer", key_files / "signing.pub", "--calibration", folder / "x.npz")
    assert seen.code == 4


def test_the_bill_goes_to_standard_output_or_a_file(
    built: intact.Built, key_files: Path, strangers_key_files: Path, command: Command, tmp_path: Path
) -> None:
    seen = command("bom", built.path, "--signer", key_files / "signing.pub")
    assert seen.code == 0 and seen.json["bomFormat"] == "CycloneDX" and not seen.err
    seen = command("bom", built.path, "--out", tmp_path / "bom.json")
    assert seen.code == 0 and not seen.out and seen.err.startswith("remark: not verified")
    assert json.loads((tmp_path / "bom.json").read_text())["specVersion"] == "1.6"
    for trust, wanted in (((), False), (("--signer", key_files / "signing.pub"), True)):
        seen = command("bom", built.path, "--out", tmp_path / "bom.json", "--json", *trust)
        assert seen.code == 0 and seen.json == {"out": str(tmp_path / "bom.json"), "verified": wanted} and not seen.err
        told = command("bom", built.path, "--json", *trust).json
        assert told == json.loads((tmp_path / "bom.json").read_text())
        assert told["metadata"]["properties"] == [{"name": "intact:verified", "value": str(wanted).lower()}]
    assert command("bom", built.path, "--signer", strangers_key_files / "signing.pub").code == 4
    assert command("bom", tmp_path / "none.intact").code == 2
    assert command("bom", built.path, "--out", tmp_path / "none" / "bom.json").code == 2
