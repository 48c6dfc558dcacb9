"""stories260K with integer weights of 8, 4 and 3 bits, against six toolkits.

Run `python benchmarks/widths_stories.py`. Perplexity on the whole stories in the last 200 KB of the text.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from peer_stories import METHODS
from peers import Run
from places import example
from widths import Question, main


def question() -> Question:
    """Return what is asked."""
    module = example("stories260k")

    def outputs(run: Run) -> NDArray[np.float64]:
        return np.stack(module.surprise(run))

    def score(found: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, float]:
        (losses, counts), (wanted, _) = found, truth
        return {
            "perplexity": float(np.exp(losses.sum() / counts.sum())),
            "worse_nats": float((losses - wanted).sum() / counts.sum()),
        }

    return Question(
        name="widths_stories",
        spec=module.spec(),
        calibration=module.calibration_stories(),
        outputs=outputs,
        score=score,
        script="peer_stories",
        methods=METHODS,
        openvino={"INFERENCE_PRECISION_HINT": "f32"},  # its default here, bfloat16, adds 0.4 to the perplexity
    )


if __name__ == "__main__":
    main(question())
