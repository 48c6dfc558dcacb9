"""Say which channels go, so that the products that read them lose least for the multiply-adds saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from intact.compress.channels.readers import Reader
from intact.compress.channels.wiring import Wiring
from intact.compress.channels.work import Work
from intact.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which units go.

    Args:
        gone: Their numbers.
        readers: The products by their output, without them.
    """

    gone: frozenset[int]
    readers: Mapping[str, Reader]


@dataclass(frozen=True, kw_only=True)
class _Offer:
    """What it would cost to take one more step in a group."""

    loss: float
    units: tuple[int, ...]
    readers: Mapping[str, Reader]


class Search:
    """Takes the cheapest step again and again.

    Args:
        wiring: The graph's channels.
        readers: The products by their output.
        touchable: Groups that may lose units, by number.
        multiple: What the number of units left in a group is rounded to; no group goes below it.
    """

    def __init__(
        self, wiring: Wiring, readers: Mapping[str, Reader], touchable: tuple[int, ...], multiple: int
    ) -> None:
        self._wiring, self._multiple, self._touchable = wiring, multiple, touchable
        self._work = Work(wiring)
        self._readers = dict(readers)
        self._left = [list(group.units) for group in wiring.groups]
        self._reads = {
            number: tuple(
                name for name, reader in readers.items() if set(wiring.groups[number].units) & set(reader.columns)
            )
            for number in touchable
        }
        self._offers: dict[int, _Offer] = {}

    def down_to(self, most: int, progress: Callable[[int, int], None]) -> Choice:
        """Let units go until at most `most` multiply-adds are left.

        Raises:
            UsageError: Even the smallest allowed widths take more.
        """
        before = self._work(self._counts())
        while (now := self._work(self._counts())) > most:
            progress(before - now, before - most)
            self._take(self._best(most, before))
        progress(1, 1)
        units = {unit for group in self._wiring.groups for unit in group.units}
        left = {unit for group in self._left for unit in group}
        return Choice(gone=frozenset(units - left), readers=self._readers)

    def _counts(self) -> list[int]:
        return [len(units) for units in self._left]

    def _step(self, number: int) -> int:
        """How many units the next step takes from a group; 0 for no step."""
        count = len(self._left[number])
        step = count % self._multiple or self._multiple
        return step if count - step >= self._multiple else 0

    def _best(self, most: int, before: int) -> int:
        counts, now = self._counts(), self._work(self._counts())
        prices = {}
        for number in self._touchable:
            step = self._step(number)
            if step:
                saved = now - self._work([count - step * (n == number) for n, count in enumerate(counts)])
                prices[number] = self._offer(number, step).loss / max(saved, 1)
        if not prices:
            raise UsageError(
                f"no more channels may go at {now / before:.3f} of the multiply-adds, not {most / before:.3f}",
                hint=f"ask for less, or round to fewer than {self._multiple} channels",
            )
        return min(prices, key=lambda number: prices[number])

    def _take(self, number: int) -> None:
        offer = self._offers[number]
        self._left[number] = [unit for unit in self._left[number] if unit not in offer.units]
        self._readers.update(offer.readers)
        touched = set(self._reads[number])
        self._offers = {other: kept for other, kept in self._offers.items() if not touched & set(self._reads[other])}

    def _offer(self, number: int, step: int) -> _Offer:
        """The cheapest `step` units of a group, one after the other."""
        if number not in self._offers:
            readers = {name: self._readers[name] for name in self._reads[number]}
            left, units, loss = list(self._left[number]), [], 0.0
            for _ in range(step):
                losses = np.sum([reader.losses(left) for reader in readers.values()], axis=0)
                place = int(np.argmin(losses))
                loss += float(losses[place])
                units.append(left.pop(place))
                readers = {name: reader.without(units[-1]) for name, reader in readers.items()}
            self._offers[number] = _Offer(loss=loss, units=tuple(units), readers=readers)
        return self._offers[number]
