"""Minutes of mixed load at saturation on two servers behind nginx, one of which is killed in the middle and comes back.

Run `python benchmarks/soak.py --minutes 10`. Callers ask over REST with bytes, REST with JSON and gRPC; others send
what is no request, keys that are none, and inputs that the guard refuses; one grant is used up on the way, one has a
rate. In the middle a server is killed with SIGKILL and started again. At the end every receipt that a caller got is
held against the log, the log against its own tree, and every grant against what the log has of it. It exits with 1
where a target is missed. Needs PostgreSQL, Redis and nginx (Debian: postgresql redis-server nginx-light).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import shutil
import signal
import statistics
import sys
import time
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
import numpy as np

from intact import ledger
from intact.crypto import VerifyingKey
from intact.serve.protocol import grpc_messages
from loads import http_request, resident_bytes
from places import ROOT, work
from results import Results

sys.path.insert(0, str(ROOT / "tests"))  # the fleet is started as the tests do

from support import serving
from support.fleet import Fleet, Replica, fleet

if TYPE_CHECKING:
    from intact.serve.state import Store

INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
PATH: Final = "/v2/models/tiny/infer"
ANSWER_S: Final = 30
PAUSE_S: Final = 0.02
"""After a refusal; a real caller waits longer, and loads the servers less."""
VERIFY_EVERY: Final = 64
"""One receipt of so many has its signature checked under way; all are held against the log at the end."""
SAMPLE_S: Final = 2.0
FLAT: Final = 0.05
"""Most that memory may differ between the end and when it was warm."""
USED_UP: Final = 20_000
RATE: Final = "50/second"
CALLERS: Final = {"rest": 6, "json": 3, "grpc": 6, "refused": 2, "used up": 2, "rate": 2, "bad": 2, "stranger": 1}
"""How many callers of each kind there are; they do not wait for each other."""
ANSWERED: Final = ("rest", "json", "grpc")
EXPECTED: Final = {
    "rest": {200},
    "json": {200},
    "grpc": {200},
    "refused": {422},
    "used up": {200, 429},
    "rate": {200, 429},
    "bad": {400},
    "stranger": {401},
}
"""What each kind is told while all is well; 503 may always come, and 502 where a server was lost."""


@dataclass(slots=True)
class Seen:
    """What all callers saw.

    Args:
        statuses: How often each kind was told which status; 0 stands for a connection that broke.
        times: Milliseconds to each answer, of those that got one.
        entries: For every receipt: the number of its entry.
        hashes: And the entry itself, 32 bytes each.
        errors: First texts of what was not expected.
    """

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    times: dict[str, array[float]] = field(default_factory=dict)
    entries: array[int] = field(default_factory=lambda: array("Q"))
    hashes: bytearray = field(default_factory=bytearray)
    errors: list[str] = field(default_factory=list)
    charged: Counter[str] = field(default_factory=Counter)

    def reply(self, kind: str, status: int, ms: float, text: str = "") -> None:
        """Remember a reply."""
        self.statuses[kind, status] += 1
        if status == 200:
            self.times.setdefault(kind, array("f")).append(ms)
        elif status not in EXPECTED[kind] and len(self.errors) < 20:
            self.errors.append(f"{kind} {status} {text:.200}")

    def receipt(self, kind: str, envelope: bytes, verifier: VerifyingKey) -> None:
        """Remember what a receipt says."""
        payload = base64.b64decode(json.loads(envelope)["payload"])
        if len(self.entries) % VERIFY_EVERY == 0:
            ledger.read_receipt(envelope, [verifier])
        log = json.loads(payload)["log"]
        event = payload[len(b'{"event":') : payload.rindex(b',"log":')]
        self.entries.append(log["index"])
        self.hashes += ledger.entry_hash(bytes.fromhex(log["salt"]), event)
        self.charged[kind] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One way to ask.

    Args:
        name: Its name.
        request: A whole HTTP request, or the message of a gRPC call.
        key: The caller's, for gRPC; None for HTTP, which has it in the request.
    """

    name: str
    request: bytes
    key: str | None = None


@dataclass(slots=True)
class Memory:
    """Memory of a server over time; it begins anew where the server was started again."""

    samples: list[tuple[float, int]] = field(default_factory=list)

    def between(self, start: float, stop: float) -> float:
        """Return the median between two shares of the time."""
        first, last = self.samples[0][0], self.samples[-1][0]
        low, high = first + start * (last - first), first + stop * (last - first)
        found = [size for moment, size in self.samples if low <= moment <= high]
        return statistics.median(found) if found else float("nan")


