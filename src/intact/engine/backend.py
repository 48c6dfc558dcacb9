"""The contract every engine keeps: a backend loads a program, a session runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from intact.engine.spec import TensorSpec, check_inputs
from intact.errors import IntactError, UsageError
from intact.graph.program import Program

Arrays: TypeAlias = Mapping[str, NDArray[Any]]


class EngineError(IntactError):
    """An engine cannot load or run this program; another one may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a session runs.

    Args:
        threads: Threads inside one session; None leaves it to the engine, which takes the physical cores.
        in_place: Let the engine read weights where they lie rather than pack them for its kernels, so that what is
            checked in memory is what is used. Slower.
        taps: Values inside the program that `Session.observe` gives beside its outputs.
    """

    threads: int | None = None
    in_place: bool = False
    taps: tuple[TensorSpec, ...] = ()

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"threads is {self.threads}, wanted at least 1", hint="leave it out to use every core")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observation:
    """What one run gave.

    Args:
        outputs: As `Session.run` gives them.
        taps: The values inside the program that were asked for, as they are there.
    """

    outputs: dict[str, NDArray[Any]]
    taps: dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Session:
    """A loaded program. Safe to call from several threads at once.

    Args:
        engine: Name of the backend.
        variant: Which of the backend's ways of running it is.
        inputs: What `run` takes.
        outputs: What `run` gives.
        execute: The engine's own call, on inputs already checked.
        weights: The memory that the engine was handed for each tensor of the program; it may read that or copies of
            its own. Empty where it is handed no memory.
        taps: The values inside the program that `execute` gives too.
    """

    engine: str
    variant: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    execute: Callable[[Arrays], dict[str, NDArray[Any]]] = field(repr=False)
    weights: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict, repr=False)
    taps: tuple[TensorSpec, ...] = ()

    @property
    def name(self) -> str:
        """Engine and variant, as in reports: "onnxruntime" or "onnxruntime/wide"."""
        return self.engine if self.variant == DEFAULT else f"{self.engine}/{self.variant}"

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run the program once.

        Args:
            inputs: An array for each of `self.inputs`, of its type and shape; floats must be finite.

        Returns:
            An array for each of `self.outputs`. A zero in a float output has no sign.

        Raises:
            DataError: The inputs do not fit.
            EngineError: The engine failed.
        """
        outputs = self.execute(check_inputs(self.inputs, inputs))
        for tap in self.taps:
            del outputs[tap.name]
        return {name: unsigned_zeros(value) for name, value in outputs.items()}

    def observe(self, inputs: Arrays) -> Observation:
        """Run the program once, as `run` does, and give what is tapped too.

        Raises:
            DataError: The inputs do not fit.
            EngineError: The engine failed.
        """
        outputs = self.execute(check_inputs(self.inputs, inputs))
        taps = {tap.name: outputs.pop(tap.name) for tap in self.taps}
        return Observation(outputs={name: unsigned_zeros(value) for name, value in outputs.items()}, taps=taps)


DEFAULT = "default"
"""The variant an engine prefers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """An engine.

    Args:
        name: Its name, and its module's.
        why_unavailable: Returns why it cannot be used on this host, or None where it can.
        load: Prepares a program in one of `variants`. Raises EngineError where it cannot.
        variants: Ways of running, the fastest first; a later one is for hosts where an earlier one does not conform.
        prefers: The variants that are the fastest for this program, where that is another order.
        package: The distribution whose version identifies the engine, or None for this package itself.
        automatic: Whether it is tried when the caller names no engine.
        fragile: Whether it may crash the process, so that a model new to the host is tried in a child process first.
        copies: Whether it keeps copies of its own of all weights, so that `Options.in_place` cannot be had.
    """

    name: str
    why_unavailable: Callable[[], str | None]
    load: Callable[[Program, Options, str], Session]
    variants: tuple[str, ...] = (DEFAULT,)
    prefers: Callable[[Program], tuple[str, ...]] = lambda program: ()
    package: str | None = None
    automatic: bool = True
    fragile: bool = False
    copies: bool = False

    def ranked(self, program: Program) -> tuple[str, ...]:
        """All variants, the one that should be fastest for `program` first."""
        return tuple(dict.fromkeys((*self.prefers(program), *self.variants)))


def unsigned_zeros(value: NDArray[Any]) -> NDArray[Any]:
    """Return `value` with -0.0 written as 0.0: a sum of nothing has no sign, and engines give it either."""
    return value + value.dtype.type(0) if value.dtype.kind == "f" else value
