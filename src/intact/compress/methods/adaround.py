"""Each weight up or down, learned by gradient descent on the layer's output error."""

from __future__ import annotations

import numpy as np

from intact.compress.methods import Array, Method, Problem, Rounded, best, nearest
from intact.compress.quadratic import DAMPING, damped

STEPS = 1000
RATE = 0.03
WARM_UP = 0.2
"""Share of the steps before the regulariser starts."""
REGULARISER = 30.0
"""Its weight beside the output error, which is in units of what blind rounding of one weight is expected to add."""
SHARP = 20.0, 2.0
"""Its exponent, from the first step to the last."""
LOW, HIGH = -0.1, 1.1
"""What the sigmoid is stretched to before it is cut to 0 and 1."""


def solve(problem: Problem) -> Rounded:
    """Learn for each weight which of the two levels around it to take; no output error greater than nearest's.

    The error is a quadratic form, so its gradient is written down and nothing is drawn: two runs agree bit for bit. As
    `nearest` where nothing is known of the inputs.

    Source:
        Nagel et al. 2020, arXiv:2004.10568, section 3.2 and 3.3 (rectified sigmoid, annealed regulariser).
    """
    if problem.gram is None:
        return nearest.solve(problem)
    plain = nearest.solve(problem)
    grid = problem.space.fit(problem.weights, problem.importance)
    scales = np.broadcast_to(grid.column_scales(problem.weights.shape[1]), problem.weights.shape)
    steps = np.clip(problem.weights / scales, grid.levels[0], grid.levels[-1])
    above = np.clip(np.searchsorted(grid.levels, steps, side="left"), 1, len(grid.levels) - 1)
    low, high = grid.levels[above - 1], grid.levels[above]
    free = (low <= steps) & (steps <= high) if problem.keep is None else problem.keep
    span = (high - low) * scales * free
    shortfall = problem.weights - low * scales * free
    up = _learned(shortfall, span, damped(problem.gram, DAMPING))
    learned = Rounded(levels=problem.masked(np.where(up, high, low)), grid=grid)
    return best(problem, [learned, plain])


def _learned(shortfall: Array, span: Array, gram: Array) -> Array:
    """Which weights go up: bool. The error is shortfall - h(v) * span, h the rectified sigmoid."""
    part = np.divide(shortfall, np.where(span == 0, 1.0, span)).clip(0.01, 0.99)
    power = (np.square(span) @ np.diag(gram) / 12)[:, None]
    unit = np.sqrt(np.where(power > 0, power, 1.0) / shortfall.shape[1])  # blind rounding errs by about one per weight
    gram32 = gram.astype(np.float32)
    shortfall32, span32 = (shortfall / unit).astype(np.float32), (span / unit).astype(np.float32)
    logit = (part - LOW) / (HIGH - LOW)
    value = np.log(logit / (1 - logit)).astype(np.float32)
    first, second = np.zeros_like(value), np.zeros_like(value)
    for step in range(1, STEPS + 1):
        slope, soft, inside = _soft(value)
        pull = -2 * ((shortfall32 - soft * span32) @ gram32) * span32
        pull = (pull + _regulariser(soft, step)) * slope * inside
        first += 0.1 * (pull - first)
        second += 0.001 * (np.square(pull) - second)
        rise = RATE / (1 - 0.9**step)
        value -= rise * first / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return np.asarray(value >= 0)


def _soft(value: Array) -> tuple[Array, Array, Array]:
    """The rectified sigmoid of `value` after its slope, and where it is not cut."""
    sigmoid = 1 / (1 + np.exp(-value))
    stretched = sigmoid * (HIGH - LOW) + LOW
    inside = (stretched > 0) & (stretched < 1)
    return sigmoid * (1 - sigmoid) * (HIGH - LOW), stretched.clip(0.0, 1.0), inside


def _regulariser(soft: Array, step: int) -> Array | float:
    """The slope of weight * sum of 1 - |2 h - 1|^sharpness: drives each h to 0 or 1."""
    done = (step / STEPS - WARM_UP) / (1 - WARM_UP)
    if done < 0:
        return 0.0
    sharp = SHARP[1] + (SHARP[0] - SHARP[1]) * 0.5 * (1 + np.cos(np.pi * done))
    middle = 2 * soft - 1
    return np.asarray(-REGULARISER * 2 * sharp * np.abs(middle) ** (sharp - 1) * np.sign(middle))


METHOD = Method(name="adaround", solve=solve, needs_inputs=True)
