"""stories260K, a small Llama that tells stories: from a llama2.c checkpoint to a sealed model with integer weights.

Run `python examples/stories260k.py`, or `intact build examples/stories260k.py:spec --out stories.intact`.
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from itertools import pairwise
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import intact
from real_data import folder
from show import build_and_show

HEADER = struct.Struct("<7i")
PIECE = struct.Struct("<fi")
BEGIN = 1
"""The token that stands before a story."""
BYTES = 3
"""The token of the byte 0; those of the other 255 follow."""
SPELLED = BYTES + 256
"""The first token that is a piece of text."""
SEPARATOR = "<|endoftext|>"
TEST_BYTES = 200 * 1024
"""Perplexity is taken on the whole stories in the last so many bytes of the text."""
CALIBRATION = (128, 512)
"""Stories from the beginning of the text, and the tokens of each, so that nothing is padded."""
FED = 4
"""So many of them at a time: attention to 512 tokens takes memory."""
BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a Llama, in the order of the checkpoint's header."""

    width: int
    hidden: int
    layers: int
    heads: int
    shared_heads: int
    vocabulary: int
    context: int

    @property
    def head(self) -> int:
        """Channels of one head."""
        return self.width // self.heads

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Names and sizes of the tensors, in the order of the file."""
        shared = self.shared_heads * self.head
        return {
            "embedding": (self.vocabulary, self.width),
            "attention_norm": (self.layers, self.width),
            "query": (self.layers, self.width, self.width),
            "key": (self.layers, shared, self.width),
            "value": (self.layers, shared, self.width),
            "output": (self.layers, self.width, self.width),
            "feed_norm": (self.layers, self.width),
            "gate": (self.layers, self.hidden, self.width),
            "down": (self.layers, self.width, self.hidden),
            "up": (self.layers, self.hidden, self.width),
            "norm": (self.width,),
            "cosines": (self.context, self.head // 2),
            "sines": (self.context, self.head // 2),
        }


def read_checkpoint(path: Path) -> tuple[Shape, dict[str, torch.Tensor]]:
    """Return the sizes and the tensors of a llama2.c checkpoint of version 0 whose classifier is its embedding."""
    content = path.read_bytes()
    if len(content) < HEADER.size:
        sys.exit(f"error: {path.name} has {len(content)} bytes, fewer than its header")
    sizes = HEADER.unpack_from(content)
    if min(sizes) < 1 or sizes[0] % (2 * sizes[3]) or sizes[3] % sizes[4]:
        sys.exit(f"error: {path.name} says sizes {sizes}, which make no Llama with a shared classifier")
    shape = Shape(**dict(zip((field.name for field in fields(Shape)), sizes, strict=True)))
    wanted = HEADER.size + 4 * sum(prod(size) for size in shape.tensors().values())
    if len(content) != wanted:
        sys.exit(f"error: {path.name} has {len(content)} bytes, not the {wanted} that its header asks for")
    values, found, at = np.frombuffer(content, "<f4", offset=HEADER.size), {}, 0
    for name, size in shape.tensors().items():
        found[name] = torch.from_numpy(values[at : at + prod(size)].reshape(size).astype("f4"))
        at += prod(size)
    return shape, found


def halves_apart(weight: torch.Tensor, head: int) -> torch.Tensor:
    """Order the rows of each head from (0, 1), (2, 3), ... to evens, odds: pairs to be turned lie half a head apart."""
    return weight.reshape(-1, head // 2, 2, weight.shape[-1]).transpose(1, 2).reshape(weight.shape)


class Norm(nn.Module):
    """Division by the root of the mean square (Zhang and Sennrich 2019, arXiv:1910.07467, equation 4)."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5) * self.weight


def linear(weight: torch.Tensor) -> nn.Linear:
    """A product with `weight`, without bias."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight)
    return layer


class Layer(nn.Module):
    """Causal attention whose queries share keys and values in groups, then a gated feed-forward part.

    Touvron et al. 2023, arXiv:2302.13971, section 2.2; Ainslie et al. 2023, arXiv:2305.13245, section 2.2.
    """

    def __init__(self, shape: Shape, tensors: dict[str, torch.Tensor], index: int) -> None:
        super().__init__()
        part = {name: value[index] for name, value in tensors.items() if value.dim() > 1}
        self.shape = shape
        self.attention_norm, self.feed_norm = Norm(part["attention_norm"]), Norm(part["feed_norm"])
        self.query, self.key = (linear(halves_apart(part[name], shape.head)) for name in ("query", "key"))
        self.value, self.output = linear(part["value"]), linear(part["output"])
        self.gate, self.up, self.down = linear(part["gate"]), linear(part["up"]), linear(part["down"])

    def forward(self, x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
        y = self.attention_norm(x)
        shared, head = self.shape.shared_heads, self.shape.head
        query, key, value = (
            layer(y).unflatten(-1, (shared, -1, head)).permute(0, 2, 3, 1, 4)  # batch, shared, queries, sequence, head
            for layer in (self.query, self.key, self.value)
        )
        scores = turned(query, turn) @ turned(key, turn).transpose(-1, -2) * head**-0.5 + mask
        mixed = (scores.softmax(-1) @ value).permute(0, 3, 1, 2, 4).flatten(2)
        x = x + self.output(mixed)
        y = self.feed_norm(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


def turned(x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Turn each pair of channels by the angle of its position (Su et al. 2021, arXiv:2104.09864, section 3.2)."""
    cosines, sines = turn
    first, second = x.chunk(2, -1)
    return x * cosines + torch.cat((-second, first), -1) * sines


