"""`intact receipt`: check what a server signed for one answer, without it or against its log, or by asking again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from intact.cli.console import err, failures, out, printable, show
from intact.cli.log_source import (
    LIMIT_BODY_BYTES,
    LogKey,
    WitnessKeys,
    load_key,
    read_file,
    verifying_key,
    witnesses,
)
from intact.cli.options import (
    AllowOlder,
    AllowUnsigned,
    Artifact,
    AskPassphrase,
    Identity,
    Json,
    NoRevisions,
    Quiet,
    Revisions,
    Signer,
    SignersNeeded,
    remembered,
)
from intact.cli.recipients import identities
from intact.errors import CheckFailed, IntegrityError, UsageError

if TYPE_CHECKING:
    from intact import ledger, seal

app = typer.Typer(help="Check what a server signed for one answer.", no_args_is_help=True)

Receipt = Annotated[Path, typer.Argument(help="The receipt: as the header had it, or as JSON.", show_default=False)]
Request = Annotated[
    Path | None,
    typer.Option("--request", help="Body of the request, the exact bytes that were sent.", show_default=False),
]
Response = Annotated[
    Path | None,
    typer.Option("--response", help="Body of the response, the exact bytes that came.", show_default=False),
]
GivenRequest = Annotated[Path, typer.Option("--request", help="Body of the request.", show_default=False)]
Nonce = Annotated[
    str | None, typer.Option("--nonce", help="What was sent for the receipt to repeat.", show_default=False)
]
ProofFile = Annotated[
    Path | None,
    typer.Option("--proof", help="Proof that the log has it, from `intact log prove --out`.", show_default=False),
]
ModelFolder = Annotated[
    Path | None, typer.Option("--model", help="The artifact that should have answered.", show_default=False)
]
Headers = Annotated[
    list[str] | None,
    typer.Option(
        "--header",
        help="Header of the request that says how its body is to be read, as NAME: VALUE; may be repeated.",
        show_default=False,
    ),
]


@app.callback()
def group() -> None:
    """Check what a server signed for one answer."""


@app.command("verify")
def verify(
    receipt: Receipt,
    key: LogKey,
    request: Request = None,
    response: Response = None,
    nonce: Nonce = None,
    model: ModelFolder = None,
    proof: ProofFile = None,
    witness_key: WitnessKeys = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Check a receipt offline: who signed it, and that it is of this request, this response, this model."""
    with failures(as_json=as_json):
        log_key = load_key(key)
        found = load_receipt(receipt, log_key)
        checked = _check_parts(found, request=request, response=response, nonce=nonce, model=model)
        signed = None if proof is None else _check_proof(found, proof, log_key, witnesses(witness_key))
    facts = {**describe(found), "checked": checked, "logged": None if signed is None else signed.checkpoint.size}
    show(facts, lambda: _tell(found, facts), as_json=as_json)
    if not quiet and not as_json and not {"request", "response"} <= set(checked):
        err.print("remark: give --request and --response to check that it is theirs", markup=False)


@app.command("replay")
def replay(
    receipt: Receipt,
    artifact: Artifact,
    request: GivenRequest,
    key: LogKey,
    response: Response = None,
    header: Headers = None,
    identity: Identity = None,
    passphrase: AskPassphrase = False,
    signer: Signer = None,
    signers_needed: SignersNeeded = None,
    allow_unsigned: AllowUnsigned = False,
    revisions: Revisions = None,
    no_revisions: NoRevisions = False,
    allow_older: AllowOlder = False,
    as_json: Json = False,
) -> None:
    """Answer a request again, on this machine, and get the same bytes. For models of the exact profile."""
    with failures(as_json=as_json):
        from intact import ledger, pipeline
        from intact.crypto import sha256
        from intact.serve import replaying

        found = load_receipt(receipt, load_key(key))
        if found.event.type != "answer":
            raise UsageError(f"receipt is of a {found.event.type}, which no model answered")
        wanted = ledger.read_answer(found.event).response_sha256
        checked = _check_parts(found, request=request, response=response, nonce=None, model=artifact)
        model = pipeline.open_model(
            artifact,
            identity=identities(identity or (), passphrase=passphrase),
            signer=pipeline.trusted(signer or (), signers_needed) or (),
            allow_unsigned=allow_unsigned,
            revisions=remembered(revisions, nowhere=no_revisions),
            allow_older=allow_older,
        )
        again = replaying.replay(model, found, read_file(request, LIMIT_BODY_BYTES), _headers(header or ()))
        if sha256(again) != wanted:
            raise CheckFailed(
                "the model gives another answer to this request than the receipt says",
                hint="give the --header lines that the request had; only exact models answer alike everywhere",
            )
    facts = {**describe(found), "checked": [*checked, "replay"], "same": True}
    line = f"replayed: the same {len(again)} bytes, {wanted}"
    show(facts, lambda: out.print(line, markup=False), as_json=as_json)


