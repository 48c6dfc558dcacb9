"""What a report is made of. Every part may be missing; its section is then left out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intact.compress.check import Verdict
from intact.errors import UsageError
from intact.numbers import Affine
from intact.report.pareto import Pareto

FORMAT_VERSION = 1
"""Version of the JSON form."""
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Bytes of the model before and after.

    Args:
        float_bytes: Graph and weights of the float model.
        integer_bytes: Graph and weights of the integer model.
        sealed_bytes: The artifact with everything in it, None if it was not sealed.
    """

    float_bytes: int
    integer_bytes: int
    sealed_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Time of one call, measured on the build host.

    Args:
        engine: Name of the engine.
        kind: Which of the two models ran.
        shape: Input shape as the reader knows it, such as `1x3x32x32`; rows of one shape are compared.
        median_ms: Median of the calls; the others are their 10th and 90th percentiles.
        threads: Threads the engine was given, None if it chose.

    Raises:
        UsageError: The times are not finite, or not 0 <= p10 <= median <= p90.
    """

    engine: str
    kind: Literal["float", "integer"]
    shape: str
    median_ms: float
    p10_ms: float
    p90_ms: float
    threads: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.p10_ms <= self.median_ms <= self.p90_ms < math.inf:
            raise UsageError(
                f"times of '{self.engine}' are p10 {self.p10_ms}, median {self.median_ms}, p90 {self.p90_ms} ms, "
                "wanted ascending finite numbers"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Values seen in a tensor, beside the values its codes can hold.

    Args:
        low: Smallest value seen.
        high: Largest value seen.
        code_low: Value of the lowest code; of several channels, the lowest of all.
        code_high: Value of the highest code; of several channels, the highest of all.
        encoding: The chosen encoding in words, such as `uint8, scale 2⁻⁵, zero point 0`.

    Raises:
        UsageError: A number is not finite, or a low is above its high.
    """

    low: float
    high: float
    code_low: float
    code_high: float
    encoding: str

    def __post_init__(self) -> None:
        numbers = (self.low, self.high, self.code_low, self.code_high)
        if not all(math.isfinite(number) for number in numbers) or self.low > self.high:
            raise UsageError(f"values {self.low} to {self.high} are not finite or not in order")
        if self.code_low >= self.code_high:
            raise UsageError(f"codes hold {self.code_low} to {self.code_high}, wanted a range")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One quantized layer.

    Args:
        name: As in the graph.
        op: Operator type.
        sqnr_db: Signal to quantization noise of its output, 10 log10(sum y^2 / sum (y - y')^2); infinite if equal.
        activation: Its input, or None if float.
        weights: Its weights, or None if it has none.
        cost: What quantizing it costs, in the unit named by `ReportData.cost_unit`; larger is worse.
    """

    name: str
    op: str
    sqnr_db: float | None = None
    activation: Span | None = None
    weights: Span | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFloat:
    """A layer that was not quantized, and why."""

    name: str
    op: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine found on the build host.

    Args:
        name: Name of the engine.
        version: Its version.
        conforms: Whether its integers equal the reference on every vector; None if it was not tried.
        vectors: Conformance vectors it was tried on.
        chosen: Whether it is the one a user gets here.
        note: A remark, such as why it was not tried.
    """

    name: str
    version: str
    conforms: bool | None
    vectors: int = 0
    chosen: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """The sealed file.

    Args:
        artifact_id: Its identity, the same through re-wrapping of keys.
        digest: Digest of its contents.
        recipients: How many can open it.
        signer: Identity of the signing key, None if unsigned.
    """

    artifact_id: str
    digest: str
    recipients: int
    signer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """What it takes to build the same model again.

    Args:
        command: The command line.
        seed: Seed of everything random, None if nothing was.
        recipe: The recipe as TOML.
        versions: Names and versions of what took part.
        host: Processor and instruction sets.
        source_digest: Digest of the float model.
        calibration_digest: Digest of the calibration data.
    """

    command: str = ""
    seed: int | None = None
    recipe: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    host: str = ""
    source_digest: str = ""
    calibration_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """One build, told to its reader.

    Args:
        model: Name of the model.
        created: Date and time of the build.
        profile: `exact` or `tolerant`.
        metric: Name of the metric that `verdict` is about.
        verdict: The accuracy check, None if no evaluation was given.
        agreement: Share of examples on which both models decide alike, 0 to 1.
        sizes: Bytes before and after.
        latencies: Times of both models, in the order they are to be shown.
        layers: Quantized layers, in graph order.
        cost_unit: What `Layer.cost` counts, such as `share of the output error`.
        kept_float: Layers that were not quantized.
        engines: Engines on the build host.
        artifact: The sealed file.
        reproduction: How to build it again.
        pareto: What could be had for what, where it was tuned.
    """

    model: str
    created: str = ""
    profile: str = ""
    metric: str = "metric"
    verdict: Verdict | None = None
    agreement: float | None = None
    sizes: Sizes | None = None
    latencies: tuple[Latency, ...] = ()
    layers: tuple[Layer, ...] = ()
    cost_unit: str = "cost"
    kept_float: tuple[KeptFloat, ...] = ()
    engines: tuple[Engine, ...] = ()
    artifact: Artifact | None = None
    reproduction: Reproduction | None = None
    pareto: Pareto | None = None


def spanning(encoding: Affine, low: ArrayLike, high: ArrayLike) -> Span:
    """Return the span of a tensor whose smallest and largest values, of all or by channel, are `low` and `high`.

    Raises:
        UsageError: A value is not finite.
    """
    scale = encoding.scale.astype(np.float64)
    return Span(
        low=float(np.min(low)),
        high=float(np.max(high)),
        code_low=float(((encoding.qmin - encoding.zero_point) * scale).min()),
        code_high=float(((encoding.qmax - encoding.zero_point) * scale).max()),
        encoding=describe(encoding),
    )


def describe(encoding: Affine) -> str:
    """Say an encoding in words: type, grain, scales, and the zero point unless it is a signed zero."""
    grain = ""
    if encoding.group is not None:
        grain = f" in groups of {encoding.group}"
    elif encoding.axis is not None:
        grain = f" × {encoding.scale.size} channels"
    parts = [
        f"{'int' if encoding.signed else 'uint'}{encoding.bits}{grain}",
        f"scale {_ends(encoding.scale, _scale_in_words)}",
    ]
    if not encoding.signed or encoding.zero_point.any():
        parts.append(f"zero point {_ends(encoding.zero_point, str)}")
    return ", ".join(parts)


def to_json(data: ReportData) -> dict[str, Any]:
    """Return the report as JSON values: tuples become lists, infinite and undefined numbers None."""
    return {"version": FORMAT_VERSION, **_plain(dataclasses.asdict(data))}


def _ends(values: NDArray[Any], write: Callable[[Any], str]) -> str:
    """Write the smallest and the largest value, or the one there is."""
    low, high = write(values.min()), write(values.max())
    return low if low == high else f"{low} to {high}"


def _scale_in_words(scale: float) -> str:
    """Write a power of two as such, another number with four digits."""
    mantissa, exponent = math.frexp(scale)
    return f"2{str(exponent - 1).translate(SUPERSCRIPT)}" if mantissa == 0.5 else f"{scale:.4g}"


def _plain(value: Any) -> Any:
    """Return `value` as what json writes without extensions."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, str) else value
