"""The language-model example: its checkpoint reader refuses what does not add up, and its figures are known."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

SIZES = (8, 12, 1, 2, 1, 300, 16)
"""A tiny model: width, hidden, layers, heads, shared heads, vocabulary, context."""


@pytest.fixture
def stories(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
    import stories260k

    stories260k.pieces.cache_clear()
    stories260k.encode_word.cache_clear()
    yield stories260k
    sys.modules.pop("stories260k")


@pytest.fixture
def checkpoint(stories: ModuleType, tmp_path: Path) -> Path:
    shape = stories.Shape(**dict(zip(stories.Shape.__slots__, SIZES, strict=True)))
    floats = sum(int(np.prod(size)) for size in shape.tensors().values())
    path = tmp_path / "tiny.bin"
    values = np.random.default_rng(0).normal(size=floats).astype("<f4")
    path.write_bytes(struct.pack("<7i", *SIZES) + values.tobytes())
    return path


def test_a_checkpoint_is_read_in_the_order_of_the_file(stories: ModuleType, checkpoint: Path) -> None:
    shape, found = stories.read_checkpoint(checkpoint)
    whole = np.frombuffer(checkpoint.read_bytes()[28:], "<f4")
    np.testing.assert_array_equal(np.concatenate([each.numpy().ravel() for each in found.values()]), whole)
    assert found["down"].shape == (1, shape.width, shape.hidden)


@pytest.mark.parametrize("cut", [-1, -4, 27 - 10**9])
def test_a_checkpoint_of_another_length_is_refused(stories: ModuleType, checkpoint: Path, cut: int) -> None:
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[:20] if cut < -(10**8) else content[:cut])
    with pytest.raises(SystemExit, match="bytes"):
        stories.read_checkpoint(checkpoint)


@pytest.mark.parametrize("place", range(7))
@pytest.mark.parametrize("value", [0, -1, 2**30])
def test_a_header_that_does_not_fit_is_refused(stories: ModuleType, checkpoint: Path, place: int, value: int) -> None:
    content = bytearray(checkpoint.read_bytes())
    struct.pack_into("<i", content, 4 * place, value)
    checkpoint.write_bytes(content)
    with pytest.raises(SystemExit, match="error: tiny.bin"):
        stories.read_checkpoint(checkpoint)


def test_a_token_never_sees_what_comes_after_it(stories: ModuleType, checkpoint: Path) -> None:
    model = stories.Llama(*stories.read_checkpoint(checkpoint)).eval()
    tokens = torch.arange(12)[None] % 7
    changed = tokens.clone()
    changed[0, 8:] = 99
    with torch.no_grad():
        first, second = model(tokens), model(changed)
    torch.testing.assert_close(first[:, :8], second[:, :8], rtol=0, atol=0)
    assert not torch.equal(first[:, 8:], second[:, 8:])


@pytest.mark.data
def test_words_are_cut_into_known_pieces_and_joined_again(
    stories: ModuleType, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTACT_DATA", str(real_data))
    texts = {token: piece for piece, token in stories.pieces().items()}

    def decode(tokens: list[int]) -> str:
        parts = [texts[t] if t >= stories.SPELLED else bytes([t - stories.BYTES]) for t in tokens]
        return b"".join(parts).decode("utf-8").removeprefix(" ")

    for text in ("Once upon a time, there was a little girl.", "naïve\n\n“two  blanks” ", "火 and\ttabs", ""):
        assert decode(stories.encode(text)) == text
    assert len(stories.encode("Once upon a time, there was a little girl.")) < 20


@pytest.mark.data
def test_the_float_model_has_the_known_perplexity(
    stories: ModuleType, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTACT_DATA", str(real_data))
    model = stories.float_model()

    def predict(feeds: dict[str, np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(feeds["tokens"])).numpy()

    assert stories.perplexity(predict) == pytest.approx(3.934, abs=5e-4)
