"""The flipper changes bits in the memory of a process that runs a model: by faults, or by hammering rows of memory."""

from __future__ import annotations

import ctypes
import gc
import logging
import shutil
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import intact
from intact import engine
from intact.engine.vectors import digest
from intact.errors import IntegrityError
from support.nets import cnn, data

X = data(3, 8, 3, 8, 8)
Open = Callable[..., intact.Model]


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, intact.Keys]:
    folder = tmp_path_factory.mktemp("flipper")
    keys = intact.new_keys(folder / "keys")
    spec = intact.Spec(model=cnn(), calibration=data(1, 64, 3, 8, 8), name="tiny")
    intact.build(
        spec, out=folder / "m.intact", recipients=[keys.recipient], signer=keys.signer, engines=["onnxruntime"]
    )
    return folder / "m.intact", keys


@pytest.fixture
def opened(master: tuple[Path, intact.Keys], tmp_path: Path) -> Open:
    """Return a function that opens a copy, with nothing in the background."""
    path, keys = master
    shutil.copytree(path, tmp_path / "m.intact")

    def open_copy(**more: Any) -> intact.Model:
        means = {"identity": keys.identity, "signer": keys.verifier, "engines": ["onnxruntime"], **more}
        model: intact.Model = intact.open(tmp_path / "m.intact", **means)
        model.stop_scrubbing()
        return model

    return open_copy


