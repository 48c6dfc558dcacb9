"""Does an engine still compute what it did? What it keeps to itself, packed weights say, shows in its answers only."""

from __future__ import annotations

import secrets
from typing import Final

from intact import engine
from intact.errors import CheckFailed
from intact.graph.program import Program

WITNESS: Final = engine.Options(threads=1, in_place=True)
"""How a witness runs: without threads of its own, which would spin on a while after each run."""


class Answers:
    """What sessions of one program answer, to be compared with later.

    1. The self-test must give the very bits that it gave first.
    2. Where that can be had, other inputs each time must give the very bits that a *witness* gives: a second session,
       which packs nothing and computes with memory that has checksums. So what one set of inputs does not show, others
       will.

    Args:
        program: The program.
        vectors: Its self-test.
        session: The session to begin with.
        in_place: Whether the session packs nothing itself, and needs no witness.

    Raises:
        CheckFailed: The session does not pass the self-test.
        EngineError: It fails.
    """

    def __init__(self, program: Program, vectors: engine.Vectors, session: engine.Session, *, in_place: bool) -> None:
        self._program = program
        self._vectors = vectors
        engine.self_test(session, vectors)
        outputs = engine.digests(session, vectors)
        self._outputs = outputs if engine.digests(session, vectors) == outputs else None
        self._next = secrets.randbelow(2**31)  # nobody knows the inputs beforehand
        self.witness = None if in_place or self._outputs is None else self._call_witness(session)

    @property
    def reproducible(self) -> bool:
        """Whether the engine gave the same bits twice."""
        return self._outputs is not None

    def same(self, session: engine.Session) -> bool:
        """Whether a session passes the self-test, bit for bit where it did so at first."""
        try:
            if self._outputs is not None:
                return engine.digests(session, self._vectors) == self._outputs
            engine.self_test(session, self._vectors)
        except (CheckFailed, engine.EngineError):
            return False
        return True

    def agree(self, session: engine.Session) -> bool:
        """Whether a session and the witness give the same bits on inputs new to both; True without a witness."""
        if self.witness is None:
            return True
        self._next += 1
        inputs = engine.more_inputs(session, self._vectors, self._next)
        try:
            return engine.digest_run(session, inputs) == engine.digest_run(self.witness, inputs)
        except engine.EngineError:
            return False

    def renew_witness(self) -> None:
        """Load the witness again.

        Raises:
            EngineError: It cannot be loaded.
        """
        if self.witness is not None:
            self.witness = engine.reload(self._program, self.witness, WITNESS)

    def _call_witness(self, session: engine.Session) -> engine.Session | None:
        """Return a witness; None where the engine has none, or one that gives other bits."""
        if engine.find()[session.engine].copies:
            return None
        try:
            witness = engine.reload(self._program, session, WITNESS)
            return witness if engine.digests(witness, self._vectors) == self._outputs else None
        except engine.EngineError:
            return None
