"""Trials in processes of this machine."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path

from intact.engine import EngineError
from intact.errors import IntactError
from intact.tuning.deadline import Deadline
from intact.tuning.executors import Done, Executor
from intact.tuning.material import Material, save
from intact.tuning.trials import Answer, Trial
from intact.tuning.working import THREAD_VARIABLES, answer_here, environment, hold, threads_each

PATIENCE_S = 3600.0
"""Longest single wait; the loop then looks again."""


class _Worker(SpawnProcess):
    """A process that Ctrl-C does not reach: the tuner ends it itself. The mask is inherited, and no signal is lost."""

    def start(self) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Context(SpawnContext):
    Process = _Worker


class _Processes:
    def __init__(self, pool: ProcessPoolExecutor, workers: int) -> None:
        self._pool = pool
        self.workers = workers

    def run(self, trials: Sequence[Trial], deadline: Deadline) -> Iterator[Done]:
        threads = dict.fromkeys(THREAD_VARIABLES, str(threads_each(self.workers)))
        try:
            with environment(threads):  # processes start with the first trials
                numbers = {self._pool.submit(answer_here, trial): number for number, trial in enumerate(trials)}
            yield from _finished(numbers, deadline)
        except BrokenExecutor as error:
            raise EngineError(
                "a worker process ended before it answered: killed, out of memory, or not started",
                hint="a script that starts processes needs its own code under `if __name__ == '__main__':`",
            ) from error


def _finished(numbers: dict[Future[tuple[Answer | IntactError, float]], int], deadline: Deadline) -> Iterator[Done]:
    left = set(numbers)
    try:
        while left and not deadline.over:
            done, left = wait(left, timeout=deadline.wait_s(PATIENCE_S), return_when=FIRST_COMPLETED)
            for future in sorted(done, key=numbers.__getitem__):
                answer, seconds = future.result()
                yield Done(number=numbers[future], answer=answer, seconds=seconds)
    finally:
        for future in left:
            future.cancel()


@contextmanager
def _open(material: Material, workers: int) -> Iterator[_Processes]:
    context = _Context()
    theirs, ours = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="intact-trials-") as name:  # a process that dies young would block a pipe
        folder = Path(name)
        save(material, folder)
        given = (folder, material.name, material.recipe, theirs)
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=hold, initargs=given)
        try:
            yield _Processes(pool, workers)
        finally:
            ours.close()  # the workers end, whatever they are at
            pool.shutdown(cancel_futures=True)
            theirs.close()


EXECUTOR = Executor(name="process", why_unavailable=lambda: None, open=_open)
