"""The energy of the scores: low where the model knows what it sees.

Source: Liu et al. 2020, arXiv:2010.03759, section 3.
"""

from __future__ import annotations

import numpy as np

from intact.guard.arrays import fields, number
from intact.guard.chances import energy
from intact.guard.check import Array, Check, Evidence, Params, Score
from intact.guard.rows import Rows


def measure(rows: Rows) -> Array | None:
    """Return the scores of the labels."""
    return rows.logits


def learn(evidence: Evidence) -> Params | None:
    """Learn nothing but that energies differ from row to row, as they do not where scores are probabilities."""
    return {"sign": 1} if float(np.ptp(energy(evidence.measured))) > 1e-3 else None


def bind(params: Params) -> Score:
    """Return the score: the energy."""
    (sign,) = fields(params, "sign")
    number(sign, "sign", least=1, most=1)
    return energy


CHECK = Check(name="energy", place="output", mode="flag", measure=measure, learn=learn, bind=bind)
