"""Serving with everything on, against servers with nothing on: processor time a request, and how long callers wait.

Run `python benchmarks/serving.py`, or with `MLP` or `MiniLM` for one of them. Ours checks an API key and a grant with a
limit, runs the guard, counts, writes every answer durably to the log, and signs a receipt. The peers
(`serving_peers.py`: FastAPI with onnxruntime, LitServe, KServe's Python server) run the same integer graph and do none
of that. An MLP of 784-128-128-10 and MiniLM on 32 tokens, one row a request, 1 and 16 callers. Every answer is compared
before times are taken. Candidates take turns; processor time is of the server's whole process tree.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from numpy.typing import NDArray

import intact
from loads import Load, cpu_ns, http_request, resident_bytes
from places import ROOT, example, work
from results import Results
from timing import Times

THREADS = 1
PYTHON = ROOT / "build" / "serving_peers" / "bin" / "python"
CALLERS = (1, 16)
ROUNDS = 9
BURST = {"MLP": 600, "MiniLM": 60}
"""Requests in a burst, all callers together."""
START_S = 120
OURS = ("intact, REST", "intact, gRPC")
TARGETS = {
    ("MLP", "intact, REST", "KServe, REST"): 1.0,
    ("MLP", "intact, gRPC", "KServe, gRPC"): 1.0,
    ("MiniLM", "intact, REST", "FastAPI, raw bytes"): 1.1,
    ("MiniLM", "intact, gRPC", "FastAPI, raw bytes"): 1.1,
}
"""Most that our processor time may be of a peer's."""

Feeds = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A server under load.

    Args:
        load: What is sent.
        pid: Its process.
    """

    load: Load
    pid: int


def main() -> None:
    """Build, start, compare, take turns, write."""
    results = Results("serving", THREADS)
    makers = {"MLP": mlp, "MiniLM": minilm}
    for case in sys.argv[1:] or makers:
        folder = work("serving") / case
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        spec, feeds = makers[case]()
        keys = intact.new_keys(folder / "keys")
        built = intact.build(
            spec, out=folder / "m.intact", recipients=[keys.recipient], signer=keys.signer, engines=["onnxruntime"]
        )
        save(built, feeds, folder / "m.onnx")
        with servers(folder, built, feeds) as candidates:
            for callers in CALLERS:
                take_turns(case, callers, candidates, results)
    results.write(merge=bool(sys.argv[1:]))


def mlp() -> tuple[intact.Spec, Feeds]:
    """An MLP as small as anybody serves."""
    import torch

    torch.manual_seed(0)
    widths = (784, 128, 128, 10)
    layers: list[torch.nn.Module] = []
    for first, second in pairwise(widths):
        layers += [torch.nn.Linear(first, second), torch.nn.ReLU()]
    rows = np.random.default_rng(0).random((1024, widths[0]), np.float32)
    net = torch.nn.Sequential(*layers[:-1]).eval()
    spec = intact.Spec(model=net, inputs=torch.from_numpy(rows[:2]), calibration=rows, name="mlp")
    return spec, {spec.proto().graph.input[0].name: rows[:1]}


def minilm() -> tuple[intact.Spec, Feeds]:
    """A sentence encoder, on a sentence of 32 tokens."""
    spec = replace(example("minilm").spec(), evaluate=None)  # what matters here is what a request costs
    names = list(spec.calibration[0])
    rng = np.random.default_rng(0)
    values = {"input_ids": rng.integers(1000, 20000, (1, 32)), "attention_mask": np.ones((1, 32), np.int64)}
    return spec, {name: values[name] for name in names}


def save(built: intact.Built, feeds: Feeds, path: Path) -> None:
    """Write the same integer graph for the peers, with the shapes that it will be asked with."""
    proto = built.program.to_proto()
    onnx.helper.set_model_props(proto, {"shapes": json.dumps({name: each.shape for name, each in feeds.items()})})
    onnx.save(proto, path)


@contextmanager
def servers(folder: Path, built: intact.Built, feeds: Feeds) -> Iterator[dict[str, Candidate]]:
    """Start every server, and see that all give the same answer."""
    truth = built.integer.run(feeds)
    raw = b"".join(value.tobytes() for value in feeds.values())
    body, length = triton_http.InferenceServerClient.generate_request_body(_triton(triton_http, feeds))
    binary = [("Content-Type", "application/octet-stream"), ("Inference-Header-Content-Length", str(length))]
    message = _message(feeds)
    lists = json.dumps({name: value.tolist() for name, value in feeds.items()}).encode()
    with ExitStack() as stack:
        own, token = stack.enter_context(intact_server(folder))
        secret = ("Authorization", f"Bearer {token}")
        found = {
            OURS[0]: Candidate(
                load=Load(port=own.http, request=http_request("/v2/models/m/infer", body, [*binary, secret])),
                pid=own.pid,
            ),
            OURS[1]: Candidate(
                load=Load(port=own.grpc, request=message, metadata=[(secret[0].lower(), secret[1])]), pid=own.pid
            ),
        }
        if not PYTHON.exists():
            print("no interpreter with KServe and LitServe; run make bench-peers")
        else:
            fastapi, litserve, kserve = (stack.enter_context(peer(kind, folder)) for kind in PEERS)
            json_body = [("Content-Type", "application/json")]
            found |= {
                "FastAPI, raw bytes": Candidate(
                    load=Load(port=fastapi.http, request=http_request("/infer", raw)), pid=fastapi.pid
                ),
                "LitServe, JSON": Candidate(
                    load=Load(port=litserve.http, request=http_request("/predict", lists, json_body)), pid=litserve.pid
                ),
                "KServe, REST": Candidate(
                    load=Load(port=kserve.http, request=http_request("/v2/models/m/infer", body, binary)),
                    pid=kserve.pid,
                ),
                "KServe, gRPC": Candidate(load=Load(port=kserve.grpc, request=message, metadata=()), pid=kserve.pid),
            }
        compare(own, token, feeds, truth)
        yield found


PEERS = ("fastapi", "litserve", "kserve")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server."""

    pid: int
    http: int
    grpc: int


