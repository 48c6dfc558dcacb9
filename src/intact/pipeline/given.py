"""What callers may give in several ways: one key or a list of them, and where revisions are remembered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from intact import seal
from intact.errors import UsageError


def identities(given: Any) -> tuple[seal.Identity, ...]:
    """Return the identities that a caller gives: one, a list, or None for none.

    Raises:
        UsageError: It is something else.
    """
    return _several(given, seal.Identity, "an identity", "load it with intact.load_identity(path), or give a list")


def signers(given: Any) -> seal.Trust | tuple[seal.Leaf, ...]:
    """Return whose signatures a caller accepts: a condition, a key or authority, a list of these, or None for nobody.

    Raises:
        UsageError: It is something else.
    """
    if isinstance(given, seal.Trust):
        return given
    hint = "load it with intact.load_verifying_key(path), or give a list"
    return _several(given, (seal.VerifyingKey, seal.Authority), "a public key or authority", hint)


def store(revisions: Path | str | bool) -> seal.Revisions | None:
    """Return where revisions are remembered: the user's own folder for True, nowhere for False.

    Raises:
        UsageError: The user has no home.
    """
    if revisions is False:
        return None
    return seal.Revisions(folder=seal.default_revisions() if revisions is True else Path(revisions))


def _several(given: Any, kinds: type | tuple[type, ...], wanted: str, hint: str) -> tuple[Any, ...]:
    """Return what is given as a tuple, all of it of one of `kinds`."""
    if given is None:
        return ()
    found = tuple(given) if isinstance(given, list | tuple) else (given,)
    for each in found:
        if not isinstance(each, kinds):
            raise UsageError(f"a {type(each).__name__} was given, wanted {wanted}", hint=hint)
    return found
