"""Does a subject probe the model? Whether its queries drift away from how natural ones lie among each other.

Natural queries lie at distances from each other that are about normally distributed. Queries made by a rule, to copy a
model or to walk along its boundary, lie at few and regular distances. So the distance of each query to the nearest
earlier one of the same label is kept, and the alarm goes off where these distances look little normal (Shapiro and
Wilk's W). This is hygiene and no guarantee. Known ways around it:

- many subjects, each with few queries: nothing is compared across subjects;
- natural queries only, from a public set: nothing is strange about them, and they copy a model well enough;
- padding: dummy queries between the probing ones, drawn so that the distances look normal (the paper's own section 7);
- fewer than `LEAST` queries, or slower than the memory: only the last `WINDOW` distances and `KEPT` queries are known.

A natural caller may set it off too: one that asks the same thing again and again, or steps through a grid.

Source: Juuti, Szyller, Marchal, Asokan 2019, PRADA, arXiv:1805.02628, section 5.2 and algorithm 3.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact.errors import UsageError
from intact.guard.check import Array
from intact.guard.normality import shapiro_wilk

LEAST: Final = 100
"""Distances without which nothing is said."""
WINDOW: Final = 256
"""Distances that are remembered of a subject."""
KEPT: Final = 512
"""Queries that are remembered of a subject."""
EVERY: Final = 16
"""Queries from one look at the distances to the next."""
SUBJECTS: Final = 1024
"""Subjects that are remembered; who was silent longest is forgotten first."""
DELTA: Final = 0.90
"""The alarm goes off where W is below."""
OUTLIERS: Final = 3.0
"""Distances so many deviations from their mean are left out, as in the paper."""
LABELS: Final = 1024
"""Labels told apart, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What is known of a subject's queries.

    Args:
        queries: How many were seen since it was first remembered.
        statistic: W of their distances; None while these are too few.
        alarm: Whether it is below the threshold.
    """

    queries: int
    statistic: float | None
    alarm: bool


class Probing:
    """Watches the queries of every subject. Safe to use from several threads; its memory is bounded.

    Args:
        delta: The alarm goes off where W is below; 0 to 1.
        subjects: Subjects that are remembered.

    Raises:
        UsageError: One of them is out of range.
    """

    def __init__(self, *, delta: float = DELTA, subjects: int = SUBJECTS) -> None:
        if not 0 <= delta <= 1 or subjects < 1:
            raise UsageError(f"delta is {delta}, subjects {subjects}", hint="give 0 <= delta <= 1 and subjects >= 1")
        self.delta = delta
        self.subjects = subjects
        self._known: OrderedDict[str, _Queries] = OrderedDict()
        self._lock = Lock()

    def observe(self, subject: str, embedding: Array, labels: Array | None = None) -> Drift:
        """Take note of queries, and say what is known of their subject now.

        Args:
            subject: Who asks.
            embedding: (rows, features), as `Guard.embedding` gives it.
            labels: The predicted label of each row; all count as one where it is None.
        """
        with self._lock:
            queries = self._known.pop(subject, None) or _Queries(embedding.shape[1])
            self._known[subject] = queries
            while len(self._known) > self.subjects:
                self._known.popitem(last=False)
            for row, label in zip(embedding, np.zeros(len(embedding)) if labels is None else labels, strict=True):
                queries.add(row, int(label))
            statistic = queries.statistic
            return Drift(
                queries=queries.count, statistic=statistic, alarm=statistic is not None and statistic < self.delta
            )

    def forget(self, subject: str) -> None:
        """Forget all queries of a subject."""
        with self._lock:
            self._known.pop(subject, None)


class _Queries:
    """What is remembered of one subject."""

    def __init__(self, width: int) -> None:
        self.count = 0
        self.statistic: float | None = None
        self._kept = np.zeros((KEPT, width), np.float32)
        self._labels = np.full(KEPT, -1, np.int64)
        self._next = 0
        self._distances: deque[float] = deque(maxlen=WINDOW)
        self._grown: OrderedDict[int, _Grown] = OrderedDict()

    def add(self, row: NDArray[np.float32], label: int) -> None:
        """Note a query: its distance to the nearest kept one of its label, and itself where that is not too near."""
        self.count += 1
        if row.shape != self._kept.shape[1:] or not np.isfinite(row).all():
            return
        grown = self._grown.setdefault(label, _Grown())
        while len(self._grown) > LABELS:
            self._grown.popitem(last=False)
        others = self._kept[self._labels == label]
        if len(others):
            distance = float(np.sqrt(np.square(others - row).sum(axis=1).min()))
            self._distances.append(distance)
            if distance <= grown.radius:
                self._look()
                return
            grown.note(distance)
        self._kept[self._next], self._labels[self._next] = row, label
        self._next = (self._next + 1) % KEPT
        self._look()

    def _look(self) -> None:
        if len(self._distances) < LEAST or (self.count % EVERY and self.statistic is not None):
            return
        found = np.asarray(self._distances)
        inside = np.abs(found - found.mean()) <= OUTLIERS * found.std()
        self.statistic = shapiro_wilk(found[inside]) if found.std() > 0 else 0.0


class _Grown:
    """The radius of one label: queries nearer to another one are not kept beside it.

    It is mean less deviation of the distances of what was kept, and never shrinks (algorithm 3 of the paper).
    """

    def __init__(self) -> None:
        self.radius = 0.0
        self._count, self._mean, self._squares = 0, 0.0, 0.0

    def note(self, distance: float) -> None:
        """Take the distance of a query that is kept into account."""
        self._count += 1
        step = distance - self._mean
        self._mean += step / self._count
        self._squares += step * (distance - self._mean)
        self.radius = max(self.radius, self._mean - float(np.sqrt(self._squares / self._count)))
