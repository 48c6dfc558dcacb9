"""Policies: their values, and holding them against clock, engines and remembered revisions."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact import seal
from intact.errors import AccessError, IntactError, IntegrityError, UsageError
from intact.graph import Program
from intact.seal import conditions, policy
from intact.seal.manifest import Manifest
from intact.seal.recipient import KeyPair
from intact.wire import decode, encode

NOON = policy.seconds("2027-06-01T12:00:00Z")
DAY = 86_400
Write = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path, owner: KeyPair, signer: seal.SigningKey) -> Write:
    """Return a function that writes an artifact under a policy."""

    def write(name: str = "m", *, artifact: str | None = None, revision: int = 1, **limits: Any) -> Path:
        small = seal.Payload(
            program=Program(model=b"graph", tensors={}),
            header={},
            card={},
            lineage={},
            policy=seal.Policy.of(**limits),
        )
        seal.write(
            small,
            tmp_path / name,
            recipients=[owner.recipient],
            signer=signer,
            artifact=artifact,
            revision=revision,
        )
        return tmp_path / name

    return write


@pytest.fixture
def opened(owner: KeyPair, signer: seal.SigningKey) -> Callable[..., seal.Payload]:
    """Return a function that opens one at a time of the test's choice."""

    def read(path: Path, now: float = NOON, **more: Any) -> seal.Payload:
        held_against = seal.Conditions(clock=lambda: now, **more)
        return seal.read(path, identities=[owner.identity], signers=[signer.verifying_key], conditions=held_against)

    return read


Open = Callable[..., seal.Payload]


def test_times_are_read_in_any_offset() -> None:
    assert policy.seconds("1970-01-01T00:00:00Z") == 0
    assert policy.seconds("2027-01-31T09:00:00+09:00") == policy.seconds("2027-01-31t00:00:00z")


