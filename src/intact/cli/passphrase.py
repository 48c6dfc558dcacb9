"""Passphrases: from the terminal or the environment, never from the command line."""

from __future__ import annotations

import os

import typer

from intact.errors import UsageError

VARIABLE = "INTACT_PASSPHRASE"


def ask_passphrase(*, confirm: bool = False) -> str:
    """Return the passphrase in INTACT_PASSPHRASE, or ask for one on the terminal without showing it.

    Raises:
        UsageError: It is empty.
    """
    found = os.environ.get(VARIABLE)
    if found is None:
        found = str(typer.prompt("passphrase", hide_input=True, confirmation_prompt=confirm, err=True))
    if not found:
        raise UsageError("the passphrase is empty", hint=f"set {VARIABLE} or type one")
    return found
