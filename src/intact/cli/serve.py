"""`intact serve`: answer over HTTP and gRPC, only to the right callers, with a record of every answer."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from intact.cli.console import failures, show
from intact.cli.options import (
    AllowOlder,
    AllowUnsigned,
    AskPassphrase,
    Engine,
    Identity,
    Json,
    NoRevisions,
    Revisions,
    Signer,
    SignersNeeded,
    Threads,
    remembered,
)
from intact.cli.recipients import identities
from intact.errors import UsageError

if TYPE_CHECKING:
    from intact.guard import Mode
    from intact.serve.access import OidcSettings
    from intact.serve.models import Served
    from intact.serve.settings import Tls

Names = Annotated[
    list[str],
    typer.Argument(help="Models to serve, M.intact or NAME=M.intact, several revisions too.", show_default=False),
]
ReceiptKey = Annotated[
    Path, typer.Option("--receipt-key", help="Ed25519 private key that signs receipts and checkpoints.")
]
State = Annotated[
    str | None,
    typer.Option(
        "--state",
        envvar="INTACT_STATE",
        help="Database of keys, grants and the log, such as sqlite:///FILE or postgresql+pg8000://USER@HOST/NAME. A"
        " SQLite file of your own by default; file:///PATH where the URL, with its password, is in a file.",
        show_default=False,
    ),
]
Host = Annotated[str, typer.Option("--host", help="Address to listen on. Others than this machine's need TLS.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port for HTTP; 0 for any that is free.")]
GrpcPort = Annotated[int, typer.Option("--grpc-port", min=0, max=65535, help="Port for gRPC; 0 for any that is free.")]
NoGrpc = Annotated[bool, typer.Option("--no-grpc", help="No gRPC.")]
TlsCert = Annotated[Path | None, typer.Option("--tls-cert", help="Certificates of the server, its own first, as PEM.")]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", help="Private key of that certificate, as PEM.")]
ClientCa = Annotated[
    Path | None, typer.Option("--client-ca", help="Clients must show a certificate of these authorities, a PEM file.")
]
Plaintext = Annotated[
    bool, typer.Option("--plaintext", help="Let other machines connect without TLS: behind a proxy that ends it.")
]
Redis = Annotated[
    str | None, typer.Option("--redis", envvar="INTACT_REDIS", help="Redis that counts bursts for all replicas.")
]
Issuer = Annotated[str | None, typer.Option("--oidc-issuer", help="Take tokens of this OIDC issuer, a URL.")]
Audience = Annotated[str | None, typer.Option("--oidc-audience", help="What such tokens must be meant for.")]
Algorithm = Annotated[
    list[str] | None,
    typer.Option("--oidc-algorithm", help="Signature algorithm of tokens; RS256 and ES256 if left out."),
]
IssuerCa = Annotated[Path | None, typer.Option("--oidc-ca", help="Authorities for the issuer's TLS, a PEM file.")]
Origin = Annotated[str, typer.Option("--origin", help="Name of the log, such as models.example.com/log.")]
GuardModes = Annotated[
    list[str] | None,
    typer.Option("--guard", help="CHECK=off, CHECK=flag or CHECK=refuse; may be repeated. --guard off for no guard."),
]
Body = Annotated[int, typer.Option("--largest-body", min=1024, max=2**30, help="Most bytes in a request.")]
Rows = Annotated[int, typer.Option("--largest-batch", min=1, max=2**20, help="Most rows in a request.")]
Size = Annotated[
    int, typer.Option("--largest-size", min=1, max=2**20, help="Largest size of other axes that the model leaves open.")
]
Workers = Annotated[int, typer.Option("--workers", min=1, max=256, help="Batches at a time, of each model.")]
OpenHealth = Annotated[bool, typer.Option("--open-health", help="Answer health checks without a credential.")]
NoConsole = Annotated[bool, typer.Option("--no-console", help="No pages for browsers under /console/.")]
Patience = Annotated[
    float, typer.Option("--patience", min=0.1, max=3600, help="Seconds for a client's headers; six times for its body.")
]
Traces = Annotated[
    str | None,
    typer.Option("--traces", help="Send OpenTelemetry traces here, such as http://127.0.0.1:4318/v1/traces."),
]
Drain = Annotated[float, typer.Option("--drain", min=0, max=3600, help="Seconds to finish requests when stopped.")]


def serve(
    models: Names,
    receipt_key: ReceiptKey,
    identity: Identity = None,
    passphrase: AskPassphrase = False,
    signer: Signer = None,
    signers_needed: SignersNeeded = None,
    allow_unsigned: AllowUnsigned = False,
    state: State = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    grpc_port: GrpcPort = 8001,
    no_grpc: NoGrpc = False,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    client_ca: ClientCa = None,
    plaintext: Plaintext = False,
    redis: Redis = None,
    oidc_issuer: Issuer = None,
    oidc_audience: Audience = None,
    oidc_algorithm: Algorithm = None,
    oidc_ca: IssuerCa = None,
    origin: Origin = "intact.local/log",
    guard: GuardModes = None,
    largest_body: Body = 16 * 2**20,
    largest_batch: Rows = 1024,
    largest_size: Size = 1024,
    workers: Workers = 1,
    open_health: OpenHealth = False,
    no_console: NoConsole = False,
    patience: Patience = 10.0,
    drain: Drain = 20.0,
    traces: Traces = None,
    engine: Engine = None,
    threads: Threads = 1,
    revisions: Revisions = None,
    no_revisions: NoRevisions = False,
    allow_older: AllowOlder = False,
    as_json: Json = False,
) -> None:
    """Serve sealed models over the Open Inference Protocol, REST and gRPC, until SIGTERM.

    Nobody gets an answer without a key (`intact apikeys`) or token and a grant (`intact grants`). Every answer is
    counted, recorded in the log and signed before it is sent.
    """
    with failures(as_json=as_json):
        from intact.serve import logs

        logs.configure()  # before gRPC is imported, which looks at its environment then
        from intact import pipeline, seal
        from intact.serve import run
        from intact.serve.models import Limits, serve_as, split_name
        from intact.serve.settings import Settings
        from intact.serve.state.database import default_url

        settings = Settings(
            state=default_url() if state is None else state,
            host=host,
            port=port,
            grpc_port=None if no_grpc else grpc_port,
            tls=_tls(tls_cert, tls_key, client_ca),
            plaintext=plaintext,
            redis=redis,
            oidc=_oidc(oidc_issuer, oidc_audience, oidc_algorithm, oidc_ca),
            origin=origin,
            guard=_modes(guard or []),
            largest_body=largest_body,
            workers=workers,
            open_health=open_health,
            console=not no_console,
            patience_s=patience,
            drain_s=drain,
            traces=traces,
        )
        key = pipeline.load_signing_key(receipt_key)
        assert isinstance(key, seal.SigningKey)  # no certificates were named
        keys = identities(identity or (), passphrase=passphrase)
        served: list[Served] = []
        for name, path in map(split_name, models):
            model = pipeline.open_model(
                path,
                identity=keys,
                signer=pipeline.trusted(signer or (), signers_needed) or (),
                allow_unsigned=allow_unsigned,
                engines=engine,
                threads=threads,
                revisions=remembered(revisions, nowhere=no_revisions),
                allow_older=allow_older,
                guard=settings.guard is not None,
            )
            served.append(serve_as(name, model, Limits(rows=largest_batch, size=largest_size)))
        run.serve(settings, served, key, announce=lambda found: _announce(found, served, as_json=as_json))


def _announce(found: Any, served: list[Served], *, as_json: bool) -> None:
    """Say where the server listens, and what it serves."""
    models = [{"name": each.name, "revision": each.about.revision, "digest": each.digest} for each in served]
    facts = {"http": found.http, "grpc": found.grpc, "models": models}
    show(facts, lambda: _tell(facts), as_json=as_json)
    sys.stdout.flush()  # who started this waits for it


def _tell(facts: dict[str, Any]) -> None:
    for model in facts["models"]:
        typer.echo(f"model    {model['name']}, revision {model['revision']}, digest {model['digest']}")
    typer.echo(f"grpc     {facts['grpc'] or 'off'}")
    typer.echo(f"serving  {facts['http']}")


def _modes(texts: list[str]) -> Mapping[str, Mode] | None:
    """Return the modes of checks that were named; None where the guard shall be off altogether.

    Raises:
        UsageError: A text is none of these.
    """
    from intact.guard import read_modes

    return None if texts == ["off"] else read_modes(texts)


def _tls(certificate: Path | None, key: Path | None, client_ca: Path | None) -> Tls | None:
    """Return the keys for TLS that were named, if any.

    Raises:
        UsageError: Some of them were, but not enough.
    """
    from intact.serve.settings import Tls

    if certificate is None and key is None and client_ca is None:
        return None
    if certificate is None or key is None:
        raise UsageError("TLS needs a certificate and its key", hint="give both --tls-cert and --tls-key")
    return Tls(certificate=certificate, key=key, client_authorities=client_ca)


def _oidc(
    issuer: str | None, audience: str | None, algorithms: list[str] | None, ca_file: Path | None
) -> OidcSettings | None:
    """Return whose tokens are taken, if anybody's.

    Raises:
        UsageError: Issuer or audience is missing.
    """
    from intact.serve.access import OidcSettings

    if issuer is None and audience is None and not algorithms and ca_file is None:
        return None
    if issuer is None or audience is None:
        raise UsageError("tokens need an issuer and an audience", hint="give both --oidc-issuer and --oidc-audience")
    more = {"algorithms": tuple(algorithms)} if algorithms else {}
    return OidcSettings(issuer=issuer, audience=audience, ca_file=None if ca_file is None else str(ca_file), **more)