def load_receipt(path: Path, key: ledger.NoteKey | seal.VerifyingKey) -> ledger.Receipt:
    """Read a receipt, as JSON or as a header had it, and check its signature.

    Raises:
        UsageError: The file cannot be read.
        AccessError: Another key signed it.
        IntegrityError: It is no receipt, or was changed.
    """
    from intact import ledger
    from intact.ledger import receipt

    data = read_file(path, 2 * receipt.LIMIT_BYTES).strip()
    if not data.startswith(b"{"):
        data = ledger.from_header(data.decode("ascii", "replace"))
    return ledger.read_receipt(data, [verifying_key(key)])


def describe(found: ledger.Receipt) -> dict[str, Any]:
    """Return what a receipt says, for --json."""
    event = found.event
    return {
        "event": {**event.fields, "type": event.type, "time_ms": event.time_ms, "subject": event.subject},
        "origin": found.origin,
        "index": found.index,
        "verified": True,
    }


def _check_parts(
    found: ledger.Receipt, *, request: Path | None, response: Path | None, nonce: str | None, model: Path | None
) -> list[str]:
    """Check that a receipt is of what the caller has; return which parts were checked.

    Raises:
        IntegrityError: It is of another request, response, nonce or model.
    """
    from intact import ledger

    if (request, response, nonce, model) == (None, None, None, None):
        return []
    answer = ledger.read_answer(found.event)
    pairs = {
        "request": (answer.request_sha256, _file_digest(request)),
        "response": (answer.response_sha256, _file_digest(response)),
        "nonce": (answer.nonce, nonce),
        "model": (answer.model.digest, _model_digest(model)),
    }
    for name, (said, is_) in pairs.items():
        if is_ is not None and said != is_:
            raise IntegrityError(
                f"receipt is of another {name}: it says {said!a}, this is {is_!a:.80}",
                hint="give the exact bytes, without headers" if name in ("request", "response") else None,
            )
    return [name for name, (_, is_) in pairs.items() if is_ is not None]


def _check_proof(
    found: ledger.Receipt, path: Path, key: ledger.NoteKey | seal.VerifyingKey, seen_by: list[ledger.NoteKey]
) -> ledger.Signed:
    from intact import ledger
    from intact.ledger import proof_file

    proof = ledger.read_proof(read_file(path, proof_file.LIMIT_BYTES))
    return ledger.check_proof(found, proof, key, witnesses=seen_by)


def _file_digest(path: Path | None) -> str | None:
    from intact.crypto import sha256

    return None if path is None else sha256(read_file(path, LIMIT_BODY_BYTES))


def _model_digest(artifact: Path | None) -> str | None:
    from intact import seal
    from intact.crypto import sha256

    return None if artifact is None else sha256(seal.inspect(artifact).manifest.to_bytes())


def _headers(given: list[str] | tuple[str, ...]) -> dict[str, str]:
    parts = [each.partition(":") for each in given]
    return {name.strip().lower(): value.strip() for name, _, value in parts}


def _tell(found: ledger.Receipt, facts: dict[str, Any]) -> None:
    event = found.event
    time = datetime.fromtimestamp(event.time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    what = f"{event.type} to {event.subject} at {time}"
    out.print(printable(f"verified: {what}, entry {found.index} of log {found.origin}"), markup=False)
    for line in _lines_of_answer(found):
        out.print(printable(line), markup=False)
    for name in facts["checked"]:
        out.print(f"{name:<9} is the one it was signed for", markup=False)
    if facts["logged"] is not None:
        out.print(f"{'log':<9} has it, among {facts['logged']} entries", markup=False)


def _lines_of_answer(found: ledger.Receipt) -> list[str]:
    """Return what an answer says of its model, and of the checks that did not pass; nothing for another event."""
    from intact import ledger

    if found.event.type not in ledger.ANSWERS:
        return []
    answer = ledger.read_answer(found.event)
    model = answer.model
    first = f"{'model':<9} {model.name}, artifact {model.artifact}, revision {model.revision}"
    return [first, *(f"{'guard':<9} {each.check}: {each.verdict}" for each in answer.guard if each.verdict != "ok")]
