"""A block of layers under reconstruction: its float targets, its inputs from the integer past, and its training."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from intact.compress.calibrate import row_count
from intact.compress.plan import Step
from intact.compress.sequence import layer_of
from intact.compress.solve import Solution
from intact.errors import UsageError
from intact.graph.differentiable import Differentiable
from intact.graph.run import is_batched
from intact.pipeline.drafting import Draft
from intact.training.blocks import Block
from intact.training.latent import Latent
from intact.training.prepared import Prepared

Array = NDArray[Any]
Values = dict[str, Tensor]

BATCH = 32
MOST_EXAMPLES = 1024
"""Examples of the calibration data that are looked at."""
BIAS_RATE = 1e-3
"""Learning rate of biases, in typical sizes of the output."""
LOOKS = (0.4, 0.6, 0.8, 1.0)
"""At which shares of the steps the integers are looked at; the best are kept."""
LEAST_POWER, LEAST_SECONDS = 1e-30, 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstruction:
    """How to reconstruct.

    Args:
        steps: Batches to take for each block; the same steps, data and seed give the same bits.
        minutes: Most time to take, shared among the blocks; how many steps that is depends on the machine. None for no
            limit.
        rate: Greatest learning rate of the weights, in steps of their grids.
        seed: Of the order of batches.
    """

    steps: int = 400
    minutes: float | None = None
    rate: float = 1e-2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"steps is {self.steps}, wanted at least 1")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise UsageError(f"minutes is {self.minutes}, wanted a positive number")
        if not 0 < self.rate < math.inf:
            raise UsageError(f"rate is {self.rate}, wanted a positive number")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The integers of a block's layers by name, and its relative error before and after."""

    solutions: Mapping[str, Solution]
    before: float
    after: float


class Work:
    """Goes through the blocks with the values of the float model and of the integers so far, batch by batch."""

    def __init__(self, made: Draft, settings: Reconstruction) -> None:
        self._made, self._settings = made, settings
        self._prepared = Prepared(made, keep_grids=True)
        self._fakes = {layer.name: layer for layer in self._prepared.layers}
        self._generator = torch.Generator().manual_seed(settings.seed)
        self._float = _batches(made, settings.seed)
        self._past = [dict(batch) for batch in self._float]
        self.start = time.monotonic()

    def rebuild(self, block: Block, left: int) -> Outcome:
        """Return the integers of a block's layers, and its errors before and after, and go on to the next.

        Args:
            block: The block that comes next.
            left: How many there are from here on.
        """
        graph = block.graph(self._made.plan.graph)
        fetch = tuple(dict.fromkeys([*block.makes, *(name for name in block.carries if name in graph.producers)]))
        reference = Differentiable(graph, trainable=(), fetch=fetch)
        with torch.no_grad():
            real = [reference(_of(batch, block.reads)) for batch in self._float]
        targets = [{n: v for n in block.makes if (v := each[n]).is_floating_point()} for each in real]
        bench = _Bench(block, self._prepared.part(graph, fetch), [self._latent(step) for step in block.layers], targets)
        before = after = bench.error(self._past)
        if before > 0:
            after = self._learn(bench, before, self._seconds(left))
        with torch.no_grad():
            coded = [bench.compute(batch, rounded=True) for batch in self._past]
        self._float = [_of({**old, **new}, block.carries) for old, new in zip(self._float, real, strict=True)]
        self._past = [_of({**old, **new}, block.carries) for old, new in zip(self._past, coded, strict=True)]
        solutions = {each.name: each.solution for each in bench.layers}
        return Outcome(solutions=solutions, before=before, after=after)

    def _latent(self, step: Step) -> Latent:
        problem = layer_of(self._made.plan, self._made.encodings, step)
        solution = self._made.emission.solutions[step.layer]
        return Latent(self._fakes[step.layer], problem, solution, self._prepared.input_step(step.layer))

    def _learn(self, bench: _Bench, before: float, seconds: float) -> float:
        """Adam with a rate that falls to zero by half a cosine; returns the least error that was seen."""
        optimizer = torch.optim.Adam(bench.groups(self._settings.rate))
        order: list[int] = []
        best, looks, start = before, list(LOOKS), time.monotonic()
        for step in range(self._settings.steps):
            share = max(step / self._settings.steps, (time.monotonic() - start) / seconds)
            if share >= 1.0:
                break
            if share >= looks[0]:
                best = bench.settle(self._past, best)
                looks = [look for look in looks if look > share]
            order = order or torch.randperm(len(self._past), generator=self._generator).tolist()
            at = order.pop()
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * 0.5 * (1.0 + math.cos(math.pi * share))
            loss = bench.loss(self._past[at], at) / before
            if not loss.requires_grad:  # nothing reads what the layers make
                return before
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        return bench.settle(self._past, best)

    def _seconds(self, left: int) -> float:
        """How long the next block may take."""
        if self._settings.minutes is None:
            return math.inf
        return max(LEAST_SECONDS, 60.0 * self._settings.minutes - (time.monotonic() - self.start)) / left


