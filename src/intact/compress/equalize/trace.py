"""Follow positive factors through a float graph: which channels of which tensors must share one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.graph.shapes import infer_dtypes, infer_shapes
from intact.graph.view import Graph, Node

Array = NDArray[Any]
Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the channels of a tensor lie: `size` along `axis`, or the whole tensor as one channel (axis None)."""

    axis: int | None
    size: int


ONE = Layout(axis=None, size=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Channel `theirs[i]` of `target` comes of channel `ours[i]` of `source` and has its factor."""

    source: str
    target: str
    ours: Index
    theirs: Index
    node: Node


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What may be scaled in a graph.

    Args:
        graph: The graph.
        layouts: Channels of every float tensor.
        links: Channels that share a factor, in topological order.
        pinned: Tensors whose factors are one.
        folds: Nodes by output that take factors into their constants: products, sums with constants, bounds.
        ranks: The number of axes of every tensor of which it is known.
    """

    graph: Graph
    layouts: Mapping[str, Layout]
    links: tuple[Link, ...]
    pinned: frozenset[str]
    folds: Mapping[str, Node]
    ranks: Mapping[str, int]

    def labels(self, *, whole: bool) -> dict[str, Index]:
        """Number the factors: for every tensor the label of each channel; label 0 is the factor one.

        Args:
            whole: Give all channels of a tensor one factor.
        """
        ids, total = {}, 1
        for name, layout in self.layouts.items():
            ids[name] = np.arange(total, total + layout.size)
            total += layout.size
        least = np.arange(total)
        pairs = [(ids[name], np.zeros_like(ids[name])) for name in sorted(self.pinned)]
        pairs += [(ids[link.source][link.ours], ids[link.target][link.theirs]) for link in self.links]
        if whole:
            pairs += [(each, np.full_like(each, each[0])) for each in ids.values()]
        while settle(least, pairs):
            pass
        _, flat = np.unique(least, return_inverse=True)
        return {name: flat[each] for name, each in ids.items()}


def settle(least: Index, pairs: Sequence[tuple[Index, Index]]) -> bool:
    """Give the two ends of each pair the smaller of their numbers, forth and back; say whether anything changed."""
    before = least.copy()
    for first, second in (*pairs, *reversed(pairs)):
        lower = np.minimum(least[first], least[second])
        np.minimum.at(least, first, lower)
        np.minimum.at(least, second, lower)
    return bool((before != least).any())


@dataclass
class Tracer:
    """Gathers the trace node by node; what a rule writes through."""

    graph: Graph
    layouts: dict[str, Layout] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    pinned: set[str] = field(default_factory=set)
    folds: dict[str, Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shapes = infer_shapes(self.graph)
        self._dtypes = infer_dtypes(self.graph)
        self._uses = Counter(name for node in self.graph.nodes for name in node.present())
        for port in self.graph.inputs:
            if port.dtype.kind == "f":
                self.make(port.name, ONE)
                self.pin(port.name)

    def visit(self, node: Node, rules: Mapping[str, Rule]) -> None:
        """Take in one node, by its rule if it has one that fits; else nothing it reads or makes may be scaled."""
        read = [name for name in node.present() if name in self.layouts]
        floats = [name for name in node.outputs if name and self.is_float(name)]
        if node.op in ("Shape", "Size") or not (read or floats):
            return
        rule = None if node.domain or not floats or not read else rules.get(node.op)
        if rule is None or not rule(self, node):
            for name in read:
                self.pin(name)
            for name in floats:
                self.make(name, ONE)
                self.pin(name)

    def finish(self) -> Trace:
        """Return the trace."""
        for name in self.graph.output_names:
            self.pin(name)
        return Trace(
            graph=self.graph,
            layouts=self.layouts,
            links=tuple(self.links),
            pinned=frozenset(self.pinned),
            folds=self.folds,
            ranks={name: len(shape) for name, shape in self.shapes.items()},
        )

    def is_float(self, name: str) -> bool:
        """Whether a value is not known to be of integers or truths."""
        return name not in self._dtypes or self._dtypes[name].kind not in "iub"

    def make(self, name: str, layout: Layout) -> None:
        """Note the channels of a new tensor."""
        self.layouts[name] = layout

    def pin(self, name: str) -> None:
        """Hold the factors of `name` at one."""
        if name in self.layouts:
            self.pinned.add(name)

    def rank(self, name: str) -> int | None:
        """The number of axes of a tensor, where it is known."""
        return len(self.shapes[name]) if name in self.shapes else None

    def own(self, name: str) -> Array | None:
        """A float constant that nobody else reads."""
        value = self.graph.constant(name)
        free = value is not None and value.dtype.kind == "f" and self._uses[name] == 1
        return value if free and name not in self.graph.output_names else None

    def link(
        self, node: Node, source: str, target: str, ours: Index | None = None, theirs: Index | None = None
    ) -> None:
        """Tie channels of two tensors: all to all of one number, unless told which; one to all where one is whole."""
        one, other = self.layouts[source].size, self.layouts[target].size
        count = max(one, other)
        ours = np.arange(count) if ours is None else ours
        theirs = np.arange(count) if theirs is None else theirs
        ours = ours if one > 1 else np.zeros_like(ours)
        theirs = theirs if other > 1 else np.zeros_like(theirs)
        self.links.append(Link(source=source, target=target, ours=ours, theirs=theirs, node=node))

    def same(self, node: Node, source: str, axis: int | None = -1) -> bool:
        """The first output has the channels of `source` (along `axis`, if told)."""
        layout = self.layouts[source]
        self.make(node.output, layout if axis == -1 else Layout(axis=axis, size=layout.size))
        self.link(node, source, node.output)
        return True

    def whole(self, node: Node, sources: Iterable[str]) -> bool:
        """All channels of all `sources` share one factor, which every output has."""
        for output in node.outputs:
            if output and self.is_float(output):
                self.make(output, ONE)
                for source in sources:
                    self.link(node, source, output)
        return True


Rule = Callable[[Tracer, Node], bool]
"""Notes how one node carries factors; False where it does not."""
