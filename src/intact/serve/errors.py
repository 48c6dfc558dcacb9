"""What can go wrong while serving, each with the status that a client is told.

IntactError
├── StateUnavailable  (exit 2, 503)  the database or Redis cannot be reached or written: nothing is answered
├── Busy              (exit 2, 503)  more is waiting than the server keeps; come back
└── AccessError       (exit 4)
    ├── CredentialRefused (401)      no key or token, or one that is not good
    ├── GrantRefused  (403 or 429)   no grant for this, or none any more; its `reason` says which
    └── TooFast       (429)          more at a time than the grant allows
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from intact.errors import AccessError, IntactError

RETRY_AFTER_S: Final = 1


class Reason(StrEnum):
    """Why a request is not counted, and so not answered."""

    NO_GRANT = "no grant"
    REVOKED = "grant revoked"
    EARLY = "grant not valid yet"
    EXPIRED = "grant expired"
    USED_UP = "grant used up"
    CREDENTIAL = "credential revoked or expired"

    @property
    def status(self) -> int:
        """The HTTP status that a client is told."""
        return {Reason.USED_UP: 429, Reason.CREDENTIAL: 401}.get(self, 403)


class StateUnavailable(IntactError):  # noqa: N818 - named by what is the matter
    """The database, or Redis, cannot be reached or written. Nothing was answered; come back later."""

    exit_code = 2
    status = 503


class Busy(IntactError):  # noqa: N818
    """More is waiting than the server keeps.

    Args:
        retry_after_s: When to come back.
    """

    exit_code = 2
    status = 503

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: int = RETRY_AFTER_S) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class CredentialRefused(AccessError):  # noqa: N818
    """No key or token was given, or one that is not good. Which of these is not told."""

    status = 401


class GrantRefused(AccessError):  # noqa: N818
    """There is no grant for this request, or none any more."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"not granted: {reason.value}")
        self.reason = reason
        self.status = reason.status


class TooFast(AccessError):  # noqa: N818
    """More requests at a time than the grant allows.

    Args:
        retry_after_s: When one will be allowed again, in whole seconds, at least 1.
    """

    status = 429

    def __init__(self, message: str, *, retry_after_s: int = RETRY_AFTER_S) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
