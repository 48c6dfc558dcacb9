"""From a float model and training data to trained integers, in one call."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from intact.compress.recipe import Recipe
from intact.errors import UsageError
from intact.pipeline.drafting import Draft
from intact.pipeline.options import Progress, silent
from intact.pipeline.spec import Spec
from intact.training.loop import Batches, Told, Training, train
from intact.training.prepared import prepare, trained_draft

LEAST_SECONDS = 1.0


def finetune(
    source: Spec | Draft,
    recipe: Recipe | None,
    data: Batches,
    minutes: float | None = None,
    *,
    training: Training | None = None,
    progress: Callable[[Told], None] = lambda told: None,
    stages: Progress = silent,
) -> Draft:
    """Compress by `recipe`, train what was lost back, and return the integers as a draft: `intact.build` checks it.

    Args:
        source: The model; or a draft of it, then `recipe` is None.
        recipe: How to compress.
        data: Batches of inputs, or of pairs of inputs and labels; see `intact.training.Batches`.
        minutes: How long to train; None where `training` says it.
        training: How to train, where the defaults do not do.
        progress: Called after each step of training.
        stages: Called with (stage, done, total) while the model is compressed.

    Raises:
        UsageError: Neither `minutes` nor `training`, or both with different lengths; or as `prepare`.
        ModelError, DataError: As `prepare` and `train`.

    Source:
        Hinton et al. 2015, arXiv:1503.02531, section 2, for the distillation.
    """
    if training is None:
        if minutes is None:
            raise UsageError("neither minutes nor a training was given", hint="finetune(..., minutes=10)")
        training = Training(minutes=minutes)
    elif minutes is not None:
        training = replace(training, minutes=minutes, steps=None)
    prepared = prepare(source, recipe, progress=stages)
    train(prepared, data, training=training, progress=progress)
    return trained_draft(prepared)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrainer:
    """What `intact.tune` calls where rounding alone does not keep the budget.

    Args:
        data: As `finetune` takes it.
        minutes: How long to train at most.
        training: How; its steps or minutes are replaced.
    """

    data: Batches
    minutes: float = 10.0
    training: Training = field(default_factory=lambda: Training(minutes=1.0))

    def __call__(self, spec: Spec, recipe: Recipe, seconds: float) -> Draft:
        """Train for at most `seconds`, and return the trained integers.

        Raises:
            UsageError: No time is left.
        """
        if seconds < LEAST_SECONDS or math.isnan(seconds):
            raise UsageError(f"{seconds:.1f} seconds are left to train, wanted at least {LEAST_SECONDS:.0f}")
        return finetune(spec, recipe, self.data, min(self.minutes, seconds / 60.0), training=self.training)
