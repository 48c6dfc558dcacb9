"""Batching: together or alone, every request gets its own answer, and nobody another's failure."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from intact.errors import DataError
from intact.guard import Finding
from intact.serve.batching import Batcher
from intact.serve.computing import Computer, Feeds, Outcome
from intact.serve.refused import Refused

REFUSE = Finding(check="range", verdict="refuse", score=9.0, row=0)


class Doubling:
    """A model that doubles, and can be held up."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.go = threading.Event()
        self.go.set()

    def run(self, data: Feeds) -> dict[str, Any]:
        self.go.wait(20)
        x = data["x"]
        self.batches.append(len(x))
        if (x == 13).any():
            raise DataError("thirteen")
        return {"y": x * 2}

    def observe(self, data: Feeds) -> Any:
        class Seen:
            outputs = self.run(data)
            features = None

        return Seen


class Unlucky:
    """A guard that refuses sevens before the run, and results of 22 after it."""

    def inputs(self, feeds: Feeds) -> list[Finding]:
        return [REFUSE] if (feeds["x"] == 7).any() else []

    def outputs(self, feeds: Feeds, outputs: Feeds, features: Any = None) -> list[Finding]:
        assert len(feeds["x"]) == len(outputs["y"])
        return [REFUSE] if (outputs["y"] == 22).any() else []

    def embedding(self, feeds: Feeds, outputs: Feeds, features: Any = None) -> Any:
        return None


def x(*values: float) -> Feeds:
    return {"x": np.array(values, np.float32)[:, None]}


def ran(model: Doubling, requests: Sequence[Feeds], **options: Any) -> list[Outcome | BaseException]:
    """Hold the model up with one request, so that the others wait together; return what came of these."""

    async def main() -> list[Outcome | BaseException]:
        computer = Computer(model, options.pop("guard", None))
        batcher = Batcher(computer, **{"stacks": True, **options})
        model.go.clear()
        first = asyncio.ensure_future(batcher.compute(x(0)))
        await asyncio.sleep(0.05)
        others = [asyncio.ensure_future(batcher.compute(each)) for each in requests]
        await asyncio.sleep(0.05)
        model.go.set()
        found = await asyncio.gather(*others, return_exceptions=True)
        await first
        batcher.close()
        return found

    return asyncio.run(main())


def values(outcome: Any) -> list[float]:
    return [float(value) for value in outcome.outputs["y"].ravel()]


def test_those_who_wait_share_a_batch_and_get_their_own_rows() -> None:
    model = Doubling()
    found = ran(model, [x(1), x(2, 3), x(4)])
    assert [values(each) for each in found] == [[2], [4, 6], [8]]
    assert model.batches == [1, 4]


def test_a_batch_has_a_largest_size() -> None:
    model = Doubling()
    found = ran(model, [x(*range(20, 40)) for _ in range(5)], most_rows=50)
    assert all(values(each) == [2.0 * value for value in range(20, 40)] for each in found)
    assert model.batches == [1, 40, 40, 20]


def test_rows_that_do_not_keep_apart_are_never_put_together() -> None:
    model = Doubling()
    ran(model, [x(1), x(2)], stacks=False)
    assert model.batches == [1, 1, 1]


def test_other_shapes_and_types_wait_for_their_own_batch() -> None:
    model = Doubling()
    wide = {"x": np.ones((1, 2), np.float32)}
    found = ran(model, [x(1), wide, x(2), {"x": np.ones((1, 1), np.float64)}])
    assert [each.outputs["y"].shape for each in found] == [(1, 1), (1, 2), (1, 1), (1, 1)]  # type: ignore[union-attr]
    assert model.batches == [1, 2, 1, 1]


def test_who_is_at_fault_fails_alone() -> None:
    found = ran(Doubling(), [x(1), x(13), x(2)])
    assert isinstance(found[1], DataError)
    assert [values(found[0]), values(found[2])] == [[2], [4]]


def test_who_is_refused_is_refused_alone() -> None:
    model = Doubling()
    found = ran(model, [x(1), x(7), x(11), x(2)], guard=Unlucky())
    assert [each.refused is not None for each in found] == [False, True, True, False]  # type: ignore[union-attr]
    assert [values(found[0]), values(found[3])] == [[2], [4]]
    assert not found[2].outputs  # type: ignore[union-attr]
    assert model.batches == [1, 3]  # what was refused before the run did not run


def test_a_batch_in_which_all_are_refused_does_not_run() -> None:
    model = Doubling()
    ran(model, [x(7), x(7)], guard=Unlucky())
    assert model.batches == [1]


def test_more_than_may_wait_are_told_to_come_back() -> None:
    found = ran(Doubling(), [x(1)] * 6, most_waiting=4)
    refused = [each for each in found if isinstance(each, Refused)]
    assert [each.status for each in refused] == [503, 503]
    assert all(each.retry_after_s for each in refused)


def test_who_gives_up_is_not_computed() -> None:
    model = Doubling()

    async def main() -> None:
        batcher = Batcher(Computer(model, None), stacks=True)
        model.go.clear()
        first = asyncio.ensure_future(batcher.compute(x(0)))
        gone = asyncio.ensure_future(batcher.compute(x(1)))
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.sleep(0)
        model.go.set()
        await first
        assert values(await batcher.compute(x(2))) == [4]
        batcher.close()

    asyncio.run(main())
    assert model.batches == [1, 1]


def test_what_is_quick_runs_in_the_event_loop() -> None:
    class Threads(Doubling):
        def run(self, data: Feeds) -> dict[str, Any]:
            seen.append(threading.current_thread() is threading.main_thread())
            return super().run(data)

    seen: list[bool] = []

    async def main() -> None:
        batcher = Batcher(Computer(Threads(), None), stacks=True)
        for _ in range(50):
            await batcher.compute(x(1))
        batcher.close()

    asyncio.run(main())
    assert not seen[0]
    assert seen[-1]


@pytest.mark.parametrize("count", [1, 40])
def test_many_at_once_over_several_workers(count: int) -> None:
    async def main() -> None:
        batcher = Batcher(Computer(Doubling(), None), stacks=True, workers=2, most_rows=7)
        found = await asyncio.gather(*(batcher.compute(x(number, number + 0.5)) for number in range(20, 20 + count)))
        assert [values(each) for each in found] == [[2.0 * n, 2.0 * n + 1] for n in range(20, 20 + count)]
        batcher.close()

    asyncio.run(main())
