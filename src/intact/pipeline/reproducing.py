"""Rebuild an artifact from the float model and the calibration data, and compare every integer.

A signature says who made the integers, not that they are what the recipe makes of the model. A quantizer that signs
other integers, to plant a back door that the float model does not have, is found here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from intact import engine, seal
from intact.errors import UsageError
from intact.pipeline import evidence, lineage
from intact.pipeline.differences import Difference, count, differences
from intact.pipeline.drafting import draft
from intact.pipeline.lineage import Lineage
from intact.pipeline.options import Progress, silent
from intact.pipeline.reading import read_to_compare
from intact.pipeline.spec import Spec

SHOWN = 10
"""Differences told in words; `Reproduction.differences` holds all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What was otherwise when the artifact was built: a tool's version, or the host.

    Args:
        name: The tool, or "system" or "instruction sets".
        then: As the lineage has it; "none" where it was not there.
        now: As it is here.
    """

    name: str
    then: str
    now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """What came of building an artifact again.

    Args:
        name: What the model is called.
        differences: Where the artifact's integers are not those of the rebuild, in the order of the model's layers.
        tensors: How many tensors were compared.
        values: How many values they hold.
        lineage_fits: Whether the lineage names the integers that the artifact holds.
        model_fits: Whether the float model is the one that the lineage names.
        calibration_fits: Whether the calibration data are; None where the lineage names none.
        changes: What was otherwise when it was built.
    """

    name: str
    differences: tuple[Difference, ...]
    tensors: int
    values: int
    lineage_fits: bool
    model_fits: bool
    calibration_fits: bool | None
    changes: tuple[Change, ...]

    @property
    def equal(self) -> bool:
        """Whether every byte of graph and tensors is the same, and the lineage is of these integers."""
        return not self.differences and self.lineage_fits

    def lines(self) -> list[str]:
        """Say it to a person."""
        compared = f"{self.values:,} values in {self.tensors:,} tensors"
        told = [f"{'reproduced' if self.equal else 'not reproduced'}: {self.name}, {compared} compared"]
        told += [f"differs: {each.line()}" for each in self.differences[:SHOWN]]
        if len(self.differences) > SHOWN:
            told.append(f"differs: {len(self.differences) - SHOWN} more")
        if not self.lineage_fits:
            told.append("differs: the lineage names other integers than the artifact holds")
        if not self.model_fits:
            told.append("remark: the float model is not the one that the lineage names")
        if self.calibration_fits is False:
            told.append("remark: the calibration data are not those that the lineage names")
        return told + [f"remark: {each.name} was {each.then} then, and is {each.now} here" for each in self.changes]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**asdict(self), "equal": self.equal}


def reproduce(
    path: Path | str,
    source: Spec,
    *,
    identity: seal.Identity | Sequence[seal.Identity] = (),
    signer: seal.Trust | seal.Leaf | Sequence[seal.Leaf] = (),
    allow_unsigned: bool = False,
    progress: Progress = silent,
) -> Reproduction:
    """Build the artifact at `path` again from `source`, by the recipe and seed of its lineage, and compare.

    Its policy is not enforced: comparing is no use of it.

    Args:
        path: The artifact's folder.
        source: The float model and the calibration data that it is said to be made of.
        identity: Key or keys to open it with; not needed where it is not encrypted.
        signer: Who may have signed it, as `intact.open` takes it.
        allow_unsigned: Accept what no named key signed.
        progress: Called with (stage, done, total).

    Returns:
        What was found; `equal` says whether every integer is the same.

    Raises:
        UsageError: No artifact there, the recipe alone does not make it (training had a part), or data are missing.
        ModelError, DataError: The float model or the data cannot be used.
        AccessError, IntegrityError: As `intact.open`; or the lineage is not one of ours.
    """
    payload = read_to_compare(path, identity=identity, signer=signer, allow_unsigned=allow_unsigned)
    said = lineage.parse(payload.lineage)
    if not said.by_recipe:
        raise UsageError(
            f"{said.name!a:.80} was trained or reconstructed, so its recipe alone does not make its integers again",
            hint="only models that `intact build` made of a recipe can be reproduced",
        )
    made = draft(replace(source, evaluate=None), said.recipe, progress)
    tensors, values = count(made.program)
    return Reproduction(
        name=said.name,
        differences=tuple(differences(payload.program, made.program, [step.layer for step in made.plan.layers])),
        tensors=tensors,
        values=values,
        lineage_fits=lineage.digest(payload.program) == said.program,
        model_fits=made.source_sha256 == said.float_model,
        calibration_fits=evidence.fits(payload, made.data) if said.calibration is not None else None,
        changes=tuple(_changes(said)),
    )


def _changes(said: Lineage) -> list[Change]:
    """What the lineage says of tools and host that is otherwise here."""
    now, here = lineage.tool_versions(), engine.describe()
    pairs = [(name, said.versions.get(name), now.get(name)) for name in sorted(said.versions.keys() | now.keys())]
    sets = said.parameters.get("instructionSets")
    told = " ".join(map(str, sets)) if isinstance(sets, list) else None
    pairs += [("system", str(said.parameters.get("system")), here.system), ("instruction sets", told, _sets(here))]
    return [Change(name=name, then=then or "none", now=at or "none") for name, then, at in pairs if then != at]


def _sets(host: engine.Host) -> str:
    return " ".join(host.features)
