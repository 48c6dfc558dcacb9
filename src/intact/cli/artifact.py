"""`intact inspect`, `intact verify`, `intact run`: what to do with an artifact."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from intact.cli.console import err, failures, out, show
from intact.cli.options import AllowUnsigned, Artifact, AskPassphrase, Engine, Identity, Json, Quiet, Signer, Threads
from intact.errors import UsageError

if TYPE_CHECKING:
    from intact.seal import Inspection


def inspect(artifact: Artifact, as_json: Json = False) -> None:
    """Say what an artifact says of itself. Needs no key, and proves nothing: anyone may have written it."""
    with failures(as_json=as_json):
        from intact import seal

        found = seal.inspect(artifact)
    manifest = found.manifest
    facts: dict[str, Any] = {
        "artifact": manifest.artifact,
        "revision": manifest.revision,
        "format": manifest.format,
        "encrypted": manifest.sealed,
        "recipients": found.recipients,
        "signed_by": found.signed_by,
        "size_bytes": sum(found.sizes.values()),
        "card": dict(manifest.card),
        "lineage": dict(found.lineage),
        "tensors": _tensors(found),
        "verified": False,
    }
    show(facts, lambda: _tell(facts), as_json=as_json)


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


def _tell(facts: dict[str, Any]) -> None:
    card = facts["card"]
    rows = (
        ("model", f"{card.get('name', '?')} ({card.get('profile', '?')} profile)"),
        ("artifact", f"{facts['artifact']}, revision {facts['revision']}, format {facts['format']}"),
        ("inputs", _ports(card.get("inputs"))),
        ("outputs", _ports(card.get("outputs"))),
        ("size", f"{facts['size_bytes']:,} bytes"),
        ("encrypted", f"to {facts['recipients']} recipients" if facts["encrypted"] else "no"),
        ("signed", f"by key {facts['signed_by'][:16]}" if facts["signed_by"] else "no"),
    )
    for name, value in rows:
        out.print(f"{name:<10} {_printable(value)}", markup=False)
    err.print("remark: not verified; use `intact verify` with the owner's public key", markup=False)


def _ports(ports: Any) -> str:
    """What a card says of its ports, which may be anything."""
    if not isinstance(ports, list) or not all(isinstance(port, dict) for port in ports):
        return "?"
    return "; ".join(f"{port.get('name', '?')} {port.get('dtype', '?')}{port.get('shape', '?')}" for port in ports)


def _printable(text: str) -> str:
    """Text from a stranger, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def verify(artifact: Artifact, signer: Signer = None, as_json: Json = False) -> None:
    """Check the signature and every byte of an artifact, without opening it.

    Exit codes: 0 as its owner made it, 3 damaged, 4 unsigned or signed by a stranger.
    """
    with failures(as_json=as_json):
        from intact import seal

        if not signer:
            raise UsageError("no public key was named", hint="give --signer signing.pub of the owner you trust")
        manifest = seal.verify(artifact, signers=[seal.load_verifying_key(path) for path in signer])
    facts = {"artifact": manifest.artifact, "revision": manifest.revision, "verified": True}
    line = f"verified: artifact {manifest.artifact}, revision {manifest.revision}, is as its signer made it"
    show(facts, lambda: out.print(line, markup=False), as_json=as_json)


def run(
    artifact: Artifact,
    inputs: Annotated[Path, typer.Option("--input", help="Inputs as an .npz file, one array an input.")],
    output: Annotated[Path, typer.Option("--output", help="Where the outputs go, as an .npz file.")],
    identity: Identity = None,
    passphrase: AskPassphrase = False,
    signer: Signer = None,
    allow_unsigned: AllowUnsigned = False,
    engine: Engine = None,
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Open an artifact, run it on the inputs, and write the outputs."""
    with failures(as_json=as_json):
        from intact import pipeline
        from intact.cli.passphrase import ask_passphrase

        pipeline.refuse_unwritable(output)  # before any work is done for it
        if any(source.startswith("AGE-SECRET-KEY") for source in identity or ()):
            raise UsageError("--identity was given a key itself, which others can see", hint="give the path of a file")
        secret = ask_passphrase() if passphrase else None
        model = pipeline.open_model(
            artifact,
            identity=pipeline.identities(identity or (), passphrase=secret),
            signer=[pipeline.load_verifying_key(path) for path in signer or ()],
            allow_unsigned=allow_unsigned,
            engines=engine,
            threads=threads,
        )
        results = model.run(pipeline.read_npz(inputs))
        pipeline.write_npz(output, results)
    facts = {
        "engine": model.engine,
        "profile": model.profile,
        "outputs": {name: list(value.shape) for name, value in results.items()},
        "output": str(output),
    }
    if not quiet or as_json:
        shapes = ", ".join(f"{name} {value.shape}" for name, value in results.items())
        line = f"ran on {model.engine} ({model.profile}): {shapes} -> {output}"
        show(facts, lambda: out.print(line, markup=False), as_json=as_json)
