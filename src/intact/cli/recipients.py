"""`intact recipients`, `intact rekey`: who may open an artifact that is there already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from intact.cli.console import err, failures, out, printable, show
from intact.cli.options import (
    AddedPassphrase,
    AllowOlder,
    AllowUnsigned,
    Artifact,
    AskPassphrase,
    Certificates,
    Identity,
    Json,
    NoRevisions,
    Quiet,
    Recipient,
    Revisions,
    Sign,
    Signer,
    SignersNeeded,
    remembered,
)
from intact.cli.passphrase import ask_new_passphrase, ask_passphrase
from intact.errors import UsageError

if TYPE_CHECKING:
    from intact import seal

NOT_REVOKED = "remark: this takes nothing back from who has opened it before; to do that, use `intact rekey`"
OLD_COPIES = "remark: old copies of the artifact open as before; old keys do not open this revision"

app = typer.Typer(help="Say who may open an artifact, without encrypting or signing it anew.", no_args_is_help=True)

Label = Annotated[str, typer.Option("--label", help="What to call the new recipient, for all to read.")]
Names = Annotated[
    list[str],
    typer.Argument(help="Whom to remove: id, its first digits, or label, as listed.", show_default=False),
]
Out = Annotated[
    Path | None, typer.Option("--out", help="Write the new revision here, and leave the old one.", show_default=False)
]


@app.callback()
def group() -> None:
    """Say who may open an artifact, without encrypting or signing it anew."""


@app.command("list")
def listed(artifact: Artifact, as_json: Json = False) -> None:
    """List who may open an artifact. Needs no key, and proves nothing: anyone may have written the list."""
    with failures(as_json=as_json):
        from intact import seal

        found = seal.list_recipients(artifact)
    facts = {"recipients": _facts(found), "verified": False}
    show(facts, lambda: _tell(found, "not encrypted: anybody can open it"), as_json=as_json)
    if not as_json:
        err.print("remark: not verified; it is when the artifact is opened", markup=False)


@app.command("add")
def add(
    artifact: Artifact,
    recipient: Recipient = None,
    new_passphrase: AddedPassphrase = False,
    label: Label = "",
    identity: Identity = None,
    passphrase: AskPassphrase = False,
    as_json: Json = False,
) -> None:
    """Let more recipients open an artifact. Needs an identity that opens it, and no signing key."""
    with failures(as_json=as_json):
        from intact import pipeline, seal

        secret = ask_new_passphrase() if new_passphrase else None
        wanted = pipeline.recipients(recipient or (), passphrase=secret, label=label)
        if not wanted:
            raise UsageError("no recipient was named", hint="give --recipient or --new-passphrase")
        added = seal.add_recipients(artifact, wanted, identities=identities(identity or (), passphrase=passphrase))
    show({"added": _facts(added)}, lambda: _tell(added, before="added "), as_json=as_json)


@app.command("remove")
def remove(
    artifact: Artifact,
    names: Names,
    identity: Identity = None,
    passphrase: AskPassphrase = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Take recipients off the list. Needs an identity that opens the artifact.

    This does not revoke: who has opened it before may have kept the data key. `intact rekey` makes a new one.
    """
    with failures(as_json=as_json):
        from intact import seal

        removed = seal.remove_recipients(artifact, names, identities=identities(identity or (), passphrase=passphrase))
    facts = {"removed": _facts(removed), "revoked": False}
    show(facts, lambda: _tell(removed, before="removed "), as_json=as_json)
    if not quiet and not as_json:
        err.print(NOT_REVOKED, markup=False)


def rekey(
    artifact: Artifact,
    recipient: Recipient = None,
    new_passphrase: AddedPassphrase = False,
    identity: Identity = None,
    passphrase: AskPassphrase = False,
    sign: Sign = None,
    certificates: Certificates = None,
    signer: Signer = None,
    signers_needed: SignersNeeded = None,
    allow_unsigned: AllowUnsigned = False,
    target: Out = None,
    revisions: Revisions = None,
    no_revisions: NoRevisions = False,
    allow_older: AllowOlder = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Encrypt an artifact anew, under a fresh key, for the recipients named here only: its next revision.

    Removing a recipient from the list does not take back the key they have seen; this replaces that key. Without --out
    it leaves no signed artifact unsigned (but with --allow-unsigned), and nobody locked out who gives an --identity.
    """
    with failures(as_json=as_json):
        from intact import pipeline, seal

        store = pipeline.revisions_store(remembered(revisions, nowhere=no_revisions))
        secret = ask_new_passphrase() if new_passphrase else None
        manifest = seal.rekey(
            artifact,
            pipeline.recipients(recipient or (), passphrase=secret),
            identities=identities(identity or (), passphrase=passphrase),
            signer=None if sign is None else pipeline.load_signing_key(sign, certificates),
            signers=pipeline.trusted(signer or (), signers_needed) or (),
            allow_unsigned=allow_unsigned,
            out=target,
            revisions=store,
            allow_older=allow_older,
        )
    facts = {"artifact": manifest.artifact, "revision": manifest.revision, "path": str(target or artifact)}
    line = f"rekeyed: artifact {manifest.artifact}, now revision {manifest.revision}, at {facts['path']}"
    show(facts, lambda: out.print(line, markup=False), as_json=as_json)
    if quiet or as_json:
        return
    err.print(OLD_COPIES, markup=False)
    if sign is None:
        err.print("remark: not signed; give --sign so that readers can tell it is yours", markup=False)


def identities(sources: Sequence[str], *, passphrase: bool) -> list[seal.Identity]:
    """Read what opens an artifact, as named on the command line.

    Raises:
        UsageError: A key itself was given there, for others to see, or one cannot be read.
    """
    from intact import pipeline, seal

    if any(seal.shows_private_key(source) for source in sources):
        raise UsageError("--identity was given a key itself, which others can see", hint="give the path of a file")
    return pipeline.identities(sources, passphrase=ask_passphrase() if passphrase else None)


def _facts(entries: Sequence[seal.Entry]) -> list[dict[str, Any]]:
    return [{"kind": entry.kind, "id": entry.id, "label": entry.label} for entry in entries]


def _tell(entries: Sequence[seal.Entry], nobody: str = "", *, before: str = "") -> None:
    for entry in entries:
        out.print(printable(f"{before}{entry.kind:<10}  {entry.id}  {entry.label}".rstrip()), markup=False)
    if not entries:
        out.print(nobody, markup=False)
