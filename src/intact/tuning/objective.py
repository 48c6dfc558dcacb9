"""What a choice costs in the units of what is to be small."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from intact.compress.plan import Plan
from intact.compress.weights import rows_of
from intact.errors import UsageError
from intact.tuning.choices import FLOAT_BITS, Assignment, Choice, pinned

Minimize = Literal["size", "latency", "bits"]
SCALE_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer that may be tuned.

    Args:
        name: As in recipes.
        rows, columns: Shape of its weights as a matrix, a row an output channel.
    """

    name: str
    rows: int
    columns: int

    @property
    def weights(self) -> int:
        """How many there are."""
        return self.rows * self.columns

    def admits(self, choice: Choice) -> bool:
        """Whether the choice's group divides the layer."""
        return not choice.group or self.columns % choice.group == 0

    def size_bytes(self, choice: Choice) -> int:
        """Bytes of its weights, packed, with their scales and the multipliers of their groups."""
        packed = -(-self.weights * choice.bits // 8)
        if choice.bits == FLOAT_BITS:
            return packed
        return packed + SCALE_BYTES * self.rows + (self.weights // choice.group if choice.group else 0)


def layers_of(plan: Plan) -> tuple[Layer, ...]:
    """The layers of a plan whose width the recipe leaves to the tuner."""
    found = {}
    for step in plan.layers:
        if not pinned(plan.recipe, step.layer):
            rows, columns = rows_of(plan.graph, step.nodes[0]).shape
            found[step.layer] = Layer(name=step.layer, rows=rows, columns=columns)
    return tuple(found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What is to be small.

    Args:
        name: "size", "latency" or "bits".
        unit: What `cost` counts.
        cost: Of a choice for a layer, a whole number >= 0.
    """

    name: Minimize
    unit: str
    cost: Callable[[Layer, Choice], int]

    def total(self, layers: Mapping[str, Layer], assignment: Assignment) -> int:
        """Cost of a whole assignment."""
        return sum(self.cost(layers[name], choice) for name, choice in assignment.items())


def objective(name: str, extra_ns: Mapping[tuple[str, Choice], int] | None = None) -> Objective:
    """Return the objective called `name`.

    Args:
        name: "size", "latency" or "bits".
        extra_ns: For latency: how much slower than the base model one run is with this choice for this layer.

    Raises:
        UsageError: It is none of these.
    """
    if name == "size":
        return Objective(name="size", unit="bytes of weights", cost=Layer.size_bytes)
    if name == "bits":
        return Objective(name="bits", unit="bits of weights", cost=lambda layer, choice: layer.weights * choice.bits)
    if name == "latency":
        slower = dict(extra_ns or {})
        return Objective(
            name="latency", unit="ns a call", cost=lambda layer, choice: slower.get((layer.name, choice), 0)
        )
    raise UsageError(f"minimize is {name!r}, not one of {', '.join(get_args(Minimize))}")


def mean_bits(layers: Mapping[str, Layer], assignment: Assignment) -> float:
    """Bits of a weight, on average over the layers of an assignment."""
    weights = sum(layers[name].weights for name in assignment)
    return sum(layers[name].weights * choice.bits for name, choice in assignment.items()) / weights if weights else 0.0
