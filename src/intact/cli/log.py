"""`intact log`: check the record of a server, prove what is in it, and hand it to others."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from intact.cli.console import err, failures, out, printable, progress, show
from intact.cli.log_source import (
    CheckpointFile,
    Folder,
    LogKey,
    Source,
    State,
    Url,
    WitnessKeys,
    load_key,
    opened,
    read_file,
    store,
    verifying_key,
    witnesses,
    write_file,
)
from intact.cli.options import Json, Quiet
from intact.cli.receipt import Receipt, load_receipt
from intact.errors import UsageError

if TYPE_CHECKING:
    from intact import ledger, seal

app = typer.Typer(help="Check the record of a server, and prove what is in it.", no_args_is_help=True)

Out = Annotated[Path | None, typer.Option("--out", help="File to write; prints it if left out.", show_default=False)]
Since = Annotated[
    Path | None,
    typer.Option(
        "--since", help="A checkpoint that was kept from before: the log must continue it.", show_default=False
    ),
]
Target = Annotated[Path, typer.Argument(help="Folder to write, for any web server to serve.", show_default=False)]
SigningKeyFile = Annotated[
    Path | None,
    typer.Option("--sign", help="Private key of the log: sign a new checkpoint. Otherwise its newest is taken."),
]
Origin = Annotated[
    str | None,
    typer.Option("--origin", help="Name of the log, such as models.example.com/log.", show_default=False),
]
LogName = Annotated[str, typer.Option("--origin", help="Name of the log.", show_default=False)]
Witness = Annotated[
    str | None, typer.Option("--witness", help="Address of a witness who shall see it.", show_default=False)
]
OptionalKey = Annotated[
    Path | None, typer.Option("--key", help="Public key of the log; that of --sign by default.", show_default=False)
]


@app.callback()
def group() -> None:
    """Check the record of a server, and prove what is in it."""


@app.command("verify")
def verify(
    key: LogKey,
    folder: Folder = None,
    url: Url = None,
    state: State = None,
    since: Since = None,
    checkpoint: CheckpointFile = None,
    witness_key: WitnessKeys = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Check that a log is what its keeper signed, entry by entry, and continues what was signed before.

    With --state the events themselves are checked too, which nobody else has.
    """
    with failures(as_json=as_json):
        from intact import ledger

        with opened(folder, url, state) as source, progress(quiet=quiet or as_json) as step:
            signed, before = _checkpoints(source, key, checkpoint, since, witnesses(witness_key))
            size = signed.checkpoint.size
            ledger.check_log(
                signed.checkpoint,
                source.at(size),
                since=before,
                tell=lambda done, total: step("entries", done, total),
            )
            unsigned = None
            if source.store is not None:
                ledger.check_events(source.store, size)
                unsigned = source.store.size() - size
    facts = {
        **_facts(signed),
        "since": None if before is None else before.size,
        "events": unsigned is not None,
        "unsigned": unsigned,
        "verified": True,
    }
    show(facts, lambda: _tell_verified(facts), as_json=as_json)
    if unsigned and not quiet and not as_json:
        err.print(f"remark: {unsigned} newer entries are in no checkpoint yet", markup=False)


@app.command("prove")
def prove(
    receipt: Receipt,
    key: LogKey,
    folder: Folder = None,
    url: Url = None,
    state: State = None,
    checkpoint: CheckpointFile = None,
    witness_key: WitnessKeys = None,
    target: Out = None,
    as_json: Json = False,
) -> None:
    """Prove that a log has what a receipt says. With --out the proof is kept, for `intact receipt verify --proof`."""
    with failures(as_json=as_json):
        from intact import ledger

        log_key = load_key(key)
        found = load_receipt(receipt, log_key)
        with opened(folder, url, state) as source:
            signed = _read_checkpoint(source, log_key, checkpoint, witnesses(witness_key))
            reader = source.at(signed.checkpoint.size)
            proof = ledger.prove(found, signed.checkpoint, str(signed.note), reader)
        if target is not None:
            write_file(target, proof.to_text())
    facts = {
        **_facts(signed),
        "index": proof.index,
        "hashes": [base64.b64encode(each).decode() for each in proof.hashes],
        "path": None if target is None else str(target),
        "verified": True,
    }
    line = f"proved: entry {proof.index} is in log {facts['origin']} of {facts['size']} entries"
    show(facts, lambda: out.print(printable(line), markup=False), as_json=as_json)


@app.command("export")
def export(
    target: Target,
    key: LogKey,
    state: State = None,
    url: Url = None,
    checkpoint: CheckpointFile = None,
    as_json: Json = False,
) -> None:
    """Write a log as files for any web server (C2SP tlog-tiles), after it was checked. A later export adds to it.

    The events are not in it: only salted hashes of them.
    """
    with failures(as_json=as_json):
        from intact import ledger
        from intact.ledger import folder as folders

        with opened(None, url, state) as source:
            signed = _read_checkpoint(source, load_key(key), checkpoint, [])
            size = signed.checkpoint.size
            reader = source.at(size)
            ledger.check_log(signed.checkpoint, reader)
            written = folders.export(target, str(signed.note), size, reader)
    facts = {**_facts(signed), "path": str(target), "files": written}
    line = f"wrote log {facts['origin']}, {size} entries, to {target}: {written} files new"
    show(facts, lambda: out.print(printable(line), markup=False), as_json=as_json)


