"""The temperature of the scores: at it, the integer model is as sure as the float model is.

Nobody said what is right in calibration data, so this corrects what quantizing did to the confidence, and nothing
else: a float model that is too sure of itself stays so.

Source: Guo et al. 2017, arXiv:1706.04599, section 4.2, with the float model's probabilities in place of labels.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from intact.guard.arrays import fields, number, round_to
from intact.guard.check import Array, Evidence, Params
from intact.guard.rows import softmax

LEAST: Final = 0.1
MOST: Final = 10.0
GRID: Final = 2.0 ** (np.arange(-24, 25) / 8)
"""Temperatures from 1/8 to 8."""


def learn(evidence: Evidence) -> Params:
    """Return the temperature at which the cross entropy to the float model's probabilities is least; 1 without it."""
    if evidence.reference is None:
        return {"temperature": 1.0}
    wanted = softmax(evidence.reference.astype(np.float64), 1.0)
    losses = [_cross_entropy(wanted, evidence.measured, float(heat)) for heat in GRID]
    return {"temperature": round_to(float(GRID[int(np.argmin(losses))]), 3)}


def read(params: Params) -> float:
    """Return the temperature.

    Raises:
        IntegrityError: There is none, or one out of range.
    """
    (heat,) = fields(params, "temperature")
    return number(heat, "temperature", least=LEAST, most=MOST)


def _cross_entropy(wanted: Array, logits: Array, heat: float) -> float:
    scaled = logits.astype(np.float64) / heat
    scaled -= scaled.max(axis=1, keepdims=True)
    return float(-(wanted * (scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True)))).sum(axis=1).mean())
