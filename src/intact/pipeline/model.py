"""An opened integer model: verified, decrypted, self-tested, ready to be called."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, overload

from numpy.typing import NDArray

from intact import engine, seal
from intact.errors import AccessError, UsageError
from intact.graph.program import Program
from intact.graph.view import Port
from intact.pipeline import artifact, evidence
from intact.pipeline.predict import Predictor
from intact.pipeline.scrubbing import Scrubber, ScrubReport, Seat

IN_PLACE: Final = "in place"


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
        self._seat = Seat(loaded.session)
        self._scrubber = Scrubber(payload, facts.vectors, self._seat, options, in_place=in_place)
        self._background: engine.Paced | None = None
        self._predict = Predictor(
            inputs=artifact.ports(loaded.session.inputs),
            outputs=[spec.name for spec in loaded.session.outputs],
            run=self._seat.run,
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


@overload
def open_model(
    path: Path | str,
    *,
    identity: seal.Identity | Sequence[seal.Identity] = (),
    signer: seal.Trust | seal.Leaf | Sequence[seal.Leaf] = (),
    allow_unsigned: bool = False,
    engines: Sequence[str] | None = None,
    threads: int | None = None,
    sizes: Mapping[str, int] | None = None,
    tensors: None = None,
    scrub: bool | Literal["in place"] = False,
    revisions: Path | str | bool = True,
    allow_older: bool = False,
    clock: Callable[[], float] = time.time,
) -> Model: ...


@overload
def open_model(
    path: Path | str,
    *,
    identity: seal.Identity | Sequence[seal.Identity] = (),
    signer: seal.Trust | seal.Leaf | Sequence[seal.Leaf] = (),
    allow_unsigned: bool = False,
    tensors: Iterable[str],
    revisions: Path | str | bool = True,
    allow_older: bool = False,
    clock: Callable[[], float] = time.time,
) -> Mapping[str, NDArray[Any]]: ...


def open_model(
    path: Path | str,
    *,
    identity: seal.Identity | Sequence[seal.Identity] = (),
    signer: seal.Trust | seal.Leaf | Sequence[seal.Leaf] = (),
    allow_unsigned: bool = False,
    engines: Sequence[str] | None = None,
    threads: int | None = None,
    sizes: Mapping[str, int] | None = None,
    tensors: Iterable[str] | None = None,
    scrub: bool | Literal["in place"] = False,
    revisions: Path | str | bool = True,
    allow_older: bool = False,
    clock: Callable[[], float] = time.time,
) -> Model | Mapping[str, NDArray[Any]]:
    """Open an artifact. Nothing is returned before its signature, its policy, its every byte and its self-test hold.

    Args:
        path: The artifact's folder.
        identity: Key or keys to open it with; not needed where it is not encrypted.
        signer: Public keys or authorities whose signature is accepted; any one of a list, or as `intact.any_of`,
            `intact.all_of` and `intact.threshold` say.
        allow_unsigned: Accept what no named key signed. Anyone may have made it.
        engines: Engines to consider; all that are installed and allowed where it is None.
        threads: Threads of the engine; it chooses where it is None.
        sizes: Named sizes that calls will have, such as {"batch": 32}: the fastest engine may depend on them. They
            choose the engine and bind nothing.
        tensors: Names of tensors to read instead of the model: only they are decrypted, and only their bytes are read
            and checked. Takes no `engines`, `threads`, `sizes` or `scrub`.
        scrub: Check the weights in memory in the background. With "in place", only engines are used that read weights
            where they lie, and they pack none for their kernels: slower, but every bit of them is checked. Otherwise
            what an engine packs is checked by its answers.
        revisions: Folder that remembers the highest revision opened of each artifact; the user's own where it is True,
            none where it is False, and with it no protection against older revisions.
        allow_older: Accept a revision older than one opened before, but for those its owner withdrew.
        clock: Returns the time in seconds since 1970 UTC, which the policy is held against.

    Returns:
        The model; where `tensors` names some, a read-only mapping of these.

    Raises:
        UsageError: There is no artifact at `path`, or no tensor of that name.
        AccessError: Unsigned, signed by a stranger, expired, too early, an engine that is not allowed, a revision older
            than one opened before, a clock that cannot be right, or no identity fits.
        IntegrityError: A byte is not what its owner made, or what is remembered of revisions is damaged.
        CheckFailed: No engine of this host conforms.
    """
    signers = signer if isinstance(signer, seal.Trust) else _several(signer)
    conditions = seal.Conditions(
        clock=clock,
        engines=None if engines is None else tuple(engines),
        revisions=_store(revisions),
        allow_older=allow_older,
    )
    means: dict[str, Any] = {
        "identities": _several(identity),
        "signers": signers,
        "allow_unsigned": allow_unsigned,
        "conditions": conditions,
    }
    if tensors is not None:
        if scrub or (engines, threads, sizes) != (None, None, None):
            raise UsageError("tensors go with no engines, threads, sizes or scrub", hint="nothing runs; leave them out")
        source, arrays = seal.read_tensors(Path(path), [tensors] if isinstance(tensors, str) else tensors, **means)
        conditions.remember(source)
        return MappingProxyType(arrays)
    if isinstance(scrub, str) and scrub != IN_PLACE:
        raise UsageError(f"scrub is {scrub!a:.40}", hint=f'give True, False or "{IN_PLACE}"')
    payload = seal.read(Path(path), **means)
    names = _allowed(payload.policy, engines)
    model = _load(payload, names, engine.Options(threads=threads, in_place=scrub == IN_PLACE), sizes, probe=bool(scrub))
    if scrub:
        model.start_scrubbing()
    assert payload.source is not None  # it was read
    conditions.remember(payload.source)
    return model


def _load(
    payload: seal.Payload,
    engines: Sequence[str] | None,
    options: engine.Options,
    sizes: Mapping[str, int] | None,
    *,
    probe: bool,
) -> Model:
    """Return the model of an opened artifact; with `probe`, find out which weights its engine reads where they lie."""
    facts = artifact.read(payload)
    loaded = engine.load(
        payload.program,
        facts.vectors,
        engines=engines,
        options=options,
        sizes=sizes,
        cache_path=engine.default_path(),
    )
    session, in_place = loaded.session, frozenset[str]()
    if probe:
        inputs = engine.inputs_of(session, facts.vectors)
        in_place = engine.read_in_place(session, payload.program.tensors, inputs)
    return Model(payload, facts, loaded, options, in_place=in_place)


def _allowed(policy: seal.Policy, engines: Sequence[str] | None) -> Sequence[str] | None:
    """Return the engines to consider; those that the caller names were held against the policy."""
    if engines is not None or policy.engines is None:
        return engines
    known = [name for name in policy.engines if name in engine.find()]
    if not known:
        raise AccessError(
            f"artifact may only run on {', '.join(policy.engines)}, which this version does not have",
            hint=f"it has {', '.join(engine.find())}; ask its owner for a revision that allows one of these",
        )
    return [name for name in known if engine.find()[name].automatic] or known


def _store(revisions: Path | str | bool) -> seal.Revisions | None:
    """Return where revisions are remembered, if anywhere."""
    if revisions is False:
        return None
    return seal.Revisions(folder=seal.default_revisions() if revisions is True else Path(revisions))


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)
