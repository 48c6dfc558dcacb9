"""Second moments of what a layer reads, and the weights that make up for the layers before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intact.compress.moments import Gathering, Geometry, Moments, target
from intact.graph.view import Node

ALL = 1 << 30


def conv(**attributes: object) -> Node:
    return Node(op="Conv", inputs=("x", "w"), outputs=("y",), attributes=attributes)


@settings(max_examples=40, deadline=None)
@given(
    groups=st.sampled_from([1, 2, 4]),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    before=st.integers(0, 2),
    after=st.integers(0, 2),
    kernel=st.sampled_from([(1, 1), (3, 3), (2, 3)]),
)
def test_rows_times_weights_are_the_convolution(
    groups: int, stride: int, dilation: int, before: int, after: int, kernel: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 4, 9, 8)).astype(np.float32)
    weight = rng.normal(size=(8, 4 // groups, *kernel)).astype(np.float32)
    pads = [before, before, after, after]
    node = conv(group=groups, strides=[stride] * 2, dilations=[dilation] * 2, pads=pads)
    geometry = Geometry.of(node, weight.shape)
    assert geometry is not None
    rows = geometry.rows(x, ALL)
    flat = weight.reshape(groups, 8 // groups, -1)
    found = np.concatenate([rows[group] @ flat[group].T for group in range(groups)], axis=1)
    padded = torch.nn.functional.pad(torch.from_numpy(x), (before, after, before, after))
    wanted = torch.nn.functional.conv2d(padded, torch.from_numpy(weight), None, stride, 0, dilation, groups)
    np.testing.assert_allclose(found, wanted.permute(0, 2, 3, 1).reshape(-1, 8).numpy(), rtol=1e-3, atol=1e-4)


def test_a_convolution_that_pads_by_itself_has_no_geometry() -> None:
    assert Geometry.of(conv(auto_pad="SAME_UPPER"), (4, 4, 3, 3)) is None


@pytest.mark.parametrize("most", [1, 7, 100])
def test_no_more_rows_are_looked_at_than_asked(most: int) -> None:
    geometry = Geometry.of(Node(op="MatMul", inputs=("x", "w"), outputs=("y",)), (5, 3))
    assert geometry is not None
    assert geometry.rows(np.zeros((2, 6, 5), np.float32), most).shape == (1, min(most, 12), 5)


def gathered(x: np.ndarray, f: np.ndarray) -> Moments:
    gathering = Gathering(Geometry(groups=1, columns=x.shape[1]))
    for part in range(0, len(x), 10):
        gathering.see(x[part : part + 10], f[part : part + 10], ALL)
    return gathering.finish()


def test_moments_are_means_over_all_parts() -> None:
    rng = np.random.default_rng(0)
    x, f = rng.normal(size=(2, 57, 6)).astype(np.float32) + 1
    moments = gathered(x, f)
    np.testing.assert_allclose(moments.gram[0], x.T @ x / 57, rtol=1e-5)
    np.testing.assert_allclose(moments.cross[0], f.T @ x / 57, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(moments.centred().gram[0], np.cov(x.T, bias=True), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(moments.float_mean[0], f.mean(axis=0), rtol=1e-5)


def test_where_nothing_was_lost_the_target_is_the_weights() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6)).astype(np.float32)
    weights = rng.normal(size=(4, 6))
    np.testing.assert_allclose(target(weights, gathered(x, x)), weights, rtol=1e-6)


def test_the_target_makes_up_for_what_the_layers_before_did() -> None:
    rng = np.random.default_rng(0)
    f = rng.normal(size=(4000, 6)).astype(np.float32)
    x = (f * np.linspace(0.5, 1.5, 6) + 0.1 * rng.normal(size=f.shape)).astype(np.float32)
    weights = rng.normal(size=(4, 6))
    best = target(weights, gathered(x, f))

    def error(candidate: np.ndarray) -> float:
        return float(np.square(x @ candidate.T - f @ weights.T).mean())

    assert error(best) < 0.2 * error(weights)


def test_a_channel_that_never_fires_keeps_its_weights() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 5)).astype(np.float32)
    x[:, 2] = 0
    weights = rng.normal(size=(3, 5))
    np.testing.assert_allclose(target(weights, gathered(x, x))[:, 2], weights[:, 2], rtol=1e-6)
    nothing = gathered(np.zeros((10, 5), np.float32), np.zeros((10, 5), np.float32))
    np.testing.assert_allclose(target(weights, nothing), weights, rtol=1e-6)
