"""Finding and repairing what changed in memory since a model was opened: bits that flipped, or were flipped.

Two nets, one behind the other. Every byte that the program holds and the engine was handed has a keyed checksum; one
that does not hold is read again from the artifact. What the engine made of it and keeps to itself - packed weights,
small constants - nobody else can see: there its answers must be the very bits they were, or the engine is loaded again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact import engine, seal
from intact.crypto import blake3
from intact.engine.scrub import Bytes, Checksums
from intact.errors import CheckFailed, IntactError, IntegrityError
from intact.graph.program import memory_of
from intact.pipeline.answers import Answers

LOG: Final = logging.getLogger("intact.scrub")
"""Says how much was repaired, never what: names of tensors are private."""


class Seat:
    """Where a model's session sits: it can be replaced, and is not used once the model is damaged beyond repair.

    Args:
        session: The session.
    """

    def __init__(self, session: engine.Session) -> None:
        self.session = session
        self.broken: IntactError | None = None

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the session.

        Raises:
            IntegrityError: What it would run with is damaged and could not be repaired.
        """
        self._check()
        return self.session.run(feeds)

    def observe(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the session, and give what is tapped beside the outputs.

        Raises:
            IntegrityError: What it would run with is damaged and could not be repaired.
        """
        self._check()
        seen = self.session.observe(feeds)
        return {**seen.outputs, **seen.taps}

    def _check(self) -> None:
        if self.broken is not None:
            raise IntegrityError(f"the model no longer runs: {self.broken.message}", hint=self.broken.hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubReport:
    """What one look at the memory of a model found.

    Args:
        groups: Stretches of memory that were checked.
        checked_bytes: Bytes in them.
        in_place: Share of these bytes that the engine is known to compute with directly; 0 where it was not tried. It
            keeps copies of the rest, which its answers show.
        damaged: Where bytes were not as they should be: tensors and ranges.
        engine_damaged: Whether the engine gave other bits than before, though it was handed the right bytes.
        reproducible: Whether the engine gives the same bits twice. Where it does not, its own copies are checked within
            the tolerance of the self-test only.
        witnessed: Whether its answers to new inputs were compared with those of a session that packs nothing.
        seconds: How long it took.
    """

    groups: int
    checked_bytes: int
    in_place: float
    damaged: tuple[str, ...]
    engine_damaged: bool
    reproducible: bool
    witnessed: bool
    seconds: float

    @property
    def clean(self) -> bool:
        """Whether nothing had changed. What had is repaired by the time there is a report."""
        return not self.damaged and not self.engine_damaged


class Scrubber:
    """Checks the memory behind one session, and repairs it from the artifact.

    Args:
        payload: The opened artifact, read from where it can be read again.
        vectors: Its self-test.
        seat: Where the session in use is, and where one that takes its place goes.
        options: How sessions run.
        in_place: Names of the tensors that the session is known to read where they lie.
    """

    def __init__(
        self,
        payload: seal.Payload,
        vectors: engine.Vectors,
        seat: Seat,
        options: engine.Options,
        *,
        in_place: frozenset[str] = frozenset(),
    ) -> None:
        assert payload.source is not None  # models are opened from artifacts
        self._source = payload.source
        self._program = payload.program
        self._tensors = payload.program.tensors
        self._vectors = vectors
        self._seat = seat
        self._options = options
        self._in_place = in_place
        self._armed: _Armed | None = None
        self._answers: Answers | None = None
        self.repairs: list[ScrubReport] = []
        self._lock = RLock()

    def scrub(self) -> ScrubReport:
        """Check everything once, and repair what changed.

        Raises:
            IntegrityError: Something changed and cannot be repaired; the model does not run any more.
        """
        for _ in self.round():
            pass
        return self.last

    def round(self) -> Iterator[None]:
        """Check everything once, a step each time it is advanced; at its end `last` is the report."""
        look = Look(scrubber=self)
        try:
            yield from self._steps(look)
        except IntactError as error:
            self._seat.broken = error
            LOG.error("memory is damaged and cannot be repaired; the model no longer runs")
            raise
        self.last = look.report()
        if not self.last.clean:
            self.repairs.append(self.last)

    def rounds(self) -> Iterator[None]:
        """Do the same for a thread in the background, which has nobody to raise to: a model that is broken says so."""
        with suppress(IntactError):
            yield from self.round()

    def arm(self) -> None:
        """Take checksums now rather than at the first look."""
        with self._lock:
            self._arm(Look(scrubber=self))

    def share_in_place(self) -> float:
        """Return the share of the bytes that the engine reads where they lie."""
        known = sum(self._tensors[name].nbytes for name in self._in_place)
        return known / max(1, sum(tensor.nbytes for tensor in self._tensors.values()))

    @property
    def answers(self) -> Answers | None:
        """What the engine's answers are compared with, once there is something."""
        return self._answers

    def _steps(self, look: Look) -> Iterator[None]:
        with self._lock:
            armed = self._arm(look)
        yield
        for number, group in enumerate(armed.checksums.groups):
            with self._lock:
                if not armed.checksums.holds(number):
                    self._restore(armed, number)
                    look.damaged.append(str(group))
                look.groups += 1
                look.checked_bytes += group.end - group.start
            yield
        for alike in (self._answer_alike, self._agree):
            with self._lock:
                if not alike():
                    look.engine_damaged = True
                    self._swap()
                    self._make_sure(alike)
            yield

    def _arm(self, look: Look) -> _Armed:
        """Take checksums, once, of bytes that have the digests the artifact gives them."""
        if self._armed is None:
            for spec in self._source.specs:
                if blake3(_flat(self._tensors[spec.name]).data) != spec.blake3:
                    self._rewrite(spec.name)
                    look.damaged.append(f"{spec.name!a}")
            if self._answers is None:
                self._answers = self._first_answers(look)
            memory, places = self._memory()
            for key, place in places.items():
                if place.handed and not np.array_equal(memory[key], memory_of(self._tensors[place.tensor])):
                    memory[key][:] = memory_of(self._tensors[place.tensor])
                    look.damaged.append(f"{place.tensor!a}")
            self._armed = _Armed(checksums=Checksums.take(memory), places=places)
        return self._armed

    def _memory(self) -> tuple[dict[str, Bytes], dict[str, _Place]]:
        """Return all memory to check by a name for it: the program's, and what the engine was handed beside that."""
        memory = {name: _flat(tensor) for name, tensor in self._tensors.items()}
        places = {name: _Place(tensor=name, handed=False) for name in memory}
        witness = None if self._answers is None else self._answers.witness
        for session, role in ((self._seat.session, "as handed over"), (witness, "as handed to the witness")):
            for name, handed in {} if session is None else session.weights.items():
                if name in self._tensors and handed.ctypes.data != memory[name].ctypes.data:
                    memory[f"{name} {role}"] = handed
                    places[f"{name} {role}"] = _Place(tensor=name, handed=True)
        return memory, places

    def _first_answers(self, look: Look) -> Answers:
        """Return the engine's answers; it is loaded again where it does not pass the self-test it passed at opening."""
        try:
            return Answers(self._program, self._vectors, self._seat.session, in_place=self._options.in_place)
        except (CheckFailed, engine.EngineError):
            look.engine_damaged = True
            self._swap()
            return Answers(self._program, self._vectors, self._seat.session, in_place=self._options.in_place)

    def _answer_alike(self) -> bool:
        return self._answers is not None and self._answers.same(self._seat.session)

    def _agree(self) -> bool:
        return self._answers is not None and self._answers.agree(self._seat.session)

    def _restore(self, armed: _Armed, number: int) -> None:
        """Put one group back to what the artifact holds."""
        place = armed.places[armed.checksums.groups[number].tensor]
        tensor = self._fetch(place.tensor)
        if not armed.checksums.restore(number, memory_of(tensor) if place.handed else _flat(tensor)):
            raise IntegrityError(
                "weights in memory are damaged, and so are their checksums", hint="open the model again"
            )

    def _rewrite(self, name: str) -> None:
        """Put one tensor back to what the artifact holds."""
        flat = _flat(self._tensors[name])
        genuine = Checksums.take({name: _flat(self._fetch(name))}, group_bytes=max(1, flat.nbytes))
        here = Checksums(memory={name: flat}, groups=genuine.groups, sums=genuine.sums, key=genuine.key)
        for number in range(len(here.groups)):
            here.restore(number, genuine.memory[name])

    def _fetch(self, name: str) -> NDArray[Any]:
        """Return a tensor as it is in the artifact, verified again."""
        try:
            return self._source.read([name])[name]
        except IntactError as error:
            raise IntegrityError(
                f"weights in memory are damaged, and cannot be read again: {error.message}",
                hint="put the artifact back where it was, or open another copy of it",
            ) from error

    def _make_sure(self, alike: Callable[[], bool]) -> None:
        """Make sure that a session loaded again answers as it should, be it that the witness was wrong.

        Raises:
            IntegrityError: It does not.
        """
        if alike():
            return
        if self._answers is not None and self._answers.witness is not None:
            self._answers.renew_witness()
            if self._answers.same(self._answers.witness) and alike():
                return
        raise IntegrityError(
            "the engine no longer computes what it did, though its weights are right",
            hint="start a new process; if it happens again, suspect the memory of this machine",
        )

    def _swap(self) -> None:
        try:
            session = engine.reload(self._program, self._seat.session, self._options)
            engine.self_test(session, self._vectors)
        except (CheckFailed, engine.EngineError) as error:
            raise IntegrityError(
                f"the engine is damaged in memory, and cannot be loaded again: {error.message}",
                hint="start a new process",
            ) from error
        self._armed = None  # what the new session was handed lies elsewhere
        self._seat.session = session


@dataclass(slots=True, kw_only=True)
class Look:
    """One look at the memory, in progress.

    Args:
        scrubber: Whose.
        groups: As in the report; likewise the next three.
        begun: When it began.
    """

    scrubber: Scrubber
    groups: int = 0
    checked_bytes: int = 0
    damaged: list[str] = field(default_factory=list)
    engine_damaged: bool = False
    begun: float = field(default_factory=time.perf_counter)

    def report(self) -> ScrubReport:
        """Return what it found; says so in the log too where that is anything."""
        answers = self.scrubber.answers
        found = ScrubReport(
            groups=self.groups,
            checked_bytes=self.checked_bytes,
            in_place=self.scrubber.share_in_place(),
            damaged=tuple(self.damaged),
            engine_damaged=self.engine_damaged,
            reproducible=answers is not None and answers.reproducible,
            witnessed=answers is not None and answers.witness is not None,
            seconds=time.perf_counter() - self.begun,
        )
        if found.damaged:
            LOG.warning("weights in memory had changed in %d places; restored from the artifact", len(found.damaged))
        if found.engine_damaged:
            LOG.warning("the engine's copy of the weights had changed; the engine was loaded again")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """What some checked memory is: a tensor as the program holds it, or as it was handed to the engine."""

    tensor: str
    handed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Armed:
    """What is compared with."""

    checksums: Checksums
    places: Mapping[str, _Place]


def _flat(tensor: NDArray[Any]) -> Bytes:
    """Return the bytes of a tensor where they lie."""
    return tensor.reshape(-1).view(np.uint8)
