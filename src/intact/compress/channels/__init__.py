"""Structured pruning: whole channels go, so that every engine has less to do.

Channels that are tied by residual additions, padded shortcuts, joins or depthwise convolutions go together; the
products that read them are fitted anew. A graph goes in, a smaller graph of the same function, nearly, comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.channels.choose import Choice, Search
from intact.compress.channels.readers import MOST_COLUMNS, make_readers
from intact.compress.channels.shrink import shrink
from intact.compress.channels.trace import trace
from intact.compress.channels.wiring import Wiring
from intact.compress.channels.work import multiply_adds
from intact.compress.weights import rows_of
from intact.errors import DataError, UsageError
from intact.graph.view import Graph

Array = NDArray[Any]
Feeds = Mapping[str, Array]

MULTIPLE = 16
"""Channels that are left in a group come in multiples of this.

Measured with AVX-512 VNNI: a convolution from 16 channels to 8 takes OpenVINO as long as one to 16, and onnxruntime 1.5
times as long; 24 outputs take as long as 32.
"""

__all__ = ["MULTIPLE", "Slimmed", "Thinned", "multiply_adds", "thin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slimmed:
    """One group of channels that can only go together.

    Args:
        layers: Products that make them, by the name of their weight.
        before, after: How many there were and are.
        reason: Why none could go; empty where some could.
    """

    layers: tuple[str, ...]
    before: int
    after: int
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Thinned:
    """A graph with fewer channels.

    Args:
        graph: The graph.
        macs_before, macs_after: Multiply-adds of its products for one example.
        groups: Its groups of channels.
    """

    graph: Graph
    macs_before: int
    macs_after: int
    groups: tuple[Slimmed, ...]

    @property
    def share(self) -> float:
        """Multiply-adds left, as a share of what they were."""
        return self.macs_after / self.macs_before


def thin(
    graph: Graph,
    pieces: Sequence[Feeds],
    *,
    macs: float,
    multiple: int = MULTIPLE,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Thinned:
    """Take channels out of `graph` until at most a share `macs` of its multiply-adds is left.

    Step by step, the group of channels goes on losing some whose loss costs its readers the least output error for
    the time saved (see `Work.effort`), when the readers' other weights make good what they can.

    Args:
        graph: Normalised float graph.
        pieces: Checked inputs by name; some hundreds of typical examples.
        macs: In (0, 1).
        multiple: Channels left in a group are a multiple of this.
        progress: Called with (multiply-adds saved, to be saved).

    Returns:
        The smaller graph; its inputs and outputs, and names of layers, are as they were.

    Raises:
        UsageError: The share cannot be reached, or a number is out of range.
        DataError: No data.
        ModelError: A product's inputs cannot be looked at.

    Source:
        Selection and reconstruction: He et al. 2017, arXiv:1707.06168, section 3; errors in closed form and greedy
        removal as in optimal brain surgeon (Hassibi & Stork 1992). Tied channels: Fang et al. 2023, arXiv:2301.12900.
    """
    if not 0.0 < macs < 1.0:
        raise UsageError(f"macs is {macs}, not a share in (0, 1)", hint="0.5 halves the multiply-adds")
    if multiple < 1:
        raise UsageError(f"multiple is {multiple}, not at least 1")
    if not pieces:
        raise DataError("no data to judge channels by", hint="give some hundreds of typical inputs")
    wiring = trace(graph)
    wide = _wide(wiring)
    touchable = tuple(number for number in range(len(wiring.groups)) if number not in wide)
    units = {unit for number in touchable for unit in wiring.groups[number].units}
    nodes = wiring.readers(units)
    if not nodes:
        raise UsageError("the model has no channels that could go", hint="its layers all keep what outputs need")
    before = multiply_adds(graph)
    search = Search(wiring, make_readers(wiring, nodes, pieces), touchable, multiple)
    choice = search.down_to(int(macs * before), progress)
    values: dict[str, Array] = {}
    for node in nodes:
        values.update(choice.readers[node.output].constants(wiring, node))
    fitted = replace(wiring, graph=replace(graph, constants={**graph.constants, **values}))
    smaller = shrink(fitted, choice.gone)
    return Thinned(
        graph=smaller, macs_before=before, macs_after=multiply_adds(smaller), groups=_told(wiring, choice, wide)
    )


def _wide(wiring: Wiring) -> dict[int, str]:
    """Groups that a product with too many columns reads, by number, with what to tell."""
    found = {}
    for number, group in enumerate(wiring.groups):
        for node in wiring.readers(group.units):
            columns = rows_of(wiring.graph, node).shape[1]
            if columns > MOST_COLUMNS:
                found[number] = f"'{node.output}' reads {columns} columns, more than {MOST_COLUMNS}"
    return found


def _told(wiring: Wiring, choice: Choice, wide: Mapping[int, str]) -> tuple[Slimmed, ...]:
    makers = {
        node.output: node.inputs[1].removesuffix(".weight")
        for node in wiring.graph.nodes
        if node.op in ("Conv", "Gemm", "MatMul")
    }
    return tuple(
        Slimmed(
            layers=tuple(makers[name] for name in group.places if name in makers),
            before=len(group.units),
            after=int(np.sum([unit not in choice.gone for unit in group.units])),
            reason=wide.get(number, ""),
        )
        for number, group in enumerate(wiring.groups)
    )
