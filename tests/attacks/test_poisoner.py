"""The poisoner gives out model and data files, and wants code run, or other files read, by who builds from them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import intact
from intact import scan as scanning
from intact.errors import IntactError
from intact.pipeline import read_npz
from intact.scan import Report, scan
from support import malice
from support.malice import HONEST, SAMPLES, array, outside_onnx, zipped
from support.nets import data

NAMES = ("model.onnx", "calibration.npz", "weights.safetensors", "README.md", "config.json", "model")
TRACE = "INTACT_TEST_TRACE"


class Traced:
    """Leaves a file behind when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, (f"touch {os.environ[TRACE]}",)


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test of this file lets what is pickled run."""
    trace = tmp_path_factory.mktemp("trace") / "ran"
    monkeypatch.setenv(TRACE, str(trace))
    monkeypatch.setattr(malice, "Harmful", Traced)
    yield
    assert not trace.exists()
    pickle.loads(pickle.dumps(Traced()))  # noqa: S301 - the trap itself works
    assert trace.exists()


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("case", SAMPLES)
def test_a_file_that_carries_code_is_refused_under_any_name(case: str, tmp_path: Path) -> None:
    for name in NAMES:
        path = put(tmp_path, name, SAMPLES[case][0]())
        assert not scan(path).clean and not scan(tmp_path).clean
        with pytest.raises(IntactError):
            intact.build(intact.Spec(model=path, calibration=data(1, 32, 8)))
        with pytest.raises(IntactError):
            read_npz(path)
        path.unlink()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.recursive(st.none() | st.text() | st.integers() | st.binary(), st.lists),
    protocol=st.integers(0, 5),
    after=st.binary(max_size=40) | st.sampled_from([make() for make, _ in HONEST.values()]),
)
def test_no_pickle_is_ever_clean(value: Any, protocol: int, after: bytes, tmp_path: Path) -> None:
    for content in (pickle.dumps([value, Traced()], protocol), pickle.dumps(value, protocol)):
        assert not scan(put(tmp_path, "file", content + after)).clean


def test_a_file_that_is_two_things_is_refused(tmp_path: Path) -> None:
    tail = zipped({"m/data.pkl": malice.pickled()})
    for make, _ in HONEST.values():
        assert not scan(put(tmp_path, "file", make() + tail)).clean
        assert not scan(put(tmp_path, "file", malice.pickled(0) + make())).clean


def test_archives_that_fill_memory_or_write_elsewhere_are_refused(tmp_path: Path) -> None:
    deep = b"\0" * 10**7
    for _ in range(8):
        deep = zipped({"a": deep}, 8)
    for content in (zipped({"../../a.npy": array(np.ones(2))}), deep):
        assert not scan(put(tmp_path, "x.npz", content)).clean
        with pytest.raises(IntactError):
            read_npz(tmp_path / "x.npz")


def test_models_that_refer_to_other_files_are_refused(tmp_path: Path) -> None:
    secret = put(tmp_path, "secret", b"\0" * 512)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(secret)
    for location in ("../secret", str(secret), "link", "a/../../secret"):
        path = put(folder, "m.onnx", outside_onnx(location))
        assert not scan(path).clean
        with pytest.raises(IntactError, match="outside the model's folder"):
            intact.build(intact.Spec(model=path, calibration=data(1, 32, 8)))


def test_links_in_a_folder_are_not_followed(tmp_path: Path) -> None:
    put(tmp_path, "outside", b"text\n")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a.txt").symlink_to(tmp_path / "outside")
    (folder / "b").symlink_to(tmp_path)
    found = scan(folder)
    assert len(found.files) == len(found.refused) == 2


def test_modules_beside_a_file_are_not_run_by_other_scanners(tmp_path: Path) -> None:
    put(tmp_path, "pickle.py", f"open({os.environ[TRACE]!r}, 'w')\n".encode())
    put(tmp_path, "json.py", f"open({os.environ[TRACE]!r}, 'w')\n".encode())
    path = put(tmp_path, "a.pkl", malice.pickled())
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        report: Report = scanning.ask(scan(path), ["fickling"])
    finally:
        os.chdir(before)
    assert any(finding.found_by == "fickling" for finding in report.files[0].findings)
