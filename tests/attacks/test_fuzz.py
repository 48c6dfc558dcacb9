"""The fuzzer, guided by coverage: parsers of what lies on the disk raise errors of ours or nothing, within bounds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from victims import Victim

from intact import seal
from intact.seal import bundle

SECONDS = 4
MEMORY_MB = 1024
SEEDS = {
    "signature": "model.sig",
    "statement": "model.sig",
    "countersignatures": "countersignatures.json",
    "manifest": "manifest.json",
    "header": "header.bin",
    "keys": "keys.json",
    "stored": "weights.safetensors",
}

pytest.importorskip("atheris", reason="atheris has no wheel for this Python")


@pytest.mark.parametrize("parser", SEEDS)
def test_parsers_raise_errors_of_ours_or_none(parser: str, victim: Callable[[str], Victim], tmp_path: Path) -> None:
    sealed, plain = victim("tiny"), victim("plain")
    seal.countersign(sealed.path, seal.SigningKey.generate(), signers=[sealed.signer.verifying_key])
    corpus, name = tmp_path / "corpus", SEEDS[parser]
    corpus.mkdir()
    for number, path in enumerate(path / name for path in (sealed.path, plain.path) if (path / name).exists()):
        data = path.read_bytes()
        corpus.joinpath(str(number)).write_bytes(bundle.read(data).payload if parser == "statement" else data)
    assert any(corpus.iterdir())
    limits = (
        f"-max_total_time={SECONDS}",
        f"-rss_limit_mb={MEMORY_MB}",
        "-timeout=10",
        "-max_len=8192",
        "-verbosity=0",
    )
    script = Path(__file__).with_name("fuzz_parsers.py")
    shell = ("/bin/sh", "-c", '"$@"; exit $?', "sh")  # forks: else the most memory that pytest ever held would count
    command = [*shell, sys.executable, script, parser, *limits, f"-artifact_prefix={tmp_path}/", corpus]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-2000:]
