"""Recipients added, removed and listed; everything under a new key."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intact import seal
from intact.crypto.buffer import Buffer
from intact.errors import AccessError, IntegrityError, UsageError
from intact.graph import Program
from intact.seal import layout, replacing, staging
from intact.seal.recipient import KeyPair
from intact.seal.recipients import hybrid, ssh, x25519
from intact.seal.staging import write_file

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory, owner: KeyPair, signer: seal.SigningKey) -> Path:
    program = Program(model=b"graph", tensors={"w": np.arange(64, dtype=np.int8)})
    payload = seal.Payload(program=program, header={"a": 1}, card={"name": "m"}, lineage={"b": 2})
    out = tmp_path_factory.mktemp("master") / "m"
    seal.write(payload, out, recipients=[owner.recipient], signer=signer, revision=7)
    return out


@pytest.fixture
def artifact(master: Path, tmp_path: Path) -> Path:
    """A copy of the master, revision 7, sealed for its owner and signed."""
    return Path(shutil.copytree(master, tmp_path / "m.intact"))


@pytest.fixture
def opens(artifact: Path, signer: seal.SigningKey) -> Callable[[KeyPair], bool]:
    """Return a function that tells whether an identity opens the artifact."""

    def check(pair: KeyPair) -> bool:
        try:
            found = seal.read(artifact, identities=[pair.identity], signers=[signer.verifying_key])
        except AccessError:
            return False
        return bool((found.program.tensors["w"] == np.arange(64)).all()) and found.header == {"a": 1}

    return check


def files(path: Path) -> Files:
    return {each.name: each.read_bytes() for each in path.iterdir()}


def ids(path: Path) -> list[str]:
    return [entry.id for entry in seal.list_recipients(path)]


def test_the_added_open_and_nothing_else_changes(artifact: Path, owner: KeyPair, opens: Callable[..., bool]) -> None:
    before, pairs = files(artifact), [kind.generate() for kind in (ssh, hybrid, x25519)]
    recipients = [pair.recipient for pair in pairs]
    added = seal.add_recipients(artifact, recipients, identities=[x25519.generate().identity, owner.identity])
    assert [entry.kind for entry in added] == ["ssh", "hybrid", "x25519"]
    assert ids(artifact) == [owner.recipient.id, *(recipient.id for recipient in recipients)]
    assert all(opens(pair) for pair in (owner, *pairs))
    assert {name: data for name, data in files(artifact).items() if name != "keys.json"} == {
        name: data for name, data in before.items() if name != "keys.json"
    }
    more = x25519.generate()
    seal.add_recipients(artifact, [more.recipient], identities=[pairs[0].identity])  # who was added can add
    assert opens(more)


def test_the_removed_do_not_open_and_a_kept_key_does(
    artifact: Path, owner: KeyPair, opens: Callable[..., bool]
) -> None:
    pairs = [x25519.generate() for _ in range(3)]
    seal.add_recipients(artifact, [pair.recipient for pair in pairs], identities=[owner.identity])
    old = (artifact / "keys.json").read_bytes()
    gone = seal.remove_recipients(
        artifact, [pairs[0].recipient.id, pairs[1].recipient.id[:8]], identities=[pairs[1].identity]
    )
    assert [entry.id for entry in gone] == [pair.recipient.id for pair in pairs[:2]]
    assert [opens(pair) for pair in (owner, *pairs)] == [True, False, False, True]
    (artifact / "keys.json").write_bytes(old)  # removal is no revocation
    assert opens(pairs[0])


def test_a_label_names_a_recipient(artifact: Path, owner: KeyPair) -> None:
    seal.add_recipients(
        artifact,
        [seal.Recipient(kind="x25519", public=x25519.generate().recipient.public, label="bob")],
        identities=[owner.identity],
    )
    assert [entry.label for entry in seal.list_recipients(artifact)] == ["", "bob"]
    seal.remove_recipients(artifact, ["bob"], identities=[owner.identity])
    assert ids(artifact) == [owner.recipient.id]


def test_who_is_there_is_not_added_twice(artifact: Path, owner: KeyPair) -> None:
    before, other = files(artifact), x25519.generate().recipient
    with pytest.raises(UsageError, match=f"recipient {owner.recipient.id} can open the artifact already"):
        seal.add_recipients(artifact, [other, owner.recipient], identities=[owner.identity])
    with pytest.raises(UsageError, match="would name a recipient twice"):
        seal.add_recipients(artifact, [other, other], identities=[owner.identity])
    assert files(artifact) == before


def test_the_last_recipient_stays(artifact: Path, owner: KeyPair) -> None:
    other = x25519.generate()
    seal.add_recipients(artifact, [other.recipient], identities=[owner.identity])
    before = files(artifact)
    with pytest.raises(UsageError, match="no recipient would be left"):
        seal.remove_recipients(artifact, ids(artifact), identities=[owner.identity])
    assert files(artifact) == before


@pytest.mark.parametrize(
    ("name", "count"), [("0" * 32, 0), ("", 2), ("abc", 0), ("nobody", 0), ("same", 2), ("\x1b[2J", 0)]
)
def test_a_name_must_fit_one(artifact: Path, owner: KeyPair, name: str, count: int) -> None:
    pairs = [x25519.generate() for _ in range(2)]
    labelled = [seal.Recipient(kind="x25519", public=pair.recipient.public, label="same") for pair in pairs]
    seal.add_recipients(artifact, [*labelled, ssh.generate().recipient], identities=[owner.identity])
    with pytest.raises(UsageError, match=f"{count} recipients are called") as caught:
        seal.remove_recipients(artifact, [name], identities=[owner.identity])
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("change", ["add", "remove", "rekey"])
def test_only_who_opens_it_may_change_it(artifact: Path, owner: KeyPair, signer: seal.SigningKey, change: str) -> None:
    before, stranger = files(artifact), x25519.generate()
    actions: dict[str, Callable[[list[seal.Identity]], object]] = {
        "add": lambda who: seal.add_recipients(artifact, [stranger.recipient], identities=who),
        "remove": lambda who: seal.remove_recipients(artifact, [str(owner.recipient.id)], identities=who),
        "rekey": lambda who: seal.rekey(
            artifact, [stranger.recipient], identities=who, signer=signer, signers=[signer.verifying_key]
        ),
    }
    with pytest.raises(AccessError, match="no identity was given"):
        actions[change]([])
    with pytest.raises(AccessError, match="none of the 1 identities given is among"):
        actions[change]([stranger.identity])
    assert files(artifact) == before


def test_keys_of_another_artifact_are_never_written_on(
    artifact: Path, owner: KeyPair, signer: seal.SigningKey, tmp_path: Path
) -> None:
    payload = seal.read(artifact, identities=[owner.identity], signers=[signer.verifying_key])
    seal.write(payload, tmp_path / "other", recipients=[owner.recipient])
    shutil.copy(tmp_path / "other" / "keys.json", artifact / "keys.json")
    before = files(artifact)
    for action in (
        lambda: seal.add_recipients(artifact, [ssh.generate().recipient], identities=[owner.identity]),
        lambda: seal.remove_recipients(artifact, ids(artifact), identities=[owner.identity]),
    ):
        with pytest.raises(IntegrityError, match="key of another artifact"):
            action()
    assert files(artifact) == before


def test_a_plain_artifact_has_no_recipients(artifact: Path, owner: KeyPair, signer: seal.SigningKey) -> None:
    payload = seal.read(artifact, identities=[owner.identity], signers=[signer.verifying_key])
    plain = artifact.with_name("plain")
    seal.write(payload, plain)
    assert seal.list_recipients(plain) == ()
    for action in (
        lambda: seal.add_recipients(plain, [owner.recipient], identities=[owner.identity]),
        lambda: seal.remove_recipients(plain, ["0000"], identities=[owner.identity]),
        lambda: seal.rekey(plain, [owner.recipient], identities=[owner.identity], allow_unsigned=True),
    ):
        with pytest.raises(UsageError, match="not sealed, so it has no recipients"):
            action()


def test_rekeying_makes_a_revision_that_old_keys_do_not_open(
    artifact: Path, owner: KeyPair, signer: seal.SigningKey, opens: Callable[..., bool]
) -> None:
    before, other = files(artifact), hybrid.generate()
    manifest = seal.rekey(
        artifact,
        [other.recipient],
        identities=[owner.identity, other.identity],
        signer=signer,
        signers=[signer.verifying_key],
    )
    old = seal.Manifest.from_bytes(before["manifest.json"])
    assert (manifest.artifact, manifest.revision, manifest.card) == (old.artifact, 8, old.card)
    assert manifest.key_commitment != old.key_commitment
    assert seal.verify(artifact, signers=[signer.verifying_key]) == manifest
    assert [opens(pair) for pair in (owner, other)] == [False, True]
    after = files(artifact)
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] == before[name]] == ["lineage.json"]
    (artifact / "keys.json").write_bytes(before["keys.json"])
    with pytest.raises(IntegrityError, match="key of another artifact"):
        opens(owner)
    assert [path.name for path in artifact.parent.iterdir()] == [artifact.name]


def test_rekeying_elsewhere_leaves_the_old_one(artifact: Path, owner: KeyPair, signer: seal.SigningKey) -> None:
    before, out = files(artifact), artifact.with_name("new.intact")
    options = {"identities": [owner.identity], "signer": signer, "signers": [signer.verifying_key], "out": out}
    assert seal.rekey(artifact, [owner.recipient], **options).revision == 8
    assert files(artifact) == before
    assert seal.read(out, identities=[owner.identity], signers=[signer.verifying_key]).lineage == {"b": 2}
    with pytest.raises(UsageError, match="exists already"):
        seal.rekey(artifact, [owner.recipient], **options)


def test_rekeying_through_a_link_changes_what_it_leads_to(
    artifact: Path, owner: KeyPair, signer: seal.SigningKey
) -> None:
    link = artifact.with_name("link")
    link.symlink_to(artifact.name)
    seal.rekey(link, [owner.recipient], identities=[owner.identity], signer=signer, signers=[signer.verifying_key])
    assert link.is_symlink()
    assert seal.inspect(artifact).manifest.revision == 8
    assert {path.name for path in artifact.parent.iterdir()} == {artifact.name, "link"}


def test_rekeying_keeps_the_policy(artifact: Path, owner: KeyPair, signer: seal.SigningKey) -> None:
    payload = seal.read(artifact, identities=[owner.identity], signers=[signer.verifying_key])
    policy = seal.Policy(not_after=4102444800, engines=("reference",))
    limited = artifact.with_name("limited")
    program = seal.Payload(program=payload.program, header={}, card={}, lineage={}, policy=policy)
    seal.write(program, limited, recipients=[owner.recipient])
    made = seal.rekey(limited, [owner.recipient], identities=[owner.identity], allow_unsigned=True)
    assert made.policy == policy


def test_rekeying_wants_recipients_and_a_signature_it_knows(
    artifact: Path, owner: KeyPair, signer: seal.SigningKey
) -> None:
    before = files(artifact)
    with pytest.raises(UsageError, match="no recipient was named"):
        seal.rekey(artifact, [], identities=[owner.identity], signers=[signer.verifying_key])
    with pytest.raises(AccessError, match="no signer was named"):
        seal.rekey(artifact, [owner.recipient], identities=[owner.identity], signer=signer)
    stranger = seal.SigningKey.generate().verifying_key
    with pytest.raises(AccessError, match="is signed by"):
        seal.rekey(artifact, [owner.recipient], identities=[owner.identity], signer=signer, signers=[stranger])
    assert files(artifact) == before


def test_a_damaged_artifact_is_not_signed_again(artifact: Path, owner: KeyPair, signer: seal.SigningKey) -> None:
    weights = bytearray((artifact / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (artifact / "weights.safetensors").write_bytes(weights)
    before = files(artifact)
    with pytest.raises(IntegrityError):
        seal.rekey(
            artifact, [owner.recipient], identities=[owner.identity], signer=signer, signers=[signer.verifying_key]
        )
    assert files(artifact) == before


def test_what_is_no_artifact_is_the_callers_mistake(tmp_path: Path, owner: KeyPair) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "missing", tmp_path / "file"):
        for action in (
            lambda path=path: seal.add_recipients(path, [owner.recipient], identities=[owner.identity]),
            lambda path=path: seal.rekey(path, [owner.recipient], identities=[owner.identity], allow_unsigned=True),
        ):
            with pytest.raises(UsageError, match="cannot change"):
                action()


def test_a_file_system_that_cannot_swap_is_told(
    artifact: Path, owner: KeyPair, signer: seal.SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(artifact)
    monkeypatch.setattr(replacing, "_EXCHANGE", 64)  # a flag the system does not know
    with pytest.raises(UsageError, match="cannot swap two directories") as caught:
        seal.rekey(artifact, [owner.recipient], identities=[owner.identity], signer=signer, allow_unsigned=True)
    assert "--out" in str(caught.value.hint)
    assert files(artifact) == before
    assert [path.name for path in artifact.parent.iterdir()] == [artifact.name]


def test_rekeying_in_place_never_drops_a_signature_unasked(
    artifact: Path, owner: KeyPair, signer: seal.SigningKey
) -> None:
    before = files(artifact)
    options: dict[str, Any] = {"identities": [owner.identity], "signers": [signer.verifying_key]}
    with pytest.raises(UsageError, match="would be left without a signature") as refused:
        seal.rekey(artifact, [owner.recipient], **options)
    assert "--sign" in str(refused.value.hint)
    assert files(artifact) == before
    seal.rekey(artifact, [owner.recipient], **options, out=artifact.with_name("elsewhere"))
    seal.rekey(artifact, [owner.recipient], **options, allow_unsigned=True)
    assert "model.sig" not in files(artifact)
    seal.rekey(artifact, [owner.recipient], **options, allow_unsigned=True)  # there is none to drop


def test_rekeying_in_place_locks_nobody_out_unasked(artifact: Path, owner: KeyPair, signer: seal.SigningKey) -> None:
    before, other = files(artifact), x25519.generate()
    options: dict[str, Any] = {
        "identities": [owner.identity],
        "signer": signer,
        "signers": [signer.verifying_key],
    }
    with pytest.raises(UsageError, match="none of the identities given would open the artifact any more"):
        seal.rekey(artifact, [other.recipient], **options)
    assert files(artifact) == before
    seal.rekey(artifact, [other.recipient], **options, out=artifact.with_name("elsewhere"))
    seal.rekey(artifact, [other.recipient, owner.recipient], **options)
    seal.rekey(artifact, [seal.passphrase_recipient("one that the caller has")], **options)


def test_rekeying_holds_tensors_against_their_digests(artifact: Path, owner: KeyPair, signer: seal.SigningKey) -> None:
    payload = seal.read(artifact, identities=[owner.identity], signers=[signer.verifying_key])
    stored = [replace(each, spec=replace(each.spec, blake3="0" * 64)) for each in seal.store(payload.program)]
    other = artifact.with_name("other")
    seal.write(replace(payload, stored=stored), other, recipients=[owner.recipient])
    before = files(other)
    with pytest.raises(IntegrityError, match="tensor 'w' is not the one that the header names"):
        seal.rekey(other, [owner.recipient], identities=[owner.identity], allow_unsigned=True)
    assert files(other) == before


@pytest.mark.parametrize("way", [".", "link"])
def test_what_replaces_a_file_lies_beside_the_artifact_itself(
    artifact: Path, owner: KeyPair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "link").symlink_to(artifact)
    monkeypatch.chdir(artifact if way == "." else elsewhere)
    seen: list[Path] = []

    def watch(path: Path, pieces: Iterable[Buffer]) -> None:
        write_file(path, pieces)
        seen.append(path)
        assert set(files(artifact)) <= set(layout.LIMITS)  # a reader in between opens it

    monkeypatch.setattr(staging, "write_file", watch)
    other = x25519.generate()
    seal.add_recipients(Path(way), [other.recipient], identities=[owner.identity])
    assert [path.parent for path in seen] == [artifact.parent]
    assert len(ids(artifact)) == 2
    assert not list(tmp_path.rglob("*.partial"))


def test_two_changes_wait_for_each_other(artifact: Path) -> None:
    other = os.open(artifact, os.O_RDONLY)
    try:
        with replacing.locked(artifact), pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(other)


def test_what_was_replaced_while_waiting_is_left_alone(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def swap(*_: object) -> None:
        artifact.rename(artifact.with_name("old"))
        artifact.mkdir()

    monkeypatch.setattr(fcntl, "flock", swap)
    with pytest.raises(UsageError, match="was replaced by somebody else"), replacing.locked(artifact):
        pytest.fail("the block must not run")
