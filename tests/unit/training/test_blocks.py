"""A plan falls into blocks where one value alone carries on what layers have done."""

from __future__ import annotations

from collections.abc import Sequence

from intact import LayerRecipe, Recipe
from intact.compress.plan import Plan, plan
from intact.graph.load import load
from intact.graph.normalise import normalise
from intact.training.blocks import blocks_of
from support.nets import Net, cnn, mlp
from support.transformer import encoder


def plan_of(model: bytes) -> Plan:
    return plan(normalise(load(model)), Recipe(default=LayerRecipe(weights=4)))


def layers(made: Plan) -> list[list[str]]:
    return [[step.layer for step in block.layers] for block in blocks_of(made)]


def residual() -> bytes:
    """A stem, a residual block of two layers with a layer on its shortcut, and a head."""
    net = Net(0, x=["n", 3, 6, 6])
    stem = net.op("Relu", net.conv("x", net.normal(4, 3, 1, 1), net.normal(4), "stem"))
    first = net.op("Relu", net.conv(stem, net.normal(4, 4, 1, 1), net.normal(4), "first"))
    second = net.conv(first, net.normal(4, 4, 1, 1), net.normal(4), "second")
    short = net.conv(stem, net.normal(4, 4, 1, 1), net.normal(4), "short")
    total = net.op("Relu", net.op("Add", second, short))
    flat = net.op("Flatten", net.op("GlobalAveragePool", total))
    return net.bytes(net.op("Softmax", net.gemm(flat, net.normal(5, 4), net.normal(5), "head"), axis=1))


def test_a_chain_falls_into_single_layers() -> None:
    assert layers(plan_of(mlp())) == [["first"], ["last"]]


def test_a_shortcut_holds_its_layers_together() -> None:
    assert layers(plan_of(cnn())) == [["stem"], ["body"], ["head"]]
    assert [sorted(each) for each in layers(plan_of(residual()))] == [["stem"], ["first", "second", "short"], ["head"]]


def test_what_follows_the_last_layer_is_in_no_block() -> None:
    made = plan_of(residual())
    last = blocks_of(made)[-1]
    assert [node.op for step in last.steps for node in step.nodes][-1] == "Gemm"
    assert last.makes == (last.layers[-1].outputs[0],)


def test_two_ways_through_are_one_block_from_where_the_second_begins() -> None:
    net = Net(0, x=["n", 8])
    first, second = (net.gemm("x", net.normal(8, 8), net.normal(8), name) for name in ("first", "second"))
    third, fourth = net.gemm(first, net.normal(8, 8), None, "third"), net.gemm(second, net.normal(8, 8), None, "fourth")
    made = plan_of(net.bytes(net.op("Add", third, fourth)))
    assert [sorted(each) for each in layers(made)] == [["first"], ["fourth", "second", "third"]]


def test_values_that_no_layer_touched_do_not_hold_blocks_together() -> None:
    net = Net(0, x=["n", 4], mask=["n", 4])
    first = net.op("Mul", net.gemm("x", net.normal(4, 4), net.normal(4), "first"), "mask")
    second = net.op("Mul", net.gemm(first, net.normal(4, 4), net.normal(4), "second"), "mask")
    made = plan_of(net.bytes(second))
    assert layers(made) == [["first"], ["second"]]
    assert "mask" in blocks_of(made)[0].carries and "mask" in blocks_of(made)[1].reads


def test_an_output_on_the_way_is_a_target_and_ends_nothing() -> None:
    net = Net(0, x=["n", 4])
    first = net.op("Relu", net.gemm("x", net.normal(4, 4), net.normal(4), "first"))
    made = plan_of(net.bytes(first, net.gemm(first, net.normal(3, 4), net.normal(3), "last")))
    assert layers(made) == [["first"], ["last"]]
    assert blocks_of(made)[0].makes == (first,)


def test_every_layer_is_in_one_block_and_every_block_reads_what_is_carried_to_it() -> None:
    _, model = encoder()
    for made in (plan_of(model), plan_of(cnn()), plan_of(residual())):
        blocks = blocks_of(made)
        assert [name for each in layers(made) for name in each] == [step.layer for step in made.layers]
        carried: Sequence[str] = [port.name for port in made.graph.inputs]
        for block in blocks:
            assert block.layers and set(block.reads) <= set(carried)
            carried = block.carries


def test_a_block_is_a_graph_of_its_own() -> None:
    made = plan_of(residual())
    block = blocks_of(made)[1]
    graph = block.graph(made.graph)
    assert {port.name for port in graph.inputs} == set(block.reads)
    assert set(block.makes) <= set(graph.producers)
    assert set(graph.constants) == {name for node in graph.nodes for name in node.present()} & set(made.graph.constants)
