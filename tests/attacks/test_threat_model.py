"""The tables of docs/threat-model.md and the tests in this folder name each other."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "threat-model.md"


def named() -> set[str]:
    """Return the tests that the tables name, as "file::function"."""
    rows = [line for line in DOCUMENT.read_text().splitlines() if re.match(r"\|(?! *(attack|-))", line)]
    return {row.rstrip(" |").rpartition("|")[2].strip() for row in rows}


def written() -> set[str]:
    """Return the tests that are there."""
    return {
        f"{path.name}::{name}"
        for path in HERE.glob("test_*.py")
        if path != Path(__file__)
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }


def test_every_line_names_a_test_that_exists() -> None:
    assert named() - written() == set()


def test_every_attack_has_a_line() -> None:
    assert written() - named() == set()
