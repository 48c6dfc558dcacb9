"""Conformance vectors as values: what was run, and what must come out. JSON in, JSON out, strictly."""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from intact.engine.probes import KINDS, Span
from intact.errors import IntegrityError

Profile: TypeAlias = Literal["exact", "tolerant"]
Json: TypeAlias = dict[str, Any]

VERSION: Final = 2
SAMPLE_LIMIT: Final = 2048
"""A tolerant vector keeps at most this many elements of an output."""

COUNT_LIMIT: Final = 1024
"""Most named dimensions, inputs, or outputs that vectors may speak of."""

CASE_LIMIT: Final = 64
BOUND_LIMIT: Final = 1.0
"""No tolerant output may be further from the definition than that is from zero."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Every `stride`-th element of an output that may differ a little between hosts.

    Args:
        shape: Of the whole output.
        stride: Distance between two kept elements of the flattened output.
        values: float32, the kept ones.
    """

    shape: tuple[int, ...]
    stride: int
    values: NDArray[np.float32]


Expected: TypeAlias = str | Sample
"""A SHA-256 of the output (exact), or a sample of it (tolerant)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run of the self-test.

    Args:
        kind: Which kind of input, a key of `probes.KINDS`.
        sizes: The size of every named dimension.
        outputs: What each output must be.
    """

    kind: str
    sizes: Mapping[str, int]
    outputs: Mapping[str, Expected]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """The self-test of one model.

    Args:
        profile: "exact": outputs are compared bit for bit; "tolerant": within `bound`.
        seed: What the inputs are made from.
        spans: The values each input takes.
        cases: The runs.
        bound: Largest |y - expected| / |expected| (Euclidean, over the sample) of a tolerant output; 0 for exact.
        element_bound: Largest max|y - expected| / max|expected| (over the sample) of a tolerant output; 0 for exact.
    """

    profile: Profile
    seed: int
    spans: Mapping[str, Span]
    cases: tuple[Case, ...]
    bound: float = 0.0
    element_bound: float = 0.0

    def to_json(self) -> Json:
        """Return the vectors as plain JSON types."""
        return {
            "version": VERSION,
            "profile": self.profile,
            "seed": self.seed,
            "bound": self.bound,
            "element_bound": self.element_bound,
            "spans": {name: {"low": s.low, "high": s.high, "step": s.step} for name, s in self.spans.items()},
            "cases": [
                {
                    "kind": case.kind,
                    "sizes": dict(case.sizes),
                    "outputs": {name: _expected_json(expected) for name, expected in case.outputs.items()},
                }
                for case in self.cases
            ],
        }

    @classmethod
    def from_json(cls, record: Any) -> Vectors:
        """Read what `to_json` wrote.

        Raises:
            IntegrityError: Anything is missing, unknown, of another type or out of range.
        """
        kinds = {"version": int, "profile": str, "seed": int, "spans": dict, "cases": list}
        r = _fields(record, "vectors", **kinds, bound=(int, float), element_bound=(int, float))
        if r["version"] != VERSION or r["profile"] not in ("exact", "tolerant"):
            raise _refusal(f"version {r['version']}, profile '{r['profile']}'")
        if not 0 < len(r["cases"]) <= CASE_LIMIT or len(r["spans"]) > COUNT_LIMIT:
            raise _refusal(f"{len(r['cases'])} cases, {len(r['spans'])} inputs")
        most = 0.0 if r["profile"] == "exact" else BOUND_LIMIT
        if not all(0 <= r[name] <= most for name in ("bound", "element_bound")):
            raise _refusal(f"bounds {r['bound']} and {r['element_bound']}, wanted 0 to {most}")
        cases = tuple(_case_from(case, r["profile"]) for case in r["cases"])
        if any(set(case.outputs) != set(cases[0].outputs) for case in cases):
            raise _refusal("cases that name different outputs")
        return cls(
            profile=r["profile"],
            seed=r["seed"],
            bound=float(r["bound"]),
            element_bound=float(r["element_bound"]),
            spans={name: _span_from(span) for name, span in r["spans"].items()},
            cases=cases,
        )


