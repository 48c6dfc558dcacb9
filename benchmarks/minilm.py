"""all-MiniLM-L6-v2: is the integer encoder as good as the float one, small, fast, and blind to the rest of its batch?

Run `python benchmarks/minilm.py`. STS-B test scores and batch isolation come first, time after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

import intact
from intact import engine
from peers import (
    Run,
    file_bytes,
    onnxruntime_session,
    openvino_session,
    quantize_dynamic,
    quantize_nncf,
    torch_session,
)
from places import example, work
from results import Results
from timing import Plan, clocked, race

Array = NDArray[Any]
Feeds = dict[str, Array]

THREADS = 2
CASES = {
    (1, 25): Plan(warm=8, burst=12, rounds=15, budget_s=30),
    (32, 25): Plan(warm=1, burst=2, rounds=9, budget_s=30),
    (8, 128): Plan(warm=1, burst=2, rounds=9, budget_s=30),
}
"""Rows and tokens of a call."""
TARGETS = {"onnxruntime quantize_dynamic": 1.05, "NNCF + OpenVINO": 1.10}
RECIPES = {"static": "static", "dynamic rows": "dynamic", "weight-only": "none"}
"""Our recipes by what becomes of activations; the first is the default."""
PROBED = 16
"""Sentences whose embedding is compared alone and in company."""
COMPANY = 7
"""Outlier rows beside each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is compared.

    Args:
        module: The example.
        built: Our builds by recipe.
        ours: Sessions of ours by name.
        peers: Sessions of the peers by name.
        sizes: Size of every model by the name of its owner.
    """

    module: Any
    built: Mapping[str, intact.Built]
    ours: Mapping[str, Run]
    peers: Mapping[str, Run]
    sizes: Mapping[str, int]

    @property
    def all(self) -> dict[str, Run]:
        """Everything that can be called."""
        return {**self.ours, **self.peers}


def main() -> None:
    """Build, compare, time, write."""
    results = Results("minilm", THREADS)
    setting = prepare(results)
    quality(setting, results)
    isolation(setting, results)
    for (rows, tokens), plan in CASES.items():
        latency(setting, rows, tokens, plan, results)
    results.write()


def prepare(results: Results) -> Setting:
    """Build the model with Intact and with the peers, from one float graph and one set of calibration sentences."""
    module = example("minilm")
    spec = module.spec()
    proto = spec.proto()
    folder = work("minilm")
    source = folder / "float.onnx"
    onnx.save(proto, source)
    built = {
        name: intact.build(
            replace(spec, model=proto, evaluate=None),
            recipe=intact.Recipe(default=intact.LayerRecipe(activations=activations)),
            engines=["onnxruntime"],
            threads=THREADS,
        )
        for name, activations in RECIPES.items()
    }
    dynamic = quantize_dynamic(source, folder / "onnxruntime-dynamic.onnx")
    files = {"float": source, "onnxruntime quantize_dynamic": dynamic}
    peers = {
        "onnxruntime float": onnxruntime_session(source, THREADS),
        "onnxruntime quantize_dynamic": onnxruntime_session(dynamic, THREADS),
        "torch float": torch_session(spec.model, THREADS),
    }
    nncf = quantize_nncf(source, folder / "nncf.xml", one_by_one(spec.calibration))
    if nncf is None:
        results.add("absent", candidate="NNCF + OpenVINO", reason="no interpreter with nncf; see benchmarks/peers.py")
    else:
        files["NNCF + OpenVINO"] = nncf
        peers["NNCF + OpenVINO"] = openvino_session(nncf, THREADS)
    sizes = {f"intact, {name}": each.size_bytes for name, each in built.items()}
    sizes |= {name: file_bytes(path) for name, path in files.items()}
    return Setting(module=module, built=built, ours=our_sessions(built, results), peers=peers, sizes=sizes)


def one_by_one(pieces: list[Feeds]) -> list[Feeds]:
    """Return every sentence as a batch of its own: NNCF averages its ranges over batches."""
    return [
        {name: value[row : row + 1] for name, value in piece.items()}
        for piece in pieces
        for row in range(len(piece["input_ids"]))
    ]


def our_sessions(built: Mapping[str, intact.Built], results: Results) -> dict[str, Run]:
    """Return our builds on onnxruntime, and the default one on every other engine that conforms here."""
    found = {f"intact, {name}, onnxruntime": call(each.session) for name, each in built.items()}
    default = built["static"]
    for name in engine.find():
        if name in ("onnxruntime", "reference"):
            continue
        try:
            options = engine.Options(threads=THREADS)
            loaded = engine.load(default.program, default.vectors, engines=[name], options=options)
            found[f"intact, static, {name}"] = call(loaded.session)
        except intact.CheckFailed as refusal:
            results.add("engine", engine=name, refused=refusal.message)
    return found


def call(session: engine.Session) -> Run:
    """Return what runs `session` for its one output."""
    (output,) = (spec.name for spec in session.outputs)
    return lambda feeds: session.run(feeds)[output]


def quality(setting: Setting, results: Results) -> None:
    """Score every model on STS-B test, and compare its embeddings with the float model's."""
    from scipy.stats import spearmanr

    pairs = setting.module.pairs("test")
    sentences = [pair[side] for side in (0, 1) for pair in pairs]
    wanted = setting.module.embed(setting.peers["onnxruntime float"], sentences)
    for name, run in setting.all.items():
        if name == "torch float":
            continue  # the same numbers as onnxruntime's, in three times the time
        found = setting.module.embed(run, sentences)
        first, second = found[: len(pairs)], found[len(pairs) :]
        rank = spearmanr((first * second).sum(axis=1), [pair[2] for pair in pairs]).statistic
        cosine = (found * wanted).sum(axis=1)
        results.add(
            "quality",
            model=name,
            spearman=100 * rank,
            mean_cosine=cosine.mean(),
            worst_cosine=cosine.min(),
            sentences=len(sentences),
        )
    for name, size in setting.sizes.items():
        results.add("size", model=name, size_bytes=size)


