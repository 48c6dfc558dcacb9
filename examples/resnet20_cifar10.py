"""ResNet-20 on CIFAR-10: from the trained float checkpoint to a sealed, bit-exact integer model.

Run `python examples/resnet20_cifar10.py`, or `intact build examples/resnet20_cifar10.py:spec --out resnet20.intact`.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

import intact
from real_data import cifar10_images, cifar10_test, folder
from show import build_and_show


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut that drops every other pixel and pads channels with zeros (option A)."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.padding = width // 4 if stride != 1 or channels != width else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.padding is not None:
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.padding, self.padding))
        return functional.relu(y + x)


class ResNet(nn.Module):
    """The CIFAR ResNet of He et al. 2015, section 4.2, with n blocks a stage (3 for ResNet-20, 5 for ResNet-32)."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(blocks, 16, 16, 1)
        self.layer2 = self._stage(blocks, 16, 32, 2)
        self.layer3 = self._stage(blocks, 32, 64, 2)
        self.linear = nn.Linear(64, 10)

    @staticmethod
    def _stage(blocks: int, channels: int, width: int, stride: int) -> nn.Sequential:
        rest = [Block(width, width, 1) for _ in range(blocks - 1)]
        return nn.Sequential(Block(channels, width, stride), *rest)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = functional.avg_pool2d(x, x.shape[3])
        return self.linear(x.flatten(1))


def float_model() -> ResNet:
    """ResNet-20 with its trained weights."""
    path = folder("model_resnet_cifar10") / "resnet20-12fca82f.th"
    state = torch.load(path, weights_only=True, map_location="cpu")["state_dict"]
    model = ResNet(3)
    model.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    return model.eval()


def spec() -> intact.Spec:
    """What `intact build` needs: the model, calibration images, and the score of each test image."""

    def evaluate(predict):
        images, labels = cifar10_test()
        return predict(images).argmax(axis=1) == labels

    calibration = cifar10_images(512)
    return intact.Spec(
        model=float_model(), inputs=calibration[:2], calibration=calibration, evaluate=evaluate, name="resnet20-cifar10"
    )


if __name__ == "__main__":
    build_and_show(spec())
