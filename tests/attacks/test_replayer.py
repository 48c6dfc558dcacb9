"""The replayer has an older revision, or one whose time is over, all of it genuine, and wants it used."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import forge
import pytest
from victims import Victim, tiny

from intact import seal
from intact.errors import AccessError, IntegrityError
from intact.pipeline import terms
from intact.seal import policy
from intact.seal.recipients import x25519

NOON = policy.seconds("2027-06-01T12:00:00Z")
NAME = "5" * 32


@pytest.fixture
def store(tmp_path: Path) -> seal.Revisions:
    return seal.Revisions(folder=tmp_path / "seen")


@pytest.fixture
def line(tmp_path: Path) -> Victim:
    """Where the artifact of a line of revisions lies; `put` puts one there."""
    return Victim(path=tmp_path / "m.intact", owner=x25519.generate(), signer=seal.SigningKey.generate())


def put(line: Victim, revision: int, *, signed: bool = True, **limits: Any) -> None:
    """Put a genuine revision where readers look."""
    shutil.rmtree(line.path, ignore_errors=True)
    payload = tiny()
    made = seal.Payload(program=payload.program, header={}, card={}, lineage={}, policy=seal.Policy.of(**limits))
    signer = line.signer if signed else None
    seal.write(made, line.path, recipients=[line.owner.recipient], signer=signer, artifact=NAME, revision=revision)


def use(line: Victim, store: seal.Revisions, *, now: float = NOON, allow_unsigned: bool = False, **more: Any) -> None:
    """Open it, and remember that."""
    conditions = seal.Conditions(clock=lambda: now, revisions=store, **more)
    found = seal.read(
        line.path,
        identities=[line.owner.identity],
        signers=[line.signer.verifying_key],
        allow_unsigned=allow_unsigned,
        conditions=conditions,
    )
    assert found.source is not None
    conditions.remember(found.source)


def test_an_older_revision_is_refused(line: Victim, store: seal.Revisions) -> None:
    put(line, 2)
    use(line, store)
    put(line, 1)
    with pytest.raises(AccessError, match="is older than revision 2, opened before"):
        use(line, store)
    put(line, 3)
    use(line, store)


def test_an_older_revision_is_not_made_the_newest(line: Victim, store: seal.Revisions) -> None:
    put(line, 2, minimum_revision=2)
    use(line, store)
    put(line, 1)
    before = {path.name: path.read_bytes() for path in line.path.iterdir()}
    for older in (False, True):
        with pytest.raises(AccessError, match="is withdrawn"):
            rekey(line, store, allow_older=older)
        with pytest.raises(AccessError, match="is withdrawn"):
            settle(line, store, allow_older=older)
    assert {path.name: path.read_bytes() for path in line.path.iterdir()} == before
    put(line, 4, minimum_revision=2)
    use(line, store)
    put(line, 3)
    for act in (rekey, settle):
        with pytest.raises(AccessError, match="is older than revision 4, opened before"):
            act(line, store)
    found = settle(line, store, allow_older=True)
    assert (found.revision, found.policy.minimum_revision) == (5, 2)
    made = rekey(line, store, allow_older=True)
    assert (made.revision, made.policy.minimum_revision) == (5, 2)
    assert store.recall(NAME) == seal.Seen(version=1, highest=5, minimum=2)  # remembered as if it was opened
    use(line, store)
    put(line, 4, minimum_revision=2)
    with pytest.raises(AccessError, match="is older than revision 5"):
        use(line, store)


def test_a_revision_by_number_undoes_no_withdrawal(line: Victim, store: seal.Revisions) -> None:
    put(line, 3, minimum_revision=2)
    use(line, store)
    with pytest.raises(AccessError, match="is withdrawn"):
        settle(line, store, artifact=NAME, revision=1)
    with pytest.raises(AccessError, match="is older than revision 3"):
        settle(line, store, artifact=NAME, revision=2)
    assert settle(line, store, artifact=NAME, revision=4).policy.minimum_revision == 2
    lower = seal.Policy(minimum_revision=1)
    assert settle(line, store, policy=lower).policy.minimum_revision == 2


def test_a_withdrawn_revision_is_refused_even_where_older_ones_are_let_in(line: Victim, store: seal.Revisions) -> None:
    put(line, 3, minimum_revision=2)
    use(line, store)
    put(line, 2)
    use(line, store, allow_older=True)
    put(line, 1)
    with pytest.raises(AccessError, match="is withdrawn"):
        use(line, store, allow_older=True)


def test_an_expired_artifact_is_refused(line: Victim, store: seal.Revisions) -> None:
    put(line, 1, not_after=NOON)
    use(line, store)
    with pytest.raises(AccessError, match="expired"):
        use(line, store, now=NOON + 1)


def test_a_clock_set_back_is_noticed(line: Victim, store: seal.Revisions) -> None:
    put(line, 1)
    use(line, store, now=NOON + 5 * 86_400)
    put(line, 2, not_after=NOON)
    with pytest.raises(AccessError, match="it was set back"):
        use(line, store, now=NOON - 1)


def test_another_policy_does_not_fit_the_signature(line: Victim, store: seal.Revisions) -> None:
    put(line, 1, not_after=NOON)
    change_policy(line, not_after=NOON + 86_400)
    with pytest.raises(IntegrityError):
        use(line, store)


def test_another_policy_does_not_fit_the_key(line: Victim, store: seal.Revisions) -> None:
    put(line, 1, signed=False, not_after=NOON)
    change_policy(line, not_after=NOON + 86_400)
    with pytest.raises(IntegrityError, match="does not open under this key"):
        use(line, store, allow_unsigned=True)


def test_a_damaged_store_is_refused(line: Victim, store: seal.Revisions) -> None:
    put(line, 2)
    use(line, store)
    put(line, 1)
    for file in sorted(store.folder.glob("*.json")):
        before = file.read_bytes()
        for end in range(len(before)):
            file.write_bytes(before[:end])
            with pytest.raises((IntegrityError, AccessError)):
                use(line, store)
        file.write_bytes(before)


def test_an_unsigned_artifact_never_raises_what_is_remembered(line: Victim, store: seal.Revisions) -> None:
    put(line, 2**53 - 1, signed=False)
    use(line, store, allow_unsigned=True)
    put(line, 1)
    use(line, store)


def rekey(line: Victim, store: seal.Revisions, *, allow_older: bool = False) -> seal.Manifest:
    """Let the owner make the next revision of what lies there."""
    return seal.rekey(
        line.path,
        [line.owner.recipient],
        identities=[line.owner.identity],
        signer=line.signer,
        signers=[line.signer.verifying_key],
        revisions=store,
        allow_older=allow_older,
    )


def settle(line: Victim, store: seal.Revisions, *, allow_older: bool = False, **more: Any) -> terms.Terms:
    """Let the owner begin a build of the next revision of what lies there, or of the one that is named."""
    wanted = {"policy": None, "revises": None if "artifact" in more else line.path, "artifact": None, "revision": None}
    return terms.settle(**{**wanted, **more}, signer=line.signer, revisions=store.folder, allow_older=allow_older)


def change_policy(line: Victim, **limits: Any) -> None:
    manifest = forge.load(line.path)
    manifest["policy"] |= limits
    forge.store(line.path, manifest)
