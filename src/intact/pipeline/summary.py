"""A build in a few lines for a person, and as plain values for a machine."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from intact import seal
from intact.pipeline import artifact

if TYPE_CHECKING:
    from intact.pipeline.agreement import Agreement
    from intact.pipeline.building import Built

WEAK_DB = 10.0
"""Below this signal to noise ratio a layer is named."""
FEW = 2
"""Up to this many operators are told by name."""


def lines(built: Built) -> list[str]:
    """Return the build in a few lines."""
    floats, layers = built.plan.floats, built.plan.layers
    size = size_bytes(built)
    smaller = built.float_bytes / size
    ratio = f"{smaller:.2f}x smaller" if smaller >= 1.0 else f"{1.0 / smaller:.2f}x larger"
    found = [
        f"model      {built.name}: {len(layers)} layers in integers, {len(floats)} operators in float, "
        f"{artifact.profile(built)} profile",
        f"size       {built.float_bytes:,} -> {size:,} bytes ({ratio})",
    ]
    if built.verdict is not None:
        verdict = built.verdict
        found.append(f"accuracy   {verdict.float_metric:.4f} -> {verdict.integer_metric:.4f}")
        found.append(f"check      {verdict.outcome.upper()}: {verdict.reason}")
    found += _agreement_lines(built)
    found.append(f"engine     {built.loaded.session.name}")
    found += _float_lines(built)
    found += _guard_lines(built)
    if built.manifest is not None:
        sealed = "encrypted" if built.manifest.sealed else "not encrypted"
        found.append(f"artifact   {built.path} ({sealed}, id {built.manifest.artifact})")
    return found


def size_bytes(built: Built) -> int:
    """Return the size of the artifact on disk; of its graph and tensors as stored, where none was written."""
    if built.path is not None:
        return sum(seal.inspect(built.path).sizes.values())
    return seal.stored_size(built.program.model, built.stored)


def _stored(built: Built, layer: str) -> dict[str, Any]:
    """How the weights of a layer are stored; nothing where they are a constant of the graph."""
    for each in built.stored:
        if each.spec.name == f"{layer}.w":
            return {"stored_form": each.spec.form, "stored_bits": each.bits}
    return {}


def _agreement_lines(built: Built) -> list[str]:
    found, made = [], built.agreement
    if made is not None:
        same = label_agreement(built)
        label = "" if same is None else f"same answer on {same:.2%}, "
        where = f" of output '{made.output}', the worst" if len(built.outputs) > 1 else ""
        found.append(
            f"agreement  {label}cosine {made.cosine:.4f}, relative error {made.error:.2%}{where} "
            f"({made.rows} calibration inputs)"
        )
    weak = sorted((layer for layer in built.layers if layer.output_sqnr_db < WEAK_DB), key=lambda x: x.output_sqnr_db)
    if weak:
        named = ", ".join(f"{layer.name} ({layer.output_sqnr_db:.0f} dB)" for layer in weak[:5])
        found.append(f"weak       {len(weak)} layers have more than a tenth of noise in their output: {named}")
    if not built.rows_apart:
        found.append("rows       a row's result depends on the other rows of its call: calls are never cut or spread")
    if not built.plan.layers:
        found.append("remark     nothing was quantized: no layer has an integer form here")
    return found


def label_agreement(built: Built) -> float | None:
    """How often both models give the same label; None where nothing says that the outputs are labels' scores."""
    judged = built.verdict is None or built.verdict.lost is not None
    return built.agreement.same_label if built.agreement is not None and judged else None


def _guard_lines(built: Built) -> list[str]:
    """What the guard learned; nothing where it was not asked to, or there was nothing to learn from."""
    contract = built.guard
    if contract is None or not built.calibration_rows:
        return []
    if not contract.rows:
        why = f"{built.calibration_rows} calibration inputs are too few" if built.rows_apart else "rows are not apart"
        return [f"guard      shapes and finite values only: {why}"]
    learned = [name for name, check in contract.checks.items() if check.fpr is not None]
    return [f"guard      {len(learned)} checks, of {contract.rows} calibration inputs: {', '.join(learned)}"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatGroup:
    """Operators of one kind that stay float for one reason."""

    op: str
    names: tuple[str, ...]
    reason: str

    @property
    def told(self) -> str:
        """Their names where they are few, else their number."""
        return f"{self.op} ({', '.join(self.names)})" if len(self.names) <= FEW else f"{self.op} x{len(self.names)}"


def float_groups(built: Built) -> list[FloatGroup]:
    """The operators that stay float, grouped by reason and kind."""
    groups: dict[tuple[str, str], list[str]] = {}
    for step in built.plan.floats:
        groups.setdefault((step.reason, step.nodes[0].op), []).append(step.layer)
    return [FloatGroup(op=op, names=tuple(names), reason=reason) for (reason, op), names in groups.items()]


def _float_lines(built: Built) -> list[str]:
    told: dict[str, list[str]] = {}
    for group in float_groups(built):
        told.setdefault(group.reason, []).append(group.told)
    return [f"float      {', '.join(kinds)}: {reason}" for reason, kinds in told.items()]


def _plain(found: Agreement) -> dict[str, Any]:
    """An agreement as JSON values; an error without measure, of a float output that is all zero, is None."""
    return {**asdict(found), "error": found.error if math.isfinite(found.error) else None}


def _guard_json(built: Built) -> dict[str, Any] | None:
    if built.guard is None:
        return None
    checks = {name: {"threshold": each.threshold, "fpr": each.fpr} for name, each in built.guard.checks.items()}
    return {"rows": built.guard.rows, "fpr": built.guard.fpr, "checks": checks}


def to_json(built: Built) -> dict[str, Any]:
    """Return the build as plain values."""
    return {
        "name": built.name,
        "profile": artifact.profile(built),
        "float_bytes": built.float_bytes,
        "integer_bytes": size_bytes(built),
        "program_bytes": built.program.size_bytes,
        "engine": built.loaded.session.name,
        "guard": _guard_json(built),
        "verdict": None if built.verdict is None else asdict(built.verdict),
        "agreement": None if built.agreement is None else _plain(built.agreement),
        "layers": {
            layer.name: {
                "op": layer.op,
                "bits": layer.bits,
                **_stored(built, layer.name),
                "sqnr_db": layer.output_sqnr_db,
                "cost": layer.cost,
            }
            for layer in built.layers
        },
        "float_operators": [
            {"name": step.layer, "op": step.nodes[0].op, "reason": step.reason} for step in built.plan.floats
        ],
        "artifact": None if built.manifest is None else built.manifest.artifact,
        "path": None if built.path is None else str(built.path),
    }
