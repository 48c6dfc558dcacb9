"""Records to JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.errors import IntegrityError
from intact.wire import decode, encode, from_json, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    count: int
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    flag: bool
    digest: bytes
    maybe: str | None
    parts: tuple[Inner, ...]
    named: Mapping[str, int]
    free: Any


OUTER = Outer(
    name="n",
    flag=True,
    digest=b"\x00\xff",
    maybe=None,
    parts=(Inner(count=1, ratio=2.0), Inner(count=2, ratio=0.5)),
    named={"a": 1},
    free={"x": [1, None]},
)


def test_a_record_comes_back() -> None:
    assert from_json(Outer, decode(encode(to_json(OUTER)), where="outer"), where="outer") == OUTER


@given(
    st.builds(
        Outer,
        name=st.text(st.characters(exclude_categories=["Cs"])),
        flag=st.booleans(),
        digest=st.binary(),
        maybe=st.none() | st.just("text"),
        parts=st.lists(st.builds(Inner, count=st.integers(0, 9), ratio=st.floats(-9, 9))).map(tuple),
        named=st.dictionaries(st.just("k"), st.integers(0, 9)),
        free=st.none() | st.lists(st.integers(0, 9)),
    )
)
def test_every_record_comes_back(record: Outer) -> None:
    assert from_json(Outer, decode(encode(to_json(record)), where="outer"), where="outer") == record


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 1}, "outer.name is int, wanted str"),
        ({"flag": 1}, "outer.flag is int, wanted bool"),
        ({"digest": "0F"}, "outer.digest is not lower-case hex"),
        ({"digest": "abc"}, "outer.digest is not lower-case hex"),
        ({"maybe": 3}, "outer.maybe is int, wanted str"),
        ({"parts": {}}, "outer.parts is dict, wanted list"),
        ({"parts": [{"count": True, "ratio": 1}]}, r"outer.parts\[0\].count is bool, wanted int"),
        ({"parts": [{"count": 1}]}, r"outer.parts\[0\] has missing field 'ratio'"),
        ({"parts": [7]}, r"outer.parts\[0\] is not an object"),
        ({"named": {"a": "b"}}, "outer.named.a is str, wanted int"),
        ({"more": 1}, "outer has unknown field 'more'"),
    ],
)
def test_data_of_another_form_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        from_json(Outer, {**to_json(OUTER), **change}, where="outer")
