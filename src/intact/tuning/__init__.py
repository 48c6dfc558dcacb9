"""The tuner: the least bits, bytes or time within an accuracy budget, and the proof that the budget is kept."""

from intact.tuning.choices import Choice, Space
from intact.tuning.distilling import Distiller
from intact.tuning.escalations import Retrain, escalations
from intact.tuning.executors import executors
from intact.tuning.recipe_file import to_toml
from intact.tuning.results import BudgetMissed, Candidate, Front, Tuned
from intact.tuning.tuner import STEPS, tune

__all__ = [
    "STEPS",
    "BudgetMissed",
    "Candidate",
    "Choice",
    "Distiller",
    "Front",
    "Retrain",
    "Space",
    "Tuned",
    "escalations",
    "executors",
    "to_toml",
    "tune",
]
