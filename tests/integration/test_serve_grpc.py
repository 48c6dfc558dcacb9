"""A server as a user starts it, asked over gRPC."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from intact import ledger
from intact.crypto import VerifyingKey
from intact.serve.protocol.grpc_messages import MESSAGES, SERVICE
from intact.serve.replaying import replay
from intact.serve.state import Role
from support.serving import INPUTS, OUTPUTS, Server, Site, open_here, rows, serving

METHODS = ["ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "ModelInfer"]
STRANGERS = ["ModelStreamInfer", "RepositoryIndex", "Nothing"]


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc) as found:
        yield found


def bearer(key: str, **more: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"), *((name.replace("_", "-"), value) for name, value in more.items()))


def call(channel: grpc.Channel, method: str, data: bytes, metadata: Any = ()) -> tuple[bytes, dict[str, Any]]:
    """The bytes that come back, and the trailing metadata."""
    answer, told = channel.unary_unary(f"/{SERVICE}/{method}").with_call(data, metadata=metadata, timeout=20)
    return answer, dict(told.trailing_metadata())


def code_of(channel: grpc.Channel, method: str, data: bytes, metadata: Any = ()) -> str:
    """The name of the status; OK where there is an answer."""
    try:
        call(channel, method, data, metadata)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def asked(x: np.ndarray[Any, Any], model: str = "tiny", **more: Any) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": x.shape}
    message = MESSAGES["ModelInferRequest"](model_name=model, inputs=[tensor], raw_input_contents=[x.tobytes()], **more)
    data: bytes = message.SerializeToString()
    return data


def values(answer: bytes) -> np.ndarray[Any, Any]:
    message = MESSAGES["ModelInferResponse"].FromString(answer)
    return np.frombuffer(message.raw_output_contents[0], "<f4").reshape(message.outputs[0].shape)


def receipt_of(site: Site, told: dict[str, Any]) -> ledger.Receipt:
    verifier = VerifyingKey.from_pem((site.keys / "signing.pub").read_bytes())
    return ledger.read_receipt(told["intact-receipt-bin"], [verifier])


@pytest.mark.parametrize("method", [*METHODS, *STRANGERS])
@pytest.mark.parametrize("metadata", [(), bearer("x"), bearer("intact_a_b"), (("authorization", "Basic YTpi"),)])
def test_nobody_gets_past_without_a_credential(channel: grpc.Channel, method: str, metadata: Any) -> None:
    assert code_of(channel, method, b"", metadata) == "UNAUTHENTICATED"


@pytest.mark.parametrize("method", STRANGERS)
def test_methods_that_there_are_not(site: Site, channel: grpc.Channel, method: str) -> None:
    assert code_of(channel, method, b"", bearer(site.caller("alice"))) == "UNIMPLEMENTED"


@pytest.mark.parametrize("count", [1, 3, 200])
def test_an_answer_is_what_the_model_gives(site: Site, channel: grpc.Channel, count: int) -> None:
    x = rows(count)
    answer, _ = call(channel, "ModelInfer", asked(x), bearer(site.caller("alice")))
    np.testing.assert_array_equal(values(answer), open_here(site)(x))


def test_a_receipt_speaks_of_the_exact_bytes_and_replays_to_them(site: Site, channel: grpc.Channel) -> None:
    data = asked(rows(2), id="7")
    answer, told = call(channel, "ModelInfer", data, bearer(site.caller("bob"), intact_nonce="once"))
    receipt = receipt_of(site, told)
    said = ledger.read_answer(receipt.event)
    assert said.request_sha256 == hashlib.sha256(data).hexdigest()
    assert said.response_sha256 == hashlib.sha256(answer).hexdigest()
    assert (said.nonce, said.transport) == ("once", "grpc")
    assert replay(open_here(site), receipt, data, {}) == answer


def test_a_grant_is_for_one_model(site: Site, channel: grpc.Channel) -> None:
    metadata = bearer(site.caller("dave"))
    for model in ("other", "none", ""):
        assert code_of(channel, "ModelInfer", asked(rows(), model), metadata) == "PERMISSION_DENIED"
        ready = MESSAGES["ModelReadyRequest"](name=model).SerializeToString()
        assert code_of(channel, "ModelReady", ready, metadata) == "PERMISSION_DENIED"
        assert code_of(channel, "ModelMetadata", ready, metadata) == "PERMISSION_DENIED"
    watcher = bearer(site.key("auditor", Role.AUDITOR))
    assert code_of(channel, "ModelReady", MESSAGES["ModelReadyRequest"](name="none").SerializeToString(), watcher) == (
        "NOT_FOUND"
    )


def test_a_grant_ends(site: Site, channel: grpc.Channel) -> None:
    now = int(time.time())
    infer = asked(rows())
    assert code_of(channel, "ModelInfer", infer, bearer(site.caller("early", not_before=now + 99))) == (
        "PERMISSION_DENIED"
    )
    used = bearer(site.caller("used", limit=2))
    codes = [code_of(channel, "ModelInfer", infer, used) for _ in range(3)]
    assert codes == ["OK", "OK", "RESOURCE_EXHAUSTED"]
    key, grant = site.key("ended"), site.grant("ended")
    assert code_of(channel, "ModelInfer", infer, bearer(key)) == "OK"
    with site.store() as store:
        store.revoke_grant(grant)
    end = time.monotonic() + 1
    while code_of(channel, "ModelInfer", infer, bearer(key)) != "PERMISSION_DENIED":
        assert time.monotonic() < end


def test_a_burst_is_told_to_come_back(site: Site, channel: grpc.Channel) -> None:
    metadata = bearer(site.caller("ivan-grpc", rate="1/hour"))
    call(channel, "ModelInfer", asked(rows()), metadata)
    with pytest.raises(grpc.RpcError) as refused:
        call(channel, "ModelInfer", asked(rows()), metadata)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert int(dict(refused.value.trailing_metadata())["grpc-retry-pushback-ms"]) >= 1000


def test_what_the_guard_refuses_is_counted_and_recorded(site: Site, channel: grpc.Channel) -> None:
    metadata, x = bearer(site.caller("mallory-grpc", limit=1)), rows()
    x[0, 0] = np.nan
    with pytest.raises(grpc.RpcError) as refused:
        call(channel, "ModelInfer", asked(x), metadata)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    receipt = receipt_of(site, dict(refused.value.trailing_metadata()))
    assert receipt.event.type == "refusal"
    details = refused.value.details()
    assert ledger.read_answer(receipt.event).response_sha256 == hashlib.sha256(details.encode()).hexdigest()
    assert code_of(channel, "ModelInfer", asked(rows()), metadata) == "RESOURCE_EXHAUSTED"


def test_metadata_are_those_of_the_model(site: Site, channel: grpc.Channel) -> None:
    metadata = bearer(site.caller("alice"))
    answer, _ = call(
        channel, "ModelMetadata", MESSAGES["ModelMetadataRequest"](name="tiny").SerializeToString(), metadata
    )
    found = MESSAGES["ModelMetadataResponse"].FromString(answer)
    assert (found.name, list(found.versions)) == ("tiny", ["1"])
    assert [list(each.shape) for each in (*found.inputs, *found.outputs)] == [[-1, INPUTS], [-1, OUTPUTS]]


def test_health_is_open_where_the_operator_says_so(site: Site) -> None:
    with serving(site, "--open-health") as server, grpc.insecure_channel(server.grpc) as channel:
        for method in ("ServerLive", "ServerReady"):
            answer, _ = call(channel, method, b"")
            assert answer == b"\x08\x01"
        assert code_of(channel, "ServerMetadata", b"") == "UNAUTHENTICATED"
