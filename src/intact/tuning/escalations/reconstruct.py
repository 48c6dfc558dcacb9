"""Choose the integers of the widest assignment anew, block by block, on the calibration data."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from intact.errors import IntactError
from intact.tuning.distilling import torch_is_there
from intact.tuning.escalations import Escalation, Round, Situation, with_method

METHOD = "gptq"
"""What the integers begin from."""
MINUTES = 10.0
"""Most that it takes."""
SHARE = 0.5
"""Of the time that is left; what comes after it needs some too."""


def why_not(situation: Situation) -> str | None:
    """It needs torch."""
    return None if torch_is_there() else "torch is not installed (pip install 'intact[torch]')"


def rounds(situation: Situation) -> Generator[Round]:
    """Reconstruct for the surest point, and check it."""
    from intact.training import Reconstructor  # torch is loaded only where it comes to this

    laboratory = situation.laboratory
    points = with_method(situation.spread(situation.points)[:1], METHOD)
    surest = situation.candidates("reconstruct", points)
    laboratory.progress("reconstruct", 0, 1)
    try:
        seconds = min(60.0 * MINUTES, laboratory.deadline.left_s * SHARE)
        made = Reconstructor()(situation.spec, surest[0].recipe, seconds)
    except IntactError as refusal:
        situation.remark(f"not reconstructed: {refusal.message}")
        return
    laboratory.progress("reconstruct", 1, 1)
    yield replace(situation.round("reconstruct", ()), candidates=surest, drafted=made)


ESCALATION = Escalation(name="reconstruct", why_not=why_not, rounds=rounds)
