"""Whether bytes load as a pickle is known without loading them."""

from __future__ import annotations

import collections
import io
import os
import pickle
import pickletools
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from intact.scan.blob import MAX_READ, Blob, OutOfReach, of_bytes
from intact.scan.pickles import MAX_LINE, MAX_OPCODES, walk

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
ATOMS = (
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.complex_numbers()),
    *(st.dates(), st.fractions(), st.uuids()),
)
VALUES = st.recursive(
    st.one_of(*ATOMS),
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner, inner),
        st.dictionaries(st.text(), inner),
        st.sets(st.integers()),
        st.frozensets(st.text()),
    ),
    max_leaves=20,
)


class Harmful:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


class Built:
    def __init__(self) -> None:
        self.field = 3


@given(VALUES, st.sampled_from(PROTOCOLS), st.binary(max_size=20))
def test_every_pickle_is_known_for_one(value: Any, protocol: int, after: bytes) -> None:
    assert walk(of_bytes(pickle.dumps(value, protocol) + after)).loads


class Strict(pickle.Unpickler):
    """Loads without running anything: what is imported stands for itself."""

    def find_class(self, module: str, name: str) -> Any:
        raise AssertionError(f"{module}.{name}")


OPCODES = st.sampled_from([each.code.encode("latin-1") for each in pickletools.opcodes])
PIECES = st.one_of(OPCODES, st.binary(max_size=3), st.sampled_from([b"\n", b"1\n", b"'a'\n", b"\x01", b"a\nb\n"]))


@settings(max_examples=400)
@given(st.lists(PIECES, max_size=12).map(b"".join))
@example(b"N.")
@example(b"V" + b"a" * 5 + b"\n.")
@example(b"I0x10\n.")
@example(b"(0N.")
@example(b"}}N.")
def test_what_python_loads_the_walk_calls_a_pickle(data: bytes) -> None:
    try:
        Strict(io.BytesIO(data), encoding="bytes").load()
    except AssertionError:
        return  # it imports, which the next test is about
    except Exception:  # noqa: BLE001 - whatever Python's reader raises, it did not load
        return
    assert walk(of_bytes(data)).loads, data


@given(st.binary(max_size=60))
@example(b"cos\nsystem\n(S'true'\ntR garbage")
@example(b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R")
def test_nothing_makes_the_walk_fail(data: bytes) -> None:
    walk(of_bytes(data)).tell()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_a_pickle_calls_is_named(protocol: int) -> None:
    found = walk(of_bytes(pickle.dumps({"a": [Harmful()]}, protocol)))
    assert found.calls and found.runs and any("system" in name for name in found.imports)
    assert found.tell() == f"a pickle: reading it calls {', '.join(found.imports)}"
    for value in (Built(), collections.OrderedDict(a=1), np.ones(3)):
        assert walk(of_bytes(pickle.dumps(value, protocol))).runs


class Unseekable:
    """A file whose readers cannot look ahead, as of a socket."""

    def __init__(self, data: bytes) -> None:
        file = io.BytesIO(data)
        self.read, self.readline = file.read, file.readline


def test_a_frame_that_ends_within_an_argument_hides_nothing() -> None:
    call = b"cos\nsystem\n(S'true'\ntR."
    for hidden in (b"Jx" + b"\0" * 4, b"Vx\n", b"C\x03" + b"\0" * 3):
        data = b"\x95" + (2).to_bytes(8, "little") + hidden + b"0" + call
        if hidden[:1] != b"C":  # there the length is in the frame, and nothing of it is left
            assert not walk(of_bytes(data)).stops and walk(of_bytes(data)).beyond
            with pytest.raises(AssertionError, match="os.system|posix.system"):
                Strict(Unseekable(data)).load()
        assert walk(of_bytes(data)).loads
    nested = b"\x95" + (10).to_bytes(8, "little") + b"\x95" + (5).to_bytes(8, "little") + b"\0" + b"N" * 5 + call
    assert walk(of_bytes(nested)).loads


@pytest.mark.parametrize("name", [b"my-mod\nf\n", b"os.path\na b\n", "größe-\nü\n".encode(), b"1\n2\n"])
def test_names_that_are_no_identifiers_are_imported_too(name: bytes) -> None:
    for data in (b"c" + name + b"(tR.", b"(i" + name + b"."):
        with pytest.raises((AssertionError, UnicodeDecodeError)):  # of INST some readers take ASCII only
            Strict(io.BytesIO(data)).load()
        assert walk(of_bytes(data)).runs
    assert not walk(of_bytes(b"c\nf\n(tR.")).loads and not walk(of_bytes(b"c\xff\nf\n(tR.")).loads


def test_code_that_runs_before_the_end_fails_is_found() -> None:
    whole = pickle.dumps(Harmful(), 4)
    call = whole.index(b"R")
    for end in range(call + 1, len(whole)):
        found = walk(of_bytes(whole[:end] + b"\xff\xff"))
        assert found.calls and found.loads and not found.stops
    assert not walk(of_bytes(whole[:call])).loads  # nothing was called yet


def test_pickles_that_follow_one_another_are_all_looked_at() -> None:
    data = pickle.dumps(3, 2) + pickle.dumps({}, 2) + pickle.dumps(Harmful(), 2) + b"\0" * 100
    assert walk(of_bytes(data)).calls


@pytest.mark.parametrize(
    "text",
    [
        *("", "1. Introduction\n", "0.5,2\n3,4\n", "class\ncat\ndog\n", "label,score\n1,2\n", "See the notes.\n"),
        *("# A title\n\nText.\n", "(c) somebody\n", "config\nof things\nand more.\n", "I am.\nYou are.\n"),
        *("[default]\nweights = 4\n", '{"a": 1}', "'quoted'\n", "a.b\n", "N,M\n.5,1\n", "Results.\n", "F1 score.\n"),
    ],
)
def test_ordinary_texts_are_none(text: str) -> None:
    assert not walk(of_bytes(text.encode())).loads


def test_endless_ones_count_as_pickles() -> None:
    assert walk(of_bytes(b"]" + b"N0" * MAX_OPCODES)).beyond
    assert walk(of_bytes(pickle.dumps("a" * (MAX_LINE + 9), 0))).stops
    assert not walk(of_bytes(b"V" + b"a" * (MAX_LINE + 9))).loads


@pytest.mark.parametrize("opcode", [b"\x8e", b"\x8d", b"\x96", b"B", b"X", b"T", b"\x8b"])
def test_a_length_of_any_size_is_never_believed(opcode: bytes) -> None:
    for length in (b"\xff" * 8, b"\0\0\0\0\0\0\0\x40", b"\xff\xff\xff\x7f" * 2):
        assert not walk(of_bytes(opcode + length + b"N.")).loads


def test_long_values_are_passed_over_unread() -> None:
    size, read = 2**40, []

    def fetch(offset: int, count: int) -> bytes:
        read.append(count)
        head = b"\x80\x04\x8e" + size.to_bytes(8, "little")
        data = head if offset < len(head) else b"." * count
        return data[offset : offset + count] if offset < len(head) else data

    found = walk(Blob(size=size + 12, fetch=fetch))
    assert found.stops and sum(read) < 100


def test_what_is_out_of_reach_is_said_to_be() -> None:
    with pytest.raises(OutOfReach):
        walk(Blob(size=10, fetch=lambda offset, count: b""))
    assert walk(of_bytes(b"]N0N0N0", size=MAX_READ)).beyond
