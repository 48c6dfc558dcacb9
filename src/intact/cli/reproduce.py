"""`intact reproduce`: build an artifact again and compare every integer."""

from __future__ import annotations

from typing import Annotated

import typer

from intact.cli.console import failures, out, printable, progress, show
from intact.cli.options import (
    AllowUnsigned,
    Artifact,
    AskPassphrase,
    Calibration,
    Identity,
    Json,
    Quiet,
    Signer,
    SignersNeeded,
)
from intact.cli.recipients import identities


def reproduce(
    artifact: Artifact,
    source: Annotated[
        str, typer.Option("--from", help="The float model: x.onnx, or file.py:name.", show_default=False)
    ],
    calibration: Calibration = None,
    identity: Identity = None,
    passphrase: AskPassphrase = False,
    signer: Signer = None,
    signers_needed: SignersNeeded = None,
    allow_unsigned: AllowUnsigned = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Build an artifact again, by the recipe in its lineage, and compare every integer: did its signer add anything?

    Exit codes: 0 every integer is the same, 1 some are not, 2 bad input, 3 damaged, 4 no access.
    """
    with failures(as_json=as_json):
        from intact import pipeline

        trust = pipeline.trusted(signer or (), signers_needed) or ()
        keys = identities(identity or (), passphrase=passphrase)
        spec = pipeline.with_calibration(pipeline.read_source(source), calibration)
        with progress(quiet=quiet or as_json) as bar:
            found = pipeline.reproduce(
                artifact, spec, identity=keys, signer=trust, allow_unsigned=allow_unsigned, progress=bar
            )
    told = "\n".join(printable(line) for line in found.lines())  # names and versions are the quantizer's
    show(found.to_json(), lambda: out.print(told, markup=False), as_json=as_json)
    if not found.equal:
        raise typer.Exit(1)
