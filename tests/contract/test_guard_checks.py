"""Every check found in the folder keeps the contract of `Check`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intact import wire
from intact.errors import IntegrityError
from intact.guard import checks as folder
from intact.guard.check import Evidence
from intact.guard.checks import checks
from intact.guard.rows import Rows, Takes
from intact.guard.threshold import threshold

Array = np.ndarray[Any, Any]

CHECKS = checks()
LEARNED = [name for name, check in CHECKS.items() if check.limit is None]
TAKES = (Takes(name="x", dtype="float32", shape=("n", 1, 6, 6)), Takes(name="m", dtype="int64", shape=("n", 3)))
WEIGHTS = np.random.default_rng(0).normal(size=(36, 7)).astype(np.float32)


def run(feeds: Mapping[str, Array]) -> dict[str, Array]:
    return {"y": feeds["x"].reshape(len(feeds["x"]), -1) @ WEIGHTS, "z": feeds["m"][:, :1].astype(np.float32)}


def seen(seed: int, count: int, **changes: Array) -> Rows:
    random = np.random.default_rng(seed)
    feeds = {
        "x": random.uniform(-1, 1, (count, 1, 6, 6)).astype(np.float32),
        "m": random.integers(0, 50, (count, 3)),
    }
    feeds = {**feeds, **changes}
    with np.errstate(all="ignore"):
        return Rows(takes=TAKES, feeds=feeds, outputs=run(feeds), scores="y", run=run)


def measured(name: str, rows: Rows) -> Array:
    with np.errstate(all="ignore"):
        found = CHECKS[name].measure(rows)
    assert found is not None
    return found


def params(name: str, count: int = 200) -> Mapping[str, Any]:
    learned = CHECKS[name].learn(Evidence(measured=measured(name, seen(1, count))))
    assert learned is not None
    return learned


def score(name: str, rows: Rows, learned: Mapping[str, Any]) -> Array:
    with np.errstate(all="ignore"):
        return CHECKS[name].bind(learned)(measured(name, rows))


def test_every_file_is_a_check_of_its_name() -> None:
    files = {path.stem for path in Path(folder.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(CHECKS) == files
    assert all(CHECKS[name].name == name for name in files)


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_says_when_and_how_it_acts(name: str) -> None:
    assert CHECKS[name].place in ("input", "output")
    assert CHECKS[name].mode in ("off", "flag", "refuse")
    assert (CHECKS[name].mode == "off") == CHECKS[name].asks  # what costs a run is asked for


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("count", [1, 2, 33])
def test_what_is_measured_is_a_small_row_for_every_row(name: str, count: int) -> None:
    found = measured(name, seen(2, count))
    assert found.shape[0] == count
    assert found.ndim == 2 and found.shape[1] <= 4096
    assert found.dtype == np.float32
    assert score(name, seen(2, count), params(name)).shape == (count,)


@pytest.mark.parametrize("name", CHECKS)
def test_a_rows_score_depends_on_that_row_alone(name: str) -> None:
    rows, learned = seen(3, 9), params(name)
    whole = score(name, rows, learned)
    for index in range(9):
        one = {key: value[index : index + 1] for key, value in rows.feeds.items()}
        np.testing.assert_allclose(
            score(name, seen(0, 1, **one), learned), whole[index : index + 1], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("name", CHECKS)
def test_measuring_changes_nothing_of_what_it_looks_at(name: str) -> None:
    rows = seen(4, 5)
    before = {key: value.copy() for key, value in {**rows.feeds, **rows.outputs}.items()}
    score(name, rows, params(name))
    for key, value in {**rows.feeds, **rows.outputs}.items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize("name", CHECKS)
def test_the_same_evidence_gives_the_same_small_parameters(name: str) -> None:
    first, second = wire.encode(params(name)), wire.encode(params(name))
    assert first == second
    assert len(first) < 20_000


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("wrong", [{"more": 1}, {"data": "????"}], ids=str)
def test_parameters_that_are_not_its_own_are_refused(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match="contract cannot be read"):
        CHECKS[name].bind({**params(name), **wrong})


@pytest.mark.parametrize("name", CHECKS)
def test_a_parameter_that_is_missing_or_nothing_is_refused(name: str) -> None:
    learned = params(name)
    for key in learned:
        for broken in ({k: v for k, v in learned.items() if k != key}, {**learned, key: None}):
            with pytest.raises(IntegrityError):
                CHECKS[name].bind(broken)


@pytest.mark.parametrize("name", LEARNED)
def test_good_rows_seldom_go_beyond_a_learned_threshold(name: str) -> None:
    learned = params(name, 400)
    held = threshold(score(name, seen(5, 400), learned), 0.01)
    assert held is not None
    assert (score(name, seen(6, 2000), learned) > held.value).mean() <= 0.03


@pytest.mark.parametrize("name", [name for name in CHECKS if name != "shape"])
def test_what_is_not_finite_never_passes_for_good(name: str) -> None:
    """Either this check or the one for finite values goes off."""
    x = seen(7, 4).feeds["x"].copy()
    x[1] = np.nan
    rows = seen(7, 4, x=x)
    found = [score(each, rows, params(each))[1] for each in (name, "finite")]
    assert any(not value <= 0.0 for value in found)


@pytest.mark.parametrize("name", [name for name, check in CHECKS.items() if check.limit is not None])
def test_a_fixed_threshold_needs_no_evidence(name: str) -> None:
    assert CHECKS[name].learn(Evidence(measured=np.zeros((0, 1), np.float32))) == {}
    assert (score(name, seen(8, 50), {}) <= CHECKS[name].limit).all()