def digest(output: NDArray[Any]) -> str:
    """Return the SHA-256 of an output: its type, its shape and its little-endian elements."""
    plain = np.ascontiguousarray(output, dtype=output.dtype.newbyteorder("<"))
    head = f"{output.dtype.name}{list(output.shape)}".encode()
    return hashlib.sha256(head + b"\0" + plain.tobytes()).hexdigest()


def sample(output: NDArray[Any]) -> Sample:
    """Return the sample of an output that a tolerant vector keeps."""
    stride = max(1, -(-output.size // SAMPLE_LIMIT))
    return Sample(shape=output.shape, stride=stride, values=output.reshape(-1)[::stride].astype(np.float32))


def _expected_json(expected: Expected) -> str | Json:
    if isinstance(expected, str):
        return expected
    text = base64.b64encode(expected.values.astype("<f4").tobytes()).decode()
    return {"shape": list(expected.shape), "stride": expected.stride, "values": text}


def _case_from(record: Any, profile: str) -> Case:
    r = _fields(record, "case", kind=str, sizes=dict, outputs=dict)
    if r["kind"] not in KINDS:
        raise _refusal(f"kind '{r['kind']}'")
    if not 0 < len(r["outputs"]) <= COUNT_LIMIT or len(r["sizes"]) > COUNT_LIMIT:
        raise _refusal(f"a case of {len(r['outputs'])} outputs and {len(r['sizes'])} sizes")
    if not all(type(size) is int and 0 < size < 1 << 16 for size in r["sizes"].values()):
        raise _refusal(f"sizes {r['sizes']}")
    read = _digest_from if profile == "exact" else _sample_from
    return Case(kind=r["kind"], sizes=r["sizes"], outputs={name: read(value) for name, value in r["outputs"].items()})


def _digest_from(record: Any) -> str:
    if not isinstance(record, str) or len(record) != 64 or not set(record) <= set("0123456789abcdef"):
        raise _refusal("an output's digest is no SHA-256")
    return record


def _sample_from(record: Any) -> Sample:
    r = _fields(record, "sample", shape=list, stride=int, values=str)
    try:
        raw = base64.b64decode(r["values"], validate=True)
    except binascii.Error as error:
        raise _refusal("a sample's values are no base64") from error
    if not all(type(size) is int and size >= 0 for size in r["shape"]) or r["stride"] < 1:
        raise _refusal(f"a sample of shape {r['shape']} with stride {r['stride']}")
    if len(raw) > 4 * SAMPLE_LIMIT:
        raise _refusal(f"a sample of {len(raw)} bytes")
    if len(raw) != 4 * -(-math.prod(r["shape"]) // r["stride"]):
        raise _refusal(f"a sample has {len(raw)} bytes, its shape and stride want another number")
    return Sample(shape=tuple(r["shape"]), stride=r["stride"], values=np.frombuffer(raw, "<f4").astype(np.float32))


def _span_from(record: Any) -> Span:
    r = _fields(record, "span", low=(int, float), high=(int, float), step=(int, float, type(None)))
    numbers = [value for value in r.values() if value is not None]
    if not all(math.isfinite(value) for value in numbers) or r["low"] > r["high"]:
        raise _refusal(f"a span from {r['low']} to {r['high']}")
    if r["step"] is not None and not (r["step"] > 0 and (r["high"] - r["low"]) / r["step"] < 1 << 16):
        raise _refusal(f"a step of {r['step']}")
    return Span(low=r["low"], high=r["high"], step=r["step"])


def _fields(record: Any, what: str, **kinds: type | tuple[type, ...]) -> Json:
    """Return `record` after checking that it has exactly these keys, with values of these types."""
    if not isinstance(record, dict) or set(record) != set(kinds):
        raise _refusal(f"a {what} record without exactly the keys {sorted(kinds)}")
    for name, kind in kinds.items():
        if not isinstance(record[name], kind) or isinstance(record[name], bool):
            raise _refusal(f"'{name}' of a {what} record is {type(record[name]).__name__}")
    return record


def _refusal(found: str) -> IntegrityError:
    return IntegrityError(f"conformance vectors cannot be read: {found}")
