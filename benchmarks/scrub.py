"""Scrubbing: how fast is a look at the weights in memory, what does it cost inference, and what does it find?

Run `python benchmarks/scrub.py`. For MiniLM (tolerant) and ResNet-20 (exact), on onnxruntime:

- look: time of one whole look, and the bytes per second of its checksums;
- idle: processor time that the checks take by themselves, where others on the machine do not disturb;
- cost: inference with the checks in the background at the default share, against the same without;
- held: inference with weights read where they lie, against packed weights, for one row and for many;
- found: what share of single flipped bits checksums find, the self-test, and new inputs round after round.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import intact
from intact import engine
from intact.engine import Options
from intact.engine.pace import SHARE
from intact.engine.reach import flip
from intact.engine.scrub import Checksums
from places import example, work
from results import Results
from timing import Plan, clocked, race

THREADS = 2
ENGINE = "onnxruntime"
MODELS = ("minilm", "resnet20_cifar10")
STRETCH_S = 25.0
"""Inference in one sample of the cost: longer than a round of checks with its self-test and the rest after it."""
IDLE_S = 60.0
COST = Plan(warm=0, burst=1, rounds=5, budget_s=500)
HELD = Plan(warm=3, burst=20, rounds=30, budget_s=60)
LOOKS = 20
ROWS = 32
FLIPS = 200
MOST_ROUNDS = 16
COST_TARGET = 1.01

Feeds = Mapping[str, NDArray[Any]]


def main() -> None:
    """Build, check, time, write."""
    results = Results("scrub", THREADS)
    for name in MODELS:
        build(name)
        model = opened(name, "in place")
        feeds = {rows: inputs(model, rows) for rows in (1, ROWS)}
        check(model, feeds[1])
        look(name, model, results)
        held(name, model, feeds, results)
        found(name, model, results)
        cost(name, feeds[ROWS], results)
    results.write()


def build(name: str) -> None:
    """Build a model, sealed and signed."""
    for stale in (f"{name}.intact", f"{name}.keys"):
        shutil.rmtree(work("scrub") / stale, ignore_errors=True)
    keys = intact.new_keys(work("scrub") / f"{name}.keys")
    spec = replace(example(name).spec(), evaluate=None)
    out = work("scrub") / f"{name}.intact"
    intact.build(spec, out=out, recipients=[keys.recipient], signer=keys.signer, engines=[ENGINE], threads=THREADS)


def opened(name: str, scrub: bool | Literal["in place"]) -> intact.Model:
    """Open a model, with nothing in the background yet."""
    keys = work("scrub") / f"{name}.keys"
    model = intact.open(
        work("scrub") / f"{name}.intact",
        identity=intact.load_identity(keys / "identity.key"),
        signer=intact.load_verifying_key(keys / "signing.pub"),
        engines=[ENGINE],
        threads=THREADS,
        scrub=scrub,
        revisions=False,
    )
    model.stop_scrubbing()
    return model


def inputs(model: intact.Model, rows: int) -> Feeds:
    """Return inputs for a model, of 64 tokens where rows are sentences."""
    ids = np.random.default_rng(0).integers(1000, 20_000, (rows, 64))
    if {port.name for port in model.inputs} == {"input_ids", "attention_mask"}:
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    (port,) = model.inputs
    shape = (rows, *(size if isinstance(size, int) else 32 for size in port.shape[1:]))
    return {port.name: np.random.default_rng(0).normal(size=shape).astype(port.dtype)}


def check(model: intact.Model, feeds: Feeds) -> None:
    """Make sure that a flipped bit changes what comes out, is found, and is repaired to the bit."""
    before = model.run(feeds)
    assert model.scrub().clean
    name = max(model.session.weights, key=lambda each: model.session.weights[each].nbytes)
    flip(model.session.weights[name], 0x40)
    assert any(not np.array_equal(value, before[output]) for output, value in model.run(feeds).items())
    report = model.scrub()
    assert report.damaged
    assert all(np.array_equal(value, before[output]) for output, value in model.run(feeds).items())


def look(name: str, model: intact.Model, results: Results) -> None:
    """Time whole looks, and the checksums in them."""
    reports = [model.scrub() for _ in range(LOOKS)]
    sums = Checksums.take({each: tensor.reshape(-1).view(np.uint8) for each, tensor in model.program.tensors.items()})
    once = clocked(lambda: [sums.holds(number) for number in range(len(sums.groups))])
    hashed = np.median([once() for _ in range(LOOKS)])
    results.add(
        "look",
        model=name,
        bytes=reports[0].checked_bytes,
        groups=reports[0].groups,
        in_place=reports[0].in_place,
        reproducible=reports[0].reproducible,
        median_ms=1e3 * np.median([report.seconds for report in reports]),
        checksums_ms=hashed,
        bytes_per_s=sums.nbytes / hashed * 1e3,
        round_s=1e-3 * hashed / SHARE,
    )


def held(name: str, model: intact.Model, feeds: Mapping[int, Feeds], results: Results) -> None:
    """Compare weights read where they lie with packed ones."""
    for rows, some in feeds.items():
        ways: dict[str, Callable[[], object]] = {}
        for way, in_place in (("in place", True), ("packed", False)):
            options = Options(threads=THREADS, in_place=in_place)
            session = engine.reload(model.program, model.session, options)
            ways[way] = lambda session=session, some=some: session.run(some)  # type: ignore[misc]
        times = race({way: clocked(call) for way, call in ways.items()}, HELD)
        for way in ways:
            results.add("held", model=name, rows=rows, candidate=way, **times.summary(way), others=times.others)
        results.add("ratio", case="held", model=name, rows=rows, **times.ratio("in place", "packed"))


def found(name: str, model: intact.Model, results: Results) -> None:
    """Flip single bits of what the engine packs and count who notices: any bit, and the highest, as attacks choose.

    The engine's own packed weights cannot be reached, so a session that packs nothing stands for one whose packed
    weights changed, and a packed one for its witness.
    """
    vectors = engine.Vectors.from_json(model.payload.header["vectors"])
    witness = engine.reload(model.program, model.session, Options(threads=THREADS))
    before = engine.digests(model.session, vectors)
    assert engine.digests(witness, vectors) == before
    direct = engine.read_in_place(witness, model.program.tensors, engine.inputs_of(witness, vectors))
    packed = [each for each, tensor in model.program.tensors.items() if tensor.dtype == np.int8 and each not in direct]
    for bits in ("any", "highest"):
        rng = np.random.default_rng(1)
        by_sum, by_test, rounds = 0, 0, []
        for number in range(FLIPS):
            with flipped(model, packed, rng, 8 if bits == "any" else 1) as checksums:
                by_sum += not all(checksums.holds(group) for group in range(len(checksums.groups)))
                noticed = engine.digests(model.session, vectors) != before
                by_test += noticed
                rounds.append(0 if noticed else rounds_until(model.session, witness, vectors, number))
        after = {str(limit): sum(each <= limit for each in rounds) / FLIPS for limit in (1, 4, MOST_ROUNDS)}
        results.add(
            "found",
            model=name,
            bits=bits,
            flips=FLIPS,
            packed_bytes=sum(model.program.tensors[each].nbytes for each in packed),
            checksums=by_sum / FLIPS,
            self_test=by_test / FLIPS,
            after_rounds=after,
        )


@contextmanager
def flipped(model: intact.Model, names: Sequence[str], rng: np.random.Generator, bits: int) -> Iterator[Checksums]:
    """Flip one of the highest `bits` of a random weight of some tensors while the block lasts.

    Gives checksums from before.
    """
    sizes = np.array([model.session.weights[name].nbytes for name in names])
    memory = model.session.weights[names[rng.choice(len(names), p=sizes / sizes.sum())]]
    checksums = Checksums.take({"codes": memory})
    place, mask = int(rng.integers(memory.nbytes)), 0x80 >> int(rng.integers(bits))
    flip(memory[place : place + 1], mask)
    try:
        yield checksums
    finally:
        flip(memory[place : place + 1], mask)


def rounds_until(session: engine.Session, witness: engine.Session, vectors: engine.Vectors, start: int) -> int:
    """Return after how many inputs, new each time, two sessions first gave different bits."""
    for number in range(1, MOST_ROUNDS + 1):
        inputs = engine.more_inputs(session, vectors, start * MOST_ROUNDS + number)
        if engine.digest_run(session, inputs) != engine.digest_run(witness, inputs):
            return number
    return MOST_ROUNDS + 1


def cost(name: str, feeds: Feeds, results: Results) -> None:
    """Compare inference with and without checks in the background, weights packed as usual."""
    model = opened(name, scrub=True)
    results.add("idle", model=name, share=SHARE, seconds=IDLE_S, cpu_share=idle(model))

    def stretch() -> float:
        count, start = 0, time.perf_counter()
        while time.perf_counter() < start + STRETCH_S:
            model.session.run(feeds)
            count += 1
        return 1e3 * (time.perf_counter() - start) / count

    def checked() -> float:
        model.start_scrubbing()
        try:
            return stretch()
        finally:
            model.stop_scrubbing()

    times = race({"checked": checked, "unchecked": stretch}, COST)
    for way in ("checked", "unchecked"):
        results.add(
            "cost", model=name, rows=ROWS, candidate=way, share=SHARE, **times.summary(way), others=times.others
        )
    ratio = times.ratio("checked", "unchecked")
    results.add("ratio", case="cost", model=name, rows=ROWS, share=SHARE, target=COST_TARGET, **ratio)


def idle(model: intact.Model) -> float:
    """Return the share of one core that checks take, engine threads included, while nothing else happens."""
    model.start_scrubbing()
    before, start = time.process_time(), time.perf_counter()
    time.sleep(IDLE_S)
    taken = (time.process_time() - before) / (time.perf_counter() - start)
    model.stop_scrubbing()
    return taken


if __name__ == "__main__":
    main()
