"""A plan cut into blocks at the tensors that everything passes through."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from intact.compress.plan import FLOAT, Plan, Step
from intact.graph.view import Graph, Port


@dataclass(frozen=True, kw_only=True)
class Block:
    """Neighbouring steps of a plan with at least one layer among them.

    Args:
        steps: In topological order.
        reads: Computed values from before it, and inputs of the graph, that its steps read.
        makes: Values that depend on its layers and are read after it or are outputs of the graph.
        carries: All values, its own or from before it, that steps after it read.
    """

    steps: tuple[Step, ...]
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    carries: tuple[str, ...]

    @property
    def layers(self) -> tuple[Step, ...]:
        """The steps with quantized weights."""
        return tuple(step for step in self.steps if _is_layer(step))

    def graph(self, whole: Graph) -> Graph:
        """The block as a graph of its own, without declared outputs; its inputs have no shapes."""
        nodes = tuple(node for step in self.steps for node in step.nodes)
        used = {name for node in nodes for name in node.present()}
        ports = tuple(Port(name=name, dtype=np.dtype(np.float32), shape=()) for name in self.reads)
        constants = {name: value for name, value in whole.constants.items() if name in used}
        return replace(whole, nodes=nodes, constants=constants, inputs=ports, outputs=())


def blocks_of(plan: Plan) -> tuple[Block, ...]:
    """Cut a plan wherever one value alone carries on what layers have done so far: around each residual block.

    What follows the last layer belongs to no block; a net without such places is one block.

    Source:
        Li et al. 2021, arXiv:2102.05426, section 3.2 (why blocks, not layers and not the whole net).
    """
    traffic = _Traffic(plan)
    found: list[Block] = []
    first = 0
    for last in range(len(plan.steps)):
        holds_layer = any(_is_layer(each) for each in plan.steps[first : last + 1])
        if holds_layer and (len(traffic.crossing(last)) <= 1 or not traffic.layers_after(last)):
            found.append(traffic.block(first, last))
            first = last + 1
        if not traffic.layers_after(last):
            break
    return tuple(found)


def _is_layer(step: Step) -> bool:
    return step.recipe is not None and step.operator != FLOAT


class _Traffic:
    """Which values are read where."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._outputs = plan, plan.graph.output_names
        self._made = {port.name: -1 for port in plan.graph.inputs}
        self._last: dict[str, int] = {}
        self._touched: set[str] = set()
        for at, step in enumerate(plan.steps):
            self._see(at, step)
        self._layers = [at for at, step in enumerate(plan.steps) if _is_layer(step)]

    def _see(self, at: int, step: Step) -> None:
        names = [name for node in step.nodes for name in node.outputs if name]
        self._made |= dict.fromkeys(names, at)
        reads = [name for node in step.nodes for name in node.present() if name in self._made]
        self._last |= dict.fromkeys(reads, at)
        if _is_layer(step) or self._touched.intersection(reads):
            self._touched.update(names)

    def layers_after(self, at: int) -> bool:
        """Whether there is a layer after step `at`."""
        return bool(self._layers) and self._layers[-1] > at

    def live(self, at: int) -> list[str]:
        """Values made up to step `at` that are read after it."""
        return [name for name, made in self._made.items() if made <= at < self._last.get(name, -1)]

    def crossing(self, at: int) -> list[str]:
        """Those of them that depend on a layer."""
        return [name for name in self.live(at) if name in self._touched]

    def block(self, first: int, last: int) -> Block:
        """The steps from `first` to `last`."""
        steps = self._plan.steps[first : last + 1]
        inside = {name: made for name, made in self._made.items() if first <= made <= last}
        reads = [name for step in steps for node in step.nodes for name in node.present() if name in self._made]
        makes = [
            name
            for name in inside
            if name in self._touched and (self._last.get(name, -1) > last or name in self._outputs)
        ]
        return Block(
            steps=steps,
            reads=tuple(dict.fromkeys(name for name in reads if name not in inside)),
            makes=tuple(makes),
            carries=tuple(self.live(last)),
        )
