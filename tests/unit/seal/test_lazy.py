"""Reading some tensors of an artifact: their bytes are read, checked and decrypted, and no others."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intact import seal
from intact.errors import AccessError, IntegrityError, UsageError
from intact.graph import Program
from intact.seal import layout
from intact.seal.folder import Folder
from intact.seal.recipient import KeyPair

RNG = np.random.default_rng(11)
TENSORS: dict[str, Any] = {
    "encoder.large": RNG.integers(-127, 128, (3000, 1000), dtype=np.int8),
    "encoder.small": RNG.normal(size=(5, 7)).astype(np.float32),
    "decoder.narrow": RNG.integers(-3, 4, (200, 300)).astype(np.int8),
    "decoder.bias": RNG.integers(-9, 9, 40).astype(np.int64),
}


@pytest.fixture(scope="module", params=[True, False], ids=["sealed", "plain"])
def path(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    owner: KeyPair,
    signer: seal.SigningKey,
) -> Path:
    out = tmp_path_factory.mktemp("lazy") / "m.intact"
    made = seal.Payload(program=Program(model=b"graph", tensors=TENSORS), header={}, card={}, lineage={})
    seal.write(made, out, recipients=[owner.recipient] if request.param else [], signer=signer)
    return out


@pytest.fixture
def means(owner: KeyPair, signer: seal.SigningKey) -> dict[str, Any]:
    return {"identities": [owner.identity], "signers": [signer.verifying_key]}


@pytest.fixture
def ranges(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Where weights.safetensors was read."""
    seen: list[tuple[int, int]] = []
    genuine = Folder.read_into

    def watched(folder: Folder, name: str, offset: int, out: memoryview) -> None:
        if name == layout.WEIGHTS:
            seen.append((offset, offset + len(out)))
        genuine(folder, name, offset, out)

    monkeypatch.setattr(Folder, "read_into", watched)
    return seen


