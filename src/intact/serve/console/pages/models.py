"""Models: what is served, where it came from, what its owner allows, and what its guard looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from intact import seal
from intact.errors import IntactError
from intact.guard.checks import checks
from intact.pipeline import lineage
from intact.serve.console.visit import ALL, Reply, Visit, get
from intact.serve.models import Served

LONGEST: Final = 200
FEW: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A model in the list."""

    name: str
    version: str
    digest: str
    profile: str
    engine: str
    guard: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRow:
    """A check of the guard, in words."""

    name: str
    place: str
    mode: str
    threshold: float
    fpr: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What the lineage says, in words.

    Args:
        facts: Names and texts.
        tools: Versions by name.
    """

    facts: tuple[tuple[str, str], ...]
    tools: tuple[tuple[str, str], ...]


async def show(visit: Visit) -> Reply:
    """Show all models that the visitor may know of."""
    rows = [_row(served) for served in await visit.house.core.visible(visit.principal)]
    return visit.page("models", rows=rows)


async def show_one(visit: Visit) -> Reply:
    """Show one.

    Raises:
        Refused: There is none, or the visitor may not know of it.
        GrantRefused: The visitor may not know of it.
    """
    name, version = visit.path
    served = await visit.house.core.may_see(visit.principal, name, version)
    signers = await visit.house.work(_signers, served)
    model = served.model
    return visit.page(
        "model",
        served=served,
        row=_row(served),
        metadata=served.metadata([served.version]),
        limits=served.policy.lines(),
        signers=signers,
        origin=origin(model.payload.lineage),
        contract=model.guard,
        checks=_checks(visit, served),
        tried=model.tried,
    )


def _row(served: Served) -> Row:
    contract = served.model.guard
    return Row(
        name=served.name,
        version=served.version,
        digest=served.digest,
        profile=served.model.profile,
        engine=served.model.engine,
        guard="none" if contract is None else f"{len(contract.checks)} checks",
    )


def _checks(visit: Visit, served: Served) -> list[CheckRow]:
    """Return the checks of a model's guard, as they are set on this server."""
    contract = served.model.guard
    if contract is None:
        return []
    modes, family = visit.house.modes, checks()
    return [
        CheckRow(
            name=name, place=family[name].place, mode=modes.get(name, "off"), threshold=each.threshold, fpr=each.fpr
        )
        for name, each in contract.checks.items()
    ]


def _signers(served: Served) -> tuple[str, ...]:
    """Return whose signatures lie beside the artifact; none where it is gone, or is another now."""
    source = served.model.payload.source
    assert source is not None  # it was opened from an artifact
    try:
        found = seal.inspect(source.path)
    except IntactError:
        return ()
    return found.signed_by if found.manifest == source.manifest else ()


def origin(statement: Mapping[str, Any]) -> Origin | None:
    """Return what a lineage says, in words; None where it is none that this version can read."""
    try:
        found = lineage.parse(statement)
    except IntactError:
        return None
    facts = [
        ("Float model", found.float_model),
        ("Calibration data", found.calibration or "not named"),
        ("Integers", found.program),
        ("Made by", "its recipe alone: anyone with the data can make them again" if found.by_recipe else "training"),
        ("Recipe", recipe(found)),
    ]
    if found.accuracy is not None:
        facts.append(("Accuracy check", accuracy(found.accuracy)))
    where = found.parameters
    facts.append(("Built on", f"{_text(where.get('system'))}, Python {_text(where.get('python'))}"))
    return Origin(facts=tuple(facts), tools=tuple(found.versions.items()))


def recipe(found: lineage.Lineage) -> str:
    """Return a recipe in a line: what all layers have, and how many have something else."""
    default = found.recipe.default
    weights = "float weights" if default.weights == "float" else f"{default.weights}-bit weights"
    parts = [weights, f"{default.activations} activations", f"{default.method} rounding"]
    if default.group:
        parts.append(f"groups of {default.group}")
    if default.sparsity:
        parts.append(f"{default.sparsity:.0%} zeros ({default.pattern})")
    if found.recipe.overrides:
        named = ", ".join(each.pattern for each in found.recipe.overrides[:FEW])
        more = len(found.recipe.overrides) - FEW
        parts.append(f"others for {named}" + (f" and {more} more" if more > 0 else ""))
    return f"{', '.join(parts)}; seed {found.recipe.seed}"


def accuracy(told: Mapping[str, Any]) -> str:
    """Return the outcome of an accuracy check in a line, whatever its fields are."""
    outcome, reason = _text(told.get("outcome", "?")), _text(told.get("reason", ""))
    return f"{outcome}: {reason}" if reason else outcome


def _text(value: object) -> str:
    return str(value)[:LONGEST]


ROUTES: Final = (
    get("/console/models", ALL, show, "models"),
    get(r"/console/models/([A-Za-z0-9._-]{1,100})/([0-9]{1,20})", ALL, show_one, "models"),
)
