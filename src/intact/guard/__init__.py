"""What a model accepts and gives: checks of inputs and outputs, learned from calibration data and sealed with it."""

from intact.guard.contract import FIELD, Contract, Learned, Tap, plain
from intact.guard.finding import Finding, Mode, Verdict, refused
from intact.guard.judging import Guard
from intact.guard.learning import FPR, LEAST_ROWS, MOST_ROWS, Learner
from intact.guard.modes import default_modes, read_modes
from intact.guard.probing import Drift, Probing
from intact.guard.rows import Takes, row_axis

__all__ = [
    "FIELD",
    "FPR",
    "LEAST_ROWS",
    "MOST_ROWS",
    "Contract",
    "Drift",
    "Finding",
    "Guard",
    "Learned",
    "Learner",
    "Mode",
    "Probing",
    "Takes",
    "Tap",
    "Verdict",
    "default_modes",
    "plain",
    "read_modes",
    "refused",
    "row_axis",
]
