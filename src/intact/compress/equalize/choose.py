"""Choose the factors of each group of channels that meet in some tensor: those with the least noise in the outputs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.equalize.cost import GRID, TINY, Codes, Table, Weights, by_channel, weight_errors, weight_steps
from intact.compress.equalize.trace import Index, settle

Array = NDArray[Any]

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Powers of the factors that are best for the codes of tensors."""
COUNTERS = (0.0, 0.25, 0.5)
"""Powers of the size of the weights that read a channel."""
BOUND = 5.0
"""Factors of a group lie within 2 to plus or minus this of each other's mean."""
ROUNDS = 6
SHIFTS = np.arange(-GRID // 2, GRID // 2 + 1)
"""How far a factor moves in one round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Factors that meet in some tensor.

    Args:
        labels: Their numbers.
        codes: Where tensors that have them are rounded.
        weights: Products that read or make these.
    """

    labels: Index
    codes: tuple[Codes, ...]
    weights: tuple[Weights, ...]


def groups(labels: Mapping[str, Index], codes: Sequence[Codes], weights: Sequence[Weights]) -> list[Group]:
    """Part the labels, 0 aside, into groups that never meet in a tensor of codes."""
    touched = [name for each in weights for name in (each.tensor, each.output)]
    read = tuple(dict.fromkeys([*(each.tensor for each in codes), *touched]))
    least = np.arange(1 + max((int(each.max()) for each in labels.values()), default=0))
    free = {name: labels[name][labels[name] > 0] for name in read}
    pairs = [(each, np.full_like(each, each[0])) for each in free.values() if len(each)]
    while settle(least, pairs):
        pass
    found = []
    for number in np.unique([least[each[0]] for each, _ in pairs]):
        inside = {name for name in read if len(free[name]) and least[free[name][0]] == number}
        found.append(
            Group(
                labels=np.flatnonzero(least == number),
                codes=tuple(each for each in codes if each.tensor in inside),
                weights=tuple(each for each in weights if {each.tensor, each.output} & inside),
            )
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Search:
    """Looks for the factors of one group after the other. Factors are 2^(whole / GRID), told by the wholes.

    Args:
        labels: Of every tensor.
        tables: Errors of every tensor of codes by its name and number of levels.
        power_of_two: Whether scales are powers of two.
        channels: Whether channels may differ.
    """

    labels: Mapping[str, Index]
    tables: Mapping[tuple[str, int], Table]
    power_of_two: bool
    channels: bool

    def better(self, group: Group, before: Index) -> Index:
        """The wholes with those of `group` chosen anew, if that makes less noise."""
        start = before.copy()
        start[group.labels] = 0
        directions = [start, *(self._directions(group, start) if self.channels else ())]
        best = min(directions, key=lambda wholes: self.noise(group, wholes))
        tried = [before]
        for shift in range(GRID if self.power_of_two else 1):
            wholes = best.copy()
            wholes[group.labels] += shift
            tried.append(wholes)
        best = min(tried, key=lambda wholes: self.noise(group, wholes))
        return self._polished(group, best) if self.channels else best

    def _polished(self, group: Group, best: Index) -> Index:
        """Move every factor by itself, the steps of tensors and rows held, as long as that makes less noise."""
        least = self.noise(group, best)
        for _ in range(ROUNDS):
            costs = self._costs(group, best)
            wholes = best.copy()
            wholes[group.labels] += SHIFTS[costs.argmin(axis=1)][group.labels]
            found = self.noise(group, wholes)
            if found >= least:
                break
            best, least = wholes, found
        return best

    def _costs(self, group: Group, wholes: Index) -> Array:
        """What each label's moves by `SHIFTS` cost: shape (labels, shifts)."""
        costs = np.zeros((len(wholes), len(SHIFTS)))
        for each in group.codes:
            labels, table = self.labels[each.tensor], self.tables[each.tensor, each.levels]
            steps = wholes[labels] + self._step(each, wholes) - table.first
            for place, shift in enumerate(SHIFTS):
                np.add.at(costs[:, place], labels, _worth(each, table.at(steps + shift)))
        for product in group.weights:
            labels, made = self.labels[product.tensor], self.labels[product.output][self._kept(product)]
            steps = self._weight_steps(product, wholes)
            for place, shift in enumerate(SHIFTS):
                read = np.exp2((wholes[labels] + shift) / GRID)
                errors = weight_errors(product, read, steps)
                np.add.at(costs[:, place], labels, by_channel(product, errors, len(labels)))
                if self.power_of_two and product.bits == 8 and len(made) == len(product.worth):
                    same = np.exp2(wholes[labels] / GRID)
                    moved = steps * 2.0 ** (shift / GRID)
                    fits = np.minimum(
                        *(weight_errors(product, same, moved * share).sum(axis=1) for share in (1.0, 0.5))
                    )
                    np.add.at(costs[:, place], made, fits)
        costs[0] = 0.0
        return costs

    def _kept(self, product: Weights) -> Index:
        size = len(self.labels[product.output])
        return product.kept if size > 1 else np.zeros(len(product.kept), np.int64)

    def _weight_steps(self, product: Weights, wholes: Index) -> Array:
        read = np.exp2(wholes[self.labels[product.tensor]] / GRID)
        made = np.exp2(wholes[self.labels[product.output][self._kept(product)]] / GRID)
        return weight_steps(product, read, made, power_of_two=self.power_of_two)

    def noise(self, group: Group, wholes: Index) -> float:
        """What the rounding of tensors and weights of a group is worth in noise over signal of the outputs."""
        total = sum(self._codes(each, wholes, self._step(each, wholes)) for each in group.codes)
        for product in group.weights:
            read = np.exp2(wholes[self.labels[product.tensor]] / GRID)
            errors = weight_errors(product, read, self._weight_steps(product, wholes))
            total += float(errors.sum())
        return total

    def _codes(self, each: Codes, wholes: Index, step: int) -> float:
        table = self.tables[each.tensor, each.levels]
        return float(_worth(each, table.at(wholes[self.labels[each.tensor]] + step - table.first)).sum())

    def _step(self, each: Codes, wholes: Index) -> int:
        """The tensor's own step that has the least mean squared error in its own units: what the observer will take."""
        table, own = self.tables[each.tensor, each.levels], wholes[self.labels[each.tensor]]
        units = np.exp2(-2.0 * own / GRID)
        every = GRID if self.power_of_two else 1
        first = -(-(table.first - int(own.max())) // every) * every
        steps = range(first, table.first + table.rounding.shape[1] - int(own.min()), every)
        return min(steps, key=lambda step: float((sum(table.at(own + step - table.first)) * units).sum()))

    def _directions(self, group: Group, start: Index) -> list[Index]:
        common, counter = self._ideal(group, len(start)), self._columns(group, len(start))
        found = []
        for strength, power in itertools.product(STRENGTHS, COUNTERS):
            if strength or power:
                found.append(start + self._bounded(group, strength * common - power * counter * GRID))
        return found

    def _bounded(self, group: Group, wholes: Array) -> Index:
        names = {each.tensor for each in group.codes}
        pinned = any((self.labels[name] == 0).any() for name in names)
        own = wholes[group.labels]
        middle = 0.0 if pinned else float(own.mean())
        bounded = np.zeros(len(wholes), np.int64)
        bounded[group.labels] = np.rint(np.clip(own - middle, -BOUND * GRID, BOUND * GRID))
        return bounded

    def _ideal(self, group: Group, count: int) -> Array:
        """The factors that are best for codes alone: each label's in turn with the steps, and again."""
        wholes = np.zeros(count, np.int64)
        shifts = np.arange(-12 * GRID, 12 * GRID + 1)
        for _ in range(ROUNDS):
            costs = np.zeros((count, len(shifts)))
            for each in group.codes:
                labels, table = self.labels[each.tensor], self.tables[each.tensor, each.levels]
                step = self._weighted_step(each, wholes)
                inside = np.clip(shifts[None, :] + step - table.first, 0, table.rounding.shape[1] - 1)
                np.add.at(costs, labels, table.rounding[:, inside[0]] * each.worth[:, None])
                np.add.at(costs, labels, table.clipping[:, inside[0]] * each.clipped[:, None])
            dead = costs.max(axis=1) <= 0
            wholes = shifts[costs.argmin(axis=1)]
            alive = group.labels[~dead[group.labels]]
            wholes[dead] = wholes[alive].max() if len(alive) else 0
            wholes[0] = 0
        return wholes.astype(np.float64)

    def _weighted_step(self, each: Codes, wholes: Index) -> int:
        table, own = self.tables[each.tensor, each.levels], wholes[self.labels[each.tensor]]
        steps = range(table.first - int(own.max()), table.first + table.rounding.shape[1] - int(own.min()))
        return min(steps, key=lambda step: self._codes(each, wholes, step))

    def _columns(self, group: Group, count: int) -> Array:
        """Log2 of the size of the weights that read each label's channels."""
        total, times = np.zeros(count), np.zeros(count)
        for product in group.weights:
            labels = self.labels[product.tensor]
            if not np.isin(labels, group.labels).any():
                continue
            logs = _columns(product, len(labels))
            np.add.at(total, labels, logs)
            np.add.at(times, labels, 1.0)
        return total / np.maximum(times, 1.0)


def _columns(product: Weights, channels: int) -> Array:
    """Log2 of the mean size of the weights that read each channel, rows at one size; zero for a whole tensor."""
    weight = np.abs(product.weight.T if product.node.op == "MatMul" else product.weight)
    group = int(product.node.attributes.get("group", 1))
    taps = weight.reshape(*weight.shape[:2], -1).max(axis=2)
    rows = taps / np.maximum(taps.max(axis=1, keepdims=True), TINY)
    parts = rows.reshape(group, len(rows) // group, rows.shape[1])
    sizes = np.sqrt(np.mean(np.square(parts), axis=1)).reshape(-1)
    return np.log2(np.maximum(sizes, 2.0**-BOUND)) if len(sizes) == channels else np.zeros(channels)


def _worth(each: Codes, errors: tuple[Array, Array]) -> Array:
    return np.asarray(errors[0] * each.worth + errors[1] * each.clipped)
