"""What to build, as callers say it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from intact.errors import DataError, ModelError, UsageError
from intact.pipeline.spec import Spec, as_arrays, as_pieces, read_source
from support.nets import data, mlp

X = data(0, 6, 8)


def test_a_model_may_be_a_path_bytes_or_a_proto(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(mlp())
    wanted = onnx.load_from_string(mlp())
    for model in (path, str(path), mlp(), wanted):
        assert Spec(model=model).proto() == wanted


@pytest.mark.parametrize("model", [None, 3, object(), torch.zeros(2), type])
def test_other_kinds_of_model_are_refused(model: object) -> None:
    with pytest.raises(UsageError, match="not a torch module, an ONNX file or its bytes"):
        Spec(model=model).proto()


def test_a_torch_module_needs_example_inputs() -> None:
    with pytest.raises(UsageError, match="without example inputs"):
        Spec(model=torch.nn.Linear(8, 2)).proto()


def test_a_forward_without_names_is_refused() -> None:
    class Anonymous(torch.nn.Module):
        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            return inputs[0]

    with pytest.raises(ModelError, match="names no arguments"):
        Spec(model=Anonymous(), inputs=X).proto()


def test_evaluate_must_be_a_function() -> None:
    with pytest.raises(UsageError, match="evaluate is a float, not a function"):
        Spec(model=mlp(), evaluate=0.5)  # type: ignore[arg-type]


ARRAYS = {
    "alone": X,
    "a tensor": torch.from_numpy(X),
    "a tensor that wants a gradient": torch.from_numpy(X.copy()).requires_grad_(),
    "nested lists": (X.tolist(),),
    "in order": (X,),
    "by name": {"x": X},
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_come_in_many_forms(case: str) -> None:
    found = as_arrays(ARRAYS[case], ["x"])
    assert list(found) == ["x"]
    np.testing.assert_allclose(found["x"], X, rtol=1e-6)


BAD = {
    "a text": ("abc", "is <U3"),
    "one number": (3.0, r"of shape \(\)"),
    "nothing": (None, "is object"),
    "objects": (np.array([None, 1]), "is object"),
    "complex numbers": (X.astype(complex), "is complex128"),
    "too many": ((X, X), "2 inputs were given, the model takes 1: x"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_array_is_refused(case: str) -> None:
    value, message = BAD[case]
    with pytest.raises(DataError, match=message):
        as_arrays(value, ["x"])


def test_pieces_are_a_whole_or_an_iterable_of_wholes() -> None:
    for whole in (X, {"x": X}, (X,), torch.from_numpy(X)):
        assert len(as_pieces(whole, ["x"])) == 1
    for pieces in ([X[:2], X[2:]], ({"x": part} for part in (X[:2], X[2:])), iter([X, X])):
        assert len(as_pieces(pieces, ["x"])) == 2


@pytest.mark.parametrize(
    ("value", "message"), [([], "hold no pieces"), (iter(()), "hold no pieces"), (7, "are a int"), (None, "NoneType")]
)
def test_no_pieces_are_refused(value: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_pieces(value, ["x"])


def test_a_source_is_an_onnx_file_or_a_function(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(mlp())
    found = read_source(str(tmp_path / "net.onnx"))
    assert (found.name, found.model) == ("net", tmp_path / "net.onnx")
    (tmp_path / "source_of_spec.py").write_text(
        "import intact\ndef spec():\n    return intact.Spec(model=b'', name='mine')\n"
    )
    assert read_source(f"{tmp_path}/source_of_spec.py:spec").name == "mine"


def test_a_file_may_import_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_spec.py").write_text("NAME = 'from a neighbour'\n")
    (tmp_path / "source_with_neighbour.py").write_text(
        "import intact\nfrom neighbour_of_spec import NAME\n\n"
        "def spec():\n    return intact.Spec(model=b'', name=NAME)\n"
    )
    assert read_source(f"{tmp_path}/source_with_neighbour.py:spec").name == "from a neighbour"


SOURCES = {
    "neither": ("model.pt", "neither x.onnx nor file.py:name"),
    "no name": ("model.py", "neither x.onnx nor file.py:name"),
    "no file": ("none.py:spec", "no file at 'none.py'"),
    "no function": ("{folder}/holds_little.py:other", "has no function called 'other'"),
    "no function but a value": ("{folder}/holds_little.py:VALUE", "has no function called 'VALUE'"),
    "another result": ("{folder}/holds_little.py:wrong", r"wrong\(\) of .* returned a int, not an intact.Spec"),
}


@pytest.mark.parametrize("case", SOURCES)
def test_a_source_that_is_none_is_refused(case: str, tmp_path: Path) -> None:
    (tmp_path / "holds_little.py").write_text("VALUE = 3\ndef wrong():\n    return 3\n")
    source, message = SOURCES[case]
    with pytest.raises(UsageError, match=message):
        read_source(source.format(folder=tmp_path))