@app.command("checkpoint")
def checkpoint(
    state: State = None,
    sign: SigningKeyFile = None,
    origin: Origin = None,
    key: OptionalKey = None,
    target: Out = None,
    witness: Witness = None,
    witness_key: WitnessKeys = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Sign a log as it is now, or take its newest checkpoint; have a witness sign it too; print it, or keep it."""
    with failures(as_json=as_json):
        from intact import ledger, seal

        keys = witnesses(witness_key)
        if (witness is None) != (len(keys) == 0) or len(keys) > 1:
            raise UsageError("a witness is an address and a key", hint="give one --witness with its --witness-key")
        if sign is None and key is None:
            raise UsageError("no key of the log is named", hint="give --sign KEY for a new checkpoint, or --key PUB")
        signer = None if sign is None else seal.load_signing_key(sign)
        assert not isinstance(signer, seal.CertifiedKey)  # no certificates were given
        with store(state) as found:
            if signer is not None:
                named = ledger.CheckpointSigner(key=signer, origin=origin or _known_origin(found))
                note, log_key = found.checkpoint_now(named.sign).note, load_key(key) if key else named.verifier
            else:
                assert key is not None  # checked above
                note, log_key = _newest(found), load_key(key)
            signed = ledger.read_checkpoint(note.encode(), log_key)
            if witness is not None:
                signed = _have_seen(signed, found, witness, keys[0], log_key)
        if target is not None:
            write_file(target, str(signed.note))
    facts = {**_facts(signed), "note": str(signed.note), "path": None if target is None else str(target)}
    show(facts, lambda: _tell_checkpoint(facts, quiet=quiet), as_json=as_json)


@app.command("key")
def key_text(
    key: LogKey,
    origin: LogName,
    as_json: Json = False,
) -> None:
    """Print the public key of a log as one line with its name, for witnesses and other tools (C2SP signed-note)."""
    with failures(as_json=as_json):
        from intact import ledger

        text = str(ledger.NoteKey.of(verifying_key(load_key(key)), origin))
    show({"key": text}, lambda: out.print(text, markup=False), as_json=as_json)


def _checkpoints(
    source: Source, key: Path, kept: Path | None, since: Path | None, seen_by: list[ledger.NoteKey]
) -> tuple[ledger.Signed, ledger.Checkpoint | None]:
    """Return the checkpoint of a log, and the earlier one that it shall continue, both verified."""
    from intact import ledger
    from intact.ledger import note

    log_key = load_key(key)
    signed = _read_checkpoint(source, log_key, kept, seen_by)
    if since is None:
        return signed, None
    before = ledger.read_checkpoint(read_file(since, note.LIMIT_BYTES), log_key)
    return signed, before.checkpoint


def _read_checkpoint(
    source: Source, key: ledger.NoteKey | seal.VerifyingKey, kept: Path | None, seen_by: list[ledger.NoteKey]
) -> ledger.Signed:
    """Return the checkpoint in a file, or the newest of a log, verified."""
    from intact import ledger
    from intact.ledger import note

    data = source.newest() if kept is None else read_file(kept, note.LIMIT_BYTES)
    return ledger.read_checkpoint(data, key, witnesses=seen_by)


def _known_origin(found: Any) -> str:
    """Return what the log was called when it was last signed."""
    return _newest(found, hint="the first checkpoint names the log: give --origin").partition("\n")[0]


def _newest(found: Any, hint: str = "sign one: give --sign") -> str:
    latest = found.latest_checkpoint()
    if latest is None:
        raise UsageError("the log has no checkpoint yet", hint=hint)
    return str(latest.note)


def _have_seen(
    signed: ledger.Signed,
    reader: ledger.LogReader,
    url: str,
    witness: ledger.NoteKey,
    key: ledger.NoteKey | seal.VerifyingKey,
) -> ledger.Signed:
    """Return a checkpoint that a witness has signed too."""
    from intact import ledger
    from intact.ledger import web

    with web.Server(url) as server:
        note = ledger.submit(signed, reader, witness, server.post)
    return ledger.read_checkpoint(str(note).encode(), key, witnesses=[witness])


def _facts(signed: ledger.Signed) -> dict[str, Any]:
    found = signed.checkpoint
    seen = {key.name: datetime.fromtimestamp(time_s, UTC).isoformat() for key, time_s in signed.seen.items()}
    root = base64.b64encode(found.root).decode()
    return {"origin": found.origin, "size": found.size, "root": root, "witnesses": seen}


def _tell_verified(facts: dict[str, Any]) -> None:
    after = "" if facts["since"] is None else f", goes on from the first {facts['since']}"
    line = f"verified: log {facts['origin']}, {facts['size']} entries, root {facts['root']}{after}"
    out.print(printable(line), markup=False)
    _tell_seen(facts)


def _tell_checkpoint(facts: dict[str, Any], *, quiet: bool) -> None:
    if facts["path"] is None:
        out.print(facts["note"], markup=False, end="")
        return
    out.print(printable(f"wrote the checkpoint of {facts['size']} entries to {facts['path']}"), markup=False)
    if not quiet:
        _tell_seen(facts)


def _tell_seen(facts: dict[str, Any]) -> None:
    for name, time in facts["witnesses"].items():
        out.print(printable(f"seen by {name} at {time}"), markup=False)
