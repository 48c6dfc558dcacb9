"""ResNet-20 at every width, against brevitas, NNCF, onnxruntime, torchao and optimum-quanto.

Run `python benchmarks/widths_resnet20.py`. All 10,000 JPEG test images; at most 1,000 calibration images for everybody.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from peer_resnet20 import IMAGES, METHODS
from peers import Run
from places import example
from timing import Plan
from widths import Question, main

PART = 250
CASES = {
    1: Plan(warm=10, burst=20, rounds=20, budget_s=45),
    32: Plan(warm=2, burst=4, rounds=20, budget_s=45),
}


def question() -> Question:
    """Return what is asked."""
    module, data = example("resnet20_cifar10"), example("real_data")
    images, labels = data.cifar10_test()
    calibration = data.cifar10_images(IMAGES)
    spec = module.spec()
    name = spec.proto().graph.input[0].name

    def outputs(run: Run) -> NDArray[np.float32]:
        return np.concatenate([run({name: part}) for part in np.split(images, len(images) // PART)])

    def score(found: NDArray[np.float32], truth: NDArray[np.float32]) -> dict[str, float]:
        answers = found.argmax(axis=1)
        return {
            "accuracy": 100 * float((answers == labels).mean()),
            "agreement": 100 * float((answers == truth.argmax(axis=1)).mean()),
        }

    return Question(
        name="widths_resnet20",
        spec=spec,
        calibration=[{name: part} for part in np.split(calibration, 8)],
        outputs=outputs,
        score=score,
        script="peer_resnet20",
        methods=METHODS,
        cases={f"batch {rows}": ({name: np.ascontiguousarray(images[:rows])}, plan) for rows, plan in CASES.items()},
        raced=("intact W8A8", "intact W4A8", "intact W4A4", "intact W3A8", "onnxruntime W8A8", "NNCF W8A8"),
        targets={
            (f"intact {width}", engine, "intact W8A8"): 1.05
            for width in ("W4A8", "W4A4", "W3A8")
            for engine in ("onnxruntime", "openvino")
        },
    )


if __name__ == "__main__":
    main(question())
