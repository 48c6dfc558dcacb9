"""The demo's model: a small convolutional network on scikit-learn's handwritten digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.errors import UsageError
from intact.pipeline.spec import Spec

Array = NDArray[Any]

EPOCHS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitsSpec(Spec):
    """A `Spec` that also holds its test images, float32, shape (n, 1, 8, 8)."""

    test: Any = None


def digits_spec() -> DigitsSpec:
    """Train on two thirds of the 1,797 digits, and score on the last third.

    Raises:
        UsageError: torch or scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UsageError("scikit-learn is not installed", hint="pip install 'intact[demo]'") from error
    bunch = load_digits()
    images = (bunch.images[:, None] / 16.0).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:1198], order[1198:]
    labels = bunch.target[test]

    def evaluate(predict: Any) -> Array:
        return np.asarray(predict(images[test]).argmax(axis=1) == labels)

    return DigitsSpec(
        model=_train(images[train], bunch.target[train]),
        inputs=images[:2],
        calibration=images[train[:512]],
        evaluate=evaluate,
        name="digits-cnn",
        test=images[test],
    )


def _train(images: Array, labels: Array) -> Any:
    try:
        import torch
    except ImportError as error:
        raise UsageError("torch is not installed", hint="pip install 'intact[demo]'") from error
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a network gains nothing from more, and waits for them on a busy host
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    for _ in range(EPOCHS):
        for part in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[part]), y[part]).backward()
            optimiser.step()
    torch.set_num_threads(threads)
    return model.eval()
