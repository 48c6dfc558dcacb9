"""What goes into an artifact and comes out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from intact.errors import UsageError
from intact.graph import Program
from intact.seal.policy import NO_LIMITS, Policy
from intact.seal.source import Source
from intact.seal.tensors import StoredTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A program and what is said about it.

    Args:
        program: The graph and its tensors.
        header: Private metadata as JSON: encodings, guard, self-test vectors. Encrypted in a sealed artifact.
        card: Public metadata as JSON: anyone can read it.
        lineage: in-toto statement as JSON: where the integers came from. Anyone can read it.
        stored: The program's tensors as `store` gives them, where it was called before; it takes a while.
        policy: Limits on its use. Anyone can read them.
        source: Where it was read from; None for what was not read from an artifact.
    """

    program: Program
    header: Mapping[str, Any]
    card: Mapping[str, Any]
    lineage: Mapping[str, Any]
    stored: Sequence[StoredTensor] | None = None
    policy: Policy = NO_LIMITS
    source: Source | None = None

    def __post_init__(self) -> None:
        for name in ("header", "card", "lineage"):
            if not isinstance(getattr(self, name), Mapping):
                raise UsageError(f"{name} is a {type(getattr(self, name)).__name__}, wanted a mapping")
