"""Ways to run trials: one file each, named after the file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from intact.errors import IntactError, UsageError
from intact.tuning.deadline import Deadline
from intact.tuning.material import Material
from intact.tuning.trials import Answer, Trial


@dataclass(frozen=True, kw_only=True)
class Done:
    """A finished trial: its number among those asked, and its answer or the error that it raised."""

    number: int
    answer: Answer | IntactError
    seconds: float


class Pool(Protocol):
    """Workers that hold a material."""

    workers: int

    def run(self, trials: Sequence[Trial], deadline: Deadline) -> Iterator[Done]:
        """Yield trials as they finish; those not finished at the deadline are left out.

        Raises:
            EngineError: A worker died.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """A member of the family.

    Args:
        name: The file's name.
        why_unavailable: Why it cannot be used here, or None.
        open: `open(material, workers)` gives a pool, which ends with the block, whatever still runs.
    """

    name: str
    why_unavailable: Callable[[], str | None]
    open: Callable[[Material, int], AbstractContextManager[Pool]]


@cache
def executors() -> dict[str, Executor]:
    """Return every executor in this folder, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").EXECUTOR for name in names}


def executor(name: str) -> Executor:
    """Return the executor called `name`.

    Raises:
        UsageError: There is none, or it cannot be used here.
    """
    known = executors()
    if name not in known:
        raise UsageError(f"no executor is called '{name}'", hint=f"known executors: {', '.join(known)}")
    reason = known[name].why_unavailable()
    if reason is not None:
        raise UsageError(f"executor '{name}' cannot be used: {reason}", hint=f"pip install 'intact[{name}]'")
    return known[name]
