"""Fewer channels, then fine-tuning by distillation from the model as it was: a smaller float model to build from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from intact.compress.calibrate import check_data
from intact.compress.channels import MULTIPLE, Slimmed, Thinned, multiply_adds, thin
from intact.errors import UsageError
from intact.graph.differentiable import Differentiable
from intact.graph.normalise import normalise
from intact.graph.run import Runner, is_batched
from intact.graph.view import Graph
from intact.pipeline.options import Progress, silent
from intact.pipeline.predict import Predictor, batch_size, cut
from intact.pipeline.spec import Spec, as_pieces
from intact.training.loop import Batches, History, Told, Training, train

Array = NDArray[Any]

EARLY_SHARE = 0.15
"""Share of the training that goes to each round of pruning but the last."""


@dataclass(frozen=True, kw_only=True)
class Slim:
    """A float model with fewer channels.

    Args:
        spec: The model, to be given to `intact.build`; data and score are those of the source.
        macs_before, macs_after: Multiply-adds of its products for one example.
        groups: Widths of its groups of channels, before and after.
        histories: Of the training after each round.
        metric_before, metric_after: Mean score of the source and of the result; None without `evaluate`.
    """

    spec: Spec
    macs_before: int
    macs_after: int
    groups: tuple[Slimmed, ...]
    histories: tuple[History, ...] = field(default=())
    metric_before: float | None = None
    metric_after: float | None = None

    @property
    def share(self) -> float:
        """Multiply-adds left, as a share of what they were."""
        return self.macs_after / self.macs_before


def prune(
    source: Spec,
    batches: Batches | None,
    *,
    macs: float = 0.5,
    training: Training | None = None,
    multiple: int = MULTIPLE,
    rounds: int = 1,
    progress: Progress = silent,
) -> Slim:
    """Take channels out of a model and train what is left towards the model as it was.

    Args:
        source: The float model; its calibration data say which channels matter.
        batches: What to train on, as `train` takes it; None for no training.
        macs: Share of the multiply-adds that may stay, in (0, 1).
        training: How to train, all rounds together; 20 minutes of the defaults where it is None.
        multiple: Channels left in a group are a multiple of this.
        rounds: Times that channels go and training follows; each time the same share of the multiply-adds goes.
        progress: Called with (stage, done, total).

    Raises:
        UsageError: The share cannot be reached, or a number is out of range.
        DataError: Calibration data are missing, or batches do not fit.
        ModelError: The model cannot be read or trained.
    """
    if rounds < 1:
        raise UsageError(f"rounds is {rounds}, wanted at least 1")
    if not 0.0 < macs < 1.0:
        raise UsageError(f"macs is {macs}, not a share in (0, 1)", hint="0.5 halves the multiply-adds")
    dense = normalise(source.proto())
    pieces = _pieces(source, dense)
    how = training or Training(minutes=20.0)
    graph, total, found, histories = dense, multiply_adds(dense), [], []
    for number in range(rounds):
        goal = total * macs ** ((number + 1) / rounds)
        if goal >= multiply_adds(graph):  # the round before took more than its share, since widths are rounded
            continue
        found.append(_thin(graph, pieces, goal, multiple, progress))
        graph = found[-1].graph
        if batches is not None:
            module, part = FloatModule(graph), _part(how, number, rounds)
            histories.append(
                train(module, batches, training=part, teacher=teacher(dense), progress=_telling(part, progress))
            )
            graph = module.net.to_graph()
    return Slim(
        spec=replace(source, model=graph.to_proto(), inputs=None, dynamic_axes=None),
        macs_before=total,
        macs_after=multiply_adds(graph),
        groups=_joined([each.groups for each in found]),
        histories=tuple(histories),
        metric_before=_metric(source, dense),
        metric_after=_metric(source, graph),
    )


class FloatModule(nn.Module):  # type: ignore[misc]
    """A float graph as `train` takes it.

    Args:
        graph: The graph; `net.to_graph()` gives it back as trained.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.source = graph
        self.net = Differentiable(graph)

    def forward(self, feeds: Mapping[str, Tensor]) -> Any:
        """The outputs: the one tensor, or a mapping by name where there are several."""
        found = self.net(feeds)
        return next(iter(found.values())) if len(found) == 1 else found

    def weights(self) -> list[nn.Parameter]:
        """All parameters."""
        return list(self.parameters())

    def scales(self) -> list[nn.Parameter]:
        """None."""
        return []


def teacher(graph: Graph) -> Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]:
    """The outputs of a float graph for tensors, computed by onnxruntime, which is faster than torch."""
    runner = Runner(graph, threads=torch.get_num_threads())

    def answer(feeds: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        found = runner({name: np.ascontiguousarray(value.numpy()) for name, value in feeds.items()})
        return {name: torch.from_numpy(value) for name, value in found.items()}

    return answer


def _pieces(source: Spec, graph: Graph) -> list[dict[str, Array]]:
    if source.calibration is None:
        raise UsageError(
            "channels are judged on calibration data, and none were given",
            hint="set Spec(calibration=...); some hundreds of typical inputs are enough",
        )
    fixed = 0 if is_batched(graph.inputs) else batch_size(graph.inputs)
    pieces = as_pieces(source.calibration, [port.name for port in graph.inputs])
    return [check_data(graph.inputs, part) for piece in pieces for part in cut(piece, fixed)]


def _thin(
    graph: Graph, pieces: Sequence[Mapping[str, Array]], goal: float, multiple: int, progress: Progress
) -> Thinned:
    share = goal / multiply_adds(graph)
    return thin(
        graph, pieces, macs=share, multiple=multiple, progress=lambda done, total: progress("channels", done, total)
    )


def _part(training: Training, number: int, rounds: int) -> Training:
    """The training of one round: a small share for each but the last."""
    last = number == rounds - 1
    share = 1.0 - EARLY_SHARE * (rounds - 1) if last else EARLY_SHARE
    if training.minutes is not None:
        return replace(training, minutes=training.minutes * share)
    return replace(training, steps=max(1, round((training.steps or 1) * share)))


def _telling(training: Training, progress: Progress) -> Callable[[Told], None]:
    total = training.steps or round(60.0 * (training.minutes or 0.0))
    return lambda told: progress("train", told.step if training.steps else round(told.seconds), total)


def _joined(rounds: Sequence[tuple[Slimmed, ...]]) -> tuple[Slimmed, ...]:
    """The groups as they were before the first round, with the widths after the last."""
    if not rounds:
        return ()
    return tuple(replace(first, after=last.after) for first, last in zip(rounds[0], rounds[-1], strict=True))


def _metric(source: Spec, graph: Graph) -> float | None:
    if source.evaluate is None:
        return None
    runner = Runner(graph)
    predict = Predictor(
        inputs=graph.inputs,
        outputs=[port.name for port in graph.outputs],
        run=lambda feeds: runner(check_data(graph.inputs, feeds)),
    )
    return float(np.mean(source.evaluate(predict)))