class _Bench:
    """A block under work.

    Args:
        block: The block.
        net: Its nodes in fake quantization.
        layers: Its layers.
        targets: What the float model makes there, for each batch.
    """

    def __init__(self, block: Block, net: Differentiable, layers: Sequence[Latent], targets: Sequence[Values]) -> None:
        self.net, self.layers = net, layers
        self._reads, self._targets = block.reads, targets
        self._power = {name: _mean_square([each[name] for each in targets]) for name in targets[0]}
        self._now: Values = {}
        for name in (name for layer in layers for name in layer.held()):
            net.on_constant[name] = partial(self._current, name)

    def compute(self, values: Mapping[str, Tensor], *, rounded: bool) -> Values:
        """The values that the block makes of those before it, by its integers or by the weights behind them."""
        for layer in self.layers:
            self._now.update(layer.held() if rounded else layer.now())
        found: Values = self.net(_of(values, self._reads))
        return found

    def loss(self, values: Mapping[str, Tensor], at: int) -> Tensor:
        """The mean squared error of the outputs for batch `at`, over the mean square of the float model's outputs."""
        found = self.compute(values, rounded=False)
        wanted = self._targets[at].items()
        return torch.stack([(found[name] - real).square().mean() / self._power[name] for name, real in wanted]).mean()

    def error(self, batches: Sequence[Values]) -> float:
        """The same over all batches, for the integers."""
        total = dict.fromkeys(self._power, 0.0)
        sizes = dict.fromkeys(self._power, 0)
        with torch.no_grad():
            for real, values in zip(self._targets, batches, strict=True):
                found = self.compute(values, rounded=True)
                for name, value in real.items():
                    total[name] += float((found[name] - value).square().sum())
                    sizes[name] += value.numel()
        relative = [total[name] / max(1, sizes[name]) / self._power[name] for name in self._power]
        return sum(relative) / max(1, len(relative))

    def settle(self, batches: Sequence[Values], least: float) -> float:
        """Round; keep these integers where their error is below `least`. Returns the least error now."""
        for layer in self.layers:
            layer.settle()
        error = self.error(batches)
        better = error < least
        for layer in self.layers:
            layer.decide(better=better)
        return error if better else least

    def groups(self, rate: float) -> list[dict[str, Any]]:
        """The parameters with their greatest rates, as optimizers take them."""
        weights = [layer.steps for layer in self.layers]
        biases = [layer.shift for layer in self.layers if layer.shift is not None]
        return [{"params": weights, "peak": rate}, {"params": biases, "peak": BIAS_RATE}]

    def _current(self, name: str, value: Tensor) -> Tensor:
        return self._now[name]


def _mean_square(values: Sequence[Tensor]) -> float:
    total = sum(float(value.double().square().sum()) for value in values)
    return max(float(total / sum(value.numel() for value in values)), LEAST_POWER)


def _of(values: Mapping[str, Tensor], names: Sequence[str]) -> Values:
    return {name: values[name] for name in names}


def _batches(made: Draft, seed: int) -> list[Values]:
    """Calibration data in batches of mixed rows, where the model takes any number of rows; else as they are."""
    ports = made.plan.graph.inputs
    generator = np.random.default_rng(seed)
    found: list[Values] = []
    for piece in made.data:
        rows = row_count(piece)
        order = generator.permutation(rows)
        parts = [order[start : start + BATCH] for start in range(0, rows, BATCH)] if is_batched(ports) else [None]
        found += [{n: _tensor(v if part is None else v[part]) for n, v in piece.items()} for part in parts]
    examples = sum(row_count(piece) for piece in made.data)
    return found[:: max(1, -(-examples // MOST_EXAMPLES))]


def _tensor(values: Array) -> Tensor:
    """A copy; images with their channels last, in which convolutions are quicker."""
    found = torch.from_numpy(np.array(values))
    return found.contiguous(memory_format=torch.channels_last) if found.ndim == 4 else found