@pytest.mark.parametrize(
    "text",
    ["2027-01-31", "2027-01-31T00:00:00", "2027-02-30T00:00:00Z", "1234567", "", "2027-01-31T00:00:00.5Z", "٢027"],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no time in RFC 3339") as refused:
        policy.seconds(text)
    assert "2027-01-31T00:00:00Z" in (refused.value.hint or "")


@given(st.integers(0, policy.LATEST))
def test_a_time_comes_back_from_its_text(moment: int) -> None:
    assert policy.seconds(policy.timestamp(moment)) == moment


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"not_before": -1}, "not_before of the policy is -1"),
        ({"not_after": policy.LATEST + 1}, "not_after of the policy"),
        ({"not_before": NOON + 1, "not_after": NOON}, "before it begins"),
        ({"not_before": True}, "not_before of the policy is True"),
        ({"engines": ()}, "wanted 1 to 64 names"),
        ({"engines": ("Engine",)}, "wanted 1 to 64 names"),
        ({"engines": ("b", "a")}, "not sorted"),
        ({"engines": ("a", "a")}, "repeat"),
        ({"minimum_revision": 0}, "minimum_revision of the policy is 0"),
    ],
)
def test_impossible_policies_are_refused(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        seal.Policy(**limits)


def test_a_policy_says_what_it_limits() -> None:
    assert seal.Policy().lines() == []
    made = seal.Policy.of(not_before="2027-01-01T00:00:00Z", not_after=NOON, engines=["b", "a"], minimum_revision=3)
    assert made.lines() == [
        "not before 2027-01-01T00:00:00Z",
        "not after 2027-06-01T12:00:00Z",
        "engines a, b",
        "revisions below 3 withdrawn",
    ]


def test_a_policy_travels_with_the_artifact(written: Write, opened: Open) -> None:
    limits = {"not_before": NOON, "not_after": NOON + DAY, "engines": ["onnxruntime"], "minimum_revision": 2}
    path = written(revision=2, **limits)
    assert opened(path).policy == seal.Policy.of(**limits)
    assert seal.inspect(path).manifest.policy == seal.Policy.of(**limits)


@pytest.mark.parametrize("now", [NOON, NOON + DAY, NOON + 1.5])
def test_both_ends_belong_to_the_time(written: Write, opened: Open, now: float) -> None:
    opened(written(not_before=NOON, not_after=NOON + DAY), now)


@pytest.mark.parametrize(
    ("now", "message", "hint"),
    [
        (NOON - 1, "may not be opened before 2027-06-01T12:00:00Z; the clock says 2027-06-01T11:59:59Z", "wait"),
        (NOON + DAY + 1, "expired at 2027-06-02T12:00:00Z; the clock says 2027-06-02T12:00:01Z", "newer revision"),
        (0, "clock says 1970-01-01T00:00:00Z, far before", "set the clock"),
        (NOON - conditions.FAR_S - 1, "it cannot be right", "set the clock"),
        (float("nan"), "which is no time", "set the clock"),
        (-5.0, "which is no time", "set the clock"),
    ],
)
def test_at_another_time_it_does_not_open(written: Write, opened: Open, now: float, message: str, hint: str) -> None:
    path = written(not_before=NOON, not_after=NOON + DAY)
    with pytest.raises(AccessError, match=message) as refused:
        opened(path, now)
    assert hint in (refused.value.hint or "")
    assert refused.value.exit_code == 4


def test_the_policy_comes_before_the_key(written: Write, signer: seal.SigningKey) -> None:
    path = written(not_after=NOON)
    held_against = seal.Conditions(clock=lambda: NOON + 1)
    with pytest.raises(AccessError, match="expired"):  # and not that no identity was given
        seal.read(path, signers=[signer.verifying_key], conditions=held_against)


def test_a_clock_matters_only_to_what_is_limited_in_time(written: Write, opened: Open) -> None:
    opened(written(engines=["a"]), 0)


def test_an_end_alone_notices_a_clock_before_the_format(written: Write, opened: Open) -> None:
    path = written(not_after=NOON)
    opened(path, conditions.EARLIEST)
    with pytest.raises(AccessError, match="far before 2026-01-01T00:00:00Z"):
        opened(path, conditions.EARLIEST - 1)


def test_engines_that_are_not_named_are_refused(written: Write, opened: Open) -> None:
    path = written(engines=["onnxruntime", "reference"])
    for engines in (None, ("reference",), ("onnxruntime", "reference")):
        opened(path, engines=engines)
    with pytest.raises(AccessError, match="not run on engine 'openvino', only on onnxruntime, reference") as refused:
        opened(path, engines=("openvino", "reference"))
    assert refused.value.hint == "name one of these, or none"


def test_whoever_does_not_run_the_model_may_waive_the_policy(
    written: Write, owner: KeyPair, signer: seal.SigningKey
) -> None:
    path = written(not_after=0)
    seal.read(path, identities=[owner.identity], signers=[signer.verifying_key], conditions=None)


def test_a_revision_does_not_withdraw_itself(written: Write) -> None:
    with pytest.raises(UsageError, match="itself among them") as refused:
        written(minimum_revision=2)
    assert "give it revision 2" in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"minimum_revision": 2}, "withdraws its own revision"),
        ({"not_before": -1}, "not_before of the policy is -1"),
        ({"not_before": "2027-01-31T00:00:00Z"}, "not_before is str, wanted int"),
        ({"engines": []}, "wanted 1 to 64 names"),
        ({"engines": ["b", "a"]}, "not sorted"),
        ({"uses": 5}, "unknown field 'uses'"),
    ],
)
def test_a_manifest_with_an_impossible_policy_is_refused(written: Write, change: Any, message: str) -> None:
    manifest = decode((written() / "manifest.json").read_bytes(), where="manifest")
    manifest["policy"] |= change
    with pytest.raises(IntegrityError, match=re.escape(message)):
        Manifest.from_bytes(encode(manifest))


