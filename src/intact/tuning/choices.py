"""What the tuner may choose for a layer, and recipes with what it chose."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from intact.compress.methods import method
from intact.compress.recipe import LayerRecipe, Override, Recipe
from intact.errors import UsageError

WIDTHS = (2, 3, 4, 5, 6, 8)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Choice:
    """One way to compress a layer.

    Args:
        bits: Width of the weights, 2 to 8; 32 leaves the layer in float.
        group: Columns that share a scale; 0 for whole rows.
        method: Member of `compress/methods`; empty for the recipe's own.
    """

    bits: int
    group: int = 0
    method: str = ""

    @property
    def is_float(self) -> bool:
        """Whether the layer stays as it is."""
        return self.bits == FLOAT_BITS

    @property
    def settings(self) -> dict[str, Any]:
        """The same as keys of a recipe."""
        found: dict[str, Any] = {"weights": "float" if self.is_float else self.bits}
        if "group" in {each.name for each in fields(LayerRecipe)}:
            found["group"] = self.group
        return {**found, "method": self.method} if self.method else found

    def __str__(self) -> str:
        words = ["float" if self.is_float else f"{self.bits} bits"]
        words += [f"groups of {self.group}"] if self.group else []
        return ", ".join([*words, self.method] if self.method else words)

    def to_json(self) -> dict[str, Any]:
        """Return the choice as plain values."""
        weights: int | Literal["float"] = "float" if self.is_float else self.bits
        return {"weights": weights, "group": self.group, "method": self.method}


FLOAT_BITS = 32
FLOAT = Choice(bits=FLOAT_BITS)

Assignment = Mapping[str, Choice]
"""A choice for each layer that is tuned, by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What may be chosen for every layer: all combinations that a recipe may hold.

    Args:
        widths: Bits of the weights.
        groups: Columns that share a scale; 0 for whole rows. Widths of 8 bits have whole rows whatever this says.
        methods: Members of `compress/methods`; none for the recipe's own.
    """

    widths: tuple[int, ...] = WIDTHS
    groups: tuple[int, ...] = (0,)
    methods: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.widths or not self.groups:
            raise UsageError("the tuner was given no widths or no groups to choose from", hint="leave them out")
        for width in self.widths:
            LayerRecipe(weights=width)
        for group in self.groups:
            if group and not 16 <= group <= 128:
                raise UsageError(f"group is {group}, not 0 (whole rows) or 16 to 128")
        for name in self.methods:
            method(name)

    def choices(self) -> tuple[Choice, ...]:
        """Every choice once, the widest first."""
        found = {
            Choice(bits=width, group=0 if width == 8 else group, method=name)
            for width in self.widths
            for group in self.groups
            for name in self.methods or ("",)
        }
        return tuple(sorted(found, key=lambda choice: (-choice.bits, choice.group, choice.method)))


def apply(recipe: Recipe, assignment: Assignment) -> Recipe:
    """Return `recipe` with the choices of `assignment`, each layer named exactly, what it said before kept."""
    own = {exactly(name): (name, choice) for name, choice in assignment.items()}
    overrides = [override for override in recipe.overrides if override.pattern not in own]
    replaced = {override.pattern: override.settings for override in recipe.overrides if override.pattern in own}
    for pattern, (name, choice) in own.items():
        effective = recipe.layer(name)
        kept = {key: getattr(effective, key) for key in replaced.get(pattern, {})}
        overrides.append(Override(pattern=pattern, settings={**kept, **choice.settings}))
    return replace(recipe, overrides=tuple(overrides))


def exactly(name: str) -> str:
    """The shell-style pattern that matches `name` and nothing else."""
    return re.sub(r"([*?[])", r"[\1]", name)


def pinned(recipe: Recipe, name: str) -> bool:
    """Whether the recipe itself says how wide the layer is, so that it is not the tuner's to choose."""
    return any(
        "weights" in override.settings and fnmatch.fnmatchcase(name, override.pattern) for override in recipe.overrides
    )
