"""What every executor promises."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import intact
from intact.compress.recipe import Recipe
from intact.errors import UsageError
from intact.tuning.choices import Choice, apply
from intact.tuning.deadline import Deadline
from intact.tuning.executors import Pool, executor, executors
from intact.tuning.executors import __file__ as family
from intact.tuning.material import material_of
from intact.tuning.trials import Answer, Compress, Probe, Trial
from support.nets import data, mlp

IN_PROCESS = [name for name in executors() if name != "ray"]
"""Ray leaves sockets and threads behind that warn; tests/integration runs it in a process of its own."""
MATERIAL = material_of(intact.Spec(model=mlp(), calibration=data(1, 64, 8)), Recipe())


def recipe(bits: int) -> Recipe:
    return apply(Recipe(), {"first": Choice(bits=bits), "last": Choice(bits=bits)})


def trials() -> list[Trial]:
    return [Probe(recipe=recipe(bits)) for bits in (8, 4, 3)] + [Compress(recipe=recipe(4))]


@pytest.fixture(scope="module", params=IN_PROCESS)
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    with executors()[request.param].open(MATERIAL, 2) as opened:
        yield opened


def test_every_trial_is_answered_once_and_alike_everywhere(pool: Pool) -> None:
    done = list(pool.run(trials(), Deadline()))
    assert sorted(each.number for each in done) == [0, 1, 2, 3]
    for each in done:
        wanted = trials()[each.number].run(MATERIAL)
        assert isinstance(each.answer, Answer)
        assert each.answer.facts.keys() == wanted.facts.keys()
        assert each.seconds > 0
        if each.number == 3:
            assert each.answer.program is not None
            assert wanted.program is not None
            assert each.answer.program.model == wanted.program.model
            assert each.answer.facts == wanted.facts
        else:
            assert each.answer.facts["layers"] == pytest.approx(wanted.facts["layers"])


def test_our_errors_are_answers(pool: Pool) -> None:
    wrong = Compress(recipe=apply(Recipe(), {"nowhere": Choice(bits=4)}))
    (done,) = pool.run([wrong], Deadline())
    assert isinstance(done.answer, UsageError)
    assert "layers that are not there: nowhere" in done.answer.message
    assert done.answer.hint is not None


def test_nothing_is_begun_after_the_deadline(pool: Pool) -> None:
    assert list(pool.run(trials(), Deadline(at=time.monotonic()))) == []
    assert len(list(pool.run(trials()[:1], Deadline()))) == 1  # and the pool lives on


def test_every_file_of_the_family_is_a_member() -> None:
    files = {path.stem for path in Path(family).parent.glob("*.py")} - {"__init__"}
    assert files == set(executors()) == {each.name for each in executors().values()}
    for name in files:
        assert executor(name) is executors()[name]
