"""The name of a log, and of those who sign its checkpoints."""

from __future__ import annotations

from typing import Final

from intact.errors import UsageError

LIMIT: Final = 200
RESERVED: Final = ("cosignature/v1", "DSSEv1")
"""What signed messages of other kinds begin with: no name may, so that no signature serves for two things."""


def is_origin(text: str) -> bool:
    """Whether `text` can name a log: printable, without spaces and `+`, and like no other signed message."""
    form = 0 < len(text) <= LIMIT and text.isprintable() and not any(each.isspace() or each == "+" for each in text)
    return form and not text.startswith(RESERVED)


def check_origin(text: str) -> None:
    """Check that `text` can name a log.

    Raises:
        UsageError: It cannot.
    """
    if not is_origin(text):
        raise UsageError(
            f"a log cannot be named {text!a:.80}",
            hint=f"use an address without scheme, such as models.example.com/log, of up to {LIMIT} characters",
        )
