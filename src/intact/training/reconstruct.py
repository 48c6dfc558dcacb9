"""Block-wise reconstruction: choose the integers of a block of layers so that its output is that of the float block."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from intact.compress.emit import emit
from intact.compress.recipe import Recipe
from intact.errors import UsageError
from intact.graph.program import Program
from intact.pipeline.drafting import Draft, draft
from intact.pipeline.options import Progress, silent
from intact.pipeline.spec import Spec
from intact.training.blocks import blocks_of
from intact.training.rebuilding import Reconstruction, Work

LEAST_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a progress callback is told after each block.

    Args:
        layers: Names of the block's layers.
        done: Blocks that are done, this one included.
        total: Blocks in all.
        before: Mean squared error of the block's output over the mean square of the float block's, for the integers
            that it had and the inputs that it gets now; on the calibration data.
        after: The same for the integers that it has now; never greater.
        seconds: Since the start.
    """

    layers: tuple[str, ...]
    done: int
    total: int
    before: float
    after: float
    seconds: float


Hear = Callable[[Rebuilt], None]


def reconstruct(
    source: Spec | Draft,
    recipe: Recipe | None = None,
    *,
    reconstruction: Reconstruction | None = None,
    progress: Hear = lambda rebuilt: None,
    stages: Progress = silent,
) -> Draft:
    """Choose the integers anew, block after block, and return them as a draft: `intact.build` checks it.

    Every block learns to make of what the integer blocks before it make what the float block makes of what the float
    blocks before it make. Weights start at the integers that the recipe's method found and move on their grids, so
    that they take no more room; biases move with them; the codes of activations stay. A block whose error on the
    calibration data did not fall keeps the integers it had. No labels are needed.

    Args:
        source: The model, with calibration data; or a draft of it, then `recipe` is None.
        recipe: How to compress; the default recipe where it is None.
        reconstruction: How to reconstruct.
        progress: Called after each block.
        stages: Called with (stage, done, total) while the model is compressed.

    Raises:
        UsageError: A draft and a recipe were given, there are no calibration data, the recipe leaves every layer in
            float, or the draft was trained.
        ModelError, DataError: As `intact.build`; or an operator has no differentiable form.

    Source:
        Li et al. 2021, arXiv:2102.05426, section 3 (blocks); Hubara et al. 2020, arXiv:2006.10518, section 3 (float
        weights behind the integers, learned on calibration data); Wei et al. 2022, arXiv:2203.05740, section 3, for
        inputs from the quantized past.
    """
    if not isinstance(source, Draft):
        source = draft(source, recipe or Recipe(), stages)
    elif recipe is not None:
        raise UsageError("a draft has a recipe already, and another was given", hint="give the Spec instead")
    _refuse(source)
    work = Work(source, reconstruction or Reconstruction())
    solutions = dict(source.emission.solutions)
    blocks = blocks_of(source.plan)
    for number, block in enumerate(blocks):
        found = work.rebuild(block, len(blocks) - number)
        solutions |= found.solutions
        names = tuple(step.layer for step in block.layers)
        progress(
            Rebuilt(
                layers=names,
                done=number + 1,
                total=len(blocks),
                before=found.before,
                after=found.after,
                seconds=time.monotonic() - work.start,
            )
        )
    emission = emit(source.plan, source.encodings, solutions)
    return replace(source, emission=emission, program=Program.from_graph(emission.graph))


def _refuse(made: Draft) -> None:
    if not made.plan.layers:
        raise UsageError("the recipe leaves every layer in float, so there is nothing to reconstruct")
    if not made.data:
        raise UsageError(
            "reconstruction needs calibration data, and none were given",
            hint="set Spec(calibration=...); 500 to 1,000 typical inputs are enough",
        )
    for name, solution in made.emission.solutions.items():
        if solution.grid is None:
            raise UsageError(f"layer '{name}' was trained, and no grid of its integers is known", hint="train it last")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstructor:
    """What `intact.tune` calls before it retrains: `reconstruct` within the time that is left.

    Args:
        reconstruction: How; its minutes are cut to the time that is left.
    """

    reconstruction: Reconstruction = field(default_factory=Reconstruction)

    def __call__(self, spec: Spec, recipe: Recipe, seconds: float) -> Draft:
        """Reconstruct for at most `seconds`, and return the integers.

        Raises:
            UsageError: No time is left.
        """
        if seconds < LEAST_SECONDS or math.isnan(seconds):
            raise UsageError(f"{seconds:.1f} seconds are left, wanted at least {LEAST_SECONDS:.0f}")
        settings = self.reconstruction
        minutes = min(settings.minutes or math.inf, seconds / 60.0)
        limited = replace(settings, minutes=None if math.isinf(minutes) else minutes)
        return reconstruct(spec, recipe, reconstruction=limited)
