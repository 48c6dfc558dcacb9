"""Trials on a Ray cluster: the one that RAY_ADDRESS names, else a local one for the time of the tuning."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from intact.engine import EngineError
from intact.errors import IntactError
from intact.tuning.deadline import Deadline
from intact.tuning.executors import Done, Executor
from intact.tuning.material import Material
from intact.tuning.trials import Answer, Trial
from intact.tuning.working import THREAD_VARIABLES, attempt

PATIENCE_S = 3600.0
ADDRESS = "RAY_ADDRESS"


class _Holder:
    """An actor that holds the material."""

    def __init__(self, material: Material) -> None:
        self._material = material

    def answer(self, trial: Trial) -> tuple[Answer | IntactError, float]:
        """Do a trial."""
        return attempt(trial, self._material)


class _Cluster:
    def __init__(self, actors: Sequence[Any]) -> None:
        self._actors = list(actors)
        self.workers = len(actors)

    def run(self, trials: Sequence[Trial], deadline: Deadline) -> Iterator[Done]:
        import ray

        waiting = list(enumerate(trials))[::-1]
        free = list(self._actors)
        running: dict[Any, tuple[int, Any]] = {}
        while (waiting or running) and not deadline.over:
            while free and waiting:
                number, trial = waiting.pop()
                actor = free.pop()
                running[actor.answer.remote(trial)] = (number, actor)
            done, _ = ray.wait(list(running), timeout=deadline.wait_s(PATIENCE_S))
            for reference in done:
                number, actor = running.pop(reference)
                free.append(actor)
                try:
                    answer, seconds = ray.get(reference)
                except ray.exceptions.RayError as error:
                    told = str(error).strip().splitlines()
                    raise EngineError(f"a Ray worker ended before it answered: {told[-1] if told else ''}") from error
                yield Done(number=number, answer=answer, seconds=seconds)


@contextmanager
def _open(material: Material, workers: int) -> Iterator[_Cluster]:
    import ray

    started = not ray.is_initialized()
    if started:
        local = {} if ADDRESS in os.environ else {"num_cpus": workers, "include_dashboard": False}
        ray.init(**local, log_to_driver=False, logging_level="ERROR", runtime_env=_runtime())
    actors: list[Any] = []
    try:
        held = ray.put(material)
        kind = ray.remote(num_cpus=1)(_Holder)
        actors = [kind.remote(held) for _ in range(workers)]
        yield _Cluster(actors)
    finally:
        for actor in actors:
            ray.kill(actor)
        if started:
            ray.shutdown()


def _runtime() -> dict[str, Any]:
    """One thread a worker: each asks Ray for one core."""
    return {"env_vars": dict.fromkeys(THREAD_VARIABLES, "1")}


def _why_unavailable() -> str | None:
    return None if importlib.util.find_spec("ray") is not None else "ray is not installed"


EXECUTOR = Executor(name="ray", why_unavailable=_why_unavailable, open=_open)
