"""Run a float graph, and look at any value inside it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from intact.errors import DataError, ModelError
from intact.graph.view import Graph, Port, write

Array = NDArray[Any]

ORT_ERRORS: tuple[type[Exception], ...] = (
    ort_state.EPFail,
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NoSuchFile,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
)
"""What onnxruntime raises; its errors have no base class of their own."""

WRONG_OPTIMIZERS = ("Pad_Fusion",)
"""onnxruntime 1.31 takes zeros that a Pad puts before a MaxPool for minus infinity, and fails on wide ones."""

THREADS = "INTACT_THREADS"
"""Environment variable with the threads of a float run that names none; onnxruntime takes every core without it."""


class Runner:
    """A float model ready to run, giving its outputs or any named values inside it."""

    def __init__(self, model: Graph | onnx.ModelProto, *, fetch: Sequence[str] | None = None, threads: int = 0) -> None:
        proto = onnx.ModelProto()
        proto.CopyFrom(write(model) if isinstance(model, Graph) else model)
        declared = [item.name for item in proto.graph.output]
        wanted = tuple(declared) if fetch is None else tuple(fetch)
        for name in wanted:
            if name not in declared:
                proto.graph.output.add(name=name)
        options = ort.SessionOptions()
        options.log_severity_level = 4  # failures come back as exceptions
        options.intra_op_num_threads = threads or int(os.environ.get(THREADS, "0"))
        try:
            self._session = ort.InferenceSession(
                proto.SerializeToString(),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=list(WRONG_OPTIMIZERS),
            )
        except ORT_ERRORS as error:
            raise ModelError(f"the float model does not run: {str(error).strip()[:300]}") from error
        self.fetch = wanted

    def __call__(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; shapes and dtypes are the graph's.

        Raises:
            DataError: The model does not run on these values, such as an index beyond its table.
        """
        if not self.fetch:
            return {}
        try:
            return dict(zip(self.fetch, self._session.run(list(self.fetch), dict(feeds)), strict=True))
        except ORT_ERRORS as error:
            raise DataError(
                f"the float model does not run on these inputs: {str(error).strip().splitlines()[0][:300]}",
                hint="check that sizes and indices are within what the model takes",
            ) from error


def batches(feeds: Mapping[str, Array], size: int) -> Iterator[dict[str, Array]]:
    """Cut arrays that share their first axis into pieces of at most `size` rows."""
    rows = len(next(iter(feeds.values())))
    for start in range(0, rows, size):
        yield {name: value[start : start + size] for name, value in feeds.items()}


def run_in_batches(runner: Runner, feeds: Mapping[str, Array], size: int = 64) -> dict[str, Array]:
    """Run all rows of `feeds`, `size` at a time, and join the results."""
    parts = [runner(piece) for piece in batches(feeds, size)]
    return {name: np.concatenate([part[name] for part in parts]) for name in runner.fetch}


def is_batched(ports: Sequence[Port]) -> bool:
    """Say whether every port's first axis may vary."""
    return all(port.shape and isinstance(port.shape[0], str) for port in ports)
