"""What a caller is told when it gets no answer. Every error that reaches one has an HTTP status, and so a gRPC one."""

from __future__ import annotations

from typing import Final

from intact.engine import EngineError
from intact.errors import DataError, IntactError

GRPC_CODES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    411: "INVALID_ARGUMENT",
    413: "RESOURCE_EXHAUSTED",
    415: "UNIMPLEMENTED",
    422: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    431: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}
"""Name of the gRPC status that says what an HTTP status says."""

RETRY_AFTER_S: Final = 1


class Refused(IntactError):  # noqa: N818 - an answer, not an error of ours
    """A request that gets no answer.

    Args:
        status: HTTP status.
        message: What was found and what was wanted; no payload, no secret.
        hint: One next action, or None.
        retry_after_s: When to come back; None where coming back does not help.
    """

    exit_code = 4

    def __init__(self, status: int, message: str, *, hint: str | None = None, retry_after_s: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after_s = retry_after_s


def bad_request(message: str, *, hint: str | None = None) -> Refused:
    """Return the refusal of a request that is not what the protocol or the model wants."""
    return Refused(400, message, hint=hint)


def as_refused(error: IntactError) -> Refused:
    """Return what the caller of a request that ended with `error` is told.

    What is wrong with the input is told; what is wrong with the server is not, beyond that it is.
    """
    if isinstance(error, Refused):
        return error
    if isinstance(error, DataError):
        return Refused(400, error.message, hint=error.hint)
    if isinstance(error, EngineError):
        return Refused(400, "the model cannot compute this input", hint="see the model's metadata for what it takes")
    status = getattr(error, "status", None)
    if status is None:
        return Refused(503, "the server cannot answer now", retry_after_s=RETRY_AFTER_S)
    wait = getattr(error, "retry_after_s", RETRY_AFTER_S if status in (429, 503) else None)
    if status == 503 and not hasattr(error, "retry_after_s"):
        return Refused(503, "the server cannot record answers now", retry_after_s=wait)
    return Refused(status, error.message, hint=error.hint, retry_after_s=wait)
