"""What the examples share: build, seal, and say how it went."""

from __future__ import annotations

import shutil
from pathlib import Path

import intact


def build_and_show(
    spec: intact.Spec,
    *,
    max_drop: float = 0.005,
    recipe: intact.Recipe | None = None,
    out: Path = Path("build/examples"),
) -> intact.Built:
    """Build `spec`, write artifact, keys and report under `out`/NAME, and print what was found."""
    from intact import report

    folder = out / spec.name
    shutil.rmtree(folder, ignore_errors=True)
    keys = intact.new_keys(folder / "keys")
    built = intact.build(
        spec,
        out=folder / "model.intact",
        recipe=recipe,
        max_drop=max_drop,
        recipients=[keys.recipient],
        signer=keys.signer,
    )
    report.write(built, folder / "report.html")
    for line in built.summary():
        print(line)
    print(f"artifact and report: {folder}")
    return built
