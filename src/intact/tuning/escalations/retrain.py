"""Train the model further so that it bears the widest assignment, and try again from there."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from dataclasses import replace

from intact.errors import IntactError, UsageError
from intact.pipeline.drafting import Draft
from intact.pipeline.spec import Spec
from intact.tuning.distilling import Distiller, torch_is_there
from intact.tuning.escalations import Escalation, Round, Situation


def why_not(situation: Situation) -> str | None:
    """Distillation needs torch; a hook of the user's needs what it needs."""
    if isinstance(situation.retrain, Distiller) and not torch_is_there():
        return "torch is not installed (pip install 'intact[torch]')"
    return None


def rounds(situation: Situation) -> Generator[Round]:
    """Retrain for the surest point, and check it: against the float model as it came, not as it was retrained."""
    laboratory = situation.laboratory
    surest = situation.candidates("retrain", situation.spread(situation.points)[:1])
    laboratory.progress("retrain", 0, 1)
    try:
        trained = situation.retrain(situation.spec, surest[0].recipe, laboratory.deadline.left_s)
    except IntactError as refusal:
        situation.remark(f"not retrained: {refusal.message}")
        return
    laboratory.progress("retrain", 1, 1)
    if isinstance(trained, Draft):
        yield replace(situation.round("retrain", ()), candidates=surest, drafted=trained)
        return
    if not isinstance(trained, Spec):
        raise UsageError(f"retrain returned a {type(trained).__name__}, not a Draft or an intact.Spec")
    model = trained.proto().SerializeToString(deterministic=True)
    material = replace(situation.material, model=model)
    with situation.open_pool(material) as pool:
        base = situation.build(material, surest[0].recipe)
        tag = hashlib.sha256(model).hexdigest()
        yield Round(
            name="retrain",
            candidates=surest,
            laboratory=replace(laboratory, pool=pool, base=base, tag=tag),
            material=material,
        )


ESCALATION = Escalation(name="retrain", why_not=why_not, rounds=rounds)
