"""Numbers as integers: the formula, encodings, rounding, powers of two, bit budgets and packing."""

from intact.numbers import budget, dyadic, packing
from intact.numbers.affine import Codes, dequantize, quantize
from intact.numbers.encoding import Affine, covering
from intact.numbers.formula import Formula, Interval, Overflow
from intact.numbers.rounding import Rounding

__all__ = [
    "Affine",
    "Codes",
    "Formula",
    "Interval",
    "Overflow",
    "Rounding",
    "budget",
    "covering",
    "dequantize",
    "dyadic",
    "packing",
    "quantize",
]
