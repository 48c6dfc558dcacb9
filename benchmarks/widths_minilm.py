"""all-MiniLM-L6-v2 at 8 bits, at 4 in groups of 32, and as small as its embeddings allow, against six toolkits.

Run `python benchmarks/widths_minilm.py`. All sentences of STS-B test; the cosine to float is the measure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from contenders import Feeds
from peer_minilm import METHODS
from peers import Run
from places import example
from timing import Plan
from widths import Question, main

CASES = {
    (1, 25): Plan(warm=8, burst=12, rounds=15, budget_s=45),
    (32, 25): Plan(warm=1, burst=2, rounds=9, budget_s=45),
    (8, 128): Plan(warm=1, burst=2, rounds=9, budget_s=45),
}
"""Rows and tokens of a call."""
TARGETS = {
    ("intact W8A8", "openvino", "NNCF W8A8"): 0.95,
    ("intact W8A8", "onnxruntime", "onnxruntime dynamic"): 0.95,
    ("intact W4", "openvino", "NNCF GPTQ W4"): 1.0,
    ("intact W4", "onnxruntime", "onnxruntime W4"): 0.8,
}


def question() -> Question:
    """Return what is asked."""
    from scipy.stats import spearmanr

    module = example("minilm")
    pairs = module.pairs("test")
    sentences = [pair[side] for side in (0, 1) for pair in pairs]

    def score(found: NDArray[np.float32], truth: NDArray[np.float32]) -> dict[str, float]:
        first, second = found[: len(pairs)], found[len(pairs) :]
        cosine = (found * truth).sum(axis=1)
        return {
            "spearman": 100 * float(spearmanr((first * second).sum(axis=1), [pair[2] for pair in pairs]).statistic),
            "mean_cosine": float(cosine.mean()),
            "worst_cosine": float(cosine.min()),
        }

    def outputs(run: Run) -> NDArray[np.float32]:
        return module.embed(run, sentences)

    return Question(
        name="widths_minilm",
        spec=module.spec(),
        calibration=module.calibration_sentences(),
        outputs=outputs,
        score=score,
        script="peer_minilm",
        methods=METHODS,
        cases={f"{rows}x{tokens}": (feeds(rows, tokens), plan) for (rows, tokens), plan in CASES.items()},
        raced=("intact W4 small", *dict.fromkeys(name for ours, _, peer in TARGETS for name in (ours, peer))),
        targets=TARGETS,
    )


def feeds(rows: int, tokens: int) -> Feeds:
    """Return rows of random tokens without padding."""
    ids = np.random.default_rng(0).integers(1000, 30000, (rows, tokens))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


if __name__ == "__main__":
    main(question())
