"""`intact recipients` and `intact rekey`: who may open an artifact that is there already."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import intact
from intact import seal
from support.services import vault_service

Command = Callable[..., Any]


@pytest.fixture
def run(command: Command, tmp_path: Path) -> Command:
    """Run a command in the folder of the artifact, by a user who has opened nothing yet."""
    state = str(tmp_path / "state")
    return lambda *words, **environment: command(*words, cwd=tmp_path, XDG_STATE_HOME=state, **environment)


def opens(path: Path, identity: seal.Identity) -> bool:
    try:
        seal.read(path, identities=[identity], allow_unsigned=True)
    except intact.AccessError:
        return False
    return True


def test_the_list_is_shown_and_said_to_be_unverified(run: Command, artifact: Path, keys: intact.Keys) -> None:
    told = run("recipients", "list", artifact)
    assert (told.code, told.out) == (0, f"x25519      {keys.recipient.id}\n")
    assert told.err == "remark: not verified; it is when the artifact is opened\n"
    facts = run("recipients", "list", artifact, "--json").json
    entry = {"kind": "x25519", "id": keys.recipient.id, "label": ""}
    assert facts == {"recipients": [entry], "verified": False}


def test_the_list_of_a_plain_artifact_is_empty(run: Command, artifact: Path, keys: intact.Keys) -> None:
    payload = seal.read(artifact, identities=[keys.identity], allow_unsigned=True)
    seal.write(payload, artifact.with_name("plain.intact"))
    assert run("recipients", "list", "plain.intact").out == "not encrypted: anybody can open it\n"


def test_a_colleague_is_added_and_removed(
    run: Command, artifact: Path, key_files: Path, strangers_key_files: Path
) -> None:
    stranger = intact.load_identity(strangers_key_files / "identity.key")
    before = {path.name: path.read_bytes() for path in artifact.iterdir()}
    words = (
        "--recipient",
        strangers_key_files / "identity.pub",
        "--label",
        "bob",
        "--identity",
        key_files / "identity.key",
    )
    told = run("recipients", "add", artifact, *words)
    assert (told.code, told.err) == (0, "")
    assert told.out == f"added x25519      {stranger.id}  bob\n"
    assert opens(artifact, stranger)
    after = {path.name: path.read_bytes() for path in artifact.iterdir()}
    assert [name for name in before if after[name] != before[name]] == ["keys.json"]

    told = run("recipients", "remove", artifact, "bob", "--identity", key_files / "identity.key")
    assert (told.code, told.out) == (0, f"removed x25519      {stranger.id}  bob\n")
    assert "takes nothing back from who has opened it before" in told.err
    assert "intact rekey" in told.err
    assert not opens(artifact, stranger)


def test_the_last_recipient_is_not_removed(run: Command, artifact: Path, key_files: Path, keys: intact.Keys) -> None:
    told = run("recipients", "remove", artifact, keys.recipient.id[:8], "--identity", key_files / "identity.key")
    assert told.code == 2
    assert "no recipient would be left" in told.err
    assert "hint:" in told.err


def test_a_passphrase_is_added_beside_the_keys(
    run: Command, artifact: Path, key_files: Path, keys: intact.Keys
) -> None:
    words = ("recipients", "add", artifact, "--new-passphrase", "--identity", key_files / "identity.key", "--json")
    told = run(*words, INTACT_NEW_PASSPHRASE="correct horse")
    assert told.code == 0, told.out
    (added,) = told.json["added"]
    assert added["kind"] == "passphrase"
    assert opens(artifact, keys.identity)
    assert "correct" not in (artifact / "keys.json").read_text()
    gone = run("recipients", "remove", artifact, keys.recipient.id, "--passphrase", INTACT_PASSPHRASE="correct horse")
    assert gone.code == 0, gone.err
    assert not opens(artifact, keys.identity)
    wrong = run(
        "recipients",
        "add",
        artifact,
        "--recipient",
        key_files / "identity.pub",
        "--passphrase",
        INTACT_PASSPHRASE="correct house",
    )
    assert wrong.code == 4
    assert wrong.err.startswith("error: passphrase does not unwrap the data key\nhint: check for a typing error")


def test_a_key_in_vault_is_added_and_opens(run: Command, artifact: Path, key_files: Path, tmp_path: Path) -> None:
    with vault_service(tmp_path / "vault") as make:
        name = make().recipient.public
        told = run("recipients", "add", artifact, "--recipient", name, "--identity", key_files / "identity.key")
        assert told.code == 0, told.err
        told = run("recipients", "remove", artifact, seal.list_recipients(artifact)[0].id, "--identity", name)
        assert told.code == 0, told.err
    told = run(
        "rekey",
        artifact,
        "--identity",
        name,
        "--recipient",
        name,
        "--allow-unsigned",
        VAULT_ADDR="https://127.0.0.1:9",
        VAULT_TOKEN="t",
    )
    assert told.code == 2
    assert re.match(r"error: Vault at https://127\.0\.0\.1:9 cannot be asked .*\nhint: check VAULT_ADDR", told.err)


def test_rekeying_makes_the_next_revision(
    run: Command, artifact: Path, key_files: Path, strangers_key_files: Path, keys: intact.Keys
) -> None:
    old, stranger = artifact.with_name("old"), intact.load_identity(strangers_key_files / "identity.key")
    shutil.copytree(artifact, old)
    told = run(
        "rekey",
        artifact,
        "--identity",
        key_files / "identity.key",
        "--identity",
        strangers_key_files / "identity.key",
        "--signer",
        key_files / "signing.pub",
        "--recipient",
        strangers_key_files / "identity.pub",
        "--sign",
        key_files / "signing.key",
    )
    assert told.code == 0, told.err
    assert told.out == f"rekeyed: artifact {seal.inspect(old).manifest.artifact}, now revision 2, at {artifact}\n"
    assert told.err == "remark: old copies of the artifact open as before; old keys do not open this revision\n"
    assert (opens(artifact, keys.identity), opens(artifact, stranger)) == (False, True)
    assert (opens(old, keys.identity), opens(old, stranger)) == (True, False)
    assert seal.verify(artifact, signers=[keys.verifier]).revision == 2


def test_rekeying_elsewhere_and_unsigned(run: Command, artifact: Path, key_files: Path, keys: intact.Keys) -> None:
    told = run(
        "rekey",
        artifact,
        "--identity",
        key_files / "identity.key",
        "--signer",
        key_files / "signing.pub",
        "--recipient",
        key_files / "identity.pub",
        "--out",
        "new.intact",
    )
    assert told.code == 0, told.err
    assert "not signed" in told.err
    assert seal.inspect(artifact).manifest.revision == 1
    assert opens(artifact.with_name("new.intact"), keys.identity)


OPENED = "--identity {mine}/identity.key"
FOR_ME = "--recipient {mine}/identity.pub"
FOR_OTHER = "--recipient {other}/identity.pub"
SIGNED = "--sign {mine}/signing.key"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("recipients add m.intact", 2, "no recipient was named"),
        (f"recipients add m.intact {FOR_OTHER}", 4, "no identity was given"),
        (f"recipients add m.intact {FOR_OTHER} --identity {{other}}/identity.key", 4, "is among the 1 recipients"),
        (f"recipients add m.intact {FOR_ME} {OPENED}", 2, "can open the artifact already"),
        (f"recipients add m.intact {FOR_OTHER} --label {'x' * 65}", 2, "label of a recipient has 65 characters"),
        (f"recipients remove m.intact nobody {OPENED}", 2, "0 recipients are called 'nobody', wanted one"),
        ("recipients list missing", 2, "cannot read artifact"),
        (f"rekey m.intact {OPENED} --signer {{mine}}/signing.pub", 2, "no recipient was named"),
        (f"rekey m.intact {OPENED} {FOR_ME} {SIGNED}", 4, "no signer was named"),
        (f"rekey m.intact {OPENED} {FOR_ME} {SIGNED} --signer {{other}}/signing.pub", 4, "is signed by"),
        (f"rekey m.intact {OPENED} {FOR_ME} --signer {{mine}}/signing.pub", 2, "be left without a signature"),
        (f"rekey m.intact {OPENED} {FOR_OTHER} {SIGNED}", 2, "none of the identities given would open"),
        (f"rekey m.intact {OPENED} {FOR_ME} --revisions x --no-revisions", 2, "both --revisions and --no-revisions"),
        (f"rekey m.intact --identity arn:aws:s3:::x {FOR_ME}", 2, "names no KMS key"),
    ],
)
def test_every_slip_has_its_words_and_a_hint(
    run: Command, artifact: Path, key_files: Path, strangers_key_files: Path, words: str, code: int, message: str
) -> None:
    before = {path.name: path.read_bytes() for path in artifact.iterdir()}
    told = run(*words.format(mine=key_files, other=strangers_key_files).split())
    assert told.code == code, told.err
    assert message in told.err
    assert re.fullmatch(r"error: .+\nhint: .+\n", told.err) or "cannot read artifact" in told.err
    assert {path.name: path.read_bytes() for path in artifact.iterdir()} == before


@pytest.mark.parametrize("kind", ["x25519", "hybrid"])
@pytest.mark.parametrize("words", [["recipients", "add"], ["recipients", "remove"], ["rekey"], ["run"]])
def test_a_private_key_on_the_command_line_is_refused_unseen(
    run: Command, artifact: Path, key_files: Path, tmp_path: Path, kind: str, words: list[str]
) -> None:
    seal.new_keys(tmp_path / "keys", post_quantum=kind == "hybrid")
    private = (tmp_path / "keys" / "identity.key").read_text().splitlines()[1]
    more = {
        "add": ["--recipient", key_files / "identity.pub"],
        "remove": ["0000"],
        "rekey": ["--recipient", key_files / "identity.pub"],
        "run": ["--input", "x.npz", "--output", "y.npz"],
    }
    told = run(*words, artifact, *more[words[-1]], "--identity", private)
    assert told.code == 2
    assert "given a key itself" in told.err
    assert private[30:60] not in told.err + told.out


def test_post_quantum_keys_are_made(run: Command, tmp_path: Path) -> None:
    assert run("keys", "new", "--out", "pq", "--post-quantum").code == 0
    assert (tmp_path / "pq" / "identity.pub").read_text().startswith("intact-pq1-")
    assert (tmp_path / "pq" / "identity.key").stat().st_mode & 0o777 == 0o600
