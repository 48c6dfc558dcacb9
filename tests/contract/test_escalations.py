"""What every escalation promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from intact.errors import UsageError
from intact.tuning.escalations import ORDER, escalations, named
from intact.tuning.escalations import __file__ as family


def test_every_file_of_the_family_is_a_member_in_the_order_told() -> None:
    files = {path.stem for path in Path(family).parent.glob("*.py")} - {"__init__"}
    assert files == set(escalations()) == {each.name for each in escalations().values()}
    assert list(escalations())[: len(ORDER)] == list(ORDER)


def test_names_choose_members_once_and_in_their_order() -> None:
    assert [each.name for each in named(["method", "widen", "method"])] == ["method", "widen"]
    assert [each.name for each in named(None)] == list(escalations())
    assert named([]) == ()
    with pytest.raises(UsageError, match="no escalation is called 'luck'"):
        named(["luck"])