def isolation(setting: Setting, results: Results) -> None:
    """Find how far a sentence's embedding moves when outliers, or other outliers, come in the same batch."""
    feeds = max((feeds for _, feeds in setting.module.batches(probes(setting), PROBED)), key=row_count)
    rng = np.random.default_rng(0)
    some, others = (outliers(rng, feeds["input_ids"].shape[1]) for _ in range(2))
    for name, run in setting.all.items():
        alone, company, changed = 0.0, 0.0, 0.0
        for row in feeds["input_ids"]:
            single = run(filled(row[None]))[0]
            joined, again = (run(filled(np.vstack([row[None], block])))[0] for block in (some, others))
            alone = max(alone, float(np.abs(joined - single).max()))
            changed = max(changed, float(np.abs(joined - again).max()))
            company += float((joined * single).sum())
        results.add(
            "isolation",
            model=name,
            alone_or_not=alone,
            other_company=changed,
            cosine=company / row_count(feeds),
            rows=row_count(feeds),
        )


def probes(setting: Setting) -> list[str]:
    """Return sentences of STS-B test."""
    return [pair[0] for pair in setting.module.pairs("test")][:400]


def row_count(feeds: Feeds) -> int:
    """Return how many sentences a batch holds."""
    return len(feeds["input_ids"])


def outliers(rng: np.random.Generator, tokens: int) -> Array:
    """Return rows that no calibration saw: random tokens, and one token over and over."""
    rows = rng.integers(1000, 30000, (COMPANY, tokens))
    rows[0] = rng.integers(100, 1000)
    return rows


def filled(ids: Array) -> Feeds:
    """Return the inputs for rows of tokens without padding."""
    return {"input_ids": np.ascontiguousarray(ids, np.int64), "attention_mask": np.ones(ids.shape, np.int64)}


def latency(setting: Setting, rows: int, tokens: int, plan: Plan, results: Results) -> None:
    """Race everything on one shape."""
    feeds = filled(np.random.default_rng(0).integers(1000, 30000, (rows, tokens)))
    candidates = {name: clocked(lambda run=run: run(feeds)) for name, run in setting.all.items()}
    chosen = f"intact, static, {chosen_engine(setting.built['static'], rows, tokens)}"
    times = race(candidates, plan)
    case = f"{rows}x{tokens}"
    for name in candidates:
        results.add(
            "latency",
            case=case,
            candidate=name,
            chosen=name == chosen,
            **times.summary(name),
            others=times.others,
            rounds=plan.rounds,
            rounds_run=times.rounds_run,
        )
    for peer, target in TARGETS.items():
        for name in setting.ours if peer in candidates else ():
            if not name.startswith("intact, static") and "quantize_dynamic" not in peer:
                continue
            found = times.ratio(name, peer)
            results.add("ratio", case=case, ours=name, chosen=name == chosen, peer=peer, **found, target=target)


def chosen_engine(built: intact.Built, rows: int, tokens: int) -> str:
    """Return the engine that Intact picks by itself where it is told what comes at a time."""
    options = engine.Options(threads=THREADS)
    sizes = dict(zip(built.inputs[0].shape, (rows, tokens), strict=True))
    return engine.load(built.program, built.vectors, options=options, sizes=sizes).session.name


if __name__ == "__main__":
    main()
