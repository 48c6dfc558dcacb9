"""QuantizationModule and DataParallel: the calls that people know from torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import intact
from intact.errors import DataError, ModelError, UsageError
from support.nets import cnn, data

X = data(1, 64, 3, 8, 8)
ENGINES = ["onnxruntime"]


class Picture(nn.Module):
    """A small convolutional net."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8 * 36, 5)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(torch.relu(self.norm(self.conv(image))).flatten(1))


class Pair(nn.Module):
    """Two inputs, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(8, 4), nn.Linear(6, 4)

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        return self.left(first) + self.right(second), torch.relu(self.left(first))


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    return Picture().eval()


@pytest.fixture(scope="module")
def quantized(module: nn.Module) -> intact.QuantizationModule:
    return intact.QuantizationModule(module, X, engines=ENGINES)


@pytest.fixture(scope="module")
def built() -> intact.Built:
    return intact.build(intact.Spec(model=cnn(), calibration=X), engines=ENGINES)


def near(found: np.ndarray, wanted: np.ndarray) -> bool:
    return float(np.abs(found - wanted).max()) < 0.05 * float(np.abs(wanted).max())


def test_tensors_come_back_for_tensors_and_arrays_for_arrays(
    quantized: intact.QuantizationModule, module: nn.Module
) -> None:
    tensor = quantized(torch.from_numpy(X))
    array = quantized(X)
    assert isinstance(tensor, Tensor)
    assert isinstance(array, np.ndarray)
    np.testing.assert_array_equal(tensor.numpy(), array)
    with torch.no_grad():
        assert near(array, module(torch.from_numpy(X)).numpy())


def test_the_first_call_calibrates_where_nothing_was_given(module: nn.Module) -> None:
    lazy = intact.QuantizationModule(module, engines=ENGINES)
    with pytest.raises(UsageError, match="not built yet"):
        _ = lazy.built
    first = lazy(torch.from_numpy(X))
    np.testing.assert_array_equal(first.numpy(), intact.QuantizationModule(module, X, engines=ENGINES)(X))
    assert lazy.built.plan.exact


def test_the_module_is_left_as_it_was(module: nn.Module) -> None:
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module.train()
    try:
        intact.QuantizationModule(module, X[:8], engines=ENGINES)
        assert module.training
    finally:
        module.eval()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("form", ["whole", "tensor", "by name", "list of pieces", "generator", "tuple"])
def test_calibration_comes_in_the_forms_of_a_spec(
    form: str, module: nn.Module, quantized: intact.QuantizationModule
) -> None:
    forms = {
        "whole": X,
        "tensor": torch.from_numpy(X),
        "by name": {"image": X},
        "list of pieces": [X],
        "generator": (part for part in [X]),
        "tuple": (X,),
    }
    again = intact.QuantizationModule(module, forms[form], engines=ENGINES)
    np.testing.assert_array_equal(again(X), quantized(X))


def test_several_inputs_and_outputs() -> None:
    torch.manual_seed(0)
    pair = Pair().eval()
    first, second = torch.from_numpy(data(1, 64, 8)), torch.from_numpy(data(2, 64, 6))
    found = intact.QuantizationModule(pair, engines=ENGINES)(first, second)
    with torch.no_grad():
        wanted = pair(first, second)
    assert isinstance(found, dict)
    for value, one in zip(found.values(), wanted, strict=True):
        assert isinstance(value, Tensor)
        assert near(value.numpy(), one.numpy())


def test_options_reach_the_build(module: nn.Module) -> None:
    recipe = intact.Recipe(default=intact.LayerRecipe(weights=4))
    made = intact.QuantizationModule(module, X, engines=ENGINES, recipe=recipe)
    assert {layer.bits for layer in made.built.layers} == {4}


def test_what_is_no_module_or_no_data_is_refused(module: nn.Module) -> None:
    with pytest.raises(UsageError, match="not a torch module"):
        intact.QuantizationModule(3, X)
    with pytest.raises(UsageError, match="no pieces|without example inputs"):
        intact.QuantizationModule(module, [])
    with pytest.raises((DataError, ModelError)):
        intact.QuantizationModule(module, X[:, :1], engines=ENGINES)
    with pytest.raises(DataError, match="NaN"):
        intact.QuantizationModule(module, X * np.float32("nan"), engines=ENGINES)


@pytest.fixture(scope="module", params=["threads", "processes"])
def spread(request: pytest.FixtureRequest, built: intact.Built) -> Iterator[intact.DataParallel]:
    with intact.DataParallel(built, workers=2, mode=request.param) as parallel:
        yield parallel


@pytest.mark.parametrize("rows", [1, 2, 3, 64, 515])
def test_a_spread_batch_gives_identical_integers(rows: int, spread: intact.DataParallel, built: intact.Built) -> None:
    batch = data(7, rows, 3, 8, 8)
    np.testing.assert_array_equal(spread(batch), built(batch))


def test_bad_inputs_are_refused_by_a_spread_model_too(spread: intact.DataParallel) -> None:
    for bad in (X[:, :1], X[:0], X * np.float32("nan")):
        with pytest.raises(DataError):
            spread(bad)
    assert spread(X[:2]).shape == (2, 5)


def test_a_module_is_quantized_and_spread_in_one_line(module: nn.Module, quantized: intact.QuantizationModule) -> None:
    with intact.DataParallel(intact.QuantizationModule(module, engines=ENGINES), workers=2) as parallel:
        found = parallel(torch.from_numpy(X))
        assert isinstance(found, Tensor)
        np.testing.assert_array_equal(found.numpy(), quantized(X))


def test_an_opened_model_can_be_spread_and_closed_and_used_again(built: intact.Built, tmp_path: Path) -> None:
    intact.build(intact.Spec(model=cnn(), calibration=X), engines=ENGINES, out=tmp_path / "m.intact")
    model = intact.open(tmp_path / "m.intact", allow_unsigned=True, engines=ENGINES)
    parallel = intact.DataParallel(model, workers=3)
    np.testing.assert_array_equal(parallel(X), built(X))
    parallel.close()
    parallel.close()
    np.testing.assert_array_equal(parallel({"x": X}), built(X))
    parallel.close()


def test_what_cannot_be_spread_is_refused(built: intact.Built) -> None:
    with pytest.raises(UsageError, match="mode is 'gpus'"):
        intact.DataParallel(built, mode="gpus")
    with pytest.raises(UsageError):
        intact.DataParallel(built, workers=-1)(X)


def test_capturing_twice_gives_the_same_program(module: nn.Module, quantized: intact.QuantizationModule) -> None:
    again = intact.QuantizationModule(module, X, engines=ENGINES).built
    assert again.program.model == quantized.built.program.model
    assert again.lineage == quantized.built.lineage
    assert again.source_sha256 == quantized.built.source_sha256
