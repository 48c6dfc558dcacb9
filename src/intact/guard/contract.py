"""What was learned of a model's inputs and outputs, as a value: sealed and signed with the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from intact.errors import IntegrityError
from intact.guard.arrays import number, refusal
from intact.guard.check import Check
from intact.guard.checks import checks
from intact.guard.rows import Takes
from intact.wire import from_json, to_json

VERSION: Final = 1
FIELD: Final = "guard"
"""Key of the contract in the header's metadata."""
INPUTS_LIMIT: Final = 1024
AXES_LIMIT: Final = 32
ROWS_LIMIT: Final = 1 << 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """A value inside the integer graph that checks look at.

    Args:
        tensor: Its name.
        dtype: numpy name of its element type.
        zero: The code of zero.
    """

    tensor: str
    dtype: str
    zero: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What one check learned.

    Args:
        threshold: Scores above it are strange.
        fpr: How probable it is, at most, that a row like those learned from scores above it; None where a check needs
            no rows to know.
        params: The check's own.
    """

    threshold: float
    fpr: float | None
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What a model accepts and gives.

    Args:
        version: Of this form.
        rows: Rows of calibration data it was learned from; 0 where they were too few to learn anything.
        fpr: The false-positive rate that was asked of each check.
        inputs: What the model takes.
        scores: The output that holds scores of labels; None where there is none.
        chances: Whether these scores are probabilities.
        tap: The layer that `mahalanobis` looks at; None for the output.
        checks: What each check learned, by name.
    """

    version: int = VERSION
    rows: int
    fpr: float
    inputs: tuple[Takes, ...]
    scores: str | None
    chances: bool
    tap: Tap | None
    checks: Mapping[str, Learned] = field(repr=False)

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise IntegrityError(
                f"the guard's contract is of version {self.version}, not {VERSION}",
                hint="open the model with the version of intact that built it",
            )
        number(self.rows, "rows", least=0, most=ROWS_LIMIT)
        number(self.fpr, "fpr", least=0, most=1)
        _check_inputs(self.inputs)
        if self.tap is not None and self.tap.dtype not in ("uint8", "int8"):
            raise refusal(f"a tap of type {self.tap.dtype!a:.40}")
        number(0 if self.tap is None else self.tap.zero, "zero", least=-128, most=255)
        for name, learned in self.checks.items():
            number(learned.threshold, "threshold")
            number(0 if learned.fpr is None else learned.fpr, "fpr", least=0, most=1)
            known(name).bind(learned.params)

    def to_json(self) -> dict[str, Any]:
        """Return the contract as plain JSON types."""
        found: dict[str, Any] = to_json(self)
        return found

    @classmethod
    def from_json(cls, record: Any) -> Contract:
        """Read what `to_json` wrote.

        Raises:
            IntegrityError: Anything is missing, unknown, of another type or out of range.
        """
        return from_json(cls, record, where=FIELD)


def known(name: str) -> Check:
    """Return the check of this name.

    Raises:
        IntegrityError: This version has none.
    """
    found = checks().get(name)
    if found is None:
        raise IntegrityError(
            f"the guard's contract has a check {name!a:.40}, which this version does not know",
            hint="open the model with the version of intact that built it",
        )
    return found


def plain(inputs: Sequence[Takes], *, fpr: float = 0.01) -> Contract:
    """Return the contract of a model of which nothing was learned: shapes, and finite values."""
    fixed = {name: check.limit for name, check in checks().items() if check.limit is not None}
    return Contract(
        rows=0,
        fpr=fpr,
        inputs=tuple(inputs),
        scores=None,
        chances=False,
        tap=None,
        checks={name: Learned(threshold=limit, fpr=None, params={}) for name, limit in fixed.items()},
    )


def _check_inputs(inputs: Sequence[Takes]) -> None:
    if not 0 < len(inputs) <= INPUTS_LIMIT:
        raise refusal(f"{len(inputs)} inputs")
    for each in inputs:
        if len(each.shape) > AXES_LIMIT or not all(
            isinstance(size, str) or (type(size) is int and size >= 0) for size in each.shape
        ):
            raise refusal(f"input {each.name!a:.40} of shape {list(each.shape)!a:.80}")
        try:
            np.dtype(each.dtype)
        except TypeError:
            raise refusal(f"input {each.name!a:.40} of type {each.dtype!a:.40}") from None