class Llama(nn.Module):
    """Tokens to the scores of the token that follows each."""

    def __init__(self, shape: Shape, tensors: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(tensors["embedding"])
        self.layers = nn.ModuleList(Layer(shape, tensors, index) for index in range(shape.layers))
        self.norm = Norm(tensors["norm"])
        self.classifier = linear(tensors["embedding"])
        self.register_buffer("cosines", tensors["cosines"].repeat(1, 2))
        self.register_buffer("sines", tensors["sines"].repeat(1, 2))
        self.register_buffer("places", torch.arange(float(shape.context)))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x, length = self.embedding(tokens), tokens.shape[1]
        turn, places = (self.cosines[:length], self.sines[:length]), self.places[:length]
        mask = (places[None, :] - places[:, None]).clamp(0, 1) * -1e9  # what comes later stays unseen
        for layer in self.layers:
            x = layer(x, turn, mask)
        return self.classifier(self.norm(x))


def float_model() -> Llama:
    """stories260K with its trained weights."""
    return Llama(*read_checkpoint(folder("model_stories260K") / "stories260K.bin")).eval()


@cache
def pieces() -> dict[bytes, int]:
    """Return the token of each piece of text; among two pieces the one with the smaller token is more frequent."""
    content, found, at = (folder("model_stories260K") / "tok512.bin").read_bytes(), [], 4
    while at < len(content):
        if at + PIECE.size > len(content):
            sys.exit("error: tok512.bin ends within a piece")
        _, size = PIECE.unpack_from(content, at)
        at += PIECE.size + size
        if size < 1 or at > len(content):
            sys.exit("error: tok512.bin ends within a piece")
        found.append(content[at - size : at])
    return {piece: token for token, piece in enumerate(found) if token >= SPELLED}


def encode(text: str) -> list[int]:
    """Return the tokens of a text. No piece holds a blank but in front, so every word is encoded by itself."""
    return [token for word in re.findall(r" ?[^ ]+| ", f" {text}") for token in encode_word(word)]


@cache
def encode_word(word: str) -> tuple[int, ...]:
    """Join the most frequent neighbours until none are left (Sennrich et al. 2015, arXiv:1508.07909, section 3.2)."""
    known = pieces()
    parts = [letter.encode() for letter in word]
    while True:
        joined = [(known.get(first + second), place) for place, (first, second) in enumerate(pairwise(parts))]
        best = min(((token, place) for token, place in joined if token is not None), default=None)
        if best is None:
            break
        parts[best[1] : best[1] + 2] = [parts[best[1]] + parts[best[1] + 1]]
    return tuple(token for part in parts for token in ([known[part]] if part in known else [BYTES + b for b in part]))


def stories(text: bytes) -> list[list[int]]:
    """Return the tokens of the whole stories in a part of the text, each from its beginning."""
    whole = text.decode("utf-8", "replace").split(SEPARATOR)
    return [[BEGIN, *encode(story.strip())] for story in whole if story.strip()]


def text() -> bytes:
    """Return the text, of about two thousand stories."""
    return (folder("tinystories_2mb") / "tinystories_sample.txt").read_bytes()


def calibration_stories() -> list[dict[str, np.ndarray]]:
    """Beginnings of the first stories that are long enough, in pieces."""
    rows, length = CALIBRATION
    long = [story[:length] for story in stories(text()[:-TEST_BYTES]) if len(story) >= length][:rows]
    tokens = np.asarray(long, np.int64)
    return [{"tokens": tokens[at : at + FED]} for at in range(0, rows, FED)]


def test_stories() -> list[list[int]]:
    """The stories that begin in the last 200 KB of the text, up to the model's context."""
    return [story[:512] for story in stories(text()[-TEST_BYTES:].split(SEPARATOR.encode(), 1)[1])]


def batches(rows: list[list[int]]) -> Iterator[tuple[list[list[int]], np.ndarray]]:
    """Stories of about equal length together, filled up at the end, which no token before can see."""
    ordered = sorted(rows, key=len)
    for at in range(0, len(ordered), BATCH):
        part = ordered[at : at + BATCH]
        tokens = np.full((len(part), len(part[-1])), BEGIN, np.int64)
        for row, story in zip(tokens, part, strict=True):
            row[: len(story)] = story
        yield part, tokens


def surprise(predict) -> tuple[np.ndarray, np.ndarray]:
    """Minus the log-likelihood of each test story, in nats, and the number of tokens that were foretold in it."""
    losses, counts = [], []
    for part, tokens in batches(test_stories()):
        scores = np.asarray(predict({"tokens": tokens}), np.float64)
        scores -= scores.max(axis=-1, keepdims=True)
        scores -= np.log(np.exp(scores).sum(axis=-1, keepdims=True))
        for row, story in zip(scores, part, strict=True):
            losses.append(-row[np.arange(len(story) - 1), story[1:]].sum())
            counts.append(len(story) - 1)
    return np.asarray(losses), np.asarray(counts)


def perplexity(predict) -> float:
    """Perplexity per token on the test stories."""
    losses, counts = surprise(predict)
    return float(np.exp(losses.sum() / counts.sum()))


def evaluate(predict) -> np.ndarray:
    """One score a story, whose mean is minus the logarithm of the perplexity."""
    losses, counts = surprise(predict)
    return -losses / counts.mean()


def spec() -> intact.Spec:
    """What `intact build` needs."""
    return intact.Spec(
        model=float_model(),
        inputs={"tokens": np.ones((2, 9), np.int64)},
        calibration=calibration_stories(),
        evaluate=evaluate,
        dynamic_axes={"tokens": {0: "batch", 1: "sequence"}},
        name="stories260K",
    )


if __name__ == "__main__":
    build_and_show(spec(), max_drop=0.01, recipe=intact.Recipe(default=intact.LayerRecipe(activations="none")))
