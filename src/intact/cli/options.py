"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from intact.errors import UsageError

Source = Annotated[str, typer.Argument(help="x.onnx, or file.py:name, a function that returns an intact.Spec.")]
Target = Annotated[Path, typer.Option("--out", help="The artifact to write, such as model.intact.")]
Calibrate = Annotated[
    Path | None, typer.Option("--calibrate", help="Typical inputs as an .npz file, one array an input.")
]
Calibration = Annotated[
    Path | None,
    typer.Option("--calibration", help="The calibration data it was built with, as an .npz file.", show_default=False),
]
MaxDrop = Annotated[float, typer.Option("--max-drop", min=0.0, help="Most that the metric may fall.")]
Recipient = Annotated[
    list[str] | None,
    typer.Option(
        "--recipient", help="Public key that may open it, file or text, or a key in Vault or AWS KMS; repeatable."
    ),
]
NewPassphrase = Annotated[bool, typer.Option("--passphrase", help="Let a passphrase open it; asks for one.")]
AddedPassphrase = Annotated[
    bool,
    typer.Option("--new-passphrase", help="Let a passphrase open it; asks for one (or takes INTACT_NEW_PASSPHRASE)."),
]
Sign = Annotated[Path | None, typer.Option("--sign", help="Private key that signs it.")]
Report = Annotated[Path | None, typer.Option("--report", help="Write an HTML report here.")]
Artifact = Annotated[Path, typer.Argument(help="The artifact, a folder such as model.intact.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars and no remarks.")]
Signer = Annotated[
    list[Path] | None,
    typer.Option(
        "--signer",
        help="Public key, or certificate of an authority, whose signature is accepted; may be repeated.",
        show_default=False,
    ),
]
SignersNeeded = Annotated[
    int | None,
    typer.Option("--signers-needed", min=1, help="How many of the --signer must have signed. One if left out."),
]
Certificates = Annotated[
    Path | None,
    typer.Option("--certificates", help="Certificates of the --sign key, its own first, as a PEM file."),
]
Identity = Annotated[
    list[str] | None,
    typer.Option(
        "--identity",
        help="Private key file to open with, or the name of a key in Vault or AWS KMS; may be repeated.",
        show_default=False,
    ),
]
AskPassphrase = Annotated[
    bool, typer.Option("--passphrase", help="Ask for a passphrase (or take it from INTACT_PASSPHRASE).")
]
AllowUnsigned = Annotated[
    bool, typer.Option("--allow-unsigned", help="Accept an artifact that no named key signed. Anyone may have made it.")
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, max=1024, help="Threads of the engine.")]
Engine = Annotated[
    list[str] | None, typer.Option("--engine", help="Engine to consider; may be repeated. All by default.")
]
NotBefore = Annotated[
    str | None,
    typer.Option("--not-before", help="Not opened before this time, such as 2027-01-31T00:00:00Z.", show_default=False),
]
NotAfter = Annotated[
    str | None,
    typer.Option("--not-after", help="Not opened after this time, such as 2027-12-31T23:59:59Z.", show_default=False),
]
AllowEngine = Annotated[
    list[str] | None,
    typer.Option("--allow-engine", help="Engine it may run on; may be repeated. Any by default.", show_default=False),
]
MinimumRevision = Annotated[
    int | None,
    typer.Option("--minimum-revision", min=1, help="Withdraw the revisions of this artifact below this one."),
]
Revises = Annotated[
    Path | None,
    typer.Option("--revises", help="The artifact that this is the next revision of.", show_default=False),
]
ArtifactId = Annotated[
    str | None,
    typer.Option("--artifact-id", help="Identity of the artifact that this is a revision of.", show_default=False),
]
Revision = Annotated[
    int | None, typer.Option("--revision", min=1, help="Number of this revision; the next by default.")
]
Revisions = Annotated[
    Path | None,
    typer.Option(
        "--revisions", help="Folder that remembers opened revisions; your own by default.", show_default=False
    ),
]
NoRevisions = Annotated[
    bool, typer.Option("--no-revisions", help="Remember no revisions: older ones are opened like any other.")
]
AllowOlder = Annotated[
    bool, typer.Option("--allow-older", help="Accept a revision older than one opened before, unless it is withdrawn.")
]
RevisesOlder = Annotated[
    bool,
    typer.Option("--allow-older", help="Accept a --revises older than one opened before, unless it is withdrawn."),
]
NoGuard = Annotated[
    bool, typer.Option("--no-guard", help="Do not learn from the calibration data what the model accepts and gives.")
]
Scrub = Annotated[
    bool,
    typer.Option(
        "--scrub",
        help="Check the weights after the run, in the memory they are used from; run again if they had changed.",
    ),
]


def remembered(folder: Path | None, *, nowhere: bool) -> Path | bool:
    """Return where --revisions and --no-revisions have opened revisions remembered; True for the user's own folder.

    Raises:
        UsageError: Both are given.
    """
    if folder is not None and nowhere:
        raise UsageError("both --revisions and --no-revisions are given", hint="give one of them")
    return folder or not nowhere
