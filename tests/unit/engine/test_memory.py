"""The small file of remembered choices: lost, damaged, full or read-only, it never stands in the way."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from intact.engine.memory import LIMIT, SIZE_LIMIT_BYTES, default_path, recall, remember


def test_a_choice_is_recalled(tmp_path):
    path = tmp_path / "deep" / "down" / "engines.json"
    assert recall(path).choices == {}
    assert remember(path, "a", "onnxruntime") == ""
    assert remember(path, "b", "openvino/float") == ""
    assert remember(path, "a", "openvino") == ""
    assert dict(recall(path).choices) == {"a": "openvino", "b": "openvino/float"}
    assert [file.name for file in path.parent.iterdir()] == ["engines.json"]


@pytest.mark.parametrize(
    ("content", "trouble"),
    [
        (b"", "it is no JSON"),
        (b"\xff\xfe\x00", "it is no JSON"),
        (b'{"version": 1, "choices": {"a": "b"', "it is no JSON"),
        (b"[]", "it has another format"),
        (b'{"version": 2, "choices": {}}', "it has another format"),
        (b'{"version": 1, "choices": []}', "it has another format"),
        (b'{"version": 1, "choices": {"a": 3}}', "it has another format"),
        (b" " * (SIZE_LIMIT_BYTES + 1), "it is larger than"),
        (b"[" * 100_000, "it is no JSON"),
    ],
)
def test_a_damaged_file_is_empty_with_a_note_and_is_replaced(tmp_path, content, trouble):
    path = tmp_path / "engines.json"
    path.write_bytes(content)
    found = recall(path)
    assert found.choices == {} and trouble in found.trouble
    assert remember(path, "a", "onnxruntime") == ""
    assert dict(recall(path).choices) == {"a": "onnxruntime"}


def test_it_stays_small_and_forgets_the_oldest(tmp_path):
    path = tmp_path / "engines.json"
    for number in range(LIMIT + 3):
        remember(path, str(number), "onnxruntime")
    assert list(recall(path).choices) == [str(number) for number in range(3, LIMIT + 3)]


def test_a_path_that_cannot_be_used_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be read" in recall(tmp_path).trouble
    assert "cannot be written" in remember(tmp_path / "file" / "engines.json", "a", "b")
    assert "cannot be written" in remember(tmp_path, "a", "b")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_writers_at_the_same_time_leave_a_whole_file(tmp_path):
    path = tmp_path / "engines.json"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: remember(path, str(number), "onnxruntime"), range(40)))
    assert json.loads(path.read_text())["version"] == 1
    assert recall(path).trouble == ""
    assert os.listdir(tmp_path) == ["engines.json"]  # noqa: PTH208


def test_the_default_path_follows_the_xdg_specification(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "intact" / "engines.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == Path(tmp_path) / ".cache" / "intact" / "engines.json"
