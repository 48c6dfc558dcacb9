"""The contract every check keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray

from intact.guard.finding import Mode
from intact.guard.rows import Rows

Array = NDArray[Any]
Params: TypeAlias = Mapping[str, Any]
Score: TypeAlias = Callable[[Array], Array]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """What a check learns from.

    Args:
        measured: What it measured on rows that it may learn from, (rows, width) float32.
        reference: The same on the float model; None where that was not asked.
    """

    measured: Array
    reference: Array | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A member of the family.

    What it measures on a row is small, so that learning never holds the rows themselves.

    Args:
        name: The file's name.
        place: Whether it is done before the run or after.
        mode: What it does unless told otherwise.
        measure: Gives (rows, width) float32 of a call; None where the model has not what it looks at.
        learn: Gives its parameters, as JSON; None where it finds nothing to go by.
        bind: Reads parameters, and gives the function from what is measured to a score a row: the higher, the
            stranger. Raises IntegrityError.
        limit: The threshold, where that is not learned: such a check learns nothing and needs no rows.
        passes: Says at less cost than measuring that all rows score 0; where it says no, they are measured.
        compares: Whether it wants the float model's measurements too.
        asks: Whether measuring runs the model again.
    """

    name: str
    place: Literal["input", "output"]
    mode: Mode
    measure: Callable[[Rows], Array | None]
    bind: Callable[[Params], Score]
    learn: Callable[[Evidence], Params | None] = lambda evidence: {}
    limit: float | None = None
    passes: Callable[[Rows], bool] | None = None
    compares: bool = False
    asks: bool = False
