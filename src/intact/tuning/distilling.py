"""Retraining where the user brought none: distillation from the float model, without labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.calibrate import row_count
from intact.compress.recipe import Recipe
from intact.graph.normalise import normalise
from intact.graph.run import is_batched
from intact.pipeline.drafting import Draft
from intact.pipeline.spec import Spec, as_pieces

Array = NDArray[Any]

BATCH = 32
"""Rows of a batch, where the model takes any number."""
MINUTES = 10.0


@dataclass(frozen=True, kw_only=True)
class Distiller:
    """Trains the integers to answer unlabelled inputs as the float model does; needs torch.

    Args:
        data: Inputs, as `Spec.calibration` takes them; the spec's calibration data where it is None.
        minutes: How long to train at most.
        steps: Batches to train on, which gives the same integers again; as many as the time allows where it is None.
    """

    data: Any = None
    minutes: float = MINUTES
    steps: int | None = None

    def __call__(self, spec: Spec, recipe: Recipe, seconds: float) -> Draft:
        """Train for at most `seconds`, and return the trained integers.

        Raises:
            ModelError, DataError, UsageError: As `intact.training.finetune` raises them.
        """
        from intact.training import Retrainer, Training, finetune  # torch is loaded only where it comes to this

        ports = normalise(spec.proto()).inputs
        pieces = as_pieces(spec.calibration if self.data is None else self.data, [port.name for port in ports])
        divisible = is_batched(ports)

        def data(epoch: int) -> Iterator[dict[str, Array]]:
            return batches(pieces, epoch, divisible=divisible)

        if self.steps is not None:
            return finetune(spec, recipe, data, training=Training(steps=self.steps, labels=0.0, loss="mse"))
        training = Training(minutes=self.minutes, labels=0.0, loss="mse")
        return Retrainer(data=data, minutes=self.minutes, training=training)(spec, recipe, seconds)


def torch_is_there() -> bool:
    """Whether there is something to train with."""
    return find_spec("torch") is not None


def batches(pieces: Sequence[Mapping[str, Array]], epoch: int, *, divisible: bool) -> Iterator[dict[str, Array]]:
    """Go through `pieces` once, in an order of the epoch's own.

    Args:
        pieces: Inputs by name.
        epoch: Its number, which is the seed.
        divisible: Whether the rows of a piece may be parted.
    """
    generator = np.random.default_rng(epoch)
    for at in generator.permutation(len(pieces)):
        piece = pieces[at]
        if not divisible:
            yield dict(piece)
            continue
        order = generator.permutation(row_count(piece))
        for start in range(0, len(order), BATCH):
            picked = order[start : start + BATCH]
            yield {name: value[picked] for name, value in piece.items()}
