"""A build of ResNet-20 as a report tells it, with numbers of the usual size."""

import numpy as np
import pytest

from intact.compress.check import Verdict, compare
from intact.numbers import covering
from intact.report import (
    Artifact,
    Engine,
    KeptFloat,
    Latency,
    Layer,
    ReportData,
    Reproduction,
    Sizes,
    spanning,
)

DIGEST = "sha256:9f2b7c1d8e4a6053bb1e77a02c94d5f3861e0a7c4d2b9f58e3716c0a5d94be12"
ENGINES_MS = (
    ("onnxruntime", "float", 0.461),
    ("openvino", "float", 0.334),
    ("onnxruntime", "integer", 0.238),
    ("openvino", "integer", 0.302),
)


def verdict(lost: int, gained: int, examples: int) -> Verdict:
    """Return the verdict on a test set of which so many answers change."""
    before = (np.arange(examples) % 5 > 0).astype(float)
    after = before.copy()
    after[np.flatnonzero(before == 1)[:lost]] = 0
    after[np.flatnonzero(before == 0)[:gained]] = 1
    return compare(before, after, 0.005)


def layers(count: int = 21) -> tuple[Layer, ...]:
    """Return the convolutions of a residual network and its classifier; the fifth input is cut off."""
    generator = np.random.default_rng(3)
    found = []
    for index in range(count):
        high = float(generator.uniform(1, 7))
        peaks = np.abs(generator.normal(0.2, 0.1, 16)) + 0.01
        activation = covering(0.0, high * 0.9, power_of_two=True)
        weights = covering(-peaks, peaks, signed=True, symmetric=True, power_of_two=True, axis=0)
        last = index == count - 1
        found.append(
            Layer(
                name="fc" if last else f"layer{1 + index // 7}.{index % 7 // 2}.conv{1 + index % 2}",
                op="Gemm" if last else "Conv",
                sqnr_db=float(generator.normal(34, 4)),
                activation=spanning(activation, 0.0, high * (2.2 if index == 4 else 1)),
                weights=spanning(weights, -peaks, peaks),
                cost=float(generator.exponential(0.04)),
            )
        )
    return tuple(found)


def latencies() -> tuple[Latency, ...]:
    """Return times of both models on two engines at two batch sizes."""
    return tuple(
        Latency(
            engine=engine,
            kind=kind,
            shape=f"{batch}x3x32x32",
            median_ms=ms * factor,
            p10_ms=0.94 * ms * factor,
            p90_ms=1.15 * ms * factor,
            threads=2,
        )
        for batch, factor in ((1, 1.0), (32, 21.0))
        for engine, kind, ms in ENGINES_MS
    )


@pytest.fixture(scope="session")
def verdicts() -> dict[str, Verdict]:
    """One verdict of each outcome."""
    return {
        "pass": verdict(21, 17, 10_000),
        "fail": verdict(120, 20, 10_000),
        "inconclusive": verdict(3, 2, 300),
        "by value": compare(0.8, 0.79, 0.005),
    }


@pytest.fixture(scope="session")
def report(verdicts: dict[str, Verdict]) -> ReportData:
    """A report with every part filled."""
    return ReportData(
        model="resnet20-cifar10",
        created="2025-11-20 10:38 UTC",
        profile="exact",
        metric="accuracy",
        verdict=verdicts["pass"],
        agreement=0.981,
        sizes=Sizes(float_bytes=1_093_412, integer_bytes=318_220, sealed_bytes=327_904),
        latencies=latencies(),
        layers=layers(),
        cost_unit="share of the output error",
        kept_float=(
            KeptFloat(name="/head/Softmax", op="Softmax", reason="no exact integer form in this profile"),
            KeptFloat(name="/head/Resize", op="Resize", reason="operator is not in the exact set"),
        ),
        engines=(
            Engine(name="onnxruntime", version="1.31.1", conforms=True, vectors=4, chosen=True),
            Engine(name="openvino", version="2026.4.1", conforms=False, vectors=4, note="vector 2 differs"),
            Engine(name="reference", version="0.1.0", conforms=None, note="the definition itself; slow"),
        ),
        artifact=Artifact(artifact_id="b7d0c4f2-7d7e-4c59", digest=DIGEST, recipients=2, signer=DIGEST),
        reproduction=Reproduction(
            command="intact build resnet20.py:spec --out resnet20.intact --max-drop 0.005 --recipient ci.pub",
            seed=0,
            recipe='profile = "exact"\nbits = 8\n\n[layers."fc"]\nbits = 8\n',
            versions=(("intact", "0.1.0"), ("onnx", "1.23.0"), ("onnxruntime", "1.31.1"), ("numpy", "2.4.6")),
            host="x86-64, AVX-512 VNNI, 2 cores",
            source_digest=DIGEST,
            calibration_digest=DIGEST,
        ),
    )
