"""A server as a user starts it, asked over HTTP: who may, what comes back, what is recorded."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from intact import ledger
from intact.crypto import VerifyingKey
from intact.serve.state import Role
from support.serving import INPUTS, OUTPUTS, Server, Site, open_here, rows, serving

INFER = "/v2/models/tiny/infer"
ROUTES = [
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", "/v2/models/tiny"),
    ("GET", "/v2/models/tiny/ready"),
    ("GET", "/v2/models/tiny/versions/1"),
    ("GET", "/v2/models/tiny/versions/1/ready"),
    ("POST", "/v2/repository/index"),
    ("POST", INFER),
    ("POST", "/v2/models/tiny/versions/1/infer"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/log/checkpoint"),
    ("GET", "/log/tile/0/000"),
    ("GET", "/docs"),
    ("GET", "/redoc"),
    ("GET", "/"),
    ("GET", "/nothing"),
    ("DELETE", "/v2"),
    ("OPTIONS", "/v2"),
    ("PUT", INFER),
]
WATCHED = ["/metrics", "/log/checkpoint", "/log/tile/0/000"]


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def asked(x: np.ndarray[Any, Any], **more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.tolist()}], **more}


def ask(server: Server, key: str, x: np.ndarray[Any, Any] | None = None, path: str = INFER, **more: Any) -> Any:
    headers = {**bearer(key), **more.pop("headers", {})}
    return httpx.post(server.http + path, headers=headers, json=asked(rows() if x is None else x, **more), timeout=30)


def receipt_of(site: Site, answer: httpx.Response) -> ledger.Receipt:
    verifier = VerifyingKey.from_pem((site.keys / "signing.pub").read_bytes())
    return ledger.read_receipt(ledger.from_header(answer.headers["intact-receipt"]), [verifier])


def values(answer: httpx.Response) -> np.ndarray[Any, Any]:
    (output,) = answer.json()["outputs"]
    return np.array(output["data"], np.float32).reshape(output["shape"])


def until(told: Callable[[], bool], seconds: float = 1.0) -> None:
    """Wait for something that must come true within so many seconds."""
    end = time.monotonic() + seconds
    while not told():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer x", "Basic YTpi", "Bearer intact_a_b"])
def test_nobody_gets_past_without_a_credential(
    server: Server, method: str, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    answer = httpx.request(method, server.http + path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "error" in answer.json()


def test_two_credentials_are_none(site: Site, server: Server) -> None:
    key = site.caller("two")
    pairs = [("authorization", f"Bearer {key}")] * 2
    assert httpx.get(f"{server.http}/v2", headers=pairs).status_code in (400, 401)
    assert httpx.post(server.http + INFER, headers=pairs, json=asked(rows())).status_code in (400, 401)


@pytest.mark.parametrize("path", WATCHED)
def test_callers_see_neither_metrics_nor_log(site: Site, server: Server, path: str) -> None:
    assert httpx.get(server.http + path, headers=bearer(site.caller("curious"))).status_code == 403


@pytest.mark.parametrize("count", [1, 3, 200])
def test_an_answer_is_what_the_model_gives(site: Site, server: Server, count: int) -> None:
    x = rows(count)
    answer = ask(server, site.caller("alice"), x, id="7")
    assert answer.status_code == 200
    np.testing.assert_array_equal(values(answer), open_here(site)(x))
    said = answer.json()
    assert (said["model_name"], said["model_version"], said["id"]) == ("tiny", "1", "7")


def test_binary_tensors_go_both_ways(site: Site, server: Server) -> None:
    x, key = rows(2), site.caller("alice")
    tensor = {"name": "x", "shape": [2, INPUTS], "datatype": "FP32", "parameters": {"binary_data_size": x.nbytes}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {**bearer(key), "inference-header-content-length": str(len(head))}
    answer = httpx.post(server.http + INFER, headers=headers, content=head + x.tobytes())
    length = int(answer.headers["inference-header-content-length"])
    assert json.loads(answer.content[:length])["outputs"][0]["parameters"]["binary_data_size"] == 8 * OUTPUTS
    got = np.frombuffer(answer.content[length:], "<f4").reshape(2, OUTPUTS)
    np.testing.assert_array_equal(got, open_here(site)(x))


def test_a_body_in_chunks_is_read(site: Site, server: Server) -> None:
    body = json.dumps(asked(rows(50))).encode()
    parts = (body[at : at + 100] for at in range(0, len(body), 100))
    answer = httpx.post(server.http + INFER, headers=bearer(site.caller("alice")), content=parts)
    np.testing.assert_array_equal(values(answer), open_here(site)(rows(50)))


def test_a_receipt_speaks_of_the_exact_bytes(site: Site, server: Server) -> None:
    body = json.dumps(asked(rows())).encode()
    headers = {**bearer(site.caller("bob")), "intact-nonce": "once-7"}
    answer = httpx.post(server.http + INFER, headers=headers, content=body)
    receipt = receipt_of(site, answer)
    said = ledger.read_answer(receipt.event)
    assert said.request_sha256 == hashlib.sha256(body).hexdigest()
    assert said.response_sha256 == hashlib.sha256(answer.content).hexdigest()
    assert (said.nonce, said.transport, said.model.digest) == ("once-7", "rest", site.digests["tiny"])
    assert receipt.event.subject == "bob"
    with site.store() as store:
        ((salt, event),) = store.events(receipt.index, receipt.index + 1)
    assert (salt, event) == (receipt.salt, receipt.event.encode())


def test_a_receipt_is_replayed_on_the_command_line(
    site: Site, server: Server, started: Callable[..., Any], tmp_path: Path
) -> None:
    body = json.dumps(asked(rows(3), outputs=[{"name": "gemm2"}])).encode()
    answer = httpx.post(server.http + INFER, headers=bearer(site.caller("bob", shows="rounded-2")), content=body)
    files = {"request": body, "response": answer.content, "receipt": answer.headers["intact-receipt"].encode()}
    for name, content in files.items():
        tmp_path.joinpath(name).write_bytes(content)
    words = ["receipt", "replay", tmp_path / "receipt", site.models["tiny"], "--request", tmp_path / "request"]
    words += ["--response", tmp_path / "response", "--key", site.keys / "signing.pub", "--no-revisions"]
    words += ["--identity", site.keys / "identity.key", "--signer", site.keys / "signing.pub"]
    told = started(*words, "--json")
    assert told.code == 0, told.out + told.err
    assert told.json["same"] is True


def test_the_log_is_fetched_and_verified(
    site: Site, server: Server, started: Callable[..., Any], tmp_path: Path
) -> None:
    ask(server, site.caller("carol"))
    auditor = site.key("auditor", Role.AUDITOR)
    note = httpx.get(f"{server.http}/log/checkpoint", headers=bearer(auditor))
    assert note.status_code == 200
    size = int(note.text.splitlines()[1])
    verifier = VerifyingKey.from_pem((site.keys / "signing.pub").read_bytes())
    signed = ledger.read_checkpoint(note.content, verifier)
    assert signed.checkpoint.size == size > 0
    width = min(size, 256)
    name = "000" if width == 256 else f"000.p/{width}"
    hashes = httpx.get(f"{server.http}/log/tile/0/{name}", headers=bearer(auditor))
    entries = httpx.get(f"{server.http}/log/tile/entries/{name}", headers=bearer(auditor))
    assert len(hashes.content) == 32 * width
    leaf = hashlib.sha256(b"\0" + entries.content[2:34]).digest()
    assert hashes.content[:32] == leaf
    for path in ("9/000", "0/x999/000", "0/000.p/0", "0/000.p/999", "x", "0/../0/000"):
        assert httpx.get(f"{server.http}/log/tile/{path}", headers=bearer(auditor)).status_code == 404
    told = started("log", "verify", "--state", site.state, "--key", site.keys / "signing.pub", "--json")
    assert told.code == 0, told.out + told.err


@pytest.mark.parametrize(
    "path", ["/v2/models/other", "/v2/models/other/ready", "/v2/models/none", "/v2/models/x/ready"]
)
def test_another_model_is_as_if_it_were_not_there(site: Site, server: Server, path: str) -> None:
    key = site.caller("dave")
    answer = httpx.get(server.http + path, headers=bearer(key))
    assert answer.status_code == 403
    assert answer.json() == {"error": "not granted: no grant"}


@pytest.mark.parametrize("model", ["other", "none", "tiny/versions/9"])
def test_a_grant_is_for_one_model_and_revision(site: Site, server: Server, model: str) -> None:
    assert ask(server, site.caller("dave"), path=f"/v2/models/{model}/infer").status_code == 403


def test_a_caller_sees_what_it_may_use_and_a_watcher_all(site: Site, server: Server) -> None:
    def index(key: str) -> list[str]:
        answer = httpx.post(f"{server.http}/v2/repository/index", headers=bearer(key))
        return [each["name"] for each in answer.json()]

    assert index(site.caller("erin", "other")) == ["other"]
    assert index(site.key("nobody")) == []
    assert index(site.key("auditor", Role.AUDITOR)) == ["tiny", "other"]
    assert httpx.get(f"{server.http}/v2/models/x", headers=bearer(site.key("a", Role.ADMIN))).status_code == 404
    assert ask(server, site.key("a", Role.ADMIN)).status_code == 403  # a role is no grant


def test_a_grant_ends_when_it_is_revoked(site: Site, server: Server) -> None:
    key, grant = site.key("frank"), site.grant("frank")
    assert ask(server, key).status_code == 200
    with site.store() as store:
        store.revoke_grant(grant)
    until(lambda: ask(server, key).status_code == 403)


def test_a_key_ends_when_it_is_revoked(site: Site, server: Server) -> None:
    key = site.caller("grace")
    assert ask(server, key).status_code == 200
    with site.store() as store:
        store.revoke_key(key.split("_")[1])
    until(lambda: ask(server, key).status_code == 401)


def test_a_grant_has_a_begin_and_an_end(site: Site, server: Server) -> None:
    now = int(time.time())
    assert ask(server, site.caller("early", not_before=now + 3600)).status_code == 403
    assert ask(server, site.caller("late", not_after=now - 1)).status_code == 403
    assert ask(server, site.caller("now", not_before=now - 1, not_after=now + 3600)).status_code == 200


def test_a_grant_is_used_up(site: Site, server: Server) -> None:
    key = site.caller("heidi", limit=3)
    codes = [ask(server, key).status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]


def test_a_burst_is_told_to_come_back(site: Site, server: Server) -> None:
    answers = [ask(server, key) for key in [site.caller("ivan", rate="2/hour")] for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_an_input_that_is_none_is_not_counted(site: Site, server: Server) -> None:
    key = site.caller("judy", limit=1)
    for body in (b"", b"{}", json.dumps(asked(rows()[:, :3])).encode()):
        answer = httpx.post(server.http + INFER, headers=bearer(key), content=body)
        assert answer.status_code == 400
        assert "intact-receipt" not in answer.headers
    assert ask(server, key).status_code == 200


def test_what_the_guard_refuses_is_counted_and_recorded(site: Site, server: Server) -> None:
    key, x = site.caller("mallory", limit=2), rows()
    x[0, 0] = np.inf
    tensor = {"name": "x", "shape": [1, INPUTS], "datatype": "FP32", "parameters": {"binary_data_size": x.nbytes}}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {**bearer(key), "inference-header-content-length": str(len(head))}
    answers = [httpx.post(server.http + INFER, headers=headers, content=head + x.tobytes()) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [422, 422, 429]
    receipt = receipt_of(site, answers[0])
    assert receipt.event.type == "refusal"
    said = ledger.read_answer(receipt.event)
    assert said.response_sha256 == hashlib.sha256(answers[0].content).hexdigest()
    assert any(each.check == "finite" and each.verdict == "refuse" for each in said.guard)


@pytest.mark.parametrize(
    ("shows", "names"),
    [("label", ["gemm2"]), ("top-2", ["gemm2.labels", "gemm2.scores"]), ("rounded-1", ["gemm2"])],
)
def test_a_grant_says_how_much_is_shown(site: Site, server: Server, shows: str, names: list[str]) -> None:
    x = rows(2)
    outputs = {
        each["name"]: each for each in ask(server, site.caller(f"olivia-{shows}", shows=shows), x).json()["outputs"]
    }
    whole = open_here(site)(x)
    assert list(outputs) == names
    if shows == "label":
        assert outputs["gemm2"]["data"] == whole.argmax(axis=1).tolist()
    elif shows == "top-2":
        assert outputs["gemm2.labels"]["data"] == (-whole).argsort(axis=1)[:, :2].ravel().tolist()
    else:
        np.testing.assert_allclose(outputs["gemm2"]["data"], np.round(whole, 1).ravel(), atol=1e-6)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-encoding": "gzip"}, 415),
        ({"content-encoding": "deflate"}, 415),
        ({"content-encoding": "br"}, 415),
        ({"inference-header-content-length": "-1"}, 400),
        ({"inference-header-content-length": "1e3"}, 400),
        ({"inference-header-content-length": "9" * 400}, 400),
        ({"intact-nonce": "x" * 65}, 400),
    ],
)
def test_headers_that_are_not_taken(site: Site, server: Server, headers: dict[str, str], status: int) -> None:
    assert ask(server, site.caller("peggy"), headers=headers).status_code == status


def test_other_methods_are_refused(site: Site, server: Server) -> None:
    key = bearer(site.caller("peggy"))
    assert httpx.get(server.http + INFER, headers=key).status_code in (404, 405)
    assert httpx.delete(f"{server.http}/v2", headers=key).status_code == 405


def test_metrics_are_for_those_who_watch(site: Site, server: Server) -> None:
    ask(server, site.caller("alice"))
    answer = httpx.get(f"{server.http}/metrics", headers=bearer(site.key("auditor", Role.AUDITOR)))
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'intact_answer_seconds_count{model="tiny",transport="rest"}' in answer.text
    assert 'intact_refusals_total{status="401",transport="rest"}' in answer.text
    assert "alice" not in answer.text


def test_the_interface_describes_inference(site: Site, server: Server) -> None:
    found = httpx.get(f"{server.http}/openapi.json", headers=bearer(site.caller("alice"))).json()
    assert {"/v2/models/{name}/infer", "/v2", "/log/checkpoint", "/metrics"} <= set(found["paths"])


def test_the_server_loads_no_torch(server: Server) -> None:
    maps = Path(f"/proc/{server.process.pid}/maps")
    if not maps.exists():
        pytest.skip("needs Linux's /proc")
    assert "libtorch" not in maps.read_text()


def test_health_is_open_where_the_operator_says_so(site: Site) -> None:
    with serving(site, "--open-health") as server:
        assert httpx.get(f"{server.http}/v2/health/live").json() == {"live": True}
        assert httpx.get(f"{server.http}/v2/health/ready").json() == {"ready": True}
        assert httpx.get(f"{server.http}/v2").status_code == 401


def test_the_guard_can_be_off_or_stricter(site: Site) -> None:
    x = rows() * 1000
    key = site.caller("strange")
    with serving(site, "--guard", "range=refuse") as server:
        assert ask(server, key, x).status_code == 422
        assert ask(server, key).status_code == 200
    with serving(site, "--guard", "off") as server:
        answer = ask(server, key, x)
        assert answer.status_code == 200
        assert ledger.read_answer(receipt_of(site, answer).event).guard == ()


def test_requests_under_way_are_finished_and_no_more_are_taken(site: Site) -> None:
    key, done = site.caller("drained"), []
    with serving(site) as server:
        stop = threading.Event()

        def keep_asking() -> None:
            with httpx.Client(headers=bearer(key), timeout=30) as client:
                while not stop.is_set():
                    try:
                        answer = client.post(server.http + INFER, json=asked(rows()))
                    except httpx.TransportError:
                        return
                    done.append((answer.status_code, answer.headers.get("intact-receipt")))

        threads = [threading.Thread(target=keep_asking) for _ in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: len(done) > 20, 20)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        stop.set()
        for thread in threads:
            thread.join(20)
    answered = [base64.b64decode(receipt) for code, receipt in done if code == 200]
    assert {code for code, _ in done} <= {200, 503}
    with site.store() as store:
        (grant,) = store.grants("drained")
        assert len(answered) <= grant.used <= len(answered) + len(threads)


def test_nothing_is_answered_once_the_state_is_lost(site: Site, tmp_path: Path) -> None:
    lost = Site(folder=site.folder, models=site.models, digests=site.digests, state=f"sqlite:///{tmp_path / 'lost.db'}")
    key = lost.caller("alice")
    with serving(lost) as server:
        assert ask(server, key).status_code == 200
        for name in ("lost.db", "lost.db-wal", "lost.db-shm"):
            tmp_path.joinpath(name).unlink(missing_ok=True)
        until(lambda: ask(server, key).status_code == 503, 2)
        answer = ask(server, key)
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert str(tmp_path) not in answer.text


def test_logs_hold_no_payload_and_no_secret(site: Site) -> None:
    key = site.caller("quiet")
    with serving(site) as server:
        ask(server, key, rows() * 0 + 12345.5)
        httpx.post(server.http + INFER, headers=bearer(key), content=b"{12345.5")
        httpx.get(f"{server.http}/v2?secret=12345.5", headers={"authorization": "Bearer 12345.5"})
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(20)
        told = server.errors.read_text()
    assert "12345.5" not in told
    assert key not in told
    lines = [json.loads(line) for line in told.splitlines()]
    assert [line["message"] for line in lines][:1] == ["serving"]


def refused(site: Site, started: Callable[..., Any], *options: object, **environment: str) -> str:
    """What `intact serve` says when it does not start."""
    from support.serving import command

    told = started(*command(site, *options)[3:], **{**site.pepper, **environment})
    assert told.code == 2, told.out + told.err
    return str(told.json["error"])


def test_a_port_that_is_taken(site: Site, started: Callable[..., Any]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}" in refused(site, started, "--port", port)
        assert f"127.0.0.1:{port}" in refused(site, started, "--grpc-port", port)


def test_plain_connections_are_for_this_machine(site: Site, started: Callable[..., Any]) -> None:
    assert "without TLS" in refused(site, started, "--host", "0.0.0.0")  # noqa: S104 - refused


@pytest.mark.parametrize(
    "state", ["sqlite:////proc/state.db", "postgresql+pg8000://u:hunter2@127.0.0.1:1/x", "mysql://x"]
)
def test_a_database_that_cannot_be_reached(site: Site, started: Callable[..., Any], state: str) -> None:
    gone = Site(folder=site.folder, models=site.models, digests=site.digests, state=state)
    assert "hunter2" not in refused(gone, started)


def test_a_pepper_of_another_database(site: Site, started: Callable[..., Any], tmp_path: Path) -> None:
    site.key("somebody")
    other = tmp_path / "pepper"
    other.write_text(os.urandom(32).hex())
    other.chmod(0o600)
    assert "pepper" in refused(site, started, INTACT_PEPPER_FILE=str(other))


@pytest.mark.parametrize("options", [["--guard", "range=maybe"], ["--guard", "no=off"], ["--oidc-issuer", "https://x"]])
def test_options_that_are_none(site: Site, started: Callable[..., Any], options: list[str]) -> None:
    refused(site, started, *options)


def test_two_models_of_one_name(site: Site, started: Callable[..., Any]) -> None:
    assert "two models" in refused(site, started, f"other={site.models['tiny']}")
