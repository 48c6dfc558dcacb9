"""`intact sign` and `--signers-needed`: several signers, certificates, and everything that is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.certificates import chain_files

Command = Callable[..., Any]


@pytest.fixture
def run(command: Command, tmp_path: Path) -> Command:
    return lambda *words: command(*words, cwd=tmp_path)


def test_two_signers_are_wanted_and_found(
    run: Command, artifact: Path, key_files: Path, strangers_key_files: Path
) -> None:
    both = ("--signer", key_files / "signing.pub", "--signer", strangers_key_files / "signing.pub")
    told = run("verify", artifact, *both, "--signers-needed", "2")
    assert (told.code, told.err.splitlines()[0][:40]) == (4, "error: artifact is signed by 1 of those ")
    signed = run("sign", artifact, "--sign", strangers_key_files / "signing.key", "--signer", key_files / "signing.pub")
    assert (signed.code, signed.out) == (0, "signed: 2 signatures now\n")
    told = run("verify", artifact, *both, "--signers-needed", "2")
    assert (told.code, told.out.endswith("is as its signers made it\n")) == (0, True)
    assert len(run("inspect", artifact, "--json").json["signed_by"]) == 2
    assert run("verify", artifact, *both).code == 0


def test_a_chain_of_certificates_signs_and_its_authority_is_trusted(
    run: Command, artifact: Path, key_files: Path, tmp_path: Path
) -> None:
    key, chain, root = chain_files(tmp_path)
    words = ("sign", artifact, "--sign", key, "--certificates", chain, "--signer", key_files / "signing.pub", "--json")
    assert run(*words).json == {"signatures": 2}
    assert run("verify", artifact, "--signer", root).code == 0
    _, _, other = chain_files(tmp_path / "other")
    told = run("verify", artifact, "--signer", other)
    assert (told.code, told.err[:47]) == (4, "error: the signer's certificate is not accepted"[:47])


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("sign", "{m}", "--sign", "{stranger}/signing.key"), 4, "no signer was named"),
        (("sign", "{m}", "--sign", "{keys}/signing.key", "--signer", "{keys}/signing.pub"), 2,
         "signed the artifact already"),
        (("sign", "{m}", "--sign", "{stranger}/signing.key", "--signer", "{stranger}/signing.pub"), 4,
         "not one of the 1"),
        (("sign", "{m}", "--sign", "{keys}/signing.pub", "--signer", "{keys}/signing.pub"), 2, "no unencrypted PEM"),
        (("sign", "{m}", "--sign", "{keys}/signing.key", "--certificates", "{keys}/signing.pub", "--allow-unsigned"), 2,
         "no PEM certificate"),
        (("verify", "{m}", "--signer", "{keys}/signing.pub", "--signers-needed", "2"), 2, "2 of 1 signers are wanted"),
        (("verify", "{m}", "--signer", "{keys}/signing.pub", "--signer", "{keys}/signing.pub"), 2, "named twice"),
        (("verify", "{m}", "--signers-needed", "1"), 2, "1 of 0 signers are wanted"),
    ],
)  # fmt: skip
def test_slips_are_told(
    run: Command,
    artifact: Path,
    key_files: Path,
    strangers_key_files: Path,
    words: tuple[str, ...],
    code: int,
    told: str,
) -> None:
    places = {"m": artifact, "keys": key_files, "stranger": strangers_key_files}
    before = {path.name: path.read_bytes() for path in artifact.iterdir()}
    found = run(*(word.format(**places) for word in words))
    assert (found.code, told in found.err) == (code, True), found.err
    assert {path.name: path.read_bytes() for path in artifact.iterdir()} == before
