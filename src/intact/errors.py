"""The errors of the package, divided by who must act.

IntactError
├── CheckFailed      (exit 1)  the work was done and the answer is no: over budget, does not conform
├── UsageError       (exit 2)  the caller must change an argument, a file or the environment
│   ├── ModelError   (exit 2)  the float model cannot be read or is not supported
│   └── DataError    (exit 2)  calibration or input data do not fit
├── IntegrityError   (exit 3)  bytes are not what their owner made: damaged, forged, incomplete
└── AccessError      (exit 4)  this caller may not: wrong key, stranger's signature, policy
"""

from __future__ import annotations

from typing import ClassVar


class IntactError(Exception):
    """Base of every error the package raises on purpose.

    Args:
        message: What was found, what was wanted, and where; lower case, no full stop, no secret.
        hint: One next action, or None.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class CheckFailed(IntactError):  # noqa: N818 - a failed check is an answer, not an error of ours
    """The work was done and the answer is no."""

    exit_code = 1


class UsageError(IntactError):
    """The caller must change an argument, a file or the environment."""

    exit_code = 2


class ModelError(UsageError):
    """The float model cannot be read or is not supported."""


class DataError(UsageError):
    """Calibration or input data do not fit the model."""


class IntegrityError(IntactError):
    """Bytes are not what their owner made: damaged, forged or incomplete."""

    exit_code = 3


class AccessError(IntactError):
    """This caller may not: wrong key, a stranger's signature, a policy that forbids."""

    exit_code = 4
