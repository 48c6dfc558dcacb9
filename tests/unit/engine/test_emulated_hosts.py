"""Processors we do not have, emulated: an engine that saturates there must be found out, and the next one taken."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EMULATOR = shutil.which("qemu-x86_64")
pytestmark = pytest.mark.skipif(EMULATOR is None, reason="qemu-x86_64 (package qemu-user) is not installed")

SCRIPT = """
import json
from intact.engine import canary
from intact.engine.backends import get
from intact.engine.backend import Options
from intact.engine.choose import load
from intact.engine.conformance import make_vectors, self_test
from intact.errors import CheckFailed
from integer_graphs import grow
backend, found = get("onnxruntime"), {}
program = grow(0).program()
vectors = make_vectors(program, "exact")
for variant in backend.variants:
    try:
        canary.check(backend, variant)
        found[variant] = "conforms"
    except CheckFailed:
        found[variant] = "refused"
loaded = load(program, vectors, engines=["onnxruntime"])
print(json.dumps({"variants": found, "taken": loaded.engine}))
"""


@pytest.mark.parametrize(
    ("cpu", "default", "taken"),
    [("Haswell", "refused", "onnxruntime/wide"), ("Nehalem", "conforms", "onnxruntime")],
    ids=["AVX2 without VNNI", "SSE4 only"],
)
def test_onnxruntime_on_processors_without_vnni(cpu, default, taken):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])}
    done = subprocess.run(
        [str(EMULATOR), "-cpu", cpu, sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    assert answer == {"variants": {"default": default, "wide": "conforms", "float": "conforms"}, "taken": taken}
