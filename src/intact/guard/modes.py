"""What is done about what a check finds: off, flag or refuse, by check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from intact.errors import UsageError
from intact.guard.checks import checks
from intact.guard.finding import Mode

MODES: Final = ("off", "flag", "refuse")


def default_modes() -> dict[str, Mode]:
    """Return the mode of every check unless another is asked for."""
    return {name: check.mode for name, check in checks().items()}


def settle(modes: Mapping[str, Any] | None) -> dict[str, Mode]:
    """Return the mode of every check, those given in place of the defaults.

    Raises:
        UsageError: A check or a mode is unknown.
    """
    found = default_modes()
    for name, mode in (modes or {}).items():
        if name not in found:
            raise UsageError(f"no check is called {name!a:.40}", hint=f"choose from {', '.join(found)}")
        if mode not in MODES:
            raise UsageError(f"mode of check '{name}' is {mode!a:.40}", hint=f"choose from {', '.join(MODES)}")
        found[name] = cast("Mode", mode)
    return found


def read_modes(texts: Iterable[str]) -> dict[str, Mode]:
    """Return the modes that texts such as "range=refuse" ask for, by check.

    Raises:
        UsageError: A text is none such, names an unknown check or mode, or names a check again.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, sign, mode = text.partition("=")
        if not sign or name in found:
            raise UsageError(f"{text!a:.80} is no mode of a check, or a second one", hint="write CHECK=off|flag|refuse")
        found[name] = mode
    settle(found)
    return cast("dict[str, Mode]", found)
