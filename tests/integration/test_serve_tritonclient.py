"""NVIDIA's client, as it is, asks a server as a user starts it."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from support.serving import INPUTS, Server, Site, open_here, rows

pytestmark = pytest.mark.filterwarnings("ignore")  # of the client's own

WIRES = ["http", "grpc"]


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(f"tritonclient.{request.param}")


@pytest.fixture
def client(wire: Any, server: Server) -> Any:
    with wire.InferenceServerClient(server.grpc if wire.__name__.endswith("grpc") else server.http[7:]) as found:
        yield found


def headers(key: str, **more: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}", **more}


def given(wire: Any, x: np.ndarray[Any, Any]) -> Any:
    found = wire.InferInput("x", list(x.shape), "FP32")
    found.set_data_from_numpy(x)
    return found


def test_health_and_metadata(site: Site, wire: Any, client: Any) -> None:
    key = site.caller("alice")
    assert client.is_server_live(headers=headers(key))
    assert client.is_server_ready(headers=headers(key))
    assert client.is_model_ready("tiny", headers=headers(key))
    assert client.is_model_ready("tiny", "1", headers=headers(key))
    found = client.get_model_metadata("tiny", headers=headers(key))
    server = client.get_server_metadata(headers=headers(key))
    if wire.__name__.endswith("http"):
        assert (found["name"], found["inputs"][0]["shape"]) == ("tiny", [-1, INPUTS])
        assert server["name"] == "intact"
    else:
        assert (found.name, list(found.inputs[0].shape)) == ("tiny", [-1, INPUTS])
        assert server.name == "intact"


@pytest.mark.parametrize("count", [1, 100])
def test_inference(site: Site, wire: Any, client: Any, count: int) -> None:
    x = rows(count)
    result = client.infer("tiny", [given(wire, x)], headers=headers(site.caller("alice")), request_id="7")
    np.testing.assert_array_equal(result.as_numpy("gemm2"), open_here(site)(x))


def test_inference_of_named_outputs_of_a_revision(site: Site, wire: Any, client: Any) -> None:
    x, outputs = rows(2), [wire.InferRequestedOutput("gemm2")]
    key = site.caller("alice")
    result = client.infer("tiny", [given(wire, x)], model_version="1", outputs=outputs, headers=headers(key))
    np.testing.assert_array_equal(result.as_numpy("gemm2"), open_here(site)(x))


def test_json_tensors(site: Site, server: Server) -> None:
    wire: Any = importlib.import_module("tritonclient.http")
    x = rows(2)
    tensor = wire.InferInput("x", list(x.shape), "FP32")
    tensor.set_data_from_numpy(x, binary_data=False)
    outputs = [wire.InferRequestedOutput("gemm2", binary_data=False)]
    with wire.InferenceServerClient(server.http[7:]) as client:
        result = client.infer("tiny", [tensor], outputs=outputs, headers=headers(site.caller("alice")))
    np.testing.assert_array_equal(result.as_numpy("gemm2"), open_here(site)(x))


def test_labels_only(site: Site, wire: Any, client: Any) -> None:
    x = rows(3)
    result = client.infer("tiny", [given(wire, x)], headers=headers(site.caller("labels", shows="label")))
    np.testing.assert_array_equal(result.as_numpy("gemm2"), open_here(site)(x).argmax(axis=1))


@pytest.mark.parametrize("key", [None, "nobody"])
def test_strangers_are_told_so(wire: Any, client: Any, key: str | None) -> None:
    utils = importlib.import_module("tritonclient.utils")
    with pytest.raises(utils.InferenceServerException, match="credential"):
        client.infer("tiny", [given(wire, rows())], headers=None if key is None else headers(key))


def test_another_model_is_refused(site: Site, wire: Any, client: Any) -> None:
    utils = importlib.import_module("tritonclient.utils")
    key = site.caller("dave")
    with pytest.raises(utils.InferenceServerException, match="not granted"):
        client.infer("other", [given(wire, rows())], headers=headers(key))
    assert not _ready(client, "other", key)


def _ready(client: Any, model: str, key: str) -> bool:
    utils = importlib.import_module("tritonclient.utils")
    try:
        return bool(client.is_model_ready(model, headers=headers(key)))
    except utils.InferenceServerException:
        return False


def test_compressed_requests_are_refused(site: Site, wire: Any, client: Any) -> None:
    utils = importlib.import_module("tritonclient.utils")
    option = {"request_compression_algorithm": "gzip"} if wire.__name__.endswith("http") else {}
    option = option or {"compression_algorithm": "gzip"}
    with pytest.raises(utils.InferenceServerException):
        client.infer("tiny", [given(wire, rows(100))], headers=headers(site.caller("alice")), **option)
