"""The tables of the threat models in docs/ and the tests in this folder name each other."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENTS = [HERE.parents[1] / "docs" / name for name in ("threat-model.md", "threat-model-serving.md")]


def named() -> set[str]:
    """Return the tests that the tables name, as "file::function"; a row may name several, the file once."""
    lines = [line for document in DOCUMENTS for line in document.read_text().splitlines()]
    rows = [line for line in lines if re.match(r"\|(?! *(attack|-))", line)]
    found = set()
    for row in rows:
        file = ""
        for name in row.rstrip(" |").rpartition("|")[2].split(","):
            file, _, function = (name.strip() if name.strip()[:2] != "::" else file + name.strip()).partition("::")
            found.add(f"{file}::{function}")
    return found


def written(folder: Path = HERE) -> set[str]:
    """Return the tests that are there."""
    return {
        f"{path.name}::{name}"
        for path in folder.rglob("test_*.py")
        if path != Path(__file__)
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }


def test_every_line_names_a_test_that_exists() -> None:
    assert named() - written(HERE.parent) == set()


def test_every_attack_has_a_line() -> None:
    assert written() - named() == set()
