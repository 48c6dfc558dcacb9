"""Attacks on a guarded model: two that do not know the guard, and one that has its contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import intact
from intact.guard import Guard, covariance
from intact.guard.bounds import limits

Array = NDArray[Any]

STEPS = 40
ADAPTIVE_STEPS = 100
MARGIN = 0.2
"""How far below a threshold the attacker wants to be, as a share of what the check's scores spread."""


def fgsm(net: nn.Module, x: Array, y: Array, epsilon: float) -> Array:
    """One step along the sign of the gradient (Goodfellow et al. 2015)."""
    inputs, labels = torch.tensor(x, requires_grad=True), torch.tensor(y.astype("i8"))
    nn.functional.cross_entropy(net(inputs), labels, reduction="sum").backward()
    assert inputs.grad is not None
    return np.clip(x + epsilon * inputs.grad.sign().numpy(), 0, 1)


def pgd(net: nn.Module, x: Array, y: Array, epsilon: float) -> Array:
    """Small steps, never further than epsilon from where it began (Madry et al. 2018)."""
    start, labels = torch.tensor(x), torch.tensor(y.astype("i8"))
    torch.manual_seed(0)
    found = (start + epsilon * (2 * torch.rand_like(start) - 1)).clamp(0, 1)
    for _ in range(STEPS):
        found.requires_grad_()
        loss = nn.functional.cross_entropy(net(found), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, found)
        found = (found.detach() + 2.5 * epsilon / STEPS * gradient.sign()).clamp(0, 1)
        found = torch.minimum(torch.maximum(found, start - epsilon), start + epsilon).clamp(0, 1)
    return np.asarray(found.detach().numpy())


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What an attacker with the artifact knows: the float model's features as the integer model's codes.

    Args:
        slope, offset: codes = slope * features + offset, by feature.
    """

    slope: Tensor
    offset: Tensor

    @classmethod
    def of(cls, net: Any, model: intact.Model, x: Array) -> Knowledge:
        """Fit a line a feature on inputs of the attacker's own."""
        with torch.no_grad():
            features = net.features(torch.tensor(x)).numpy().astype(np.float64)
        codes = model.observe({model.inputs[0].name: x}).features
        assert codes is not None
        codes = codes.reshape(len(codes), -1).astype(np.float64)
        centred = features - features.mean(axis=0)
        slope = (centred * (codes - codes.mean(axis=0))).sum(axis=0) / np.maximum((centred**2).sum(axis=0), 1e-9)
        offset = codes.mean(axis=0) - slope * features.mean(axis=0)
        return cls(slope=torch.tensor(slope, dtype=torch.float32), offset=torch.tensor(offset, dtype=torch.float32))


