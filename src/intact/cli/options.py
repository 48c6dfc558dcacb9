"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Artifact = Annotated[Path, typer.Argument(help="The artifact, a folder such as model.intact.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars and no remarks.")]
Signer = Annotated[
    list[Path] | None,
    typer.Option("--signer", help="Public key whose signature is accepted; may be repeated.", show_default=False),
]
Identity = Annotated[
    list[str] | None,
    typer.Option("--identity", help="Private key file to open with; may be repeated.", show_default=False),
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
