"""Say which channels go, so that the products that read them lose least for the time saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from intact.compress.channels.readers import Reader
from intact.compress.channels.wiring import Wiring
from intact.compress.channels.work import LANES, Work
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
    """What it would cost to take one more step in a group.

    Args:
        number: The group.
        loss: What its readers' output errors grow by.
        units: That would go.
        readers: Without them.
    """

    number: int
    loss: float
    units: tuple[int, ...]
    readers: Mapping[str, Reader]


class Search:
    """Takes the step of least loss for the time saved again and again, then gives back what was not needed.

    Args:
        wiring: The graph's channels.
        readers: The products by their output.
        touchable: Groups that may lose units, by number.
        multiple: What the number of units left in a group is rounded to; a group goes below it only to vanish, where
            all of its tensors have other channels.
    """

    def __init__(
        self, wiring: Wiring, readers: Mapping[str, Reader], touchable: tuple[int, ...], multiple: int
    ) -> None:
        self._wiring, self._multiple, self._touchable = wiring, multiple, touchable
        self._work = Work(wiring)
        self._whole, self._readers = dict(readers), dict(readers)
        self._left = [list(group.units) for group in wiring.groups]
        self._reads = {number: self._readers_of(number) for number in touchable}
        self._offers: dict[int, dict[int, _Offer]] = {}

    def down_to(self, most: int, progress: Callable[[int, int], None]) -> Choice:
        """Let units go until at most `most` multiply-adds are left.

        Raises:
            UsageError: Even the smallest allowed widths take more.
        """
        before, taken = self._work(self._counts()), []
        while (now := self._work(self._counts())) > most:
            progress(before - now, before - most)
            taken.append(self._best(most, before))
            self._take(taken[-1])
        for offer in sorted(taken, key=lambda offer: -offer.loss):
            self._give_back(offer, most)
        progress(1, 1)
        return self._choice()

    def _choice(self) -> Choice:
        units = [unit for group in self._wiring.groups for unit in group.units]
        left = {unit for group in self._left for unit in group}
        gone = [unit for unit in units if unit not in left]
        readers = dict(self._whole)
        for unit in gone:
            readers = {name: reader.without(unit) for name, reader in readers.items()}
        return Choice(gone=frozenset(gone), readers=readers)

    def _readers_of(self, number: int) -> tuple[str, ...]:
        units = set(self._wiring.groups[number].units)
        return tuple(name for name, reader in self._whole.items() if units & set(reader.columns))

    def _counts(self, number: int = -1, change: int = 0) -> list[int]:
        """Units left in each group, with a change in one of them."""
        return [len(units) + change * (place == number) for place, units in enumerate(self._left)]

    def _steps(self, number: int) -> list[int]:
        """How many units a next step may take: down to a multiple, or on to where whole vectors are saved."""
        count = len(self._left[number])
        wanted = {count % size or size for size in (self._multiple, -(-LANES // self._multiple) * self._multiple)}
        least = 0 if self._may_vanish(number) else self._multiple
        return sorted(step for step in wanted if count - step >= least)

    def _may_vanish(self, number: int) -> bool:
        """Whether every tensor that a group lies in has other channels left."""
        counts = self._counts()
        counts[number] = 0
        return all(self._channels(name, counts) for name in self._wiring.groups[number].places)

    def _channels(self, name: str, counts: Sequence[int]) -> int:
        """Channels of a tensor with `counts` units left in the groups."""
        units = self._wiring.units(name)
        assert units is not None  # groups lie in known tensors
        pairs = list(zip(self._wiring.groups, counts, strict=True))
        gone = sum(group.places.get(name, 0) * (len(group.units) - count) for group, count in pairs)
        return len(units) - gone

    def _best(self, most: int, before: int) -> _Offer:
        counts = self._counts()
        now, effort = self._work(counts), self._work.effort(counts)
        prices: dict[tuple[int, int], float] = {}
        for number in self._touchable:
            for step in self._steps(number):
                saved = effort - self._work.effort(self._counts(number, -step))
                prices[number, step] = self._offer(number, step).loss / max(saved, 1e-9 * effort)
        if not prices:
            raise UsageError(
                f"no more channels may go at {now / before:.3f} of the multiply-adds, not {most / before:.3f}",
                hint=f"ask for less, or round to fewer than {self._multiple} channels",
            )
        return self._offer(*min(prices, key=lambda key: prices[key]))

    def _take(self, offer: _Offer) -> None:
        number = offer.number
        self._left[number] = [unit for unit in self._left[number] if unit not in offer.units]
        self._readers.update(offer.readers)
        touched = set(self._reads[number])
        self._offers = {other: kept for other, kept in self._offers.items() if not touched & set(self._reads[other])}

    def _give_back(self, offer: _Offer, most: int) -> None:
        """Let the units of a step stay after all where there is room for them."""
        counts = self._counts(offer.number, len(offer.units))
        full = counts[offer.number] == len(self._wiring.groups[offer.number].units)
        if self._work(counts) <= most and (full or counts[offer.number] % self._multiple == 0):
            self._left[offer.number] += offer.units

    def _offer(self, number: int, step: int) -> _Offer:
        """The cheapest `step` units of a group, one after the other, going on from a shorter step if any."""
        known = self._offers.setdefault(number, {})
        if step not in known:
            shorter = max((size for size in known if size < step), default=0)
            readers = known[shorter].readers if shorter else {name: self._readers[name] for name in self._reads[number]}
            units, loss = (list(known[shorter].units), known[shorter].loss) if shorter else ([], 0.0)
            left = [unit for unit in self._left[number] if unit not in units]
            while len(units) < step:
                losses = np.sum([reader.losses(left) for reader in readers.values()], axis=0)
                place = int(np.argmin(losses))
                loss += float(losses[place])
                units.append(left.pop(place))
                readers = {name: reader.without(units[-1]) for name, reader in readers.items()}
            known[step] = _Offer(number=number, loss=loss, units=tuple(units), readers=readers)
        return known[step]
