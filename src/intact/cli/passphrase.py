"""Passphrases: from the terminal or the environment, never from the command line."""

from __future__ import annotations

import os

import typer

from intact.errors import UsageError

VARIABLE = "INTACT_PASSPHRASE"
NEW_VARIABLE = "INTACT_NEW_PASSPHRASE"
"""Where one passphrase opens and another is set."""


def ask_passphrase(*, confirm: bool = False, variable: str = VARIABLE, prompt: str = "passphrase") -> str:
    """Return the passphrase in an environment variable, or ask for one on the terminal without showing it.

    Raises:
        UsageError: It is empty.
    """
    found = os.environ.get(variable)
    if found is None:
        found = str(typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True))
    if not found:
        raise UsageError("the passphrase is empty", hint=f"set {variable} or type one")
    return found


def ask_new_passphrase() -> str:
    """Return a passphrase to set beside one that opens, from INTACT_NEW_PASSPHRASE or the terminal.

    Raises:
        UsageError: It is empty.
    """
    return ask_passphrase(confirm=True, variable=NEW_VARIABLE, prompt="new passphrase")
