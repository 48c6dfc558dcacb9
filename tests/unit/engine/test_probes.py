"""Synthetic inputs: made from a label alone, and reaching what an engine may get wrong."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from onnx import TensorProto
from qdq_graph import Graph

from intact.engine.probes import KINDS, Span, make, spans_of
from intact.engine.spec import TensorSpec, specs_of
from intact.errors import ModelError

IMAGE = TensorSpec(name="x", dtype="float32", shape=("n", 3, 8, 8))
TOKENS = TensorSpec(name="ids", dtype="int64", shape=("n", "t"))
SPAN = Span(low=-2.0, high=3.1, step=0.02)


def span_of(graph: Graph) -> Span:
    proto = graph.model().graph
    return spans_of(proto, specs_of(proto)[0])["x"]


def test_the_input_quantizer_gives_the_span():
    graph = Graph()
    graph.output(graph.quantize(graph.input("x", ["n", 3]), 0.25, 10), kind=TensorProto.UINT8)
    assert span_of(graph) == Span(low=-2.5, high=61.25, step=0.25)


@pytest.mark.parametrize("cast", [False, True])
@pytest.mark.parametrize("coded", [False, True])
def test_a_table_gives_the_span_of_its_index(cast, coded):
    graph = Graph()
    index = graph.input("x", ["n", "t"], TensorProto.INT64)
    index = graph.node("Cast", [index], to=TensorProto.INT32) if cast else index
    table = graph.constant(np.zeros((30, 4), np.int8))
    table = graph.node("DequantizeLinear", [table, graph.constant(np.float32(0.5))]) if coded else table
    graph.output(graph.node("Gather", [table, index]), kind=TensorProto.FLOAT if coded else TensorProto.INT8)
    assert span_of(graph) == Span(low=0, high=29)


@pytest.mark.parametrize(
    ("kind", "span"), [(TensorProto.FLOAT, Span(low=-1, high=1)), (TensorProto.INT64, Span(low=0, high=1))]
)
def test_other_inputs_have_a_default_span(kind, span):
    graph = Graph()
    graph.output(graph.node("Neg", [graph.input("x", ["n", 3], kind)]), kind=kind)
    assert span_of(graph) == span


def test_the_generator_is_the_specified_one():
    """SHAKE-128 of the label, little-endian 16-bit numbers, scaled to the span: written out again here."""
    raw = hashlib.shake_128(b"label").digest(2 * 192)
    numbers = [int.from_bytes(raw[i : i + 2], "little") for i in range(0, len(raw), 2)]
    wanted = np.array([-2.0 + 5.1 * (n / 65535) for n in numbers], np.float32).reshape(1, 3, 8, 8)
    np.testing.assert_array_equal(make("uniform", SPAN, IMAGE, {"n": 1}, "label"), wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_reproducible_finite_and_of_the_right_form(kind):
    first = make(kind, SPAN, IMAGE, {"n": 2}, "a")
    assert first.shape == (2, 3, 8, 8) and first.dtype == np.float32
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, make(kind, SPAN, IMAGE, {"n": 2}, "a"))
    assert not np.array_equal(first, make(kind, SPAN, IMAGE, {"n": 2}, "b"))


def test_ties_lie_on_either_side_of_a_half():
    x = make("ties", SPAN, IMAGE, {"n": 4}, "a").astype(np.float64) / 0.02
    off = x - np.floor(x) - 0.5
    assert np.abs(off).max() < 1e-4
    assert (off > 0).any() and (off < 0).any()


def test_extremes_go_beyond_the_span_and_steps_stay_at_its_ends():
    extremes = make("extremes", SPAN, IMAGE, {"n": 2}, "a")
    assert extremes.max() > SPAN.high and extremes.min() < SPAN.low
    assert set(np.unique(make("steps", SPAN, IMAGE, {"n": 2}, "a"))) == {np.float32(SPAN.low), np.float32(SPAN.high)}


@pytest.mark.parametrize("kind", KINDS)
def test_integers_stay_inside_their_span(kind):
    ids = make(kind, Span(low=0, high=29), TOKENS, {"n": 7, "t": 50}, "a")
    assert ids.dtype == np.int64
    assert ids.min() == 0 and ids.max() == 29


def test_a_dimension_without_a_size_is_refused():
    with pytest.raises(ModelError, match="dimension without a size"):
        make("uniform", SPAN, IMAGE, {}, "a")
    with pytest.raises(ModelError, match="dimension without a size"):
        make("uniform", SPAN, TensorSpec(name="x", dtype="float32", shape=None), {}, "a")
