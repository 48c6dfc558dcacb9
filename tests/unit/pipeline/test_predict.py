"""The same call for the float and the integer model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from intact.graph.view import Port
from intact.pipeline.predict import MAX_BATCH, Predictor, batch_size, cut

X = np.arange(2 * MAX_BATCH + 3, dtype=np.float32)[:, None]


def port(name: str = "x", *shape: int | str, dtype: str = "float32") -> Port:
    return Port(name=name, dtype=np.dtype(dtype), shape=shape or ("n", 1))


def predictor(*ports: Port, outputs: tuple[str, ...] = ("y",)) -> tuple[Predictor, list[int]]:
    """A model that doubles its first input, and the numbers of rows it was called with."""
    calls: list[int] = []

    def run(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        first = feeds[ports[0].name]
        calls.append(len(first))
        return dict.fromkeys(outputs, first * 2)

    return Predictor(inputs=ports, outputs=outputs, run=run), calls


def test_large_calls_are_cut_and_joined() -> None:
    predict, calls = predictor(port())
    np.testing.assert_array_equal(predict(X), X * 2)
    assert calls == [MAX_BATCH, MAX_BATCH, 3]


def test_a_fixed_batch_is_cut_to_its_size() -> None:
    predict, calls = predictor(port("x", 4, 1))
    predict(X[:8])
    assert calls == [4, 4]


def test_scalars_and_uneven_batches_are_not_cut() -> None:
    assert batch_size([port("x", 4, 1), port("y", 2, 1)]) == 0
    assert batch_size([Port(name="x", dtype=np.dtype(np.float32), shape=())]) == 0
    assert len(cut({"x": X}, 0)) == 1


def test_several_outputs_come_as_a_mapping() -> None:
    predict, _ = predictor(port(), outputs=("y", "z"))
    assert set(predict(X[:2])) == {"y", "z"}
    assert set(predict.run(X[:2])) == {"y", "z"}


@pytest.mark.parametrize("form", [lambda x: x, lambda x: (x,), lambda x: {"x": x}, lambda x: [x.tolist()]])
def test_inputs_may_be_given_alone_in_order_or_by_name(form: object) -> None:
    predict, _ = predictor(port())
    np.testing.assert_array_equal(predict(form(X[:2])), X[:2] * 2)  # type: ignore[operator]


def test_wider_numbers_are_narrowed_where_they_fit() -> None:
    predict, _ = predictor(port("x", "n", 1, dtype="int32"))
    assert predict(np.ones((2, 1), np.int64)).dtype == np.int32
    kept = predict.run({"x": np.full((2, 1), 2**40)})["y"]
    assert kept.dtype == np.int64  # which an engine refuses by its type; it is never wrapped
    predict, _ = predictor(port())
    assert predict(np.ones((2, 1))).dtype == np.float32
    assert np.isinf(predict(np.full((2, 1), 1e300))).all()  # which an engine refuses as infinite
