"""What every test may use: where the real data lie, and small float graphs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; a test that asks for it skips where it is absent."""
    folder = Path(os.environ.get("INTACT_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"real data are not at INTACT_DATA ({folder})")
    return folder
