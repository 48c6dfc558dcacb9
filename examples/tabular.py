"""A multilayer perceptron on scikit-learn's breast cancer data, trained here, built and sealed.

Run `python examples/tabular.py`, or `intact build examples/tabular.py:spec --max-drop 0.03 --out tabular.intact`.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn

import intact
from show import build_and_show


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Standardised training and test features, and their labels."""
    features, labels = load_breast_cancer(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(features, labels, test_size=0.4, random_state=0)
    scaler = StandardScaler().fit(train)
    return scaler.transform(train).astype("f4"), scaler.transform(test).astype("f4"), train_labels, test_labels


def train(features: np.ndarray, labels: np.ndarray) -> nn.Module:
    """Train the network for a few seconds."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(30, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2)
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    x, y = torch.from_numpy(features), torch.from_numpy(labels)
    for _ in range(150):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    return model.eval()


def spec() -> intact.Spec:
    """What `intact build` needs."""
    features, test, labels, test_labels = data()

    def evaluate(predict):
        return predict(test).argmax(axis=1) == test_labels

    return intact.Spec(
        model=train(features, labels),
        inputs=features[:2],
        calibration=features,
        evaluate=evaluate,
        name="breast-cancer-mlp",
    )


if __name__ == "__main__":
    # 228 test rows cannot prove a drop below 1.2 %, even without one changed answer
    build_and_show(spec(), max_drop=0.03)
