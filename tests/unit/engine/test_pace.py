"""Background work keeps to its share and ends when it is told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from intact.engine import Paced
from intact.errors import UsageError


def until(holds: Callable[[], bool], patience_s: float = 20.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, float("nan")])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(UsageError, match="share is"):
        Paced(lambda: iter(()), share)


@pytest.mark.parametrize("every_s", [-1.0, float("inf"), float("nan")])
def test_seconds_are_seconds(every_s: float) -> None:
    with pytest.raises(UsageError, match="every_s is"):
        Paced(lambda: iter(()), every_s=every_s)


def test_rounds_begin_no_more_often_than_asked() -> None:
    begun: list[float] = []

    def begin() -> Iterator[None]:
        begun.append(time.perf_counter())
        yield

    work = Paced(begin, 1.0, 0.15)
    until(lambda: len(begun) >= 3)
    work.stop()
    assert min(after - before for before, after in pairwise(begun)) >= 0.149


def test_it_goes_round_after_round() -> None:
    rounds: list[int] = []

    def begin() -> Iterator[None]:
        for step in range(3):
            rounds.append(step)
            yield

    work = Paced(begin, 1.0, 0.0)
    until(lambda: len(rounds) >= 7)
    work.stop()
    assert rounds[:7] == [0, 1, 2, 0, 1, 2, 0]
    assert not work.running
    count = len(rounds)
    time.sleep(0.05)
    assert len(rounds) == count


def test_it_rests_as_long_as_its_share_asks() -> None:
    begun: list[float] = []

    def begin() -> Iterator[None]:
        while True:
            begun.append(time.perf_counter())
            time.sleep(0.02)
            yield

    work = Paced(begin, 0.1)
    until(lambda: len(begun) >= 4)
    work.stop()
    rests = [after - before for before, after in pairwise(begun)]
    assert min(rests) >= 0.2  # at least ten times what a step takes


def test_stopping_waits_for_the_step_in_progress_and_cuts_the_rest_short() -> None:
    inside, done = threading.Event(), []

    def begin() -> Iterator[None]:
        inside.set()
        time.sleep(0.05)
        done.append(True)
        yield

    work = Paced(begin, 0.0001)  # would rest for minutes
    assert inside.wait(20)
    start = time.monotonic()
    work.stop()
    assert done
    assert time.monotonic() - start < 10


def test_it_can_stop_itself_and_be_stopped_twice() -> None:
    works: list[Paced] = []
    ready = threading.Event()

    def begin() -> Iterator[None]:
        ready.wait(20)
        works[0].stop()
        yield

    works.append(Paced(begin, 1.0, 0.0))
    ready.set()
    until(lambda: not works[0].running)
    works[0].stop()


def test_an_end_does_not_wait() -> None:
    inside, go_on = threading.Event(), threading.Event()

    def begin() -> Iterator[None]:
        inside.set()
        go_on.wait(20)
        yield

    work = Paced(begin, 1.0, 0.0)
    assert inside.wait(20)
    work.end()
    assert work.running
    go_on.set()
    until(lambda: not work.running)