def flip(model: intact.Model, name: str, bit: int) -> None:
    """Flip a bit of the memory that the engine was handed."""
    memory = model.session.weights[name]
    (ctypes.c_uint8 * memory.nbytes).from_address(memory.ctypes.data)[bit // 8] ^= 1 << bit % 8


def sign_bits(model: intact.Model, name: str) -> list[int]:
    return list(range(7, 8 * model.session.weights[name].nbytes, 8))


def test_a_flipped_bit_in_the_weights_in_use_is_found_and_repaired(opened: Open) -> None:
    model = opened(scrub="in place")
    genuine = model(X)
    report = model.scrub()
    assert (report.clean, report.in_place) == (True, 1.0)
    for name in model.program.tensors:
        for bit in sign_bits(model, name):
            flip(model, name, bit)
        assert not np.array_equal(model(X), genuine)  # these are the weights it computes with
        report = model.scrub()
        assert not report.clean
        assert [repr(name) in place for place in report.damaged] == [True]
        assert model(X).tobytes() == genuine.tobytes()
        assert model.scrub().clean
    assert len(model.repairs) == len(model.program.tensors)


def test_every_flipped_bit_is_found(opened: Open) -> None:
    model = opened(scrub="in place")
    genuine, name = model(X), "stem.w"
    model.scrub()

    @settings(max_examples=150, deadline=None)
    @given(st.sets(st.integers(0, 8 * model.session.weights[name].nbytes - 1), min_size=1, max_size=5))
    def check(bits: set[int]) -> None:
        for bit in bits:
            flip(model, name, bit)
        assert not model.scrub().clean
        assert model(X).tobytes() == genuine.tobytes()

    check()


def test_a_flipped_bit_is_found_in_the_background(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    model = opened(scrub="in place")
    genuine = model(X)
    model.start_scrubbing(share=1.0, every_s=0.0)
    with caplog.at_level(logging.WARNING, "intact.scrub"):
        flip(model, "stem.w", 7)
        wait_for(lambda: bool(model.repairs))
    model.stop_scrubbing()
    assert model(X).tobytes() == genuine.tobytes()
    assert "restored from the artifact" in caplog.text
    assert "stem" not in caplog.text  # names of tensors are private


def test_a_bit_flipped_before_the_first_look_is_found(opened: Open) -> None:
    """Checksums that are taken late would bless the damage; they are held against the artifact's digests first."""
    model = opened()
    genuine = model.program.tensors["stem.w"].copy()
    flip(model, "stem.w", 3)
    report = model.scrub()
    assert report.damaged == ("'stem.w'",)
    assert np.array_equal(model.program.tensors["stem.w"], genuine)


def test_damage_that_cannot_be_repaired_stops_the_model(opened: Open, tmp_path: Path) -> None:
    model = opened(scrub="in place")
    model(X)
    shutil.rmtree(tmp_path / "m.intact")
    assert model.scrub().clean  # nothing is read where nothing is damaged
    flip(model, "stem.w", 7)
    with pytest.raises(IntegrityError, match="damaged, and cannot be read again"):
        model.scrub()
    with pytest.raises(IntegrityError, match="the model no longer runs"):
        model(X)


def test_the_same_in_the_background(opened: Open, tmp_path: Path) -> None:
    model = opened(scrub="in place")
    shutil.rmtree(tmp_path / "m.intact")
    flip(model, "stem.w", 7)
    model.start_scrubbing(share=1.0, every_s=0.0)
    wait_for(lambda: refuses(model))
    model.stop_scrubbing()


def test_weights_are_not_repaired_from_an_artifact_that_changed_too(
    opened: Open, tmp_path: Path, master: tuple[Path, intact.Keys]
) -> None:
    model = opened(scrub="in place")
    model.scrub()
    weights = tmp_path / "m.intact" / "weights.safetensors"
    data_ = bytearray(weights.read_bytes())
    data_[-100] ^= 1
    weights.write_bytes(data_)
    for name in model.program.tensors:
        flip(model, name, 7)
    with pytest.raises(IntegrityError, match="damaged, and cannot be read again: .*does not match its digest"):
        model.scrub()


@pytest.mark.parametrize("scrub", ["in place", True, False])
def test_a_change_in_what_the_engine_keeps_to_itself_is_found(opened: Open, scrub: Any) -> None:
    """Packed weights cannot be reached from here; an engine that answers otherwise than before stands for them."""
    model = opened(scrub=scrub)
    genuine = model(X)
    assert model.scrub().clean
    session = model._seat.session
    wrong = {name: np.nextafter(value, np.float32(np.inf)) for name, value in session.run({"x": X}).items()}
    model._seat.session = replace(session, execute=lambda feeds: dict(wrong))
    assert not np.array_equal(model(X), genuine)
    report = model.scrub()
    assert (report.engine_damaged, report.damaged, report.clean) == (True, (), False)
    assert model(X).tobytes() == genuine.tobytes()
    assert model.scrub().clean


def test_a_change_that_the_self_test_does_not_show_is_found(opened: Open) -> None:
    """Other inputs each time, compared with a session whose weights have checksums."""
    model = opened(scrub=True)
    assert model.scrub().witnessed
    session, vectors = model._seat.session, engine.Vectors.from_json(model.payload.header["vectors"])
    known = set(engine.digests(session, vectors))

    def execute(feeds: Any) -> Any:
        outputs = session.execute(feeds)
        changed = {name: np.nextafter(value, np.float32(np.inf)) for name, value in outputs.items()}
        return outputs if {digest(value) for value in outputs.values()} <= known else changed

    model._seat.session = replace(session, execute=execute)
    engine.self_test(model._seat.session, vectors)
    genuine = session.run({"x": X})
    assert not np.array_equal(model(X), next(iter(genuine.values())))
    report = model.scrub()
    assert (report.engine_damaged, report.damaged) == (True, ())
    assert model(X).tobytes() == next(iter(genuine.values())).tobytes()
    assert model.scrub().clean


def test_a_witness_that_is_wrong_is_replaced(opened: Open) -> None:
    model = opened(scrub=True)
    genuine = model(X)
    assert model.scrub().witnessed
    answers = model._scrubber.answers
    assert answers is not None
    assert answers.witness is not None
    answers.witness = replace(
        answers.witness, execute=lambda feeds: {name: value + 1 for name, value in model.session.run(feeds).items()}
    )
    assert model.scrub().engine_damaged
    assert model.scrub().clean
    assert model(X).tobytes() == genuine.tobytes()


def test_an_engine_that_stays_wrong_stops_the_model(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened(scrub=True)
    model.scrub()
    session = model._seat.session
    wrong = replace(session, execute=lambda feeds: {name: v + 1 for name, v in session.execute(feeds).items()})
    model._seat.session = wrong
    monkeypatch.setattr(engine, "reload", lambda program, old, options: wrong)
    with pytest.raises(IntegrityError, match="the engine is damaged in memory, and cannot be loaded again"):
        model.scrub()
    with pytest.raises(IntegrityError, match="the model no longer runs"):
        model(X)


def test_what_is_reported_tells_how_far_checksums_reach(opened: Open) -> None:
    packed, held = opened(scrub=True).scrub(), opened(scrub="in place").scrub()
    assert (packed.in_place, held.in_place) == (0.0, 1.0)
    assert opened().scrub().in_place == 0.0
    assert packed.checked_bytes == held.checked_bytes > 0
    assert packed.reproducible
    assert held.reproducible
    assert (packed.witnessed, held.witnessed) == (True, False)


def test_a_model_that_is_dropped_takes_its_thread_along(opened: Open) -> None:
    model = opened(scrub="in place")
    model.start_scrubbing(share=1.0, every_s=0.0)
    background, gone = model._background, weakref.ref(model)
    assert background is not None
    assert background.running
    del model
    gc.collect()
    assert gone() is None
    wait_for(lambda: not background.running)


def wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def refuses(model: intact.Model) -> bool:
    try:
        model(X)
    except IntegrityError:
        return True
    return False
