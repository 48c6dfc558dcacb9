"""What every test may use: where the real data lie; and the rule that CI skips nothing it was told to install."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.serving import Server, Site


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is remembered of opened revisions and of engines lies in folders that go away."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("state", "cache"):
            patch.setenv(f"XDG_{name.upper()}_HOME", str(tmp_path_factory.mktemp(name)))
        yield


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Models, keys and a state database to start servers from; every test has callers of its own."""
    from support.serving import make_site

    return make_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def server(site: Site) -> Iterator[Server]:
    """A server of that site that many tests ask."""
    from support.serving import serving

    with serving(site) as found:
        yield found


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; a test that asks for it skips where it is absent."""
    folder = Path(os.environ.get("INTACT_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"real data are not at INTACT_DATA ({folder})")
    return folder


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Turn a skip for the want of a program that INTACT_REQUIRE names into a failure."""
    required = os.environ.get("INTACT_REQUIRE", "").lower().split()
    if report.skipped and any(name.partition("-")[0] in str(report.longrepr).lower() for name in required):
        report.outcome = "failed"
