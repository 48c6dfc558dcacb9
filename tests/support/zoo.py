"""Small torch models in the manner of well-known ones, untrained, their batch norms as if they had been."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from support.nets import data

PICTURES = (data(0, 64, 3, 16, 16),)
TOKENS = (np.random.default_rng(0).integers(0, 300, (48, 12)),)


def conv(read: int, made: int, taps: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution and its batch norm."""
    plain = nn.Conv2d(read, made, taps, stride, taps // 2, groups=groups, bias=False)
    return nn.Sequential(plain, nn.BatchNorm2d(made))


class MobileNetV2(nn.Module):
    """Inverted residuals of depthwise convolutions, relu6."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.last, self.head = conv(3, 16, stride=2), conv(16, 64, 1), nn.Linear(64, 10)
        parts = (conv(16, 48, 1), nn.ReLU6(), conv(48, 48, groups=48), nn.ReLU6(), conv(48, 16, 1))
        self.block = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu6(self.stem(x))
        x = functional.relu6(self.last(x + self.block(x)))
        return self.head(functional.adaptive_avg_pool2d(x, 1).flatten(1))


class EfficientNet(nn.Module):
    """Squeeze-and-excite gates, silu and hard swish."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depth, self.last = conv(3, 16, stride=2), conv(16, 16, 5, groups=16), conv(16, 24, 1)
        self.reduce, self.expand, self.head = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.hardswish(self.depth(functional.silu(self.stem(x))))
        gate = functional.relu(self.reduce(functional.adaptive_avg_pool2d(x, 1)))
        x = x * functional.hardsigmoid(self.expand(gate))
        return self.head(functional.silu(self.last(x)).mean((2, 3)))


class DenseNet(nn.Module):
    """Batch norm and relu before the convolution, outputs joined."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(24), nn.Linear(24, 10)
        layers = [(nn.BatchNorm2d(8 * i), nn.ReLU(), nn.Conv2d(8 * i, 8, 3, padding=1)) for i in (1, 2)]
        self.layers = nn.ModuleList([nn.Sequential(*parts) for parts in layers])

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return self.head(functional.avg_pool2d(functional.relu(self.norm(x)), 16).flatten(1))


class ShuffleNet(nn.Module):
    """Split channels, shuffle them by reshape and transpose, with sizes taken from the tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = conv(3, 16, stride=2), nn.Linear(16, 10)
        self.branch = nn.Sequential(conv(8, 8, 1), nn.ReLU(), conv(8, 8, groups=8), conv(8, 8, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = functional.relu(self.stem(x)).chunk(2, 1)
        x = torch.cat([kept, self.branch(changed)], 1)
        rows, channels, high, wide = x.shape
        x = x.view(rows, 2, channels // 2, high, wide).transpose(1, 2).reshape(rows, channels, high, wide)
        return self.head(x.mean([2, 3]))


class UNet(nn.Module):
    """Down, up by a transposed convolution, and a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep, self.join = conv(3, 8), conv(8, 16), conv(16, 8)
        self.up, self.last = nn.ConvTranspose2d(16, 8, 2, 2), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        wide = functional.relu(self.down(x))
        deep = functional.relu(self.deep(functional.max_pool2d(wide, 2)))
        return self.last(functional.relu(self.join(torch.cat([self.up(deep), wide], 1))))


class WaveNet(nn.Module):
    """Gated dilated convolutions over time."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.last = nn.Conv1d(4, 16, 1), nn.Conv1d(16, 3, 1)
        self.signal, self.gate = (
            nn.ModuleList([nn.Conv1d(16, 16, 3, dilation=d, padding=d) for d in (1, 2)]) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for signal, gate in zip(self.signal, self.gate, strict=True):
            x = x + torch.tanh(signal(x)) * torch.sigmoid(gate(x))
        return self.last(functional.relu(x))


class Recurrent(nn.Module):
    """An embedding, an LSTM, and a dense layer on its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.lstm, self.head = nn.Embedding(300, 32), nn.LSTM(32, 16, batch_first=True), nn.Linear(16, 4)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.lstm(self.words(ids))[0][:, -1])


class Decoder(nn.Module):
    """A causal block with one product for queries, keys and values, and the embedding as last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.first, self.second = nn.Embedding(300, 32), nn.LayerNorm(32), nn.LayerNorm(32)
        self.qkv, self.out, self.up = (nn.Linear(32, size) for size in (96, 32, 64))
        self.down = nn.Linear(64, 32)
        self.head = nn.Linear(32, 300, bias=False)
        self.head.weight = self.words.weight

    def forward(self, ids: Tensor) -> Tensor:
        rows, length = ids.shape
        x = self.words(ids)
        parts = [part.view(rows, length, 4, 8).transpose(1, 2) for part in self.qkv(self.first(x)).chunk(3, -1)]
        mixed = functional.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(rows, length, 32))
        return self.head(x + self.down(functional.gelu(self.up(self.second(x)), approximate="tanh")))


class ViT(nn.Module):
    """Patches by a convolution, a class token, multi-head attention as torch has it."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm, self.head = nn.Conv2d(3, 32, 4, 4), nn.LayerNorm(32), nn.Linear(32, 10)
        self.token, self.places = nn.Parameter(torch.randn(1, 1, 32)), nn.Parameter(torch.randn(1, 17, 32) * 0.1)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        normed = self.norm(x)
        return self.head((x + self.attention(normed, normed, normed, need_weights=False)[0])[:, 0])


Maker = Callable[[], nn.Module]
ZOO: dict[str, tuple[Maker, tuple[NDArray[np.generic], ...], bool]] = {
    # the model, its inputs, and whether it can be exact
    "mobilenet v2": (MobileNetV2, PICTURES, True),
    "efficientnet": (EfficientNet, PICTURES, True),
    "densenet": (DenseNet, PICTURES, True),
    "shufflenet": (ShuffleNet, PICTURES, True),
    "wavenet": (WaveNet, (data(0, 48, 4, 50),), True),
    "unet": (UNet, PICTURES, False),
    "recurrent": (Recurrent, TOKENS, False),
    "decoder": (Decoder, TOKENS, False),
    "vit": (ViT, PICTURES, False),
}


def member(name: str) -> tuple[nn.Module, tuple[NDArray[np.generic], ...], bool]:
    """One of the zoo, the same each time."""
    make, inputs, exact = ZOO[name]
    torch.manual_seed(0)
    module = make().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, 0, 0.3)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.3)
    return module, inputs, exact
