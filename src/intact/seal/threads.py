"""Work on bytes, spread over a few threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Final, TypeVar

MAX_WORKERS: Final = 8
ENOUGH_BYTES: Final = 2**20
"""Less than this is done sooner than threads are started."""

Task = TypeVar("Task")
Scratch = TypeVar("Scratch")


def spread(
    tasks: Sequence[Task], work: Callable[[Task, Scratch], object], prepare: Callable[[], Scratch], *, size_bytes: int
) -> None:
    """Do `work(task, scratch)` for every task, in any order, on several threads where there is enough to do.

    Args:
        tasks: What to do.
        work: Does it; should release the GIL for most of its time.
        prepare: Makes what each thread has for itself.
        size_bytes: Bytes that are worked on altogether.
    """
    queue: SimpleQueue[Task] = SimpleQueue()
    for task in tasks:
        queue.put(task)

    def drain(_: int) -> None:
        scratch = prepare()
        try:
            while True:
                work(queue.get_nowait(), scratch)
        except Empty:
            return

    workers = min(len(tasks), len(os.sched_getaffinity(0)), MAX_WORKERS) if size_bytes >= ENOUGH_BYTES else 1
    if workers <= 1:
        drain(0)
        return
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(drain, range(workers)))
