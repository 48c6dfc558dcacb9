"""The server as replicas of a real, local Ray Serve on a real PostgreSQL: exact counts, receipts, one log."""

from __future__ import annotations

import json
import os
import pickle
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import httpx
import numpy as np
import pytest

from intact import ledger
from intact.crypto import VerifyingKey
from intact.errors import UsageError
from intact.serve.ray_serve import Replica, Sources, application
from intact.serve.settings import Settings
from intact.serve.state import Role
from support import databases
from support.callers import INFER, Reply, Rest
from support.serving import Site, make_site, open_here, rows

START_S = 120.0
TESTS = Path(__file__).parents[1]
SOURCES = Sources(models={"tiny": "tiny.intact"}, identity="i", signer="s", receipt_key="r")

pytestmark = pytest.mark.skipif(
    find_spec("ray") is None or find_spec("grpc_reflection") is None,
    reason="Ray Serve is not installed: pip install 'intact[ray-serve]'",
)


@pytest.fixture(scope="module")
def ray_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with databases.postgres() as cluster:
        yield make_site(tmp_path_factory.mktemp("ray"), cluster.url())


@pytest.fixture(scope="module")
def url(ray_site: Site) -> Iterator[str]:
    port = databases.free_port()
    keys = ray_site.keys
    said = {
        "port": port,
        "state": ray_site.state,
        "models": {"tiny": str(ray_site.models["tiny"])},
        "identity": str(keys / "identity.key"),
        "signer": str(keys / "signing.pub"),
        "receipt_key": str(keys / "signing.key"),
        "pepper": ray_site.pepper["INTACT_PEPPER_FILE"],
    }
    log = ray_site.folder / "ray.log"
    with tempfile.TemporaryDirectory(prefix="r") as temporary, log.open("w") as sink:  # sockets want a short path
        process = subprocess.Popen(
            [sys.executable, "-m", "support.ray_serving", json.dumps(said)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sink,
            env={
                **os.environ,
                "PYTHONPATH": str(TESTS),
                "RAY_TMPDIR": temporary,
                "RAY_USAGE_STATS_ENABLED": "0",
                "OMP_NUM_THREADS": "1",
            },
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            ready, _, _ = select.select([process.stdout], [], [], START_S)
            assert ready, log.read_text()[-4000:]
            assert process.stdout.readline() == b"serving\n", log.read_text()[-4000:]
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()
            try:
                process.wait(START_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(START_S)
            process.stdout.close()


def ask_all(url: str, key: str, callers: int, times: int) -> list[Reply]:
    """Have so many callers ask so often, at the same time."""
    found: list[Reply] = []

    def ask() -> None:
        with closing(Rest(url, key, rows())) as client:
            found.extend(client.ask() for _ in range(times))

    threads = [threading.Thread(target=ask) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(START_S)
    return found


def test_replicas_of_ray_count_record_and_sign_as_one(ray_site: Site, url: str) -> None:
    key = ray_site.caller("ray", limit=100)
    replies = ask_all(url, key, 8, 20)
    statuses = [reply.status for reply in replies]
    assert (statuses.count(200), statuses.count(429)) == (100, 60), {reply.text for reply in replies}
    verifier = VerifyingKey.from_pem((ray_site.keys / "signing.pub").read_bytes())
    receipts = [ledger.read_receipt(reply.receipt, [verifier]) for reply in replies if reply.receipt is not None]
    with ray_site.store() as store:
        assert store.grants("ray")[0].used == 100
        for receipt in receipts:
            assert store.events(receipt.index, receipt.index + 1) == [(receipt.salt, receipt.event.encode())]


def test_an_answer_over_ray_is_what_the_model_gives_and_its_receipt_says_which(ray_site: Site, url: str) -> None:
    x, key = rows(3), ray_site.caller("alice")
    tensor = {"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.tolist()}
    body = json.dumps({"inputs": [tensor]}).encode()
    answer = httpx.post(url + INFER, content=body, headers={"authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    (output,) = answer.json()["outputs"]
    got = np.array(output["data"], np.float32).reshape(output["shape"])
    np.testing.assert_array_equal(got, open_here(ray_site)(x))
    verifier = VerifyingKey.from_pem((ray_site.keys / "signing.pub").read_bytes())
    receipt = ledger.read_receipt(ledger.from_header(answer.headers["intact-receipt"]), [verifier])
    said = ledger.read_answer(receipt.event)
    assert said.request_sha256 == sha256(body).hexdigest()
    assert said.response_sha256 == sha256(answer.content).hexdigest()


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/health/live", "/v2/models/tiny", "/metrics", "/log/checkpoint", "/docs", "/"]
)
def test_ray_opens_no_door(url: str, path: str) -> None:
    assert httpx.get(url + path).status_code == 401


def test_other_routes_are_there_too(ray_site: Site, url: str) -> None:
    headers = {"authorization": f"Bearer {ray_site.key('auditor', Role.AUDITOR)}"}
    for path in ("/v2/health/ready", "/v2/models/tiny", "/metrics", "/log/checkpoint", "/openapi.json"):
        assert httpx.get(url + path, headers=headers).status_code == 200, path


def test_what_replicas_cannot_share_is_refused() -> None:
    with pytest.raises(UsageError, match="SQLite"):
        application(Settings(state="sqlite:///state.db"), SOURCES)
    with pytest.raises(UsageError, match="no model"):
        application(Settings(state="postgresql://h/n"), Sources(models={}, identity="i", signer="s", receipt_key="r"))


def test_a_replica_travels_as_what_it_is_made_from() -> None:
    settings = Settings(state="postgresql://h/n")
    there = pickle.loads(pickle.dumps(Replica(settings, SOURCES)))  # noqa: S301 - our own
    assert vars(there) == vars(Replica(settings, SOURCES))
