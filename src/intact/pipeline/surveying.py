"""One pass of both models over calibration data: how far they agree, and what the guard learns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact.compress.calibrate import row_count
from intact.graph.run import is_batched
from intact.pipeline.agreement import Agreement, agree, pool, worst
from intact.pipeline.guarding import Lesson
from intact.pipeline.predict import Predictor, cut

Array = NDArray[Any]

ROWS: Final = 512
"""Calibration rows on which float and integer outputs are compared."""
BATCH: Final = 32
"""So many at a time, where rows may be cut."""


def survey(
    reference: Predictor, integer: Predictor, data: Sequence[Mapping[str, Array]], lesson: Lesson | None, *, apart: bool
) -> Agreement | None:
    """Return the agreement of the output that agrees least, over about `ROWS` rows from all over the data.

    Args:
        reference: The float model.
        integer: The integer model.
        data: Calibration data in pieces.
        lesson: Learns from the same rows; None where nothing is to be learned.
        apart: Whether rows may be cut.
    """
    found: dict[str, list[Agreement]] = {name: [] for name in reference.outputs}
    for some in _chosen(data, BATCH if apart else 0, divisible=is_batched(reference.inputs)):
        before = reference.run(some)
        after = integer.run(some) if lesson is None else lesson.add(some, before)
        for name, parts in found.items():
            parts.append(agree(name, before[name], after[name]))
    pooled = [pool(parts) for parts in found.values()]
    return worst([agreement for agreement in pooled if agreement is not None])


def _chosen(data: Sequence[Mapping[str, Array]], size: int, *, divisible: bool) -> Iterator[Mapping[str, Array]]:
    """Yield about `ROWS` rows, evenly spaced over the data, `size` at a time; whole pieces where rows stay together."""
    counts = [row_count(piece) for piece in data]
    total, start = sum(counts), 0
    wanted = np.arange(min(ROWS, total)) * total // max(1, min(ROWS, total))
    for piece, count in zip(data, counts, strict=True):
        inside = wanted[(wanted >= start) & (wanted < start + count)] - start
        start += count
        if len(inside) and (len(inside) == count or not divisible):
            yield from cut(piece, size)
        elif len(inside):
            for at in range(0, len(inside), size or count):
                yield {name: value[inside[at : at + (size or count)]] for name, value in piece.items()}
