"""Train the model further so that it bears the widest assignment, and try again from there."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from dataclasses import replace

from intact.errors import UsageError
from intact.pipeline.drafting import Draft
from intact.pipeline.spec import Spec
from intact.tuning.escalations import Escalation, Round, Situation


def why_not(situation: Situation) -> str | None:
    """It takes a hook, for only the user has the training data."""
    return None if situation.retrain is not None else "no retraining was given (retrain=...)"


def rounds(situation: Situation) -> Generator[Round]:
    """Retrain for the surest point, and check it: against the float model as it came, not as it was retrained."""
    assert situation.retrain is not None  # why_not says so
    laboratory = situation.laboratory
    surest = situation.candidates("retrain", situation.spread(situation.points)[:1])
    laboratory.progress("retrain", 0, 1)
    trained = situation.retrain(situation.spec, surest[0].recipe, laboratory.deadline.left_s)
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
