"""An opened integer model: verified, decrypted, self-tested, ready to be called."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from intact import engine, guard, seal
from intact.errors import UsageError
from intact.graph.program import Program
from intact.graph.view import Port
from intact.pipeline import artifact, evidence
from intact.pipeline.predict import Predictor
from intact.pipeline.scrubbing import Scrubber, ScrubReport, Seat


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observed:
    """What one call gave, and what the guard looks at.

    Args:
        outputs: As `Model.run` gives them.
        features: The layer that the guard's contract names, rows first; None where it names none.
    """

    outputs: dict[str, NDArray[Any]]
    features: NDArray[Any] | None


class Model:
    """An integer model on the engine that won on this host.

    Calling it with arrays by name, in order, or with one array gives an array, or a mapping of them where the model
    has several outputs. Where `rows_apart` holds, a row's result never depends on the
    other rows of the call.

    Attributes:
        name: What the model is called.
        profile: "exact" (every host gives the same bits) or "tolerant".
        rows_apart: Whether a row's result depends on that row alone; long calls are then cut, and may be spread.
        engine: Name of the engine in use.
        tried: What became of every engine that was considered.
        payload: The opened artifact.
        guard: What it accepts and gives, for `intact.guard.Guard`; None where it was built without.
    """

    def __init__(
        self,
        payload: seal.Payload,
        facts: artifact.Facts,
        loaded: engine.Loaded,
        options: engine.Options = engine.Options(),  # noqa: B008 - frozen
        *,
        in_place: frozenset[str] = frozenset(),
    ) -> None:
        self.payload = payload
        self.name = facts.name
        self.profile = facts.profile
        self.rows_apart = facts.rows_apart
        self.engine = loaded.session.name
        self.tried = loaded.tried
        self.guard: guard.Contract | None = facts.guard
        self._seat = Seat(loaded.session)
        self._scrubber = Scrubber(payload, facts.vectors, self._seat, options, in_place=in_place)
        self._background: engine.Paced | None = None
        self._predict = Predictor(
            inputs=artifact.ports(loaded.session.inputs),
            outputs=[spec.name for spec in loaded.session.outputs],
            run=self._seat.run,
            rows_apart=facts.rows_apart,
        )
        taps = [tap.name for tap in loaded.session.taps]
        self._observing = Predictor(
            inputs=self._predict.inputs,
            outputs=[*self._predict.outputs, *taps],
            run=self._seat.observe,
            rows_apart=facts.rows_apart,
        )

    @property
    def program(self) -> Program:
        """The integer graph and its tensors."""
        return self.payload.program

    @property
    def session(self) -> engine.Session:
        """The engine's session."""
        return self._seat.session

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What it takes."""
        return self._predict.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what it gives."""
        return self._predict.outputs

    def __call__(self, data: Any) -> Any:
        """Run on any number of rows.

        Raises:
            DataError: A name, dtype, shape or value does not fit.
        """
        return self._predict(data)

    def run(self, data: Any) -> dict[str, Any]:
        """Run on any number of rows and return every output by name."""
        return self._predict.run(data)

    def observe(self, data: Any) -> Observed:
        """Run on any number of rows, and return what the guard looks at beside the outputs.

        Raises:
            DataError: A name, dtype, shape or value does not fit.
            UsageError: The model was not opened with guard=True, and its contract looks at a layer.
        """
        tap = None if self.guard is None else self.guard.tap
        if tap is not None and not self.session.taps:
            raise UsageError("the model was not opened for observing", hint="intact.open(..., guard=True)")
        found = self._observing.run(data)
        features = None if tap is None else found.pop(tap.tensor)
        return Observed(outputs=found, features=features)

    def was_calibrated_on(self, calibration: Any) -> bool:
        """Say whether `calibration` (as `Spec.calibration`) are the data that the signed lineage names.

        Raises:
            UsageError: It names none.
            DataError: The data do not fit the model.
        """
        return evidence.holds(self.payload, calibration)

    def scrub(self) -> ScrubReport:
        """Check the memory behind the model once, and repair from its artifact what changed since it was opened.

        Returns:
            What was found. By then it is repaired.

        Raises:
            IntegrityError: Something changed and cannot be repaired, because the artifact is gone or changed too, say.
                Calls of the model raise then as well.
        """
        return self._scrubber.scrub()

    @property
    def repairs(self) -> tuple[ScrubReport, ...]:
        """Every report that found something, in the background or on demand, the oldest first."""
        return tuple(self._scrubber.repairs)

    def start_scrubbing(self, share: float = engine.SHARE, every_s: float = engine.EVERY_S) -> None:
        """Check the memory again and again in the background, until `stop_scrubbing` or until the model is gone.

        Args:
            share: Most of one core's time that it may take.
            every_s: Seconds from the begin of one look to the begin of the next, at least.

        Raises:
            UsageError: The share is not above 0 and at most 1, or the seconds are negative or endless.
        """
        self.stop_scrubbing()
        self._scrubber.arm()
        rounds = self._scrubber.rounds  # knows nothing of this model, so that it can go
        self._background = engine.Paced(rounds, share, every_s)
        weakref.finalize(self, self._background.end)

    def stop_scrubbing(self) -> None:
        """Stop what `start_scrubbing` began; the look in progress is given up."""
        if self._background is not None:
            self._background.stop()
            self._background = None

    def __repr__(self) -> str:
        return f"Model({self.name!r}, profile={self.profile!r}, engine={self.engine!r})"