def spans(path: Path, means: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Return where each tensor lies in weights.safetensors."""
    source, _ = seal.read_tensors(path, [], **means)
    start, found = len(source.manifest.index), {}
    for spec, entry in zip(source.specs, source.manifest.tensors, strict=True):
        found[spec.name] = (start, start + entry.nbytes)
        start += entry.nbytes
    return found


@pytest.mark.parametrize(
    "names", [[], ["encoder.small"], ["decoder.bias", "encoder.large"], list(TENSORS), ["encoder.small"] * 2]
)
def test_what_is_asked_for_comes_and_nothing_else(path: Path, means: dict[str, Any], names: list[str]) -> None:
    _, found = seal.read_tensors(path, names, **means)
    assert list(found) == list(dict.fromkeys(names))
    for name, array in found.items():
        assert (array.dtype, array.shape) == (TENSORS[name].dtype, TENSORS[name].shape)
        assert np.array_equal(array, TENSORS[name])
        assert not array.flags.writeable


@pytest.mark.parametrize("name", list(TENSORS))
def test_no_byte_of_another_tensor_is_read(
    path: Path, means: dict[str, Any], ranges: list[tuple[int, int]], name: str
) -> None:
    place, head = spans(path, means)[name], len(seal.inspect(path).manifest.index)
    ranges.clear()
    seal.read_tensors(path, [name], **means)
    assert sorted(ranges)[0] == (0, head)
    body = sorted(ranges)[1:]
    assert (body[0][0], body[-1][1]) == place
    assert all(before[1] == after[0] for before, after in pairwise(body))  # each byte once


@pytest.mark.parametrize("name", list(TENSORS))
def test_a_flipped_bit_shows_in_its_own_tensor_only(path: Path, means: dict[str, Any], name: str) -> None:
    begin, end = spans(path, means)[name]
    with flipped(path / layout.WEIGHTS, (begin + end) // 2):
        for other in TENSORS:
            if other != name:
                seal.read_tensors(path, [other], **means)
        with pytest.raises(IntegrityError, match="does not match its digest"):
            seal.read_tensors(path, [name], **means)
        with pytest.raises(IntegrityError, match="does not match its digest"):
            seal.read(path, **means)
    seal.read(path, **means)


def test_everything_before_the_tensors_is_checked_as_ever(path: Path, means: dict[str, Any]) -> None:
    header = seal.inspect(path).manifest.header_name
    for name in ("manifest.json", "lineage.json", header):
        with flipped(path / name, 1), pytest.raises(IntegrityError):
            seal.read_tensors(path, ["encoder.small"], **means)
    with pytest.raises(AccessError):
        seal.read_tensors(path, ["encoder.small"], identities=means["identities"])
    late = seal.Conditions(engines=("a",))
    assert seal.read_tensors(path, ["encoder.small"], conditions=late, **means)[1]


def test_an_unknown_name_is_told_its_neighbours(
    path: Path, means: dict[str, Any], ranges: list[tuple[int, int]]
) -> None:
    with pytest.raises(UsageError, match="no tensor 'encoder.smal'") as refused:
        seal.read_tensors(path, ["encoder.large", "encoder.smal"], **means)
    assert (refused.value.hint or "").startswith("the nearest are encoder.small")
    assert ranges == []
    with pytest.raises(UsageError, match="no tensor '0'") as refused:
        seal.read_tensors(path, ["0"], **means)
    assert refused.value.hint == "the nearest are decoder.bias, decoder.narrow, encoder.large"


def test_a_source_reads_again_what_was_accepted_and_nothing_newer(
    path: Path, means: dict[str, Any], signer: seal.SigningKey, tmp_path: Path
) -> None:
    source, _ = seal.read_tensors(path, [], **means)
    assert np.array_equal(source.read(["encoder.small"])["encoder.small"], TENSORS["encoder.small"])
    aside = tmp_path / "aside"
    path.rename(aside)
    try:
        with pytest.raises(UsageError, match="cannot read artifact"):
            source.read(["encoder.small"])
        other = {**TENSORS, "encoder.small": TENSORS["encoder.small"] + 1}
        made = seal.Payload(program=Program(model=b"graph", tensors=other), header={}, card={}, lineage={})
        seal.write(made, path, signer=signer)
        with pytest.raises(IntegrityError):
            source.read(["encoder.small"])
    finally:
        if path.exists():
            path.rename(tmp_path / "newer")
        aside.rename(path)


def test_a_source_does_not_show_its_keys(path: Path, means: dict[str, Any]) -> None:
    source, _ = seal.read_tensors(path, [], **means)
    assert "eyring" not in repr(source)
    assert source.manifest.artifact in repr(source)


@pytest.fixture(autouse=True)
def untouched(path: Path) -> Iterator[None]:
    before = (path / layout.WEIGHTS).read_bytes()
    yield
    assert (path / layout.WEIGHTS).read_bytes() == before


class flipped:  # noqa: N801 - reads as a verb
    """Flips a bit of a file while the block lasts."""

    def __init__(self, path: Path, place: int) -> None:
        self.path, self.place = path, place

    def __enter__(self) -> None:
        self._flip()

    def __exit__(self, *_: object) -> None:
        self._flip()

    def _flip(self) -> None:
        descriptor = os.open(self.path, os.O_RDWR)
        byte = os.pread(descriptor, 1, self.place)[0]
        os.pwrite(descriptor, bytes([byte ^ 1]), self.place)
        os.close(descriptor)


def test_memory_is_needed_for_what_is_asked_only(path: Path, means: dict[str, Any]) -> None:
    seal.read_tensors(path, ["decoder.narrow"], **means)  # caches
    tracemalloc.start()
    try:
        seal.read_tensors(path, ["decoder.narrow"], **means)
        small = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        seal.read(path, **means)
        assert small < 1_000_000 < TENSORS["encoder.large"].nbytes < tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
