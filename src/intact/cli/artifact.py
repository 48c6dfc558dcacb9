"""`intact inspect`, `intact verify`, `intact run`: what to do with an artifact."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from intact.cli.console import err, failures, out, printable, show
from intact.cli.options import (
    AllowOlder,
    AllowUnsigned,
    Artifact,
    AskPassphrase,
    Calibration,
    Certificates,
    Engine,
    Identity,
    Json,
    NoRevisions,
    Quiet,
    Revisions,
    Scrub,
    Signer,
    SignersNeeded,
    Threads,
    remembered,
)
from intact.cli.recipients import identities
from intact.errors import CheckFailed, UsageError
from intact.wire import to_json

if TYPE_CHECKING:
    from intact.pipeline import Model
    from intact.seal import Inspection

MOST_REPAIRS: Final = 3


def inspect(artifact: Artifact, as_json: Json = False) -> None:
    """Say what an artifact says of itself. Needs no key, and proves nothing: anyone may have written it."""
    with failures(as_json=as_json):
        from intact import seal
        from intact.crypto import sha256

        found = seal.inspect(artifact)
    manifest = found.manifest
    facts: dict[str, Any] = {
        "artifact": manifest.artifact,
        "revision": manifest.revision,
        "digest": sha256(manifest.to_bytes()),
        "format": manifest.format,
        "encrypted": manifest.sealed,
        "recipients": found.recipients,
        "signed_by": list(found.signed_by),
        "size_bytes": sum(found.sizes.values()),
        "policy": to_json(manifest.policy),
        "card": dict(manifest.card),
        "lineage": dict(found.lineage),
        "tensors": _tensors(found),
        "verified": False,
    }
    show(facts, lambda: _tell(facts, manifest.policy.lines()), as_json=as_json)


def _tensors(found: Inspection) -> list[dict[str, Any]] | None:
    """How each tensor of an artifact that is not encrypted is stored; None for one that is."""
    if found.tensors is None:
        return None
    return [
        {
            "name": spec.name,
            "dtype": spec.dtype,
            "shape": list(spec.shape),
            "form": spec.form,
            "parameters": dict(spec.parameters),
            "bits": 8 * entry.nbytes / max(1, math.prod(spec.shape)),
        }
        for spec, entry in zip(found.tensors, found.manifest.tensors, strict=True)
    ]


def _tell(facts: dict[str, Any], limits: list[str]) -> None:
    card = facts["card"]
    rows = (
        ("model", f"{card.get('name', '?')} ({card.get('profile', '?')} profile)"),
        ("artifact", f"{facts['artifact']}, revision {facts['revision']}, format {facts['format']}"),
        ("digest", facts["digest"]),
        ("inputs", _ports(card.get("inputs"))),
        ("outputs", _ports(card.get("outputs"))),
        ("size", f"{facts['size_bytes']:,} bytes"),
        ("encrypted", f"to {facts['recipients']} recipients" if facts["encrypted"] else "no"),
        ("signed", " and ".join(f"by key {key[:16]}" for key in facts["signed_by"]) or "no"),
    )
    for name, value in rows:
        out.print(f"{name:<10} {printable(value)}", markup=False)
    for line in limits:
        out.print(f"{'policy':<10} {printable(line)}", markup=False)
    err.print("remark: not verified; use `intact verify` with the owner's public key", markup=False)


def _ports(ports: Any) -> str:
    """What a card says of its ports, which may be anything."""
    if not isinstance(ports, list) or not all(isinstance(port, dict) for port in ports):
        return "?"
    return "; ".join(f"{port.get('name', '?')} {port.get('dtype', '?')}{port.get('shape', '?')}" for port in ports)


def verify(
    artifact: Artifact,
    signer: Signer = None,
    signers_needed: SignersNeeded = None,
    calibration: Calibration = None,
    identity: Identity = None,
    passphrase: AskPassphrase = False,
    as_json: Json = False,
) -> None:
    """Check the signatures and every byte of an artifact, without opening it.

    With --calibration it is opened, and the data are compared with those that its lineage names.
    Exit codes: 0 as its owner made it, 1 calibrated on other data, 3 damaged, 4 unsigned or signed by a stranger.
    """
    with failures(as_json=as_json):
        from intact import pipeline, seal

        trust = pipeline.trusted(signer or (), signers_needed)
        if trust is None:
            raise UsageError("no public key was named", hint="give --signer signing.pub of the owner you trust")
        manifest = seal.verify(artifact, signers=trust)
        facts = {"artifact": manifest.artifact, "revision": manifest.revision, "verified": True}
        whose = "signer" if trust.needed == 1 else "signers"
        line = f"verified: artifact {manifest.artifact}, revision {manifest.revision}, is as its {whose} made it"
        if calibration is not None:
            keys = identities(identity or (), passphrase=passphrase)
            data = pipeline.read_npz(calibration)
            if not pipeline.calibrated_on(artifact, data, identity=keys, signer=trust):
                raise CheckFailed(
                    f"'{calibration}' holds other data than the lineage names", hint="the same values in the same order"
                )
            facts["calibration"] = True
            line += ", and was calibrated on these data"
    show(facts, lambda: out.print(line, markup=False), as_json=as_json)


def sign(
    artifact: Artifact,
    key: Annotated[Path, typer.Option("--sign", help="Private key that signs it.")],
    certificates: Certificates = None,
    signer: Signer = None,
    signers_needed: SignersNeeded = None,
    allow_unsigned: AllowUnsigned = False,
    as_json: Json = False,
) -> None:
    """Add a signature to an artifact, once the signatures it has and every byte of it are checked.

    Exit codes: 0 signed, 2 bad input or signed with this key already, 3 damaged, 4 unsigned or signed by a stranger.
    """
    with failures(as_json=as_json):
        from intact import pipeline, seal

        trust = pipeline.trusted(signer or (), signers_needed)
        count = seal.countersign(
            artifact, pipeline.load_signing_key(key, certificates), signers=trust or (), allow_unsigned=allow_unsigned
        )
    show({"signatures": count}, lambda: out.print(f"signed: {count} signatures now", markup=False), as_json=as_json)


def run(
    artifact: Artifact,
    inputs: Annotated[Path, typer.Option("--input", help="Inputs as an .npz file, one array an input.")],
    output: Annotated[Path, typer.Option("--output", help="Where the outputs go, as an .npz file.")],
    identity: Identity = None,
    passphrase: AskPassphrase = False,
    signer: Signer = None,
    signers_needed: SignersNeeded = None,
    allow_unsigned: AllowUnsigned = False,
    engine: Engine = None,
    threads: Threads = None,
    revisions: Revisions = None,
    no_revisions: NoRevisions = False,
    allow_older: AllowOlder = False,
    scrub: Scrub = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Open an artifact, run it on the inputs, and write the outputs."""
    with failures(as_json=as_json):
        from intact import pipeline

        store = remembered(revisions, nowhere=no_revisions)
        pipeline.refuse_unwritable(output)  # before any work is done for it
        model = pipeline.open_model(
            artifact,
            identity=identities(identity or (), passphrase=passphrase),
            signer=pipeline.trusted(signer or (), signers_needed) or (),
            allow_unsigned=allow_unsigned,
            engines=engine,
            threads=threads,
            scrub="in place" if scrub else False,
            revisions=store,
            allow_older=allow_older,
        )
        results, repairs = _checked_run(model, pipeline.read_npz(inputs), scrub=scrub)
        pipeline.write_npz(output, results)
    facts = {
        "engine": model.engine,
        "profile": model.profile,
        "outputs": {name: list(value.shape) for name, value in results.items()},
        "output": str(output),
        "repairs": repairs if scrub else None,
    }
    if not quiet or as_json:
        shapes = ", ".join(f"{name} {value.shape}" for name, value in results.items())
        line = printable(f"ran on {model.engine} ({model.profile}): {shapes} -> {output}")
        show(facts, lambda: out.print(line, markup=False), as_json=as_json)


def _checked_run(model: Model, feeds: dict[str, Any], *, scrub: bool) -> tuple[dict[str, Any], int]:
    """Run until the memory had not changed meanwhile; also return how often it had."""
    for repairs in range(MOST_REPAIRS):
        before = len(model.repairs)
        results = model.run(feeds)
        if scrub:
            model.scrub()
        if len(model.repairs) == before:  # the look in the background may have been faster
            return results, repairs
    raise CheckFailed(
        f"the weights in memory changed during each of {MOST_REPAIRS} runs",
        hint="use another machine: its memory fails",
    )
