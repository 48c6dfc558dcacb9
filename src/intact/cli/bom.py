"""`intact bom`: a bill of materials."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from intact.cli.console import err, failures, show
from intact.cli.options import Artifact, Json, Signer, SignersNeeded


def bom(
    artifact: Artifact,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where it goes; standard output if left out.", show_default=False)
    ] = None,
    signer: Signer = None,
    signers_needed: SignersNeeded = None,
    as_json: Json = False,
) -> None:
    """Write a bill of materials of an artifact, a CycloneDX 1.6 ML-BOM. Needs no key to open it.

    With --signer the artifact is verified first; without, the bill repeats what anyone may have written. It says which:
    its property intact:verified, and with --out and --json the result too.
    Exit codes: 0 written, 2 bad input, 3 damaged, 4 unsigned or signed by a stranger.
    """
    with failures(as_json=as_json):
        from intact import pipeline, seal

        if out is not None:
            pipeline.refuse_unwritable(out)
        trust = pipeline.trusted(signer or (), signers_needed)
        verified = None if trust is None else seal.verify(artifact, signers=trust)
        bill = pipeline.bom(artifact, verified=verified)
        if out is None:
            sys.stdout.write(pipeline.bom_text(bill))
        else:
            pipeline.write_bom(bill, out)
    if as_json and out is not None:
        show({"out": str(out), "verified": verified is not None}, lambda: None, as_json=True)
    if verified is None and not as_json:
        err.print("remark: not verified; give --signer with the owner's public key", markup=False)
