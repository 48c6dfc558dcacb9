"""What each ONNX operator is in torch: one small differentiable function each, found by the operator's name.

A function takes the node's attributes and its inputs in order (None where an optional one is absent) and returns a
tensor, or a tuple of them. Importing this package imports torch.
"""

from __future__ import annotations

from intact.graph.torch_operators import arithmetic, moves, windows
from intact.graph.torch_operators.arithmetic import Attributes, Function

FUNCTIONS: dict[str, Function] = {**arithmetic.FUNCTIONS, **moves.FUNCTIONS, **windows.FUNCTIONS}

__all__ = ["FUNCTIONS", "Attributes", "Function"]
