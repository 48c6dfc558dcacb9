"""Every format found in the folder keeps the contract of `Format`: asked of anything, it answers, and reads little."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intact.scan import formats
from intact.scan.blob import Blob, OutOfReach, of_bytes
from intact.scan.formats import Format
from support.malice import HONEST, SAMPLES

FORMATS = formats.formats()
CASES = {**HONEST, **SAMPLES}


def test_every_file_in_the_folder_is_a_format() -> None:
    files = {path.stem for path in Path(formats.__file__).parent.glob("*.py")} - {"__init__"}
    assert len(FORMATS) == len(files) == len({each.name for each in FORMATS}) == len({each.rank for each in FORMATS})
    assert [each.rank for each in FORMATS] == sorted(each.rank for each in FORMATS)


def test_every_format_has_honest_samples() -> None:
    assert {each.name for each in FORMATS} <= {name for _, name in HONEST.values()}


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_its_own_samples_are_recognised_and_let_through(form: Format) -> None:
    for make, name in HONEST.values():
        blob = of_bytes(make())
        if name == form.name:
            assert form.recognise(blob) and not form.examine(blob, None).findings


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_it_answers_whatever_it_is_asked(form: Format, data: st.DataObject) -> None:
    whole = CASES[data.draw(st.sampled_from(list(CASES)))][0]()
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    for blob in (of_bytes(cut), of_bytes(cut, size=len(cut) + 2**40)):
        try:
            if form.recognise(blob):
                form.examine(blob, None)
        except OutOfReach:
            assert blob.size > len(cut)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_it_never_reads_all_of_a_large_file_at_once(form: Format) -> None:
    for make, _ in HONEST.values():
        whole = make()

        def fetch(offset: int, count: int, whole: bytes = whole) -> bytes:
            assert count <= 2**26
            return (whole[offset : offset + count] + b"\0" * count)[:count]

        blob = Blob(size=len(whole) + 2**27, fetch=fetch)
        try:
            if form.recognise(blob):
                form.examine(blob, None)
        except OutOfReach:
            continue
