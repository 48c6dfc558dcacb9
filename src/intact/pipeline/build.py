"""The main job: from a float model to a checked integer program, and to a sealed artifact."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from intact import engine, seal
from intact.compress.calibrate import Statistics, calibrate, check_data
from intact.compress.check import Verdict, compare
from intact.compress.emit import Emission, emit
from intact.compress.encodings import Encoding, choose_encodings
from intact.compress.plan import Plan, plan
from intact.compress.recipe import Recipe
from intact.errors import CheckFailed, UsageError
from intact.graph.normalise import normalise
from intact.graph.program import Program
from intact.graph.run import Runner
from intact.graph.view import Graph
from intact.pipeline import lineage
from intact.pipeline.layers import LayerFacts, costs, describe
from intact.pipeline.predict import Predictor
from intact.pipeline.spec import Evaluate, Spec, join

Array = NDArray[Any]
Progress = Callable[[str, int, int], None]

LAYER_ROWS = 64
"""Calibration rows on which layers are measured."""


def silent(stage: str, done: int, total: int) -> None:
    """Show no progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a build behaves; what the model becomes is the recipe's matter.

    Args:
        max_drop: Most that the metric may fall, in the units of `evaluate`; None where nothing is to be checked.
        threads: Threads of the engine; None lets it choose.
        engines: Engines to consider, by name; None for all that are installed.
        measure_costs: Whether to measure what each layer costs even if the check passes.
        progress: Called with (stage, done, total).
    """

    max_drop: float | None = 0.005
    threads: int | None = None
    engines: tuple[str, ...] | None = None
    measure_costs: bool = False
    progress: Progress = field(default=silent)


@dataclass(frozen=True, kw_only=True)
class Built:
    """A finished build: the integer program and all that is known of it.

    Args:
        name: What the model is called.
        plan: What became of every node.
        encodings: Code of every coded tensor.
        program: The integer graph and its tensors.
        vectors: Self-test of the program.
        loaded: The engine chosen on this host.
        verdict: Outcome of the accuracy check; None where there was no `evaluate`.
        agreement: How far float and integer outputs agree on calibration data; None without such data.
        layers: Facts of each quantized layer.
        float_bytes: Size of the float graph and its weights.
        source_sha256: Digest of the float model.
        lineage: in-toto statement.
        manifest: The artifact written, if any.
        path: Where it lies.
    """

    name: str
    plan: Plan
    encodings: Mapping[str, Encoding]
    program: Program
    vectors: Any
    loaded: Any
    verdict: Verdict | None
    agreement: Any
    layers: tuple[LayerFacts, ...]
    float_bytes: int
    source_sha256: str
    lineage: Mapping[str, Any]
    manifest: Any = None
    path: Path | None = None
