"""A tiny sentence encoder in torch, spelled as BERT's is, and its inputs."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from intact.graph.capture import capture

VOCABULARY, WIDTH, HEADS, LENGTH = 200, 32, 4, 10
AXES = {name: {0: "batch", 1: "length"} for name in ("ids", "mask")}


class Block(nn.Module):
    """Self-attention and a dense part, each with a residual connection and a layer norm behind."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        rows, length, _ = x.shape
        shape = (rows, length, HEADS, WIDTH // HEADS)
        query, key, value = (part(x).view(shape).transpose(1, 2) for part in (self.query, self.key, self.value))
        weights = torch.softmax(query @ key.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5 + bias, -1)
        mixed = (weights @ value).transpose(1, 2).reshape(rows, length, WIDTH)
        x = self.first(x + self.out(mixed))
        return self.second(x + self.down(nn.functional.gelu(self.up(x))))


class Encoder(nn.Module):
    """Token ids and a mask to one vector a sentence."""

    def __init__(self, outlier: float = 1.0) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(64, WIDTH)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(WIDTH, 8)
        with torch.no_grad():  # one loud channel, as large language models have them
            self.blocks[0].first.weight[3] *= outlier

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        bias = (1.0 - mask[:, None, None, :].to(x.dtype)) * -1e4
        for block in self.blocks:
            x = block(x, bias)
        kept = mask.unsqueeze(-1).to(x.dtype)
        return self.head((x * kept).sum(1) / kept.sum(1))


def sentences(rows: int = 32, length: int = LENGTH, seed: int = 0) -> dict[str, NDArray[np.int64]]:
    """Random ids, every third sentence shorter than the rest."""
    generator = np.random.default_rng(seed)
    mask = np.ones((rows, length), np.int64)
    for row in range(0, rows, 3):
        mask[row, length // 2 + row % (length // 2) :] = 0
    return {"ids": generator.integers(0, VOCABULARY, (rows, length)), "mask": mask}


def encoder(outlier: float = 1.0) -> tuple[Encoder, bytes]:
    """The module and its capture."""
    torch.manual_seed(0)
    module = Encoder(outlier).eval()
    example = {name: value[:2] for name, value in sentences().items()}
    return module, capture(module, example, dynamic_axes=AXES).SerializeToString()
