"""What the user wants of the compression: a frozen value, readable as TOML."""

from __future__ import annotations

import fnmatch
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from intact.errors import UsageError

Profile = Literal["auto", "exact", "tolerant"]
Activations = Literal["static", "dynamic", "none"]
Layout = Literal["auto", "codes", "islands"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRecipe:
    """How one layer is compressed.

    Args:
        weights: Width of the weight codes in bits, 2 to 8; or "float" to leave the layer as it is.
        group: Columns of the weights that share a scale, 16 to 128 and a divisor of their number; 0 for whole rows.
        codes: Member of `compress/shapes`: which levels the codes stand for.
        activations: "static" (ranges from calibration), "dynamic" (a scale per row at run time), "none" (weights only).
        activation_bits: Width of the codes that enter the layer, 2 to 8; below 8 with static activations only.
        method: Member of `compress/methods` that rounds the weights.
        bias_correction: Whether the bias takes in the mean error that rounding leaves in the output.
        sparsity: Share of the weights that become zero, 0 to 0.95.
        pruning: Member of `compress/pruning` that says which.
        pattern: "unstructured", "N:M" (at most N of M neighbours along the inputs stay) or "block:B" (B neighbours go
            together).
        observer: Member of `compress/observers` that chooses the activation ranges.
        percentile: Share of values kept in range by the percentile observer, in (0.5, 1].
    """

    weights: int | Literal["float"] = 8
    group: int = 0
    codes: str = "uniform"
    activations: Activations = "static"
    activation_bits: int = 8
    method: str = "nearest"
    bias_correction: bool = False
    sparsity: float = 0.0
    pruning: str = "magnitude"
    pattern: str = "unstructured"
    observer: str = "mse"
    percentile: float = 0.9999

    def __post_init__(self) -> None:
        if self.weights != "float" and (not isinstance(self.weights, int) or not 2 <= self.weights <= 8):
            raise UsageError(
                f"weights is {self.weights!r}, not a width of 2 to 8 bits", hint='or "float" to leave the layer'
            )
        _one_of("activations", self.activations, get_args(Activations))
        self._check_narrow()
        if not 0.5 < self.percentile <= 1.0:
            raise UsageError(f"percentile is {self.percentile}, not in (0.5, 1]")

    def _check_narrow(self) -> None:
        """Refuse widths, groups and shares out of range, or that contradict each other."""
        if not 2 <= self.activation_bits <= 8:
            raise UsageError(f"activation_bits is {self.activation_bits}, not 2 to 8")
        if self.activation_bits < 8 and self.activations != "static":
            raise UsageError(
                f"activation_bits is {self.activation_bits} where activations are '{self.activations}'",
                hint='narrow activations need activations = "static"',
            )
        if self.group and not 16 <= self.group <= 128:
            raise UsageError(f"group is {self.group}, not 0 (whole rows) or 16 to 128")
        if self.group and self.weights == 8:
            raise UsageError(
                "groups were asked of 8-bit weights, which have room for no multiplier",
                hint="take 7 bits or fewer, or group = 0",
            )
        if not 0.0 <= self.sparsity <= 0.95:
            raise UsageError(f"sparsity is {self.sparsity}, not in [0, 0.95]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Settings for the layers whose name matches a shell-style pattern."""

    pattern: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a model is compressed.

    Args:
        profile: "exact" refuses a model that would need float arithmetic inside; "auto" takes exact where it can be;
            "tolerant" allows free scales.
        layout: "codes" keeps every tensor between layers in 8-bit codes (convolutional and dense nets); "islands"
            quantizes only what enters a matrix product (transformers). "auto" decides by the operators found.
        default: Settings of every layer that no override names.
        overrides: Later ones win over earlier ones.
        smoothing: Strength alpha in [0, 1] of the smoothing of what enters a matrix product ("islands" layout); 0 is
            off, "auto" tries several for each product.
        equalize: Whether channels are rescaled between layers, so that powers of two fit them ("codes" layout).
        embeddings: Width of embedding tables in bits, 2 to 8, or "float".
        seed: Seed of everything random in the build.
    """

    profile: Profile = "auto"
    layout: Layout = "auto"
    default: LayerRecipe = field(default_factory=LayerRecipe)
    overrides: tuple[Override, ...] = ()
    smoothing: float | Literal["auto"] = "auto"
    equalize: bool = False
    embeddings: int | Literal["float"] = 8
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("profile", self.profile, get_args(Profile))
        _one_of("layout", self.layout, get_args(Layout))
        if self.smoothing != "auto" and (isinstance(self.smoothing, str) or not 0.0 <= self.smoothing <= 1.0):
            raise UsageError(f"smoothing is {self.smoothing!r}, not in [0, 1] or 'auto'")
        if self.embeddings != "float" and (isinstance(self.embeddings, str) or not 2 <= self.embeddings <= 8):
            raise UsageError(f"embeddings is {self.embeddings!r}, not a width of 2 to 8 bits or 'float'")
        if not 0 <= self.seed < 2**53:
            raise UsageError(f"seed is {self.seed}, not a whole number from 0 to 2^53 - 1")
        for override in self.overrides:
            _layer(self.default, override.settings, f"layer '{override.pattern}'")

    def layer(self, name: str) -> LayerRecipe:
        """Return the settings of the layer called `name`."""
        found = self.default
        for override in self.overrides:
            if fnmatch.fnmatchcase(name, override.pattern):
                found = _layer(found, override.settings, f"layer '{override.pattern}'")
        return found

    def unused_patterns(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the override patterns that match none of `names`."""
        return tuple(o.pattern for o in self.overrides if not any(fnmatch.fnmatchcase(n, o.pattern) for n in names))

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as plain JSON values, in the shape of its TOML."""
        flat = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("default", "overrides")}
        layers = {override.pattern: dict(override.settings) for override in self.overrides}
        return {**flat, "default": asdict(self.default), "layers": layers}


def from_toml(text: str, *, where: str = "recipe") -> Recipe:
    """Read a recipe.

    The file holds the fields of `Recipe` at its top, a table `[default]` with the fields of `LayerRecipe`, and tables
    `[layers."PATTERN"]` with those that differ.

    Raises:
        UsageError: Not TOML, an unknown key, or a value out of range.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is not TOML: {error}") from error
    return from_json(data, where=where)


def from_json(data: Mapping[str, Any], *, where: str = "recipe") -> Recipe:
    """Read a recipe from plain values, such as `Recipe.to_json` gives."""
    known = {each.name for each in fields(Recipe)} - {"overrides"} | {"layers"}
    _refuse_unknown(data, known, where)
    layers = data.get("layers", {})
    for key in ("layers", "default"):
        if not isinstance(data.get(key, {}), Mapping):
            raise UsageError(f"'{key}' in {where} is {type(data[key]).__name__}, not a table")
    for pattern, settings in layers.items():
        if not isinstance(settings, Mapping):
            raise UsageError(f"layer '{pattern}' in {where} is {type(settings).__name__}, not a table")
    rest = {key: value for key, value in data.items() if key not in ("layers", "default")}
    _refuse_types(rest, where)
    default = _layer(LayerRecipe(), data.get("default", {}), f"[default] of {where}")
    overrides = tuple(Override(pattern=pattern, settings=dict(settings)) for pattern, settings in layers.items())
    return Recipe(default=default, overrides=overrides, **rest)


def read_toml(path: Path) -> Recipe:
    """Read a recipe file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe '{path}' cannot be read: {error}") from error
    return from_toml(text, where=f"'{path}'")


def _layer(base: LayerRecipe, settings: Mapping[str, Any], where: str) -> LayerRecipe:
    _refuse_unknown(settings, {each.name for each in fields(LayerRecipe)}, where)
    _refuse_types(settings, where)
    return replace(base, **settings)


def _refuse_unknown(data: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in data:
        if key not in known:
            raise UsageError(f"unknown key '{key}' in {where}", hint=f"known keys: {', '.join(sorted(known))}")


def _refuse_types(data: Mapping[str, Any], where: str) -> None:
    kinds: dict[str, tuple[type, ...]] = {
        "weights": (int, str),
        "embeddings": (int, str),
        "group": (int,),
        "activation_bits": (int,),
        "sparsity": (int, float),
        "bias_correction": (bool,),
        "equalize": (bool,),
        "percentile": (int, float),
        "smoothing": (int, float, str),
        "seed": (int,),
    }
    for key, value in data.items():
        wanted = kinds.get(key, (str,))
        if isinstance(value, bool) != (wanted == (bool,)) or not isinstance(value, wanted):
            raise UsageError(f"'{key}' in {where} is {value!r}, not {' or '.join(kind.__name__ for kind in wanted)}")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"{name} is {value!r}, not one of {', '.join(known)}")
