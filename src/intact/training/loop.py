"""A training loop with a budget: distillation from the float model, labels, a cosine schedule."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from intact.errors import DataError, UsageError
from intact.graph.differentiable import Differentiable
from intact.training.prepared import Prepared, feeds_of

Loss = Literal["kl", "mse"]
Optimizer = Literal["adam", "sgd"]
Batches = Iterable[Any] | Callable[[int], Iterable[Any]]
"""Batches to go through again and again, or a function of the epoch's number that returns them. A batch is what the
model takes (an array, a tensor, a mapping by name), or a pair of that and the labels."""
Teacher = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]

WARM_SHARE = 0.03
"""Share of the training in which rates rise from zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a progress callback is told after each step.

    Args:
        step: Steps done.
        loss: Of this step.
        seconds: Since the start.
        left_s: Seconds that are left; an estimate where steps are counted.
    """

    step: int
    loss: float
    seconds: float
    left_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How to train.

    Args:
        steps: Batches to take; the same steps, data and seed give the same bits. None for a budget of time instead.
        minutes: Time to take; how many steps that is depends on the machine. None for a count of steps.
        rate: Greatest learning rate of weights and biases.
        scale_rate: Greatest learning rate of the learned scales, in octaves.
        optimizer: "adam" or "sgd" (with Nesterov momentum 0.9).
        decay: Weight decay, apart from the gradient.
        labels: Share of the loss that labels give, 0 to 1; the rest is distillation from the float model.
        loss: How outputs are compared with the float model's: "kl" of softmax outputs (classes along axis 1), or "mse".
        temperature: Of the softmax in "kl".
        norm: Gradients longer than this are shortened to it; 0 for as they are.
        bfloat16: Compute products in bfloat16 while training; about twice as fast where the CPU has it.
        seed: Of torch's generator, which the caller's batches may use.
    """

    steps: int | None = None
    minutes: float | None = None
    rate: float = 1e-3
    scale_rate: float = 1e-2
    optimizer: Optimizer = "adam"
    decay: float = 0.0
    labels: float = 0.5
    loss: Loss = "kl"
    temperature: float = 2.0
    norm: float = 5.0
    bfloat16: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise UsageError(f"steps is {self.steps} and minutes {self.minutes}, wanted one of them")
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"steps is {self.steps}, wanted at least 1")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise UsageError(f"minutes is {self.minutes}, wanted a positive number")
        for name, value in (("rate", self.rate), ("temperature", self.temperature)):
            if not 0 < value < math.inf:
                raise UsageError(f"{name} is {value}, wanted a positive number")
        for name, value in (("scale_rate", self.scale_rate), ("decay", self.decay), ("norm", self.norm)):
            if not 0 <= value < math.inf:
                raise UsageError(f"{name} is {value}, wanted a number >= 0")
        if not 0 <= self.labels <= 1:
            raise UsageError(f"labels is {self.labels}, not in [0, 1]")
        for name, text, known in (("loss", self.loss, Loss), ("optimizer", self.optimizer, Optimizer)):
            if text not in get_args(known):
                raise UsageError(f"{name} is {text!r}, not one of {', '.join(get_args(known))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a training did.

    Args:
        steps: Batches taken.
        epochs: Times the data were gone through, the last perhaps in part.
        seconds: Wall time.
        losses: Of each step.
    """

    steps: int
    epochs: int
    seconds: float
    losses: tuple[float, ...]


def train(
    prepared: Prepared,
    batches: Batches,
    *,
    training: Training,
    teacher: Teacher | None = None,
    progress: Callable[[Told], None] = lambda told: None,
) -> History:
    """Train in place, then leave `prepared` in evaluation mode.

    Args:
        prepared: What to train.
        batches: See `Batches`.
        training: How.
        teacher: Gives outputs by name for inputs by name; the float model that `prepared` was made of where it is None.
        progress: Called after each step.

    Raises:
        DataError: The batches are empty, do not fit the model or hold NaN; labels are missing or do not fit; the loss
            became NaN or infinite.
    """
    torch.manual_seed(training.seed)
    teacher = teacher or _float_teacher(prepared)
    optimizer = _optimizer(prepared, training)
    losses: list[float] = []
    start, epochs = time.monotonic(), 0
    for epoch, batch in _endless(batches):
        share = _share(training, len(losses), time.monotonic() - start)
        if share >= 1.0:
            break
        losses.append(_step(prepared, batch, teacher, optimizer, training, share))
        epochs = epoch + 1
        progress(_told(training, losses, time.monotonic() - start))
    prepared.eval()
    return History(steps=len(losses), epochs=epochs, seconds=time.monotonic() - start, losses=tuple(losses))


def _float_teacher(prepared: Prepared) -> Teacher:
    return Differentiable(prepared.source, trainable=())


def _optimizer(prepared: Prepared, training: Training) -> torch.optim.Optimizer:
    groups = [{"params": prepared.weights(), "weight_decay": training.decay, "peak": training.rate}]
    if prepared.scales():
        groups.append({"params": prepared.scales(), "weight_decay": 0.0, "peak": training.scale_rate})
    if training.optimizer == "adam":
        return torch.optim.AdamW(groups, lr=training.rate)
    return torch.optim.SGD(groups, lr=training.rate, momentum=0.9, nesterov=True)


def _endless(batches: Batches) -> Iterator[tuple[int, Any]]:
    """Batches with the number of their epoch, without end."""
    epoch = 0
    while True:
        found = batches(epoch) if callable(batches) else batches
        seen = False
        for batch in found:
            seen = True
            yield epoch, batch
        if not seen:
            raise DataError(
                f"the batches of epoch {epoch} are empty",
                hint="give a list, a DataLoader or a function of the epoch, not an iterator that ends",
            )
        epoch += 1


def _share(training: Training, done: int, seconds: float) -> float:
    """How much of the training is done."""
    return seconds / (60.0 * training.minutes) if training.minutes is not None else done / int(training.steps or 1)


def _told(training: Training, losses: list[float], seconds: float) -> Told:
    if training.minutes is not None:
        left = max(0.0, 60.0 * training.minutes - seconds)
    else:
        left = seconds / len(losses) * (int(training.steps or 0) - len(losses))
    return Told(step=len(losses), loss=losses[-1], seconds=seconds, left_s=left)


def _step(
    prepared: Prepared,
    batch: Any,
    teacher: Teacher,
    optimizer: torch.optim.Optimizer,
    training: Training,
    share: float,
) -> float:
    inputs, labels = _parts(batch)
    feeds = _checked(prepared, inputs)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * _rate(share)
    with torch.autocast("cpu", torch.bfloat16, enabled=training.bfloat16):
        loss = _loss(prepared, feeds, labels, teacher, training)
    value = float(loss.item())
    if not math.isfinite(value):
        raise DataError(f"the loss became {value} at a learning rate of {training.rate}", hint="train at a lower rate")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if training.norm:
        torch.nn.utils.clip_grad_norm_(prepared.parameters(), training.norm)
    optimizer.step()
    return value


def _rate(share: float) -> float:
    """Linear warming, then half a cosine down to zero.

    Source:
        Loshchilov and Hutter 2017, arXiv:1608.03983, section 3.
    """
    return min(1.0, (share + 1e-3) / WARM_SHARE) * 0.5 * (1.0 + math.cos(math.pi * share))


def _parts(batch: Any) -> tuple[Any, Tensor | None]:
    if not isinstance(batch, tuple | list):
        return batch, None
    if len(batch) != 2:
        raise DataError(
            f"a batch is a {type(batch).__name__} of {len(batch)}, wanted inputs, or a pair of inputs and labels",
            hint="give several inputs as a mapping by name",
        )
    return batch[0], None if batch[1] is None else torch.as_tensor(batch[1])


def _checked(prepared: Prepared, inputs: Any) -> dict[str, Tensor]:
    graph = prepared.source
    feeds = feeds_of(graph, (inputs,), {})
    for port in graph.inputs:
        value = feeds[port.name]
        if not port.accepts(tuple(value.shape)):
            raise DataError(f"input '{port.name}' has shape {tuple(value.shape)}, the model wants {port.shape}")
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise DataError(f"input '{port.name}' holds NaN or infinite values", hint="clean the data first")
        wanted = torch.from_numpy(np.zeros(0, port.dtype)).dtype
        feeds[port.name] = value.to(wanted)
        if value.ndim == 4:
            feeds[port.name] = feeds[port.name].contiguous(memory_format=torch.channels_last)
    return feeds


def _loss(
    prepared: Prepared, feeds: dict[str, Tensor], labels: Tensor | None, teacher: Teacher, training: Training
) -> Tensor:
    found = prepared(feeds)
    outputs = found if isinstance(found, dict) else {prepared.source.outputs[0].name: found}
    weight = training.labels if labels is not None else 0.0
    total = torch.zeros(())
    if weight < 1.0:
        with torch.no_grad():
            wanted = teacher(feeds)
        compare = _kl if training.loss == "kl" else _mse
        total = total + (1.0 - weight) * sum(
            compare(value.float(), wanted[name].float(), training.temperature) for name, value in outputs.items()
        )
    if labels is not None and weight > 0.0:
        total = total + weight * _against_labels(next(iter(outputs.values())).float(), labels)
    return total


def _against_labels(output: Tensor, labels: Tensor) -> Tensor:
    classes = output.shape[1] if output.ndim > 1 else 0
    wanted = (len(output), *output.shape[2:])
    if labels.is_floating_point() or tuple(labels.shape) != wanted:
        raise DataError(f"labels are {labels.dtype} of shape {tuple(labels.shape)}, wanted integers of shape {wanted}")
    if not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise DataError(f"labels range from {int(labels.min())} to {int(labels.max())}, wanted 0 to {classes - 1}")
    return functional.cross_entropy(output, labels.long())


def _kl(found: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """Divergence of the softened answers, times T^2.

    Source:
        Hinton et al. 2015, arXiv:1503.02531, section 2.
    """
    target = functional.log_softmax(wanted / temperature, dim=1)
    answer = functional.log_softmax(found / temperature, dim=1)
    rows = found.numel() / found.shape[1]
    return functional.kl_div(answer, target, reduction="sum", log_target=True) * (temperature**2 / rows)


def _mse(found: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """Squared distance over the mean square of what is wanted."""
    return (found - wanted).square().mean() / wanted.square().mean().clamp_min(1e-12)
