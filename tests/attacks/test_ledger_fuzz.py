"""The fuzzer, guided by coverage: readers of receipts and logs raise errors of ours or nothing, within bounds."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

VECTORS = Path(__file__).parents[2] / "docs" / "spec" / "vectors" / "log"
SECONDS = 3

pytest.importorskip("atheris", reason="atheris has no wheel for this Python")


def seeds(parser: str) -> list[bytes]:
    """Things that the parser takes, and some that it refuses."""
    entries = json.loads((VECTORS / "entries.json").read_text())
    if parser == "event":
        return [entry["event"].encode() for entry in entries]
    if parser == "receipt":
        envelopes = [entry["receipt"].encode() for entry in entries[:2]]
        return [*envelopes, *(base64.b64decode(json.loads(each)["payload"]) for each in envelopes)]
    if parser == "checkpoint":
        return [(VECTORS / "earlier").read_bytes(), (VECTORS / "served" / "checkpoint").read_bytes()]
    if parser == "proof":
        return [json.loads((VECTORS / "proofs.json").read_text())["tlog-proof"].encode()]
    key = json.loads((VECTORS / "keys.json").read_text())["witness"]
    return [
        (VECTORS / "served" / "tile" / "entries" / "001.p" / "5").read_bytes(),
        b"tile/0/x001/234.p/5",
        key.encode(),
    ]


@pytest.mark.parametrize("parser", ["receipt", "checkpoint", "event", "proof", "bundle"])
def test_readers_raise_errors_of_ours_or_none(parser: str, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, data in enumerate(seeds(parser)):
        corpus.joinpath(str(number)).write_bytes(data)
    limits = (f"-max_total_time={SECONDS}", "-rss_limit_mb=1024", "-timeout=10", "-max_len=8192", "-verbosity=0")
    script = Path(__file__).with_name("fuzz_ledger.py")
    shell = ("/bin/sh", "-c", '"$@"; exit $?', "sh")  # forks: else the most memory that pytest ever held would count
    command = [*shell, sys.executable, script, parser, *limits, f"-artifact_prefix={tmp_path}/", corpus]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-2000:]