def main() -> None:
    """Start, load, kill, count, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    minutes = parser.parse_args().minutes
    results = Results("soak", 1)
    folder = work("soak")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with fleet(folder, workers=1) as two:
        kinds, verifier = prepared(two), VerifyingKey.from_pem((two.site.keys / "signing.pub").read_bytes())
        seen, memories = Seen(), {each.http: Memory() for each in two.replicas}
        print(f"{sum(CALLERS.values())} callers for {minutes:g} minutes", flush=True)
        asyncio.run(loaded(two, kinds, verifier, seen, memories, minutes * 60))
        with two.site.store() as store:
            good = report(results, store, seen, memories, minutes)
    results.write()
    sys.exit(0 if good else 1)


def prepared(two: Fleet) -> list[Kind]:
    """Return all ways to ask, with keys and grants of their own."""
    terms: Mapping[str, dict[str, Any]] = {"used up": {"limit": USED_UP}, "rate": {"rate": RATE}}
    kinds = []
    for name in CALLERS:
        key = f"intact_{'a' * 8}_{'b' * 43}" if name == "stranger" else two.site.caller(name, **terms.get(name, {}))
        x = serving.rows()
        if name == "refused":
            x[0, 0] = np.nan
        if name == "grpc":
            message = grpc_messages.MESSAGES["ModelInferRequest"](model_name="tiny")
            message.inputs.add(name="x", datatype="FP32", shape=x.shape)
            message.raw_input_contents.append(x.tobytes())
            kinds.append(Kind(name=name, request=message.SerializeToString(), key=key))
        else:
            kinds.append(Kind(name=name, request=posted(name, key, x)))
    return kinds


def posted(name: str, key: str, x: np.ndarray[Any, Any]) -> bytes:
    """Return a whole HTTP request."""
    headers = [("Authorization", f"Bearer {key}")]
    tensor: dict[str, Any] = {"name": "x", "shape": list(x.shape), "datatype": "FP32"}
    if name == "json":
        return http_request(PATH, json.dumps({"inputs": [{**tensor, "data": x.tolist()}]}).encode(), headers)
    if name == "bad":
        return http_request(PATH, b'{"inputs":[{"name":"x","shape":[1,-8],"datatype":"FP32","data":[1e999]}]}', headers)
    tensor["parameters"] = {"binary_data_size": x.nbytes}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers.append(("Inference-Header-Content-Length", str(len(head))))
    return http_request(PATH, head + x.tobytes(), headers)


async def loaded(
    two: Fleet, kinds: list[Kind], verifier: VerifyingKey, seen: Seen, memories: dict[str, Memory], seconds: float
) -> None:
    """Have everybody ask for so long, and kill a server in the middle."""
    end = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        for kind in kinds:
            for _ in range(CALLERS[kind.name]):
                make = over_http if kind.key is None else over_grpc
                group.create_task(make(two, kind, verifier, seen, end))
        for each in two.replicas:
            group.create_task(sampled(each, memories, end))
        group.create_task(killed(two.replicas[0], memories, seconds / 2))


async def killed(replica: Replica, memories: dict[str, Memory], wait_s: float) -> None:
    """Kill a server once, and start it again."""
    await asyncio.sleep(wait_s)
    await asyncio.to_thread(replica.stop, signal.SIGKILL)
    print("killed", flush=True)
    await asyncio.sleep(2)
    await asyncio.to_thread(replica.start)
    await asyncio.to_thread(replica.ready)
    memories[replica.http] = Memory()
    print("back", flush=True)


async def sampled(replica: Replica, memories: dict[str, Memory], end: float) -> None:
    """Look at the memory of a server now and then."""
    while time.monotonic() < end:
        process = replica.process
        if process is not None and process.poll() is None:
            memories[replica.http].samples.append((time.monotonic(), resident_bytes(process.pid)))
        await asyncio.sleep(SAMPLE_S)


async def over_http(two: Fleet, kind: Kind, verifier: VerifyingKey, seen: Seen, end: float) -> None:
    """Ask over HTTP until the end, on one connection as long as it lasts."""
    while time.monotonic() < end:
        reader, writer = await asyncio.open_connection("127.0.0.1", two.nginx.port)
        try:
            while time.monotonic() < end:
                await once(kind, seen, partial(exchanged, kind, reader, writer, verifier, seen))
                if writer.is_closing():
                    break
        except (OSError, EOFError, TimeoutError) as error:
            seen.reply(kind.name, 0, 0.0, repr(error))
        finally:
            writer.close()


async def exchanged(
    kind: Kind, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, verifier: VerifyingKey, seen: Seen
) -> tuple[int, str]:
    """Send a request, and return status and body of what comes back."""
    writer.write(kind.request)
    head = await reader.readuntil(b"\r\n\r\n")
    status, headers = int(head[9:12]), {}
    for line in head.split(b"\r\n")[1:-2]:
        name, _, value = line.partition(b": ")
        headers[name.lower()] = value
    body = await reader.readexactly(int(headers[b"content-length"]))
    if headers.get(b"connection") == b"close":
        writer.close()
    receipt = headers.get(b"intact-receipt")
    if receipt is not None:
        seen.receipt(kind.name, base64.b64decode(receipt), verifier)
    return status, "" if status == 200 else body.decode(errors="replace")


async def over_grpc(two: Fleet, kind: Kind, verifier: VerifyingKey, seen: Seen, end: float) -> None:
    """Ask over gRPC until the end."""
    metadata = (("authorization", f"Bearer {kind.key}"),)
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(two.grpc, options=options) as channel:
        ask = channel.unary_unary(INFER)

        async def called() -> tuple[int, str]:
            call = ask(kind.request, metadata=metadata, timeout=ANSWER_S)
            try:
                await call
                trailing = dict(await call.trailing_metadata())
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    return 500, f"{error.code()} {error.details()}"
                return (502 if "no replica" in (error.details() or "") else 503), error.details() or ""
            seen.receipt(kind.name, trailing["intact-receipt-bin"], verifier)
            return 200, ""

        while time.monotonic() < end:
            await once(kind, seen, called)


async def once(kind: Kind, seen: Seen, ask: Callable[[], Awaitable[tuple[int, str]]]) -> None:
    """Ask once, and remember what came back and when."""
    start = time.perf_counter()
    status, text = await asyncio.wait_for(ask(), ANSWER_S)
    seen.reply(kind.name, status, (time.perf_counter() - start) * 1e3, text)
    if status != 200:
        await asyncio.sleep(PAUSE_S)


def report(results: Results, store: Store, seen: Seen, memories: dict[str, Memory], minutes: float) -> bool:
    """Add all lines; return whether every target is met."""
    lost, overrun, gaps = lost_entries(store, seen), *counted(store, seen)
    codes = Counter(dict.fromkeys((0, 200, 502, 503), 0))
    for (_, status), count in seen.statuses.items():
        codes[status] += count
    unexpected = sum(
        count for (kind, status), count in seen.statuses.items() if status not in EXPECTED[kind] | {0, 502, 503}
    )
    for kind in CALLERS:
        mine = {str(status): count for (name, status), count in sorted(seen.statuses.items()) if name == kind}
        times = np.array(seen.times.get(kind, []), np.float64)
        quantiles = (
            {} if not len(times) else dict(zip(("p50_ms", "p99_ms"), np.quantile(times, (0.5, 0.99)), strict=True))
        )
        results.add("caller", case=kind, callers=CALLERS[kind], statuses=mine, **quantiles)
    flat = True
    for number, memory in enumerate(memories.values()):
        start, last = memory.between(0.3, 0.5), memory.between(0.8, 1.0)
        flat = flat and abs(last - start) <= FLAT * start
        results.add("memory", case=f"server {number}", warm_bytes=start, end_bytes=last, change=last / start - 1)
    requests = sum(seen.statuses.values())
    server_errors = sum(count for status, count in codes.items() if status >= 500 and status not in (502, 503))
    most_lost = sum(CALLERS.values())
    good = (lost, overrun, gaps, unexpected, server_errors) == (0, 0, 0, 0, 0) and codes[0] + codes[502] <= most_lost
    results.add(
        "total",
        case=f"{minutes:g} minutes",
        requests=requests,
        requests_per_second=requests / (minutes * 60),
        answers=codes[200],
        receipts=len(seen.entries),
        lost_acknowledged=lost,
        quota_overrun=overrun,
        counted_otherwise_than_recorded=gaps,
        lost_with_the_server=codes[0] + codes[502],
        refused_503=codes[503],
        other_5xx=server_errors,
        unexpected=unexpected,
        flat=flat,
        good=good and flat,
    )
    for text in seen.errors:
        print(" ", text)
    return good and flat


def lost_entries(store: Store, seen: Seen) -> int:
    """Return how many receipts the log does not have, where they say; hold the log against its own tree."""
    size = store.size()
    hashes = b"".join(b"".join(store.entry_hashes(at, min(size, at + 4096))) for at in range(0, size, 4096))
    frontier = ledger.EMPTY.append(ledger.leaf_hash(hashes[at : at + 32]) for at in range(0, len(hashes), 32))
    said: list[bytes] = []
    store.checkpoint_now(lambda _, root: (said.append(root), "soak")[1])
    if said != [frontier.root()]:
        raise RuntimeError("the log's root is not that of its entries")
    places = np.frombuffer(seen.entries, np.uint64)
    twice = len(places) - len(np.unique(places))
    good = places < size
    log, told = np.frombuffer(hashes, np.uint8).reshape(-1, 32), np.frombuffer(seen.hashes, np.uint8).reshape(-1, 32)
    same = (log[places[good]] == told[good]).all(axis=1)
    return int(twice + (~good).sum() + (~same).sum())


def counted(store: Store, seen: Seen) -> tuple[int, int]:
    """Return how far grants were overrun, and by how much their counts differ from the log or fall short."""
    recorded: Counter[int] = Counter()
    size = store.size()
    for at in range(0, size, 4096):
        for _, event in store.events(at, min(size, at + 4096)):
            recorded[json.loads(event)["fields"].get("grant", -1)] += 1
    overrun = gaps = 0
    for grant in store.grants():
        own = recorded[grant.id] - 1  # one says that it was given
        overrun += max(0, grant.used - (grant.terms.limit or grant.used))
        gaps += abs(grant.used - own) + max(0, seen.charged[grant.subject] - grant.used)
    return overrun, gaps


if __name__ == "__main__":
    main()
