"""A compressed model as a torch module: what its integer graph computes, in float, with gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from intact.compress.emit import emit
from intact.compress.encodings import Encoding, narrow
from intact.compress.plan import Step
from intact.compress.recipe import Recipe
from intact.compress.sequence import layer_of, source_of
from intact.compress.solve import Solution
from intact.errors import DataError, UsageError
from intact.graph.differentiable import Differentiable, layer_constants
from intact.graph.program import Program
from intact.graph.view import Graph
from intact.pipeline.drafting import Draft, draft
from intact.pipeline.options import Progress, silent
from intact.pipeline.spec import Spec
from intact.training.products import FakeLayer
from intact.training.wiring import table_of, wire

Array = NDArray[Any]


def prepare(
    source: Spec | Draft,
    recipe: Recipe | None = None,
    *,
    learn_scales: bool = True,
    learn_activation_scales: bool = False,
    progress: Progress = silent,
) -> Prepared:
    """Make a model ready for training by its recipe.

    Args:
        source: What to build, as `intact.build` takes it; or a draft of it, which has a recipe already.
        recipe: How to compress; the default recipe where it is None.
        learn_scales: Whether the scales of the weights are learned.
        learn_activation_scales: Whether those of the activations are too; in the exact profile they move by octaves.
        progress: Called with (stage, done, total).

    Raises:
        UsageError: A draft and a recipe were given, or the recipe leaves nothing to train.
        ModelError, DataError: As `intact.build`; or an operator has no differentiable form.
    """
    if not isinstance(source, Draft):
        source = draft(source, recipe or Recipe(), progress)
    elif recipe is not None:
        raise UsageError("a draft has a recipe already, and another was given", hint="give the Spec instead")
    if not source.plan.layers:
        raise UsageError("the recipe leaves every layer in float, so there is nothing to train")
    return Prepared(source, learn_scales=learn_scales, learn_activation_scales=learn_activation_scales)


class Prepared(nn.Module):  # type: ignore[misc]
    """A torch module that computes what the integer graph of a draft computes.

    Its parameters are the float weights and biases behind the integers, and the learned scales; train them with any
    optimizer. In the exact profile its outputs are those of the integer graph to the bit, outside of autocast; where
    the scales of activations are learned, tables of functions apart, whose values torch computes then.

    Args:
        made: A float model compressed without training; `made.plan` says what becomes of every node.
        learn_scales: Whether the scales of weights are parameters.
        learn_activation_scales: Whether those of activations are.
        keep_grids: Whether weights stay on the grids that the draft's came from; their scales are not learned then.
    """

    def __init__(
        self,
        made: Draft,
        *,
        learn_scales: bool = True,
        learn_activation_scales: bool = False,
        keep_grids: bool = False,
    ) -> None:
        super().__init__()
        self.draft = made
        plan = made.plan
        tables = {step.nodes[0].inputs[0]: step.layer for step in plan.steps if step.operator == "embedding"}
        self.net = Differentiable(plan.graph, trainable=[n for n in layer_constants(plan.graph) if n not in tables])
        self._wiring = wire(plan, made.encodings, made.emission.graph.constants, learn=learn_activation_scales)
        self.activations = nn.ModuleList(self._wiring.activations.values())
        learn_scales = learn_scales and not keep_grids
        fakes = [_fake(made, step, learn=learn_scales, keep_grid=keep_grids) for step in plan.layers]
        self.layers = nn.ModuleList(fakes)
        self._sources = [_source_key(made, step) for step in plan.layers]
        self._now: dict[str, Tensor] = {}
        self._connect()
        constants = made.emission.graph.constants
        self._tables = {name: partial(_instead, table_of(constants, layer)) for name, layer in tables.items()}
        self.net.on_constant.update(self._tables)

    @property
    def source(self) -> Graph:
        """The float graph that was compressed."""
        return self.draft.plan.graph

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Compute the outputs: the one tensor, or a mapping by name where the model has several.

        Args:
            inputs: Tensors in the order of the model's inputs, or one mapping by name.
            named: Tensors by name.

        Raises:
            DataError: Names do not fit the model.
        """
        feeds = feeds_of(self.draft.plan.graph, inputs, named)
        self._refresh()
        found = self.net(feeds)
        self._now.clear()
        return next(iter(found.values())) if len(found) == 1 else found

    def part(self, graph: Graph, fetch: Sequence[str]) -> Differentiable:
        """Some neighbouring nodes of the float graph with the fake quantizers of this module around them.

        Args:
            graph: These nodes, their inputs being values of the whole as this module makes them.
            fetch: Values to return.
        """
        found = Differentiable(graph, trainable=(), fetch=fetch)
        made = {name: hook for name, hook in self._wiring.on_value.items() if name in graph.producers}
        found.on_value.update(made)
        found.on_read.update(self._wiring.on_read)
        found.bypass.update(self._wiring.bypass)
        found.on_constant.update(self._tables)
        return found

    def input_step(self, layer: str) -> float | None:
        """The scale of the codes that a layer reads; None where they have none of their own."""
        return self._step(self._sources[[each.name for each in self.layers].index(layer)])

    def scales(self) -> list[nn.Parameter]:
        """The learned scales: binary logarithms, which want a learning rate of their own and no decay."""
        return [value for name, value in self.named_parameters() if name.endswith(("log2_scale", "log2_step"))]

    def weights(self) -> list[nn.Parameter]:
        """The other parameters."""
        scales = {id(value) for value in self.scales()}
        return [value for value in self.parameters() if id(value) not in scales]

    def encodings(self) -> dict[str, Encoding]:
        """The code of every coded tensor as it is now."""
        found = dict(self.draft.encodings)
        for name in found:
            module = self._wiring.activations.get(self._wiring.owner.get(name, ""))
            if module is not None:
                found[name] = module.encoding()
        return found

    def graph(self) -> Graph:
        """The float graph with the constants as training left them."""
        return self.net.to_graph()

    def _connect(self) -> None:
        """Put the hooks into the float graph."""
        self.net.on_value.update(self._wiring.on_value)
        self.net.on_read.update(self._wiring.on_read)
        self.net.bypass.update(self._wiring.bypass)
        for layer in self.layers:
            for name in filter(None, (layer.weight, layer.bias)):
                self.net.on_constant[name] = partial(self._current, name)

    def _current(self, name: str, value: Tensor) -> Tensor:
        return self._now.get(name, value)

    def _refresh(self) -> None:
        """Quantize the weights and biases of all layers once, for every node that reads them."""
        for layer, source in zip(self.layers, self._sources, strict=True):
            self._now.update(layer(self.net, self._step(source)))

    def _step(self, source: str) -> float | None:
        """The scale of the codes that a layer reads; None where they have none of their own."""
        return self._wiring.activations[self._wiring.owner[source]].step if source else None


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What training made, as the emitter takes it: nothing is rounded again.

    Args:
        graph: The float graph with trained constants.
        encodings: Code of every coded tensor.
        solutions: The integers of every layer, by its name.
    """

    graph: Graph
    encodings: Mapping[str, Encoding]
    solutions: Mapping[str, Solution]


def export(prepared: Prepared) -> Exported:
    """Turn what was trained into integers.

    Where the sums of a row might not fit its accumulator, the row's scale is doubled, in `prepared` too, so that its
    outputs stay those of the integer graph.

    Raises:
        DataError: A weight has become NaN or infinite.
        ModelError: A bias is out of reach, whatever the scale.
    """
    graph, encodings = prepared.graph(), prepared.encodings()
    plan = replace(prepared.draft.plan, graph=graph)
    steps = prepared.draft.plan.layers
    solutions = {
        step.layer: layer.solution(prepared.net, layer_of(plan, encodings, step))
        for step, layer in zip(steps, prepared.layers, strict=True)
    }
    return Exported(graph=graph, encodings=encodings, solutions=solutions)


def trained_draft(prepared: Prepared) -> Draft:
    """Return the draft that `prepared` was made of with the trained integers in place of its own.

    Its plan keeps the untrained float graph: that is what the integer model is compared with.
    """
    exported = export(prepared)
    before = prepared.draft
    emission = emit(replace(before.plan, graph=exported.graph), exported.encodings, exported.solutions)
    return replace(
        before,
        encodings=exported.encodings,
        emission=emission,
        program=Program.from_proto(emission.graph.to_proto()),
    )


def feeds_of(graph: Graph, inputs: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors by the names of the graph's inputs.

    Raises:
        DataError: Names do not fit, or there are too many.
    """
    names = [port.name for port in graph.inputs]
    whole = len(inputs) == 1 and isinstance(inputs[0], Mapping)
    given = {**inputs[0], **named} if whole else {**dict(zip(names, inputs, strict=False)), **named}
    if sorted(given) != sorted(names) or (not whole and len(inputs) > len(names)):
        raise DataError(f"the model takes the inputs {names}, and was given {len(inputs)} and {sorted(named)}")
    return {name: value if isinstance(value, Tensor) else torch.as_tensor(value) for name, value in given.items()}


def _instead(table: Tensor, value: Tensor) -> Tensor:
    return table.to(value.device)


def _fake(made: Draft, step: Step, *, learn: bool, keep_grid: bool) -> FakeLayer:
    assert step.recipe is not None
    layer = layer_of(made.plan, made.encodings, step)
    solution = made.emission.solutions[step.layer]
    keep = solution.codes.q != 0 if step.recipe.sparsity else None
    return FakeLayer(made.plan, step, layer, keep=keep, learn=learn, grid=solution.grid if keep_grid else None)


def _source_key(made: Draft, step: Step) -> str:
    """The name under which a layer's input has its quantizer; empty where its codes have no scale of their own."""
    assert step.recipe is not None
    if source_of(made.encodings, step) is None:
        return ""
    name, bits = step.nodes[0].inputs[0], step.recipe.activation_bits
    return narrow(name, bits) if made.encodings[name].affine.bits > bits else name
