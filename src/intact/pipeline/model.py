"""An opened integer model: verified, decrypted, self-tested, ready to be called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from intact import engine, seal
from intact.graph.program import Program
from intact.graph.view import Port
from intact.pipeline import artifact
from intact.pipeline.predict import Predictor


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

    def __init__(self, payload: seal.Payload, facts: artifact.Facts, loaded: engine.Loaded) -> None:
        self.payload = payload
        self.name = facts.name
        self.profile = facts.profile
        self.rows_apart = facts.rows_apart
        self.engine = loaded.session.name
        self.tried = loaded.tried
        self._session = loaded.session
        self._predict = Predictor(
            inputs=artifact.ports(loaded.session.inputs),
            outputs=[spec.name for spec in loaded.session.outputs],
            run=loaded.session.run,
            rows_apart=facts.rows_apart,
        )

    @property
    def program(self) -> Program:
        """The integer graph and its tensors."""
        return self.payload.program

    @property
    def session(self) -> engine.Session:
        """The engine's session."""
        return self._session

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

    def __repr__(self) -> str:
        return f"Model({self.name!r}, profile={self.profile!r}, engine={self.engine!r})"


def open_model(
    path: Path | str,
    *,
    identity: seal.Identity | Sequence[seal.Identity] = (),
    signer: seal.VerifyingKey | Sequence[seal.VerifyingKey] = (),
    allow_unsigned: bool = False,
    engines: Sequence[str] | None = None,
    threads: int | None = None,
    sizes: Mapping[str, int] | None = None,
) -> Model:
    """Open an artifact. Nothing is returned before its signature, its every byte and its self-test hold.

    Args:
        path: The artifact's folder.
        identity: Key or keys to open it with; not needed where it is not encrypted.
        signer: Public key or keys whose signature is accepted; any one.
        allow_unsigned: Accept what no named key signed. Anyone may have made it.
        engines: Engines to consider; all that are installed where it is None.
        threads: Threads of the engine; it chooses where it is None.
        sizes: Named sizes that calls will have, such as {"batch": 32}: the fastest engine may depend on them. They
            choose the engine and bind nothing.

    Raises:
        UsageError: There is no artifact at `path`.
        AccessError: Unsigned, signed by a stranger, or no identity fits.
        IntegrityError: A byte is not what its owner made.
        CheckFailed: No engine of this host conforms.
    """
    payload = seal.read(
        Path(path), identities=_several(identity), signers=_several(signer), allow_unsigned=allow_unsigned
    )
    facts = artifact.read(payload)
    options = engine.Options(threads=threads)
    loaded = engine.load(
        payload.program, facts.vectors, engines=engines, options=options, sizes=sizes, cache_path=engine.default_path()
    )
    return Model(payload, facts, loaded)


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)
