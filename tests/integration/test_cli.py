"""The `intact` command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact import engine, seal
from intact.graph import Program
from support.nets import cnn, data

X = data(1, 64, 3, 8, 8)
TESTS = Path(__file__).parents[1]
FAST = ("--engine", "onnxruntime")
Command = Callable[..., Any]

SPECS = """
import time
from pathlib import Path

import numpy as np

import intact
from support.nets import cnn, data

TEST = data(2, 400, 3, 8, 8)


def spec():
    labels = []

    def evaluate(predict):
        labels.append(predict(TEST).argmax(axis=1))
        return labels[-1] == labels[0]

    return intact.Spec(model=cnn(), calibration=data(1, 64, 3, 8, 8), evaluate=evaluate, name="tiny")


def too_dear():
    seen = []

    def evaluate(predict):
        seen.append(predict(TEST))
        return -np.abs(seen[-1] - seen[0]).mean(axis=1)

    return intact.Spec(model=cnn(), calibration=data(1, 64, 3, 8, 8), evaluate=evaluate)


def slow():
    def evaluate(predict):
        Path("evaluating").touch()
        time.sleep(60)

    return intact.Spec(model=cnn(), calibration=data(1, 64, 3, 8, 8), evaluate=evaluate)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to work in, with a model, data and specs."""
    (tmp_path / "m.onnx").write_bytes(cnn())
    np.savez(tmp_path / "x.npz", x=X)
    (tmp_path / "specs.py").write_text(SPECS)
    return tmp_path


@pytest.fixture
def run(command: Command, folder: Path) -> Command:
    """Run a command in that folder."""
    return lambda *words: command(*words, cwd=folder)


@pytest.fixture
def start(started: Command, folder: Path) -> Command:
    """Start a command in that folder as a user does."""
    return lambda *words: started(*words, cwd=folder, PYTHONPATH=str(TESTS))


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory, keys: intact.Keys) -> tuple[Path, np.ndarray]:
    """An artifact and the outputs of its model on X."""
    out = tmp_path_factory.mktemp("sealed") / "m.intact"
    built = intact.build(
        intact.Spec(model=cnn(), calibration=X, name="tiny"),
        out=out,
        recipients=[keys.recipient],
        signer=keys.signer,
        engines=["onnxruntime"],
    )
    return out, built(X)


# keys


def test_new_keys_are_four_files_and_the_private_ones_are_private(run: Command, folder: Path) -> None:
    told = run("keys", "new", "--out", "keys")
    assert told.code == 0, told.err
    assert told.out == "wrote identity.key, identity.pub, signing.key, signing.pub to keys\n"
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder / "keys").iterdir()}
    assert modes.keys() == {"identity.key", "identity.pub", "signing.key", "signing.pub"}
    assert modes["identity.key"] == modes["signing.key"] == 0o600
    again = run("keys", "new", "--out", "keys", "--json")
    assert again.code == 2
    assert again.json["exit_code"] == 2
    assert "exists" in again.json["error"]


def test_the_recipient_is_told_as_json(run: Command, folder: Path) -> None:
    told = run("keys", "new", "--out", "keys", "--json")
    assert told.json["recipient"] == (folder / "keys" / "identity.pub").read_text().strip()
    assert told.err == ""


# build


def test_an_onnx_file_is_built_sealed_inspected_verified_and_run(start: Command, folder: Path, key_files: Path) -> None:
    told = start(
        "build", "m.onnx", "--out", "m.intact", "--calibrate", "x.npz", *FAST,
        "--recipient", key_files / "identity.pub", "--sign", key_files / "signing.key",
    )  # fmt: skip
    assert told.code == 0, told.err
    assert "model      m: 3 layers in integers, 0 operators in float, exact profile" in told.out
    assert "(encrypted, id " in told.out
    assert told.err == "remark: accuracy was not checked; return a Spec with evaluate=... to have it checked\n"

    seen = start("inspect", "m.intact")
    assert seen.code == 0
    assert "model      m (exact profile)" in seen.out
    assert "encrypted  to 1 recipients" in seen.out
    assert "not verified" in seen.err

    assert start("verify", "m.intact", "--signer", key_files / "signing.pub").out.startswith("verified: artifact ")
    ran = start(
        "run", "m.intact", "--input", "x.npz", "--output", "y.npz", *FAST,
        "--identity", key_files / "identity.key", "--signer", key_files / "signing.pub",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.out.startswith("ran on onnxruntime (exact): ")
    built = intact.build(intact.Spec(model=cnn(), calibration=X), engines=["onnxruntime"])
    with np.load(folder / "y.npz") as outputs:
        np.testing.assert_array_equal(outputs[built.outputs[0]], built(X))


def test_a_python_function_is_built_and_checked(run: Command, folder: Path) -> None:
    told = run("build", "specs.py:spec", "--out", "m.intact", "--max-drop", "0.05", "--require-pass", "--json", *FAST)
    assert told.code == 0, told.err
    assert told.err == ""
    facts = told.json
    assert facts["name"] == "tiny"
    assert facts["profile"] == "exact"
    assert facts["verdict"]["outcome"] == "pass"
    assert facts["engine"] == "onnxruntime"
    assert set(facts["layers"]) == {"stem", "body", "head"}
    assert facts["path"] == "m.intact"
    assert len(facts["artifact"]) == 32
    assert (folder / "m.intact").is_dir()


def test_over_budget_is_exit_1_with_the_layers_and_nothing_written(start: Command, folder: Path) -> None:
    (folder / "two.toml").write_text("[default]\nweights = 2\n")
    told = start("build", "specs.py:too_dear", "--out", "m.intact", "--recipe", "two.toml", *FAST)
    assert told.code == 1
    lines = told.err.splitlines()
    assert lines[0].startswith("error: over budget: the metric drops by ")
    assert "% of the error)" in lines[0]
    assert lines[1].startswith("hint: leave the costliest in float")
    assert told.out == ""
    assert not (folder / "m.intact").exists()


def test_a_report_is_written_beside(run: Command, folder: Path) -> None:
    told = run("build", "m.onnx", "--out", "m.intact", "--calibrate", "x.npz", "--report", "r.html", "--quiet", *FAST)
    assert told.code == 0, told.err
    assert told.err == ""
    text = (folder / "r.html").read_text()
    assert text.startswith("<!doctype html>")
    assert "stem" in text


def test_quiet_leaves_results_alone(run: Command) -> None:
    told = run("build", "m.onnx", "--out", "m.intact", "--calibrate", "x.npz", "--quiet", *FAST)
    assert told.code == 0
    assert told.err == ""
    assert told.out


def test_a_passphrase_comes_from_the_environment(command: Command, folder: Path) -> None:
    words = ("build", "m.onnx", "--out", "m.intact", "--calibrate", "x.npz", "--passphrase", "--quiet", *FAST)
    assert command(*words, cwd=folder, INTACT_PASSPHRASE="correct horse").code == 0
    ask = ("run", "m.intact", "--input", "x.npz", "--output", "y.npz", "--passphrase", "--allow-unsigned", *FAST)
    assert command(*ask, cwd=folder, INTACT_PASSPHRASE="correct horse").code == 0
    assert command(*ask, cwd=folder, INTACT_PASSPHRASE="").code == 2


# inspect, verify, run


def test_json_shapes(run: Command, sealed: tuple[Path, np.ndarray], key_files: Path) -> None:
    out, outputs = sealed
    seen = run("inspect", out, "--json").json
    assert seen.keys() == {
        *("artifact", "revision", "format", "encrypted", "recipients", "signed_by", "size_bytes", "card", "lineage"),
        *("tensors", "verified", "policy", "digest"),
    }
    assert seen["tensors"] is None
    assert seen["verified"] is False
    assert seen["encrypted"] is True
    assert seen["card"]["inputs"] == [{"dtype": "float32", "name": "x", "shape": ["n", 3, 8, 8]}]
    assert seen["lineage"]["_type"] == "https://in-toto.io/Statement/v1"
    verified = run("verify", out, "--signer", key_files / "signing.pub", "--json").json
    assert verified == {"artifact": seen["artifact"], "revision": 1, "verified": True}
    ran = run(
        "run", out, "--input", "x.npz", "--output", "y.npz", "--json", *FAST,
        "--identity", key_files / "identity.key", "--signer", key_files / "signing.pub",
    ).json  # fmt: skip
    assert ran["profile"] == "exact"
    assert list(ran["outputs"].values()) == [list(outputs.shape)]


def test_a_plain_artifact_says_how_its_tensors_are_stored(run: Command, folder: Path) -> None:
    codes = np.random.default_rng(0).integers(-7, 8, (40, 30)).astype(np.int8)
    program = Program(model=b"", tensors={"layer.w": codes})
    seal.write(seal.Payload(program=program, header={}, card={}, lineage={}), folder / "plain.intact")
    (found,) = run("inspect", "plain.intact", "--json").json["tensors"]
    assert found.pop("bits") == pytest.approx(4, abs=0.3)
    assert found == {
        "name": "layer.w",
        "dtype": "I8",
        "shape": [40, 30],
        "form": "codes",
        "parameters": {"values": 15, "bits": 4},
    }


def test_failures_are_json_too(start: Command, sealed: tuple[Path, np.ndarray], strangers_key_files: Path) -> None:
    told = start("verify", sealed[0], "--signer", strangers_key_files / "signing.pub", "--json")
    assert told.code == 4
    assert told.err == ""
    assert told.json.keys() == {"error", "hint", "exit_code"}
    assert told.json["exit_code"] == 4


def test_a_strangers_card_cannot_break_or_steer_the_terminal(run: Command, folder: Path) -> None:
    from intact import seal
    from intact.graph import Program

    cards: list[dict[str, Any]] = [
        {"name": "\x1b[31mred\x07\nerror: x", "inputs": [{"name": "\x1b[2J"}]},
        {"name": 3, "profile": None, "inputs": "x", "outputs": [1]},
        {"inputs": [{}], "outputs": {"a": 1}},
    ]
    for number, card in enumerate(cards):
        payload = seal.Payload(program=Program(model=b"\x08\x0a", tensors={}), header={}, card=card, lineage={})
        seal.write(payload, folder / f"{number}.intact")
        told = run("inspect", f"{number}.intact")
        assert told.code == 0, told.err
        assert "\x1b" not in told.out
        assert "\x07" not in told.out
        assert not any(line.startswith("error") for line in told.out.splitlines())


def test_outputs_take_the_place_of_an_older_file_only_when_all_went_well(
    run: Command, folder: Path, sealed: tuple[Path, np.ndarray], key_files: Path, strangers_key_files: Path
) -> None:
    (folder / "y.npz").write_text("older")
    words = ("run", sealed[0], "--input", "x.npz", "--output", "y.npz", "--signer", key_files / "signing.pub", *FAST)
    assert run(*words, "--identity", strangers_key_files / "identity.key").code == 4
    assert (folder / "y.npz").read_text() == "older"
    assert run(*words, "--identity", key_files / "identity.key").code == 0
    with np.load(folder / "y.npz") as outputs:
        np.testing.assert_array_equal(outputs[outputs.files[0]], sealed[1])


# doctor and help


def test_the_doctor_tells_of_host_and_engines(run: Command) -> None:
    told = run("doctor", "--json")
    assert told.code == 0, told.err
    assert told.json.keys() == {"host", "versions", "engines"}
    engines = {check["name"]: check for check in told.json["engines"]}
    assert engines["reference"]["conforms"]
    assert engines["onnxruntime"].keys() == {"name", "version", "conforms", "outcome"}


def test_the_doctor_tells_it_in_lines_too(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from intact import pipeline

    found = pipeline.Examination(
        host=engine.describe(),
        versions={"intact": "1"},
        checks=(
            pipeline.Check(name="good", version="1", conforms=True, outcome="conforms"),
            pipeline.Check(name="bad", version="", conforms=False, outcome="it saturates"),
        ),
    )
    monkeypatch.setattr(pipeline, "examine", lambda: found)
    told = run("doctor")
    assert told.code == 0
    assert [line.split(maxsplit=1) for line in told.out.splitlines()[-2:]] == [
        ["good", "conforms 1"],
        ["bad", "it saturates"],
    ]
    monkeypatch.setattr(pipeline, "examine", lambda: replace(found, checks=found.checks[1:]))
    told = run("doctor", "--json")
    assert told.code == 1


def test_every_command_and_option_is_told_in_the_help(run: Command) -> None:
    names = ("keys", "build", "inspect", "verify", "run", "doctor", "demo")
    top = run("--help")
    assert top.code == 0
    assert all(name in top.out for name in names)
    for words in (["build"], ["inspect"], ["verify"], ["run"], ["doctor"], ["demo"], ["keys", "new"]):
        told = run(*words, "--help")
        assert told.code == 0
        assert "--json" in told.out


@pytest.mark.parametrize(
    "words",
    [["none"], ["build"], ["build", "m.onnx"], ["build", "m.onnx", "--out", "o", "--threads", "0"], ["run", "--wide"]],
)
def test_a_wrong_use_is_exit_2_without_a_traceback(words: list[str], run: Command) -> None:
    told = run(*words)
    assert told.code == 2
    assert "Traceback" not in told.err


# interruption


def interrupted(words: list[str], folder: Path, ready: Callable[[], bool]) -> tuple[int, str]:
    """Start a command, wait until `ready`, send what Ctrl-C sends, and return its exit code and messages."""
    child = subprocess.Popen(
        [sys.executable, "-m", "intact", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    try:
        end = time.monotonic() + 60
        while not ready() and child.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()
    return child.returncode, err


def test_ctrl_c_ends_a_build_with_130_and_leaves_nothing(folder: Path) -> None:
    words = ["build", "specs.py:slow", "--out", "m.intact", *FAST]
    code, err = interrupted(words, folder, (folder / "evaluating").exists)
    assert code == 130, err
    assert err.startswith("error: interrupted")
    assert "Traceback" not in err
    kept = {path.name for path in folder.iterdir()} - {"__pycache__"}
    assert kept == {"m.onnx", "x.npz", "specs.py", "evaluating"}


def test_import_is_quick_and_without_torch() -> None:
    code = (
        "import sys, intact, intact.cli; print(sorted(name for name in sys.modules if name in ('torch', 'onnxscript')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_opening_and_running_need_no_torch(sealed: tuple[Path, np.ndarray], key_files: Path) -> None:
    code = textwrap.dedent(
        f"""
        import json, sys
        import numpy as np
        import intact
        identity = intact.load_identity({str(key_files / "identity.key")!r})
        signer = intact.load_verifying_key({str(key_files / "signing.pub")!r})
        model = intact.open({str(sealed[0])!r}, identity=identity, signer=signer, engines=["onnxruntime"])
        model(np.zeros((2, 3, 8, 8), np.float32))
        print(json.dumps("torch" in sys.modules))
        """
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) is False
