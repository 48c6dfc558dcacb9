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
from intact.graph.program import Program, memory_of
from intact.graph.view import Graph, Port

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
    """A float model ready to run, giving its outputs or any named values inside it.

    Args:
        model: What to run; the tensors of a graph or a program are read where they lie.
        fetch: Values to give; the outputs where it is None.
        threads: Threads to run on; 0 for what `THREADS` says.
        packs: Whether weights are laid out anew for speed, which takes as much memory again; not worth it for a run.

    Raises:
        ModelError: The model does not run.
    """

    def __init__(
        self,
        model: Graph | Program | onnx.ModelProto,
        *,
        fetch: Sequence[str] | None = None,
        threads: int = 0,
        packs: bool = True,
    ) -> None:
        program = as_program(model)
        proto = onnx.load_from_string(program.model)
        declared = [item.name for item in proto.graph.output]
        wanted = tuple(declared) if fetch is None else tuple(fetch)
        for name in wanted:
            if name not in declared:
                proto.graph.output.add(name=name)
        self._buffers = memory(program)
        options = session_options(self._buffers)  # the session reads them, and does not keep them alive
        options.add_session_config_entry("session.disable_prepacking", "0" if packs else "1")
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


def as_program(model: Graph | Program | onnx.ModelProto) -> Program:
    """Return `model` with its large tensors beside it; those of a graph or a program are not copied."""
    if isinstance(model, Program):
        return model
    return Program.from_graph(model) if isinstance(model, Graph) else Program.from_proto(model)


def memory(program: Program) -> dict[str, NDArray[np.uint8]]:
    """The bytes of the tensors beside a graph, as a session reads them: their own memory where it can."""
    return {name: memory_of(tensor) for name, tensor in program.tensors.items()}


def session_options(buffers: Mapping[str, NDArray[np.uint8]]) -> Any:
    """Options of a session that reads its initializers where `buffers` lie: it must not outlive them."""
    options = ort.SessionOptions()
    options.log_severity_level = 4  # failures come back as exceptions
    options.enable_cpu_mem_arena = False  # it would keep what the largest run took, twice as much at times
    options.add_session_config_entry("session.use_external_initializer_file_buffers_directly", "1")
    sizes = [buffer.nbytes for buffer in buffers.values()]  # each is a file of its initializer's name
    options.add_external_initializers_from_files_in_memory(list(buffers), list(buffers.values()), sizes)
    return options


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
