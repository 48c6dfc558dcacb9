"""What the machine says about itself."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version

import pytest

from intact.engine import host

CPUINFO = """processor\t: 0
model name\t: Example CPU @ 2.00GHz
flags\t\t: fpu sse4_1 avx2 avx512_vnni

processor\t: 1
model name\t: Another
"""


@pytest.fixture
def describe(monkeypatch):
    """Describe a machine whose /proc/cpuinfo is the given file."""

    def described(path):
        monkeypatch.setattr(host, "CPUINFO", path)
        host.describe.cache_clear()
        return host.describe()

    yield described
    host.describe.cache_clear()


def test_this_machine():
    found = host.describe()
    assert found.cores >= 1 and found.cpu and found.system
    assert found.engines["onnxruntime"] == version("onnxruntime")
    assert found.engines["reference"] == version("intact")


def test_the_first_processor_counts(describe, tmp_path):
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    found = describe(tmp_path / "cpuinfo")
    assert found.cpu == "Example CPU @ 2.00GHz"
    assert found.features == ("sse4_1", "avx2", "avx512_vnni")


def test_arm_processors_are_named_by_their_parts(describe, tmp_path):
    (tmp_path / "cpuinfo").write_text("CPU implementer : 0x41\nCPU part : 0xd0c\nFeatures : asimd asimddp\n")
    found = describe(tmp_path / "cpuinfo")
    assert found.cpu == "0x41 0xd0c"
    assert found.features == ("asimd", "asimddp")


def test_systems_without_the_file_are_described_too(describe, tmp_path):
    found = describe(tmp_path / "missing")
    assert found.cpu and found.features == () and found.cores >= 1


def test_the_fingerprint_follows_processor_and_engines_but_not_memory():
    here = host.describe()
    same = replace(here, memory_bytes=1)
    others = [
        replace(here, cpu="another"),
        replace(here, flags_digest="another"),
        replace(here, cores=here.cores + 1),
        replace(here, engines={**here.engines, "onnxruntime": "0"}),
    ]
    assert host.fingerprint(same) == host.fingerprint(here)
    assert len({host.fingerprint(one) for one in (here, *others)}) == 5
