"""Opening an artifact: as a model on the engine that wins on this host, or for some of its tensors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, overload

from numpy.typing import NDArray

from intact import engine, seal
from intact.errors import AccessError, UsageError
from intact.pipeline import artifact, given, guarding
from intact.pipeline.model import Model

IN_PLACE: Final = "in place"


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
    guard: bool = False,
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
    guard: bool = False,
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
            and checked. Takes no `engines`, `threads`, `sizes`, `scrub` or `guard`.
        scrub: Check the weights in memory in the background. With "in place", only engines are used that read weights
            where they lie, and they pack none for their kernels: slower, but every bit of them is checked. Otherwise
            what an engine packs is checked by its answers.
        guard: Give what the guard looks at too, for `Model.observe`. The outputs are the same bits.
        revisions: Folder that remembers the highest revision opened of each artifact; the user's own where it is True,
            none where it is False, and with it no protection against older revisions.
        allow_older: Accept a revision older than one opened before, but for those its owner withdrew.
        clock: Returns the time in seconds since 1970 UTC, which the policy is held against.

    Returns:
        The model; where `tensors` names some, a read-only mapping of these.

    Raises:
        UsageError: There is no artifact at `path`, or no tensor of that name; or a key is none, such as its path.
        AccessError: Unsigned, signed by a stranger, expired, too early, an engine that is not allowed, a revision older
            than one opened before, a clock that cannot be right, or no identity fits.
        IntegrityError: A byte is not what its owner made, or what is remembered of revisions is damaged.
        CheckFailed: No engine of this host conforms.
    """
    conditions = seal.Conditions(
        clock=clock,
        engines=None if engines is None else tuple(engines),
        revisions=given.store(revisions),
        allow_older=allow_older,
    )
    means: dict[str, Any] = {
        "identities": given.identities(identity),
        "signers": given.signers(signer),
        "allow_unsigned": allow_unsigned,
        "conditions": conditions,
    }
    if tensors is not None:
        if scrub or guard or (engines, threads, sizes) != (None, None, None):
            told = "tensors go with no engines, threads, sizes, scrub or guard"
            raise UsageError(told, hint="nothing runs; leave them out")
        source, arrays = seal.read_tensors(Path(path), [tensors] if isinstance(tensors, str) else tensors, **means)
        conditions.remember(source)
        return MappingProxyType(arrays)
    if isinstance(scrub, str) and scrub != IN_PLACE:
        raise UsageError(f"scrub is {scrub!a:.40}", hint=f'give True, False or "{IN_PLACE}"')
    payload = seal.read(Path(path), **means)
    names = _allowed(payload.policy, engines)
    facts = artifact.read(payload)
    taps = guarding.spec(facts.guard.tap) if guard and facts.guard is not None else ()
    options = engine.Options(threads=threads, in_place=scrub == IN_PLACE, taps=taps)
    model = _load(payload, facts, names, options, sizes, probe=bool(scrub))
    if scrub:
        model.start_scrubbing()
    assert payload.source is not None  # it was read
    conditions.remember(payload.source)
    return model


def _load(
    payload: seal.Payload,
    facts: artifact.Facts,
    engines: Sequence[str] | None,
    options: engine.Options,
    sizes: Mapping[str, int] | None,
    *,
    probe: bool,
) -> Model:
    """Return the model of an opened artifact; with `probe`, find out which weights its engine reads where they lie."""
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
