"""A bill of materials that others' tools read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import intact
from intact import seal
from intact.errors import IntegrityError, UsageError
from intact.pipeline import bom, bom_text, write_bom
from intact.pipeline.lineage import parse
from support.nets import data, mlp

X, TEST = data(1, 48, 8), data(2, 200, 8)


def evaluate(predict: Any) -> Any:
    return -np.abs(predict(TEST)).mean(axis=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function that gives an artifact: sealed or not, checked or not."""
    folder = tmp_path_factory.mktemp("bom")
    keys = intact.new_keys(folder / "keys")

    def make(name: str, *, sealed: bool, checked: bool) -> Path:
        spec = intact.Spec(model=mlp(), calibration=X, evaluate=evaluate if checked else None, name="tiny")
        recipients, signer = ([keys.recipient], keys.signer) if sealed else ([], None)
        out = folder / name
        intact.build(spec, out=out, engines=["onnxruntime"], max_drop=9, recipients=recipients, signer=signer)
        return out

    return make


@pytest.mark.parametrize(("sealed", "checked"), [(True, True), (False, False)])
def test_it_is_valid_by_the_official_schema(made: Any, sealed: bool, checked: bool) -> None:
    path = made(f"{sealed}.intact", sealed=sealed, checked=checked)
    bill = bom(path)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bom_text(bill)) is None
    model = bill["metadata"]["component"]
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "tiny", "1")
    assert ("quantitativeAnalysis" in model["modelCard"]) == checked
    assert bom(path) == bill


def test_its_hashes_and_references_hold(made: Any) -> None:
    path = made("refs.intact", sealed=True, checked=False)
    bill = bom(path)
    files = {each["name"]: each["hashes"][0]["content"] for each in bill["metadata"]["component"]["components"]}
    assert files == {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in files}
    assert {"weights.safetensors", "manifest.json", "lineage.json", "header.enc"} == set(files)
    refs = {each["bom-ref"] for each in bill["components"]}
    (first,) = [each for each in bill["dependencies"] if each["ref"] == "model"]
    assert set(first["dependsOn"]) == refs >= {"float-model", "calibration-data", "tool:onnxruntime", "tool:intact"}
    said, found = parse(json.loads((path / "lineage.json").read_bytes())), bom_text(bill)
    assert said.calibration and said.calibration in found and said.float_model in found
    assert seal.inspect(path).manifest.artifact in found


def test_it_is_of_what_was_verified_or_of_nothing(made: Any) -> None:
    path, other = made("one.intact", sealed=True, checked=False), made("two.intact", sealed=True, checked=False)
    found = [seal.inspect(each).manifest for each in (path, other)]
    assert {"name": "intact:verified", "value": "true"} in bom(path, verified=found[0])["metadata"]["properties"]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bom_text(bom(path, verified=found[0]))) is None
    with pytest.raises(IntegrityError, match="changed after it was verified"):
        bom(path, verified=found[1])


def test_it_is_written_whole_or_not_at_all(made: Any, tmp_path: Path) -> None:
    bill = bom(made("out.intact", sealed=False, checked=False))
    write_bom(bill, tmp_path / "bom.json")
    assert json.loads((tmp_path / "bom.json").read_text()) == bill
    with pytest.raises(UsageError, match="cannot write"):
        write_bom(bill, tmp_path / "none" / "bom.json")
    assert [each.name for each in tmp_path.iterdir()] == ["bom.json"]


def test_what_is_no_artifact_of_ours_has_no_bill(tmp_path: Path, made: Any) -> None:
    with pytest.raises(UsageError):
        bom(tmp_path / "none.intact")
    payload = seal.read(made("other.intact", sealed=False, checked=False), allow_unsigned=True)
    other = seal.Payload(program=payload.program, header={}, card={}, lineage={"_type": "something"})
    seal.write(other, tmp_path / "other.intact")
    with pytest.raises(IntegrityError, match="the lineage is not as its build type has it"):
        bom(tmp_path / "other.intact")
