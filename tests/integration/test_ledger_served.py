"""From an answer of a real server to its proof: the receipt, the log over HTTP, the same bytes on another machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.http as triton

import intact
from intact import seal
from intact.serve.state import Role
from support.log_servers import Witness, witness_server
from support.serving import INPUTS, Server, Site, rows, serving

ORIGIN = "models.example.com/log"
Command = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A server, and callers with their keys."""

    site: Site
    server: Server
    caller: str
    auditor: str


@pytest.fixture(scope="module")
def place(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server of the same models with a database, and so a log, of its own."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(site.keys, folder / "keys")
    shutil.copy(site.folder / "pepper", folder / "pepper")
    site = replace(site, folder=folder, state=f"sqlite:///{folder / 'state.db'}")
    caller, auditor = site.caller("alice"), site.key("carol", Role.AUDITOR)
    with serving(site, "--origin", ORIGIN, models=("tiny",)) as server:
        yield Place(site=site, server=server, caller=caller, auditor=auditor)


@pytest.fixture
def run(command: Command, tmp_path: Path, place: Place) -> Command:
    """Run a command; what the names stand for are keys and the model."""
    keys = place.site.keys
    names = {"PUB": keys / "signing.pub", "IDENTITY": keys / "identity.key", "MODEL": place.site.models["tiny"]}
    means = {"INTACT_API_KEY": place.auditor, "XDG_STATE_HOME": str(tmp_path / "state")}
    return lambda *words: command(*(names.get(str(word), word) for word in words), cwd=tmp_path, **means)


def keep(folder: Path, request: bytes, response: bytes, receipt: bytes | str) -> None:
    """Write down what a caller has after an answer."""
    (folder / "request").write_bytes(request)
    (folder / "response").write_bytes(response)
    (folder / "receipt").write_bytes(receipt.encode() if isinstance(receipt, str) else receipt)


def ask_json(place: Place, folder: Path, **headers: str) -> None:
    """Ask as any HTTP client does."""
    x = rows(2)
    body = {"inputs": [{"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}]}
    said = {"authorization": f"Bearer {place.caller}", "content-type": "application/json", **headers}
    request = json.dumps(body).encode()
    answer = httpx.post(f"{place.server.http}/v2/models/tiny/infer", content=request, headers=said, timeout=30)
    assert answer.status_code == 200, answer.text
    keep(folder, request, answer.content, answer.headers["intact-receipt"])


def ask_binary(place: Place, folder: Path) -> list[str]:
    """Ask as tritonclient does, with tensors as bytes; return the words that say how the body is to be read."""
    given = triton.InferInput("x", [2, INPUTS], "FP32")
    given.set_data_from_numpy(rows(2).astype(np.float32), binary_data=True)
    request, length = triton.InferenceServerClient.generate_request_body([given])
    said = {"authorization": f"Bearer {place.caller}", "inference-header-content-length": str(length)}
    answer = httpx.post(f"{place.server.http}/v2/models/tiny/infer", content=request, headers=said, timeout=30)
    assert answer.status_code == 200, answer.text
    keep(folder, request, answer.content, answer.headers["intact-receipt"])
    return ["--header", f"Inference-Header-Content-Length: {length}"]


def ask_grpc(place: Place, folder: Path) -> None:
    """Ask over gRPC, with the exact bytes of both messages in hand."""
    from tritonclient.grpc import InferInput, service_pb2

    given = InferInput("x", [2, INPUTS], "FP32")
    given.set_data_from_numpy(rows(2).astype(np.float32))
    message = service_pb2.ModelInferRequest(model_name="tiny", inputs=[given._get_tensor()])
    message.raw_input_contents.append(rows(2).astype(np.float32).tobytes())
    request = message.SerializeToString()
    with grpc.insecure_channel(place.server.grpc) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")  # bytes in, bytes out
        response, state = call.with_call(request, metadata=[("authorization", f"Bearer {place.caller}")], timeout=30)
    trailing = {each.key: each.value for each in state.trailing_metadata()}
    keep(folder, request, response, trailing["intact-receipt-bin"])


ASK: dict[str, Callable[[Place, Path], list[str] | None]] = {"json": ask_json, "binary": ask_binary, "grpc": ask_grpc}


@pytest.mark.parametrize("way", ASK)
def test_an_answer_is_verified_and_given_again(run: Command, place: Place, tmp_path: Path, way: str) -> None:
    how = ASK[way](place, tmp_path) or []
    bodies = ("--request", "request", "--response", "response")
    told = run("receipt", "verify", "receipt", "--key", "PUB", *bodies, "--model", "MODEL")
    assert told.code == 0, told.err
    assert "verified: answer to alice at " in told.out
    opening = ("--identity", "IDENTITY", "--signer", "PUB")
    told = run("receipt", "replay", "receipt", "MODEL", "--key", "PUB", *bodies, *how, *opening)
    assert told.code == 0, told.err
    assert told.out.startswith(f"replayed: the same {len((tmp_path / 'response').read_bytes())} bytes, ")


def test_another_answer_is_not_given_out_for_the_one_that_was(run: Command, place: Place, tmp_path: Path) -> None:
    ask_json(place, tmp_path)
    response = (tmp_path / "response").read_bytes()
    (tmp_path / "response").write_bytes(response.replace(b"1", b"2", 1))
    words = ("--key", "PUB", "--request", "request", "--response", "response")
    assert run("receipt", "verify", "receipt", *words).code == 3
    opening = ("--identity", "IDENTITY", "--signer", "PUB")
    assert run("receipt", "replay", "receipt", "MODEL", *words, *opening).code == 3
    told = run("receipt", "replay", "receipt", place.site.models["other"], *words[:4], *opening)
    assert (told.code, "another model" in told.err) == (3, True)


def test_a_nonce_shows_that_the_answer_is_fresh(run: Command, place: Place, tmp_path: Path) -> None:
    ask_json(place, tmp_path, **{"intact-nonce": "2027-01-31 no. 7"})
    assert run("receipt", "verify", "receipt", "--key", "PUB", "--nonce", "2027-01-31 no. 7", "--quiet").code == 0
    told = run("receipt", "verify", "receipt", "--key", "PUB", "--nonce", "2027-01-31 no. 8")
    assert (told.code, "another nonce" in told.err) == (3, True)


def test_the_log_is_verified_and_mirrored_while_it_grows(run: Command, place: Place, tmp_path: Path) -> None:
    url = ("--url", f"{place.server.http}/log", "--key", "PUB")
    for number in range(3):
        ask_json(place, tmp_path)
        told = run("log", "export", "mirror", *url)
        assert told.code == 0, told.err
        since = ("--since", "first") if number else ()
        told = run("log", "verify", *url, *since)
        assert told.code == 0, told.err
        if not number:
            (tmp_path / "first").write_bytes((tmp_path / "mirror" / "checkpoint").read_bytes())
        told = run("log", "prove", "receipt", *url, "--out", "p.tlog-proof")
        assert told.code == 0, told.err
    assert run("receipt", "verify", "receipt", "--key", "PUB", "--proof", "p.tlog-proof").code == 0
    assert run("log", "verify", "mirror", "--key", "PUB", "--since", "first").code == 0
    told = run("log", "verify", "--state", place.site.state, "--key", "PUB", "--since", "first")
    assert told.code == 0, told.err


def test_the_log_is_for_auditors(command: Command, place: Place, tmp_path: Path) -> None:
    words = ("log", "verify", "--url", f"{place.server.http}/log", "--key", place.site.keys / "signing.pub")
    for means in ({}, {"INTACT_API_KEY": place.caller}):
        told = command(*words, cwd=tmp_path, **means)
        assert (told.code, "does not let this caller" in told.err) == (4, True), told.err


def test_every_command_of_the_page_works(place: Place, tmp_path: Path) -> None:
    """docs/how-to/receipts.md, with the names of this server put in."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed (Debian: curl)")
    keys, public = place.site.keys, intact.load_verifying_key(place.site.keys / "signing.pub")
    for name in ("signing.key", "signing.pub", "identity.key"):
        (tmp_path / name).write_bytes((keys / name).read_bytes())
    (tmp_path / "digits.intact").symlink_to(place.site.models["tiny"])
    ask_json(place, tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "receipts.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert isinstance(public, seal.VerifyingKey)
    witness = Witness(logs={ORIGIN: public.key})  # type: ignore[dict-item]
    with witness_server(witness) as address:
        names = {
            "http://127.0.0.1:8000/v2/models/digits": f"{place.server.http}/v2/models/tiny",
            "https://models.example.com/log": f"{place.server.http}/log",
            "sqlite:///state.db": place.site.state,
            "INTACT_API_KEY=intact_...": f"INTACT_API_KEY={place.auditor}",
            "https://witness.example": address,
            "witness.example/w1+1a2b3c4d+BAAB...": witness.verifier,
        }
        means = {
            "INTACT_API_KEY": place.caller,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "XDG_STATE_HOME": str(tmp_path / "own"),
        }
        script = "set -ex\n" + "".join(blocks)
        for name, value in names.items():
            assert name in script, f"the page does not say {name}"
            script = script.replace(name, value)
        done = subprocess.run(
            ["/bin/bash", "-c", script],
            cwd=tmp_path,
            env={**os.environ, **means},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nonce     is the one it was signed for" in done.stdout
    assert "replayed: the same" in done.stdout
    assert "seen by witness.example/w1" in done.stdout
    assert done.stdout.count("verified: ") == 7