def test_an_older_revision_than_opened_before_is_refused(written: Write, opened: Open, tmp_path: Path) -> None:
    store, name = seal.Revisions(folder=tmp_path / "seen"), "0" * 32
    first, second = written("1", artifact=name), written("2", artifact=name, revision=2)
    remember(opened(first, revisions=store), store)
    remember(opened(second, revisions=store), store)
    with pytest.raises(AccessError, match=f"revision 1 of artifact {name} is older than revision 2") as refused:
        opened(first, revisions=store)
    assert "--allow-older" in (refused.value.hint or "")
    opened(first, revisions=store, allow_older=True)
    opened(first)


def test_a_withdrawn_revision_is_refused_whatever_the_reader_says(written: Write, opened: Open, tmp_path: Path) -> None:
    store, name = seal.Revisions(folder=tmp_path / "seen"), "0" * 32
    remember(opened(written("3", artifact=name, revision=3, minimum_revision=2), revisions=store), store)
    first, second = written("1", artifact=name), written("2", artifact=name, revision=2)
    opened(second, revisions=store, allow_older=True)
    for allow_older in (False, True):
        with pytest.raises(AccessError, match="is withdrawn: its owner withdrew all below 2") as refused:
            opened(first, revisions=store, allow_older=allow_older)
        assert refused.value.hint == "use revision 3 or a later one"


def test_another_artifact_has_revisions_of_its_own(written: Write, opened: Open, tmp_path: Path) -> None:
    store = seal.Revisions(folder=tmp_path / "seen")
    remember(opened(written("a", revision=9), revisions=store), store)
    opened(written("b", revision=1), revisions=store)


def test_a_clock_that_was_set_back_is_noticed(written: Write, opened: Open, tmp_path: Path) -> None:
    store = seal.Revisions(folder=tmp_path / "seen")
    remember(opened(written("a"), NOON, revisions=store), store, NOON)
    limited = written("b", not_after=NOON + DAY)
    opened(limited, NOON - conditions.SLACK_S, revisions=store)
    with pytest.raises(AccessError, match="but an artifact was opened at 2027-06-01T12:00:00Z: it was set back"):
        opened(limited, NOON - conditions.SLACK_S - 1, revisions=store)
    opened(written("c"), 0, revisions=store)  # no limit in time, no say for the clock


def test_unsigned_artifacts_are_not_remembered(tmp_path: Path) -> None:
    store, name = seal.Revisions(folder=tmp_path / "seen"), "0" * 32
    bare = seal.Payload(program=Program(model=b"graph", tensors={}), header={}, card={}, lineage={})
    seal.write(bare, tmp_path / "m", artifact=name, revision=7)
    remember(seal.read(tmp_path / "m", allow_unsigned=True), store)
    assert store.recall(name).highest == 1
    assert not store.folder.exists()


def test_a_signature_that_was_waived_is_not_remembered_either(
    written: Write, owner: KeyPair, signer: seal.SigningKey, tmp_path: Path
) -> None:
    store = seal.Revisions(folder=tmp_path / "seen")
    means = {"identities": [owner.identity], "signers": [signer.verifying_key]}
    remember(seal.read(written(), allow_unsigned=True, **means), store)
    assert not store.folder.exists()


def test_each_refusal_has_a_hint(written: Write, opened: Open, tmp_path: Path) -> None:
    store, name = seal.Revisions(folder=tmp_path / "seen"), "0" * 32
    remember(opened(written("9", artifact=name, revision=9, minimum_revision=5), revisions=store), store)
    cases: list[tuple[Path, dict[str, Any]]] = [
        (written("early", not_before=NOON + 1), {}),
        (written("late", not_after=NOON - 1), {}),
        (written("engine", engines=["a"]), {"engines": ("b",)}),
        (written("older", artifact=name, revision=6), {"revisions": store}),
        (written("withdrawn", artifact=name, revision=4), {"revisions": store}),
    ]
    told = set()
    for path, more in cases:
        with pytest.raises(IntactError) as refused:
            opened(path, **more)
        assert (refused.value.exit_code, bool(refused.value.hint)) == (4, True)
        told.add(refused.value.message)
    assert len(told) == len(cases)


def remember(found: seal.Payload, store: seal.Revisions, now: float = NOON) -> None:
    assert found.source is not None
    seal.Conditions(clock=lambda: now, revisions=store).remember(found.source)
