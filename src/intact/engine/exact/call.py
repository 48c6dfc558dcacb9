"""One operator applied to values: what an exact rule is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from intact.engine.exact.value import Array, Exact, InexactError, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A node with its operands.

    Args:
        op: Operator type.
        attributes: Attribute values by name.
        inputs: Operands; None where an optional one is left out.
        outputs: How many outputs the node names.
        known: For each operand, whether it is the same for every input of the graph.
        opset: Version of the ONNX operator set.
    """

    op: str
    attributes: Mapping[str, Any]
    inputs: Sequence[Value | None]
    outputs: int
    known: Sequence[bool]
    opset: int

    def optional(self, index: int) -> Value | None:
        """Return operand `index`, or None when it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def exact(self, index: int) -> Exact:
        """Return operand `index`, which must be exact."""
        value = self.optional(index)
        if not isinstance(value, Exact):
            raise InexactError(f"operand {index} is not an exact value")
        return value

    def array(self, index: int) -> Array:
        """Return operand `index`, which must be a plain array."""
        value = self.optional(index)
        if value is None or isinstance(value, Exact):
            raise InexactError(f"operand {index} is not a plain array")
        return value
