"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Source = Annotated[str, typer.Argument(help="x.onnx, or file.py:name, a function that returns an intact.Spec.")]
Target = Annotated[Path, typer.Option("--out", help="The artifact to write, such as model.intact.")]
Calibrate = Annotated[
    Path | None, typer.Option("--calibrate", help="Typical inputs as an .npz file, one array an input.")
]
MaxDrop = Annotated[float, typer.Option("--max-drop", min=0.0, help="Most that the metric may fall.")]
Recipient = Annotated[
    list[str] | None, typer.Option("--recipient", help="Public key that may open it, file or text; repeatable.")
]
NewPassphrase = Annotated[bool, typer.Option("--passphrase", help="Let a passphrase open it; asks for one.")]
Sign = Annotated[Path | None, typer.Option("--sign", help="Private key that signs it.")]
Report = Annotated[Path | None, typer.Option("--report", help="Write an HTML report here.")]
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
