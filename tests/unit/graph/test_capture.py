"""From a torch module to ONNX."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from intact.errors import ModelError
from intact.graph.capture import capture
from intact.graph.load import load
from intact.graph.normalise import normalise
from intact.graph.run import Runner
from support.nets import data

X = data(0, 5, 3, 8, 8)


class Net(nn.Module):
    """Convolution, batch norm in evaluation mode, dropout, and a flattening by the batch's own size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(144, 5)
        self.drop = nn.Dropout(0.5)

    def forward(self, image: Tensor) -> Tensor:
        hidden = self.drop(torch.relu(self.norm(self.conv(image))))
        return self.head(hidden.view(image.size(0), -1))


class Fixed(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image + torch.ones(2, 3, 8, 8)


def run(module: nn.Module, inputs: dict[str, np.ndarray], feeds: dict[str, np.ndarray]) -> np.ndarray:
    graph = normalise(load(capture(module, inputs).SerializeToString()))
    return Runner(graph)(feeds)[graph.outputs[0].name]


@pytest.mark.parametrize("rows", [1, 2])
def test_the_batch_may_vary_whatever_the_example(rows: int) -> None:
    torch.manual_seed(0)
    module = Net().eval()
    found = run(module, {"image": X[:rows]}, {"image": X})
    with torch.no_grad():
        np.testing.assert_allclose(found, module(torch.from_numpy(X)).numpy(), rtol=1e-4, atol=1e-5)


def test_capture_is_in_evaluation_mode_and_leaves_the_module_as_it_was() -> None:
    module = Net().train()
    first, second = (run(module, {"image": X[:2]}, {"image": X}) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert module.training
    assert not capture(Net().eval(), {"image": X[:2]}).graph.node[0].op_type.startswith("Dropout")


def test_the_model_is_standard_onnx_of_opset_21() -> None:
    proto = capture(Net(), {"image": X[:2]})
    versions = {entry.domain: entry.version for entry in proto.opset_import}
    assert versions[""] == 21
    onnx.checker.check_model(load(proto.SerializeToString()))


def test_an_axis_that_cannot_vary_is_told() -> None:
    with pytest.raises(ModelError, match=r"axis 0 of input 'image'|cannot capture"):
        capture(Fixed(), {"image": X[:2]})


def test_inputs_that_do_not_fit_forward_are_told() -> None:
    with pytest.raises(ModelError, match="torch cannot capture the module"):
        capture(Net(), {"picture": X[:2]})
    with pytest.raises(ModelError, match="torch cannot capture the module"):
        capture(Net(), {"image": X[:2, :2]})


def test_read_only_examples_are_taken_without_a_warning() -> None:
    example = X[:2].copy()
    example.setflags(write=False)
    assert capture(Net(), {"image": example}).graph.node


class Gated(nn.Module):
    """Products without bias, one weight used twice, one that no module holds."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.ModuleList([nn.Linear(6, 6, bias=False)])
        self.twice = nn.Linear(6, 6, bias=False)
        self.loose = nn.Parameter(torch.eye(6))

    def forward(self, x: Tensor) -> Tensor:
        return self.gate[0](self.twice(self.twice(x))) @ self.loose


def test_a_product_without_bias_is_called_after_its_module() -> None:
    module, x = Gated().eval(), data(3, 4, 5, 6)
    proto = capture(module, {"x": x})
    onnx.checker.check_model(proto, full_check=True)
    assert "gate.0.weight" in {tensor.name for tensor in proto.graph.initializer}
    users = [node.input[1] for node in proto.graph.node if node.op_type == "MatMul"]
    assert len(users) == 4
    assert len({name for name in users if name.startswith("twice")}) in (0, 1)
    with torch.no_grad():
        np.testing.assert_allclose(run(module, {"x": x}, {"x": x}), module(torch.from_numpy(x)).numpy(), atol=1e-6)