@dataclass(frozen=True, kw_only=True)
class Attacker:
    """Projected gradient descent on model and checks at once; keeps the best of every image.

    The checks are followed through the float model: energy, confidence and lead from its scores, the distance from its
    features, the range by staying within it, squeezing by attacking the squeezed image along (straight through the
    rounding). An image counts as done where the integer model is fooled and no check of `guard` sees it.
    """

    net: Any
    knowledge: Knowledge
    guard: Guard

    def attack(self, x: Array, y: Array, epsilon: float) -> Array:
        """Return the attacked images."""
        start, labels = torch.tensor(x), torch.tensor(y.astype("i8"))
        low, high = self._bounds(x)
        least, most = torch.maximum(start - epsilon, low), torch.minimum(start + epsilon, high)
        least, most = torch.minimum(least, start), torch.maximum(most, start)
        best, done = start.clone(), torch.zeros(len(x), dtype=torch.bool)
        found = start.clone()
        weight = torch.full((len(x),), 1.0)
        for step in range(ADAPTIVE_STEPS):
            found.requires_grad_()
            fooling, hiding = self._fooling(found, labels), self._hiding(found)
            (gradient,) = torch.autograd.grad((fooling + weight * hiding).sum(), found)
            with torch.no_grad():
                good = (fooling <= 0) & (hiding <= 0)
                better = good | (~done & (fooling <= 0))
                best[better] = found.detach()[better]
                done |= good
                weight = torch.where(fooling <= 0, weight * 1.1, weight * 0.95).clamp(0.05, 20)
                size = 2.5 * epsilon / 40 * (1 - 0.8 * step / ADAPTIVE_STEPS)
                found = (found.detach() - size * gradient.sign()).clamp(0, 1)
                found = torch.minimum(torch.maximum(found, least), most)
        return best.numpy()

    def _bounds(self, x: Array) -> tuple[Tensor, Tensor]:
        low, high = limits(self.guard.contract.checks["range"].params)
        return (torch.tensor(each.reshape(1, *x.shape[1:]), dtype=torch.float32) for each in (low, high))  # type: ignore[return-value]

    def _fooling(self, x: Tensor, labels: Tensor) -> Tensor:
        """How far the right label leads, with a margin for what quantizing moves; 0 or less once it is fooled."""
        scores = self.net(x)
        right = scores.gather(1, labels[:, None])[:, 0]
        others = scores.scatter(1, labels[:, None], -1e9).amax(dim=1)
        return (right - others + 0.5).clamp(min=0)

    def _hiding(self, x: Tensor) -> Tensor:
        """How far checks are beyond their thresholds, the sum of all."""
        checks = self.guard.contract.checks
        features = self.net.features(x)
        scores = self.net.head(features)
        total = torch.zeros(len(x))
        if "energy" in checks:
            total = total + (-scores.logsumexp(dim=1) - checks["energy"].threshold + MARGIN).clamp(min=0)
        for name in ("confidence", "abstain"):
            if name in checks:
                chances = (scores / checks[name].params["temperature"]).softmax(dim=1).topk(2).values
                lack = 1 - chances[:, 0] + (chances[:, 1] if name == "abstain" else 0)
                total = total + 5 * (lack - checks[name].threshold + MARGIN * 0.2).clamp(min=0)
        if "mahalanobis" in checks:
            total = total + self._distance(features, scores)
        if "squeeze" in checks and self.guard.modes["squeeze"] != "off":
            total = total + self._moved(x, scores)
        return total

    def _distance(self, features: Tensor, scores: Tensor) -> Tensor:
        learned = self.guard.contract.checks["mahalanobis"]
        shape = covariance.read(learned.params)
        tap = self.guard.contract.tap
        codes = (features * self.knowledge.slope + self.knowledge.offset).clamp(0, 255) - (tap.zero if tap else 0)
        codes = codes / codes.norm(dim=1, keepdim=True).clamp(min=1e-9)
        means = torch.tensor(shape.means)
        away = codes - means[scores.argmax(dim=1).clamp(max=len(means) - 1)]
        along = away @ torch.tensor(shape.directions)
        weights = 1 / torch.tensor(shape.variances) - 1 / shape.rest
        distance = (along**2) @ weights + (away**2).sum(dim=1) / shape.rest
        return 5 * (distance / learned.threshold - 1 + MARGIN * 0.5).clamp(min=0)

    def _moved(self, x: Tensor, scores: Tensor) -> Tensor:
        rows = x.flatten(1)
        low, high = rows.amin(dim=1, keepdim=True), rows.amax(dim=1, keepdim=True)
        step = (high - low).clamp(min=1e-6) / 7
        rounded = ((rows - low) / step).round() * step + low
        squeezed = [(rows + (rounded - rows).detach()).reshape(x.shape)]
        if x.ndim == 4:
            padded = nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
            around = padded.unfold(2, 3, 1).unfold(3, 3, 1).reshape(*x.shape, 9)
            squeezed.append(around.median(dim=-1).values)
        moved = [(self.net(each).softmax(dim=1) - scores.softmax(dim=1)).abs().sum(dim=1) for each in squeezed]
        threshold = self.guard.contract.checks["squeeze"].threshold
        return 5 * (torch.stack(moved).amax(dim=0) - threshold + MARGIN * 0.2).clamp(min=0)
