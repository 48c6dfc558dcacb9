"""Reading models that nobody vouches for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from intact.errors import ModelError
from intact.graph.load import load

TensorProto, helper = onnx.TensorProto, onnx.helper


def model(weight: np.ndarray | None = None, *, op: str = "MatMul", domain: str = "") -> onnx.ModelProto:
    weight = np.eye(3, dtype=np.float32) if weight is None else weight
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])
    node = helper.make_node(op, ["x", "w"], ["y"], domain=domain)
    graph = helper.make_graph([node], "g", [x], [y], [onnx.numpy_helper.from_array(weight, "w")])
    opsets = [helper.make_opsetid("", 21)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def external(tmp_path: Path, location: str, **entries: str) -> Path:
    proto = model()
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_a_good_model_is_read_from_a_file_and_from_bytes(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(model().SerializeToString())
    assert load(path) == load(path.read_bytes())


def test_external_data_in_the_same_folder_are_taken_in(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 4 + np.arange(9, dtype=np.float32).tobytes())
    proto = load(external(tmp_path, "w.bin", offset="4", length="36"))
    assert onnx.numpy_helper.to_array(proto.graph.initializer[0]).tolist() == np.arange(9).reshape(3, 3).tolist()


@pytest.mark.parametrize("location", ["/etc/passwd", "../w.bin", "a/../../w.bin", ""])
def test_external_data_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    with pytest.raises(ModelError, match="outside the model's folder"):
        load(external(tmp_path, location))


def test_external_data_behind_a_link_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.bin").symlink_to("/etc/hostname")
    with pytest.raises(ModelError, match="outside the model's folder"):
        load(external(tmp_path, "w.bin"))


@pytest.mark.parametrize(
    "entries", [{"offset": "1000"}, {"length": "4"}, {"offset": "-1"}, {"length": "9" * 30}, {"offset": "0x10"}]
)
def test_external_data_of_a_wrong_length_are_refused(tmp_path: Path, entries: dict[str, str]) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 36)
    with pytest.raises(ModelError):
        load(external(tmp_path, "w.bin", **entries))


def test_external_data_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not there"):
        load(external(tmp_path, "gone.bin"))


def test_bytes_cannot_refer_to_files(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="outside the given bytes"):
        load(external(tmp_path, "w.bin").read_bytes())


@pytest.mark.parametrize("data", [b"", b"\x80\x04pickle", b"PK\x03\x04", b"\x00" * 100, b"hello world"])
def test_what_is_not_onnx_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError):
        load(data)


def test_every_truncation_is_refused() -> None:
    data = model().SerializeToString()
    for size in range(len(data) - 1):
        try:
            load(data[:size])
        except ModelError:
            continue
        # cutting off trailing optional fields may leave a whole model behind
        assert onnx.load_from_string(data[:size]).graph.node


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_gives_a_model_or_a_model_error(position: int, byte: int) -> None:
    data = bytearray(model().SerializeToString())
    data[position % len(data)] = byte
    try:
        proto = load(bytes(data))
    except ModelError:
        return
    assert proto.graph.node


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file"):
        load(tmp_path / "none.onnx")


def test_a_file_over_the_limit_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "big.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)  # sparse: costs no disk
    with pytest.raises(ModelError, match="limit"):
        load(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    weight = np.eye(3, dtype=np.float32)
    weight[1, 1] = value
    with pytest.raises(ModelError, match="'w' has 1 values"):
        load(model(weight).SerializeToString())


def test_unknown_operators_and_domains_are_named() -> None:
    with pytest.raises(ModelError, match="FancyOp"):
        load(model(op="FancyOp").SerializeToString())
    with pytest.raises(ModelError, match=r"com\.example"):
        load(model(domain="com.example").SerializeToString())
    assert load(model(domain="com.example").SerializeToString(), domains=["com.example"]).graph.node


def test_an_opset_out_of_range_is_refused() -> None:
    proto = model()
    proto.opset_import[0].version = 3
    with pytest.raises(ModelError, match="opset 3"):
        load(proto.SerializeToString())


def test_a_tensor_that_claims_a_huge_shape_is_refused(tmp_path: Path) -> None:
    path = external(tmp_path, "w.bin")
    proto = onnx.load_from_string(path.read_bytes())
    proto.graph.initializer[0].dims[:] = [2**40, 2**40]
    (tmp_path / "w.bin").write_bytes(b"\0" * 36)
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="exceeds"):
        load(path)


def constant_node(tensor: onnx.TensorProto) -> bytes:
    """A model whose weight is a Constant node."""
    nodes = [helper.make_node("Constant", [], ["w"], value=tensor), helper.make_node("MatMul", ["x", "w"], ["y"])]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()


@pytest.mark.parametrize("location", ["w.bin", "/etc/passwd", "../w.bin"])
def test_attributes_cannot_refer_to_files(location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file beside the working directory must not be read either."""
    (tmp_path / "w.bin").write_bytes(np.eye(3, dtype=np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    tensor = onnx.numpy_helper.from_array(np.eye(3, dtype=np.float32), "inner")
    assert load(constant_node(tensor)).graph.node
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    with pytest.raises(ModelError, match="'value' of a Constant has its data in another file"):
        load(constant_node(tensor))


def test_constant_nodes_must_be_finite_too() -> None:
    with pytest.raises(ModelError, match="'w' has 1 values"):
        load(constant_node(onnx.numpy_helper.from_array(np.array([[np.nan, 0, 0]] * 1, np.float32), "inner")))


def test_sparse_weights_are_refused() -> None:
    proto = model()
    dense = proto.graph.initializer.pop()
    values = onnx.numpy_helper.from_array(np.ones(2, np.float32), dense.name)
    indices = onnx.numpy_helper.from_array(np.array([1, 5]), "indices")
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3, 3]))
    with pytest.raises(ModelError, match="sparse weights"):
        load(proto.SerializeToString())


@pytest.mark.parametrize("field", ["input", "output"])
def test_a_graph_without_ends_is_refused(field: str) -> None:
    proto = model()
    proto.graph.ClearField(field)
    with pytest.raises(ModelError, match="without inputs or without outputs"):
        load(proto.SerializeToString())


def test_initializers_listed_as_inputs_are_no_inputs() -> None:
    proto = model()
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 3]))
    assert load(proto.SerializeToString()).graph.input
    del proto.graph.input[0]
    with pytest.raises(ModelError, match="without inputs"):
        load(proto.SerializeToString())


def test_a_name_that_is_no_text_is_refused() -> None:
    data = model().SerializeToString().replace(b"batch", b"bat\x9ah")
    with pytest.raises(ModelError, match="not UTF-8"):
        load(data)
