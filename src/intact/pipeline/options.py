"""How a build behaves, and how it tells its progress."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from intact.errors import UsageError

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""


def silent(stage: str, done: int, total: int) -> None:
    """Show no progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a build behaves; what the model becomes is the recipe's matter.

    Args:
        max_drop: Most that the metric may fall, in the units of `evaluate`.
        threads: Threads of the engine; None lets it choose.
        engines: Engines to consider, by name; None for all that are installed.
        measure_costs: Whether to measure what each layer costs even if the check passes.
        guard: Whether to learn what the model accepts and gives.
        progress: Called with (stage, done, total).
    """

    max_drop: float = 0.005
    threads: int | None = None
    engines: tuple[str, ...] | None = None
    measure_costs: bool = False
    guard: bool = True
    progress: Progress = field(default=silent)

    def __post_init__(self) -> None:
        if not 0 <= self.max_drop < math.inf:
            raise UsageError(f"max_drop is {self.max_drop}, wanted a number >= 0")
