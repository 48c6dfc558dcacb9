"""ResNet-20 on CIFAR-10: is the integer model as good, the same on every engine, and as fast as the peers'?

Run `python benchmarks/resnet20.py`. Correctness on all 10,000 JPEG test images comes first, time after.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

import intact
from intact import engine
from peers import Run, file_bytes, onnxruntime_session, openvino_session, quantize_static, torch_session
from places import example, work
from results import Results
from timing import Plan, clocked, race

Array = NDArray[Any]

THREADS = 2
PART = 250
"""Images a call where no time is taken."""
CASES = {
    1: Plan(warm=10, burst=20, rounds=20, budget_s=35),
    32: Plan(warm=2, burst=4, rounds=20, budget_s=35),
}
PEERS = ("onnxruntime U8S8", "OpenVINO U8S8")
"""The peers that the target names; both run the file that onnxruntime's quantizer wrote."""
STEADY = "OpenVINO U8S8, float32"
"""OpenVINO without the bfloat16 that it takes by default here: what it can do for the same answers everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is compared.

    Args:
        built: Our build.
        engines: Every engine of this host that conforms, loaded, by name.
        peers: Sessions of the peers by name.
        peer: The file that onnxruntime's quantizer wrote.
        files: Size of every model by the name of its owner.
        images: Test images.
        labels: Their classes.
    """

    built: intact.Built
    engines: dict[str, engine.Session]
    peers: dict[str, Run]
    peer: Path
    files: dict[str, int]
    images: Array
    labels: Array


def main() -> None:
    """Build, compare, time, write."""
    results = Results("resnet20", THREADS)
    setting = prepare(results)
    correctness(setting, results)
    for rows, plan in CASES.items():
        latency(setting, rows, plan, results)
    results.write()


def prepare(results: Results) -> Setting:
    """Build the model with Intact and with the peers, from one float graph and one set of calibration images."""
    module = example("resnet20_cifar10")
    images, labels = example("real_data").cifar10_test()
    spec = module.spec()
    proto = spec.proto()
    folder = work("resnet20")
    source = folder / "float.onnx"
    onnx.save(proto, source)
    built = intact.build(
        replace(spec, model=proto, evaluate=lambda predict: predict(images).argmax(axis=1) == labels), threads=THREADS
    )
    (name,) = (port.name for port in built.inputs)
    feeds = [{name: part} for part in np.split(spec.calibration, 8)]
    peer = quantize_static(source, folder / "onnxruntime-u8s8.onnx", feeds)
    return Setting(
        built=built,
        engines=offered(built, results),
        peers=sessions(module, source, peer),
        peer=peer,
        files={"intact": built.size_bytes, "onnxruntime U8S8": file_bytes(peer), "float": file_bytes(source)},
        images=images,
        labels=labels,
    )


def sessions(module: Any, source: Path, peer: Path) -> dict[str, Run]:
    """Return every peer, ready to run."""
    return {
        "onnxruntime U8S8": onnxruntime_session(peer, THREADS),
        "OpenVINO U8S8": openvino_session(peer, THREADS),
        "onnxruntime float": onnxruntime_session(source, THREADS),
        "OpenVINO float": openvino_session(source, THREADS),
        "torch float": torch_session(module.float_model(), THREADS),
    }


def offered(built: intact.Built, results: Results) -> dict[str, engine.Session]:
    """Return every engine that conforms here, and note those that do not."""
    found = {}
    for name in engine.find():
        try:
            options = engine.Options(threads=THREADS)
            found[name] = engine.load(built.program, built.vectors, engines=[name], options=options).session
        except intact.CheckFailed as refusal:
            results.add("engine", engine=name, refused=refusal.message)
    return found


def correctness(setting: Setting, results: Results) -> None:
    """Score everything on all test images, and count the outputs in which an engine differs from the definition."""
    name = setting.built.inputs[0].name
    parts = np.split(setting.images, len(setting.images) // PART)
    steady = openvino_session(setting.peer, THREADS, INFERENCE_PRECISION_HINT="f32")
    peers = {**setting.peers, STEADY: steady}
    outputs = {key: np.concatenate([run({name: part}) for part in parts]) for key, run in peers.items()}
    for key, session in setting.engines.items():
        outputs[f"intact, {key}"] = run_all(setting.built, session, {name: setting.images})
    score(setting, outputs, results)
    for key in setting.engines:
        differ = outputs[f"intact, {key}"].view(np.uint32) != outputs["intact, reference"].view(np.uint32)
        results.add(
            "identity",
            engine=key,
            other="reference",
            images=len(differ),
            values=differ.size,
            differing=int(differ.sum()),
        )
    first, second = (outputs[peer] for peer in ("onnxruntime U8S8", STEADY))
    differ = first.view(np.uint32) != second.view(np.uint32)
    results.add(
        "identity", engine=PEERS[0], other=STEADY, images=len(differ), values=differ.size, differing=differ.sum()
    )


def run_all(built: intact.Built, session: engine.Session, feeds: dict[str, Array]) -> Array:
    """Return the outputs of `session` for all rows; the definition is slow and gets several processes."""
    (answer,) = built.outputs
    rows = len(next(iter(feeds.values())))
    parts = [{name: value[at : at + PART] for name, value in feeds.items()} for at in range(0, rows, PART)]
    if session.engine != "reference":
        return np.concatenate([session.run(part)[answer] for part in parts])
    with engine.over_processes(built.program, session, THREADS, engine.Options(threads=1)) as spread:
        return np.concatenate([spread.run(part)[answer] for part in parts])


def score(setting: Setting, outputs: dict[str, Array], results: Results) -> None:
    """Note accuracy, agreement with the float model, and size."""
    truth = outputs["torch float"].argmax(axis=1)
    for key, output in outputs.items():
        answers = output.argmax(axis=1)
        results.add(
            "accuracy",
            model=key,
            accuracy=100 * (answers == setting.labels).mean(),
            agreement=100 * (answers == truth).mean(),
            images=len(answers),
        )
    verdict = setting.built.verdict
    assert verdict is not None
    results.add("verdict", outcome=str(verdict.outcome), reason=verdict.reason)
    for key, size in setting.files.items():
        results.add("size", model=key, size_bytes=size)


def latency(setting: Setting, rows: int, plan: Plan, results: Results) -> None:
    """Race everything but the definition on one batch size."""
    name = setting.built.inputs[0].name
    feeds = {name: np.ascontiguousarray(setting.images[:rows])}
    ours = {f"intact, {key}": session.run for key, session in setting.engines.items() if key != "reference"}
    chosen = f"intact, {chosen_engine(setting.built, rows)}"
    candidates = {key: clocked(lambda run=run: run(feeds)) for key, run in {**ours, **setting.peers}.items()}
    times = race(candidates, plan)
    case = f"batch {rows}"
    for key in candidates:
        results.add(
            "latency",
            case=case,
            candidate=key,
            chosen=key == chosen,
            **times.summary(key),
            others=times.others,
            rounds=plan.rounds,
            rounds_run=times.rounds_run,
        )
    peer = times.best(PEERS)
    for key in ours:
        results.add(
            "ratio", case=case, ours=key, chosen=key == chosen, peer=peer, **times.ratio(key, peer), target=1.05
        )


def chosen_engine(built: intact.Built, rows: int) -> str:
    """Return the engine that Intact picks by itself where it is told how many rows come at a time."""
    (batch,) = (size for size in built.inputs[0].shape if isinstance(size, str))
    options = engine.Options(threads=THREADS)
    return engine.load(built.program, built.vectors, options=options, sizes={batch: rows}).session.name


if __name__ == "__main__":
    main()
