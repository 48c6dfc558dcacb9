"""One batch over several sessions: rows are dealt out, outputs come back in order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing.context import SpawnContext, SpawnProcess
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from intact.engine.backend import Arrays, EngineError, Options, Session
from intact.engine.backends import get
from intact.engine.spec import TensorSpec, check_inputs
from intact.errors import UsageError
from intact.graph.program import Program

SAFE_PATH: Final = "PYTHONSAFEPATH"
"""The interpreter's own switch: multiprocessing passes no flag for it that this process was not given itself."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spread:
    """A session-like object over several workers. Use it in a `with` statement, or call `close`.

    Args:
        inputs: What `run` takes.
        outputs: What `run` gives.
        workers: How many parts a batch is split into.
        rows: Name of the dimension that is split.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    workers: int
    rows: str
    _pool: Executor = field(repr=False)
    _sessions: tuple[Session, ...] = field(repr=False)

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run one batch.

        Args:
            inputs: As for `Session.run`.

        Returns:
            What one session gives for the whole batch, bit for bit where the model is exact.

        Raises:
            DataError: The inputs do not fit.
            EngineError: A worker's engine failed.
        """
        checked = check_inputs(self.inputs, inputs)
        total = next(len(checked[spec.name]) for spec in self.inputs if _leads(spec, self.rows))
        edges = np.linspace(0, total, min(self.workers, total) + 1).astype(int)
        parts = [self._part(checked, start, stop) for start, stop in pairwise(edges)]
        if self._sessions:
            futures = [self._pool.submit(s.run, part) for s, part in zip(self._sessions, parts, strict=False)]
        else:
            futures = [self._pool.submit(_run_here, part) for part in parts]
        results = [_result(future) for future in futures]
        return {spec.name: np.concatenate([result[spec.name] for result in results]) for spec in self.outputs}

    def _part(self, inputs: Arrays, start: int, stop: int) -> dict[str, NDArray[Any]]:
        return {
            spec.name: inputs[spec.name][start:stop] if _leads(spec, self.rows) else inputs[spec.name]
            for spec in self.inputs
        }

    def close(self) -> None:
        """Let the workers go."""
        self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def over_threads(sessions: Sequence[Session]) -> Spread:
    """Spread batches over sessions of this process, one thread each. Engines release Python's lock while they run.

    Raises:
        UsageError: There is no session, or the model has no rows to split.
    """
    if not sessions:
        raise UsageError("no session to spread a batch over")
    first = sessions[0]
    return Spread(
        inputs=first.inputs,
        outputs=first.outputs,
        workers=len(sessions),
        rows=_rows(first),
        _pool=ThreadPoolExecutor(len(sessions), thread_name_prefix="intact"),
        _sessions=tuple(sessions),
    )


def over_processes(program: Program, session: Session, workers: int, options: Options) -> Spread:
    """Spread batches over processes, each with its own session of the program.

    Args:
        program: The model, copied to every process.
        session: One that conforms; the others use its engine and variant.
        workers: How many.
        options: How each of them runs.

    Raises:
        UsageError: There are no workers, or the model has no rows to split.
    """
    if workers < 1:
        raise UsageError(f"{workers} workers, wanted at least 1")
    with _safe_path():  # it starts a process of its own that tracks resources
        pool = ProcessPoolExecutor(
            workers,
            mp_context=_Context(),
            initializer=_load_here,
            initargs=(program.model, dict(program.tensors), session.engine, session.variant, options),
        )
    return Spread(
        inputs=session.inputs, outputs=session.outputs, workers=workers, rows=_rows(session), _pool=pool, _sessions=()
    )


@contextmanager
def _safe_path() -> Iterator[None]:
    """Let every process that starts in here leave the working directory out of its search path, as `python -P` does."""
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = before


class _Worker(SpawnProcess):
    def start(self) -> None:
        with _safe_path():
            super().start()


class _Context(SpawnContext):
    Process = _Worker


def _result(future: Future[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    try:
        return future.result()
    except BrokenExecutor as error:
        raise EngineError(
            "a worker process ended before it answered",
            hint="a script that starts processes needs its own code under `if __name__ == '__main__':`",
        ) from error


_here: list[Session] = []
"""The session of a worker process."""


def _load_here(model: bytes, tensors: Arrays, engine: str, variant: str, options: Options) -> None:
    _here.append(get(engine).load(Program(model=model, tensors=tensors), options, variant))


def _run_here(inputs: Arrays) -> dict[str, NDArray[Any]]:
    return _here[0].run(inputs)


def _leads(spec: TensorSpec, rows: str) -> bool:
    return bool(spec.shape) and spec.shape is not None and spec.shape[0] == rows


def _rows(session: Session) -> str:
    """Return the name of the first dimension, which inputs may and outputs must share."""
    names = {spec.shape[0] for spec in (*session.inputs, *session.outputs) if spec.shape}
    rows = next((spec.shape[0] for spec in session.inputs if spec.shape and isinstance(spec.shape[0], str)), None)
    if not isinstance(rows, str) or not all(_leads(spec, rows) for spec in session.outputs):
        raise UsageError(
            f"the model's first dimensions are {sorted(map(str, names))}: there are no rows to split a batch by",
            hint="build the model with a named first dimension, the same for inputs and outputs",
        )
    return rows
