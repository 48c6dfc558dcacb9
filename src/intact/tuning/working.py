"""The worker's side of a trial: hold the material, answer, and end when the tuner ends."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from intact.compress.recipe import Recipe
from intact.errors import IntactError
from intact.graph.run import THREADS
from intact.tuning.material import Material, load
from intact.tuning.trials import Answer, Trial

THREAD_VARIABLES = (THREADS, "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""How the libraries a trial uses are told how many threads to start."""

_here: list[Material] = []
"""What the trials of this process work on."""


def hold(folder: Path, name: str, recipe: Recipe, parent: Connection) -> None:
    """Read the material, and end this process as soon as the other end of `parent` is closed, by will or by death."""
    _here[:] = [load(folder, name, recipe)]
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Connection) -> None:
    try:
        parent.recv_bytes()
    except (EOFError, OSError):
        os._exit(0)


def answer_here(trial: Trial) -> tuple[Answer | IntactError, float]:
    """Do a trial on the material that this process holds."""
    return attempt(trial, _here[0])


def attempt(trial: Trial, material: Material) -> tuple[Answer | IntactError, float]:
    """Do a trial; return its answer or the error of ours that it raised, and the seconds it took."""
    start = time.monotonic()
    try:
        answer: Answer | IntactError = trial.run(material)
    except IntactError as error:
        answer = error
    return answer, time.monotonic() - start


def threads_each(workers: int) -> int:
    """Threads of a worker, so that all together do not ask for more cores than there are."""
    return max(1, cores() // workers)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables for the processes that start in here."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