@contextmanager
def intact_server(folder: Path) -> Iterator[tuple[Server, str]]:
    """Run `intact serve` with everything on; give it and an API key that has a grant."""
    state, keys, model = f"sqlite:///{folder / 'state.db'}", folder / "keys", folder / "m.intact"
    told = _intact("apikeys", "new", "bench", "--state", state, "--json")
    trusted = ("--signer", str(keys / "signing.pub"))
    grant = ("grants", "add", "bench", "--model", str(model), "--limit", "100000000", "--state", state)
    _intact(*grant, "--json")
    http, grpc_port = free_port(), free_port()
    command = ["serve", f"m={model}", "--identity", keys / "identity.key", *trusted, "--state", state]
    command += ["--receipt-key", keys / "signing.key", "--port", http, "--grpc-port", grpc_port, "--threads", THREADS]
    command += ["--engine", "onnxruntime"]
    with process([sys.executable, "-m", "intact", *map(str, command)], folder / "intact.log", http, grpc_port) as pid:
        yield Server(pid=pid, http=http, grpc=grpc_port), told["key"]


def _intact(*words: str) -> dict[str, Any]:
    return json.loads(subprocess.check_output([sys.executable, "-m", "intact", *words], text=True))


@contextmanager
def peer(kind: str, folder: Path) -> Iterator[Server]:
    """Run a server of somebody else."""
    http, grpc_port = free_port(), free_port()
    command = [PYTHON, ROOT / "benchmarks" / "serving_peers.py", kind, folder / "m.onnx", http, grpc_port]
    ports = (http, grpc_port) if kind == "kserve" else (http,)
    with process([str(word) for word in command], folder / f"{kind}.log", *ports) as pid:
        yield Server(pid=pid, http=http, grpc=grpc_port)


@contextmanager
def process(command: Sequence[str], log: Path, *ports: int) -> Iterator[int]:
    """Run a server until the block ends; it is ready when it takes connections."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS)}
    with (
        log.open("w") as file,
        subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True) as running,
    ):
        try:
            end = time.monotonic() + START_S
            while not all(map(_listens, ports)):
                if running.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"{command[:4]} does not start:\n{log.read_text()[-3000:]}")
                time.sleep(0.1)
            yield running.pid
        finally:
            running.terminate()
            with suppress(subprocess.TimeoutExpired):
                running.wait(20)
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)  # and the workers it left behind


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def compare(own: Server, token: str, feeds: Feeds, truth: Mapping[str, NDArray[Any]]) -> None:
    """See with NVIDIA's own clients that the server gives what the model gives, bit for bit."""
    for module, port in ((triton_http, own.http), (triton_grpc, own.grpc)):
        with module.InferenceServerClient(f"127.0.0.1:{port}") as client:
            headers = {"authorization": f"Bearer {token}"}  # the HTTP client adds to it
            answer = client.infer("m", _triton(module, feeds), headers=headers)
            for name, value in truth.items():
                assert np.array_equal(answer.as_numpy(name), value), name


def _triton(module: Any, feeds: Feeds) -> list[Any]:
    found = []
    for name, value in feeds.items():
        each = module.InferInput(name, list(value.shape), {"f": "FP32", "i": "INT64"}[value.dtype.kind])
        each.set_data_from_numpy(value)
        found.append(each)
    return found


def _message(feeds: Feeds) -> bytes:
    request = triton_grpc.service_pb2.ModelInferRequest(model_name="m")
    for each in _triton(triton_grpc, feeds):
        request.inputs.append(each._get_tensor())
        request.raw_input_contents.append(each._get_content())
    return bytes(request.SerializeToString())


def take_turns(case: str, callers: int, candidates: Mapping[str, Candidate], results: Results) -> None:
    """Give each candidate a burst a round, and write down what it took."""
    each = max(1, BURST[case] // callers)
    cpu: dict[str, list[float]] = {name: [] for name in candidates}
    waits: dict[str, list[float]] = {name: [] for name in candidates}
    held = {name: resident_bytes(candidate.pid) for name, candidate in candidates.items()}
    for turn in range(ROUNDS + 1):
        for name, candidate in candidates.items():
            before = cpu_ns(candidate.pid)
            times = asyncio.run(candidate.load.send(callers, each))
            taken = (cpu_ns(candidate.pid) - before) / 1e6 / len(times)
            if turn:  # the first is for warming up
                cpu[name].append(taken)
                waits[name] += times
    for name, candidate in candidates.items():
        low, middle, high = np.quantile(waits[name], (0.1, 0.5, 0.99))
        results.add(
            "request",
            case=case,
            callers=callers,
            candidate=name,
            cpu_ms=float(np.median(cpu[name])),
            median_ms=middle,
            p10_ms=low,
            p99_ms=high,
            p99_over_median=high / middle,
            rate=1e3 * callers / float(np.mean(waits[name])),
            calls=len(waits[name]),
            grown_bytes=resident_bytes(candidate.pid) - held[name],
        )
    times_of = {name: np.asarray(found)[:, None] for name, found in cpu.items()}
    turns = Times(calls_ms=times_of, others=None, rounds_run=ROUNDS)
    for ours in OURS:
        for name in candidates:
            if name not in OURS:
                target = TARGETS.get((case, ours, name))
                results.add(
                    "ratio", case=case, callers=callers, ours=ours, peer=name, **turns.ratio(ours, name), target=target
                )


if __name__ == "__main__":
    main()
