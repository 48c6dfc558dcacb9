"""Smoothing: move the outlier channels of a product's input into its weights, where a scale per row can hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from intact.compress.calibrate import Statistics
from intact.compress.observers import Range
from intact.numbers import Affine, covering, dequantize, quantize

Array = NDArray[Any]

STRENGTHS = (0.6, 0.7, 0.8, 0.9)
"""Tried where the recipe says "auto"."""
LEAST = np.float32(1e-5)
"""Magnitudes below this count as this, so that a dead channel has a finite divisor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothed:
    """A smoothed input.

    Args:
        divisor: What each channel is divided by, float32, shape (K,).
        seen: Range of the divided input.
    """

    divisor: Array
    seen: Range


def smooth(statistics: Statistics, weights: Array, strength: float | Literal["auto"]) -> Smoothed | None:
    """Choose the divisors of a product's input.

    Channel k is divided by max|x_k|^a / max|w_k|^(1-a), over the geometric mean of these. Where `strength` is "auto",
    a is the one of `STRENGTHS` with the least squared error of the product on the sampled rows.

    Args:
        statistics: What was seen of the input, K channels along its last axis.
        weights: All weights that read the input, shape (rows, K).
        strength: a in (0, 1], or "auto"; 0 is off.

    Returns:
        None where smoothing is off or the input has no fixed channels.

    Source:
        Xiao et al. 2023, arXiv:2211.10438, section 4.
    """
    if strength == 0 or len(statistics.channel_low) != weights.shape[1]:
        return None
    candidates = [_at(statistics, weights, a) for a in (STRENGTHS if strength == "auto" else (strength,))]
    if len(candidates) == 1:
        return candidates[0]
    return min(candidates, key=lambda candidate: _output_error(statistics.rows, weights, candidate))


def _at(statistics: Statistics, weights: Array, strength: float) -> Smoothed:
    inputs = np.maximum(np.maximum(-statistics.channel_low, statistics.channel_high), LEAST).astype(np.float64)
    columns = np.maximum(np.abs(weights).max(axis=0), LEAST).astype(np.float64)
    divisor = inputs**strength / columns ** (1.0 - strength)
    divisor = (divisor / np.exp(np.log(divisor).mean())).astype(np.float32)
    low, high = (statistics.channel_low / divisor).min(), (statistics.channel_high / divisor).max()
    return Smoothed(divisor=divisor, seen=Range(low=min(0.0, float(low)), high=max(0.0, float(high))))


def _output_error(rows: Array, weights: Array, candidate: Smoothed) -> float:
    scaled = weights * candidate.divisor
    limits = np.maximum(np.abs(scaled).max(axis=1), LEAST)
    coded_weights = dequantize(quantize(scaled, Affine(scale=limits / 127, signed=True, axis=0, narrow=True)))
    coded_rows = dequantize(quantize(rows / candidate.divisor, covering(candidate.seen.low, candidate.seen.high)))
    return float(np.square(coded_rows @ coded_weights.T - rows @ weights.T, dtype=np.float64).sum())
