"""A recipe as TOML, which `intact build --recipe` reads back as the same recipe."""

from __future__ import annotations

import os
from pathlib import Path

import tomli_w

from intact.compress.recipe import Recipe, from_toml
from intact.errors import UsageError


def to_toml(recipe: Recipe) -> str:
    """Write `recipe` as TOML.

    Returns:
        Text that `from_toml` reads as a recipe with the same settings for every layer.

    Raises:
        UsageError: Two overrides have one pattern, which TOML cannot say.
    """
    patterns = [override.pattern for override in recipe.overrides]
    twice = sorted({pattern for pattern in patterns if patterns.count(pattern) > 1})
    if twice:
        raise UsageError(f"the recipe has two overrides for '{twice[0]}'", hint="join them into one")
    text = tomli_w.dumps(recipe.to_json())
    assert from_toml(text).to_json() == recipe.to_json()  # floats are written with all their digits
    return text


def write_whole(path: Path, text: str) -> None:
    """Write `text` to `path` so that a reader sees the old file or the new one, never a part."""
    part = path.with_name(f".{path.name}.partial")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write '{path}': {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
