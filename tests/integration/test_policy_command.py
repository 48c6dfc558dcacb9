"""Policies, revisions and single tensors, as callers of `intact.open` and of the command meet them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact import engine, seal
from intact.errors import AccessError, IntegrityError, UsageError
from intact.pipeline.reading import read_to_compare
from intact.seal import policy
from support.nets import cnn, data

X = data(1, 64, 3, 8, 8)
NOON = policy.seconds("2027-06-01T12:00:00Z")
FAST = ("--engine", "onnxruntime")
Command = Callable[..., Any]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> intact.Built:
    return intact.build(intact.Spec(model=cnn(), calibration=X, name="tiny"), engines=["onnxruntime"])


@pytest.fixture
def write(tmp_path: Path, built: intact.Built, keys: intact.Keys) -> Callable[..., Path]:
    """Return a function that seals the model as some revision under some policy."""
    from dataclasses import replace

    from intact.pipeline import artifact

    def seal_it(name: str, *, revision: int = 1, id_: str = "a" * 32, **limits: Any) -> Path:
        payload = replace(artifact.payload(built), policy=intact.Policy.of(**limits))
        seal.write(
            payload,
            tmp_path / name,
            recipients=[keys.recipient],
            signer=keys.signer,
            artifact=id_,
            revision=revision,
        )
        return tmp_path / name

    return seal_it


@pytest.fixture
def means(keys: intact.Keys, tmp_path: Path) -> dict[str, Any]:
    return {"identity": keys.identity, "signer": keys.verifier, "revisions": tmp_path / "seen"}


def test_a_model_opens_within_its_policy(write: Callable[..., Path], means: dict[str, Any]) -> None:
    path = write("m", not_before=NOON, not_after=NOON + 1, engines=["onnxruntime"])
    model = intact.open(path, clock=lambda: NOON, **means)
    assert model.engine == "onnxruntime"
    assert {each.name for each in model.tried} == {"onnxruntime"}  # no other was considered
    for now, message in [(NOON - 5, "may not be opened before"), (NOON + 5, "expired"), (0, "cannot be right")]:
        with pytest.raises(AccessError, match=message):
            intact.open(path, clock=lambda now=now: now, **means)
    with pytest.raises(AccessError, match="may not run on engine 'reference'"):
        intact.open(path, clock=lambda: NOON, engines=["reference"], **means)


def test_the_machines_clock_is_the_default(write: Callable[..., Path], means: dict[str, Any]) -> None:
    with pytest.raises(AccessError, match="expired"):
        intact.open(write("late", not_after=int(time.time()) - 60), **means)
    assert intact.open(write("fine", id_="b" * 32, not_after=int(time.time()) + 3600), **means).engine


def test_engines_this_version_does_not_have_are_told(write: Callable[..., Path], means: dict[str, Any]) -> None:
    with pytest.raises(AccessError, match="may only run on abacus, which this version does not have"):
        intact.open(write("m", engines=["abacus"]), **means)
    model = intact.open(write("n", id_="b" * 32, engines=["abacus", "reference"]), **means)
    assert model.engine == "reference"


def test_opening_remembers_the_revision(write: Callable[..., Path], means: dict[str, Any], tmp_path: Path) -> None:
    first, second = write("1"), write("2", revision=2)
    intact.open(first, **means)
    intact.open(second, **means)
    with pytest.raises(AccessError, match="older than revision 2"):
        intact.open(first, **means)
    intact.open(first, allow_older=True, **means)
    intact.open(first, **{**means, "revisions": False})
    assert seal.Revisions(folder=tmp_path / "seen").recall("a" * 32).highest == 2


def test_the_users_own_store_is_the_default(
    write: Callable[..., Path], keys: intact.Keys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    intact.open(write("m", revision=4), identity=keys.identity, signer=keys.verifier)
    assert seal.Revisions(folder=tmp_path / "state" / "intact" / "revisions").recall("a" * 32).highest == 4


def test_what_does_not_open_is_not_remembered(write: Callable[..., Path], means: dict[str, Any]) -> None:
    path = write("m", revision=9)
    weights = path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(IntegrityError):
        intact.open(path, **means)
    assert not means["revisions"].exists()


def test_tensors_come_without_the_model(
    write: Callable[..., Path], means: dict[str, Any], built: intact.Built, tmp_path: Path
) -> None:
    path = write("m", revision=3)
    found = intact.open(path, tensors=["stem.w"], **means)
    assert list(found) == ["stem.w"]
    assert np.array_equal(found["stem.w"], built.program.tensors["stem.w"])
    with pytest.raises(TypeError):
        found["stem.w"] = 0  # type: ignore[index]
    with pytest.raises(ValueError, match="read-only"):
        found["stem.w"][:] = 0
    assert intact.open(path, tensors="stem.w", **means).keys() == found.keys()
    assert seal.Revisions(folder=tmp_path / "seen").recall("a" * 32).highest == 3
    with pytest.raises(UsageError, match="no tensor 'stem'"):
        intact.open(path, tensors=["stem"], **means)
    with pytest.raises(AccessError, match="expired"):
        intact.open(write("late", revision=4, not_after=1), tensors=["stem.w"], clock=lambda: NOON, **means)


@pytest.mark.parametrize("more", [{"engines": ["onnxruntime"]}, {"threads": 1}, {"sizes": {}}, {"scrub": True}])
def test_tensors_run_nothing(write: Callable[..., Path], means: dict[str, Any], more: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="tensors go with no engines"):
        intact.open(write("m"), tensors=["stem.w"], **means, **more)


def build(out: Path, **more: Any) -> intact.Built:
    return intact.build(intact.Spec(model=cnn(), calibration=X, name="tiny"), out=out, engines=["onnxruntime"], **more)


def test_a_revision_follows_the_one_it_revises(tmp_path: Path, keys: intact.Keys) -> None:
    first = build(tmp_path / "1", signer=keys.signer, policy=intact.Policy(not_after=NOON)).manifest
    second = build(
        tmp_path / "2", signer=keys.signer, revises=tmp_path / "1", policy=intact.Policy(minimum_revision=2)
    ).manifest
    third = build(tmp_path / "3", signer=keys.signer, revises=tmp_path / "2", revision=7).manifest
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.artifact == second.artifact == third.artifact
    assert (first.revision, second.revision, third.revision) == (1, 2, 7)
    assert third.policy == intact.Policy(minimum_revision=2)  # what is withdrawn stays so, limits in time do not
    with pytest.raises(UsageError, match="revision 7 does not come after revision 7"):
        build(tmp_path / "4", signer=keys.signer, revises=tmp_path / "3", revision=7)
    with pytest.raises(UsageError, match="give one of them|both an artifact"):
        build(tmp_path / "4", revises=tmp_path / "3", artifact_id="a" * 32)
    with pytest.raises(UsageError, match="revisions below 2 are withdrawn"):
        build(tmp_path / "4", policy=intact.Policy(minimum_revision=2))
    with pytest.raises(AccessError, match="artifact is"):
        build(tmp_path / "4", signer=seal.SigningKey.generate(), revises=tmp_path / "3")
    with pytest.raises(UsageError, match="wanted 32 lower-case hex digits"):
        build(tmp_path / "4", artifact_id="A" * 32)
    assert not (tmp_path / "4").exists()


def test_a_policy_is_held_against_the_engines_of_the_build(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="policy allows engine 'abacus', which does not exist"):
        build(tmp_path / "m", policy=intact.Policy(engines=("abacus",)))
    with pytest.raises(UsageError, match="engine 'onnxruntime' is asked for, but the policy allows reference only"):
        build(tmp_path / "m", policy=intact.Policy(engines=("reference",)))


# the command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "m.onnx").write_bytes(cnn())
    np.savez(tmp_path / "x.npz", x=X)
    return tmp_path


@pytest.fixture
def run(command: Command, folder: Path, key_files: Path) -> Command:
    """Run a command in that folder, with the keys that it takes."""
    ways = {
        "build": ("m.onnx", "--calibrate", "x.npz", "--sign", key_files / "signing.key", *FAST),
        "run": ("--input", "x.npz", "--output", "y.npz", "--signer", key_files / "signing.pub", *FAST),
    }
    return lambda name, *words: command(name, *words, *ways.get(name, ()), cwd=folder, XDG_STATE_HOME=str(folder))


def test_the_command_sets_and_keeps_a_policy(run: Command, folder: Path) -> None:
    told = run(
        "build", "--out", "1", "--not-before", "2026-02-01T00:00:00Z", "--not-after", "2090-01-01T00:00:00+01:00",
        "--allow-engine", "onnxruntime", "--allow-engine", "reference",
    )  # fmt: skip
    assert told.code == 0, told.err
    shown = run("inspect", "1")
    for line in ("not before 2026-02-01T00:00:00Z", "not after 2089-12-31T23:00:00Z", "engines onnxruntime, reference"):
        assert f"policy     {line}\n" in shown.out
    assert run("inspect", "1", "--json").json["policy"] == {
        "engines": ["onnxruntime", "reference"],
        "minimum_revision": None,
        "not_after": policy.seconds("2089-12-31T23:00:00Z"),
        "not_before": policy.seconds("2026-02-01T00:00:00Z"),
    }
    assert run("run", "1").code == 0
    refused = run("run", "1", "--engine", "openvino")
    assert (refused.code, refused.err.splitlines()) == (
        4,
        [
            "error: artifact may not run on engine 'openvino', only on onnxruntime, reference",
            "hint: name one of these, or none",
        ],
    )
    assert run("build", "--out", "late", "--not-after", "2026-01-02T00:00:00Z").code == 0
    refused = run("run", "late")
    assert refused.code == 4
    assert refused.err.startswith("error: artifact expired at 2026-01-02T00:00:00Z; the clock says 20")
    assert "hint: ask its owner for a newer revision" in refused.err


def test_the_command_keeps_to_revisions(run: Command, folder: Path) -> None:
    assert run("build", "--out", "1").code == 0
    assert run("build", "--out", "2", "--revises", "1").code == 0
    id_ = run("inspect", "2", "--json").json["artifact"]
    told = run("build", "--out", "5", "--artifact-id", id_, "--revision", "5", "--minimum-revision", "2")
    assert told.code == 0, told.err
    made = run("run", "2")  # what was made counts as opened
    assert (made.code, "older than revision 5, opened before" in made.err) == (4, True)
    (folder / "intact" / "revisions" / f"{id_}.json").unlink()  # as where others read it
    assert [run("run", name).code for name in ("1", "2", "5", "5")] == [0, 0, 0, 0]
    older = run("run", "2")
    assert older.code == 4
    assert older.err.startswith(f"error: revision 2 of artifact {id_} is older than revision 5, opened before\nhint: ")
    assert run("run", "2", "--allow-older").code == 0
    withdrawn = run("run", "1", "--allow-older")
    assert withdrawn.code == 4
    assert "is withdrawn: its owner withdrew all below 2" in withdrawn.err
    assert run("run", "1", "--no-revisions").code == 0
    assert run("run", "1", "--revisions", "other").code == 0
    assert (folder / "other" / f"{id_}.json").exists()
    both = run("run", "1", "--revisions", "other", "--no-revisions")
    assert (both.code, "both --revisions and --no-revisions" in both.err) == (2, True)
    (folder / "intact" / "revisions" / f"{id_}.json").write_text("{")
    damaged = run("run", "5", "--json")
    assert (damaged.code, damaged.json["exit_code"]) == (3, 3)
    assert "is damaged" in damaged.json["error"]


def test_the_command_revises_no_older_revision(run: Command, folder: Path) -> None:
    assert run("build", "--out", "1").code == 0
    assert run("build", "--out", "2", "--revises", "1", "--minimum-revision", "2").code == 0
    told = run("build", "--out", "x", "--revises", "1", "--allow-older")
    assert (told.code, "is withdrawn: its owner withdrew all below 2" in told.err) == (4, True)
    assert not (folder / "x").exists()
    assert run("build", "--out", "3", "--revises", "2").code == 0
    told = run("build", "--out", "x", "--revises", "2")
    assert (told.code, "is older than revision 3, opened before" in told.err) == (4, True)
    told = run("build", "--out", "x", "--revises", "2", "--revision", "3", "--allow-older")
    assert (told.code, "revision 3 does not come after revision 3" in told.err) == (2, True)
    assert run("build", "--out", "4", "--revises", "2", "--allow-older").code == 0
    facts = run("inspect", "4", "--json").json
    assert (facts["revision"], facts["policy"]["minimum_revision"]) == (4, 2)
    assert run("build", "--out", "other 3", "--revises", "2", "--no-revisions").code == 0
    assert run("inspect", "other 3", "--json").json["revision"] == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"signer": "signing.pub"}, "a str was given, wanted a public key or authority"),
        ({"signer": ["signing.pub"]}, "a str was given, wanted a public key or authority"),
        ({"signer": (each for each in ())}, "a generator was given, wanted a public key"),
        ({"identity": Path("identity.key")}, "a PosixPath was given, wanted an identity"),
        ({"identity": [None]}, "a NoneType was given, wanted an identity"),
    ],
)
def test_what_is_no_key_is_told(write: Callable[..., Path], given: dict[str, Any], message: str) -> None:
    path = write("m")
    for action in (intact.open, read_to_compare):
        with pytest.raises(UsageError, match=message) as refused:
            action(path, **given)
        assert "intact.load_" in str(refused.value.hint)


def test_none_is_nobody(write: Callable[..., Path], keys: intact.Keys) -> None:
    path = write("m")
    for action in (intact.open, read_to_compare):
        with pytest.raises(AccessError, match="no signer was named"):
            action(path, identity=keys.identity, signer=None)
        with pytest.raises(AccessError, match="no identity was given"):
            action(path, identity=None, signer=[keys.verifier])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--not-before", "tomorrow"), "'tomorrow' is no time in RFC 3339"),
        (("--not-before", "2027-01-02T00:00:00Z", "--not-after", "2027-01-01T00:00:00Z"), "before it begins"),
        (("--allow-engine", "abacus"), "engine 'abacus', which does not exist"),
        (("--minimum-revision", "3"), "revisions below 3 are withdrawn"),
        (("--revises", "nowhere"), "cannot read artifact 'nowhere'"),
    ],
)
def test_a_slip_costs_no_build(run: Command, folder: Path, words: tuple[str, ...], message: str) -> None:
    told = run("build", "--out", "m", *words)
    assert told.code == 2
    assert message in told.err
    assert not (folder / "m").exists()


def test_run_checks_the_memory_it_ran_with(run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("build", "--out", "m").code == 0
    assert run("run", "m", "--json").json["repairs"] is None
    told = run("run", "m", "--scrub", "--json")
    assert (told.code, told.json["repairs"]) == (0, 0)
    genuine = np.load(folder / "y.npz")
    wanted = {name: genuine[name] for name in genuine}

    def damaged(times: int) -> Any:
        """Let the weights change during the first runs of a model."""
        from intact.pipeline import Model

        honest, left = Model.run, [times]

        def run_(model: Any, feeds: Any) -> Any:
            if left[0]:
                left[0] -= 1
                memory = model.session.weights["stem.w"]
                memory.flags.writeable = True
                memory ^= 0x55
            return honest(model, feeds)

        return run_

    monkeypatch.setattr("intact.pipeline.Model.run", damaged(1))
    told = run("run", "m", "--scrub", "--json")
    assert (told.code, told.json["repairs"]) == (0, 1), json.dumps(told.json)
    again = np.load(folder / "y.npz")
    assert all(np.array_equal(again[name], value) for name, value in wanted.items())
    monkeypatch.undo()
    monkeypatch.setattr("intact.pipeline.Model.run", damaged(99))
    told = run("run", "m", "--scrub")
    assert told.code == 1
    assert "the weights in memory changed during each of 3 runs" in told.err


def test_ways_to_scrub_are_told(write: Callable[..., Path], means: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="scrub is 'always'") as refused:
        intact.open(write("m"), scrub="always", **means)
    assert refused.value.hint == 'give True, False or "in place"'


def test_nothing_is_left_running(write: Callable[..., Path], means: dict[str, Any]) -> None:
    model = intact.open(write("m"), scrub=True, **means)
    assert isinstance(model._background, engine.Paced)
    with pytest.raises(UsageError, match="share is 2"):
        model.start_scrubbing(share=2)
    model.stop_scrubbing()
    assert model._background is None
    model.stop_scrubbing()
