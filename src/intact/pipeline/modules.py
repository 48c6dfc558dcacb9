"""The two calls that people know from torch: a quantized module, and one batch spread over several workers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from intact import engine
from intact.errors import UsageError
from intact.graph.capture import DynamicAxes
from intact.graph.program import Program
from intact.pipeline.building import Built, build
from intact.pipeline.model import Model
from intact.pipeline.predict import Predictor
from intact.pipeline.spec import Spec


class QuantizationModule:
    """A torch module in, the integer model behind the same call.

    `QuantizationModule(model)(x)` builds on the first call, calibrating on that call's `x`; with `calibration` it
    builds at once. Calls take and give torch tensors where they are given some, else arrays.

    Args:
        model: A torch module.
        calibration: Typical inputs, as `Spec.calibration`.
        dynamic_axes: Axes that may vary, as `Spec.dynamic_axes`.
        options: As `intact.build` takes them, such as recipe= or threads=.
    """

    def __init__(
        self, model: Any, calibration: Any = None, *, dynamic_axes: DynamicAxes | None = None, **options: Any
    ) -> None:
        self._model = model
        self._dynamic_axes = dynamic_axes
        self._options = options
        self._built: Built | None = None
        if calibration is not None:
            self._build(calibration)

    def __call__(self, *inputs: Any) -> Any:
        """Run on one array or tensor for each argument of the module's forward()."""
        if self._built is None:
            self._build(inputs)
        assert self._built is not None  # _build sets it or raises
        return _like(inputs, self._built.integer(inputs))

    @property
    def built(self) -> Built:
        """The build behind the call.

        Raises:
            UsageError: It was neither calibrated nor called yet.
        """
        if self._built is None:
            raise UsageError("the module is not built yet", hint="call it once, or give calibration=")
        return self._built

    def _build(self, calibration: Any) -> None:
        whole = isinstance(calibration, Mapping | tuple) or hasattr(calibration, "__array__")
        calibration = calibration if whole else list(calibration)
        spec = Spec(
            model=self._model,
            inputs=_first_piece(calibration),
            calibration=calibration,
            dynamic_axes=self._dynamic_axes,
        )
        self._built = build(spec, **self._options)


class DataParallel:
    """One batch spread over several sessions; the same integers out as from one.

    Args:
        model: An opened `Model`, a `QuantizationModule`, a `Built`, or a torch module (quantized on the first call).
        workers: How many sessions; one a core where it is None.
        mode: "threads", or "processes" where the interpreter itself is the bottleneck.
    """

    def __init__(self, model: Any, *, workers: int | None = None, mode: str = "threads") -> None:
        if mode not in ("threads", "processes"):
            raise UsageError(f"mode is {mode!r}, not 'threads' or 'processes'")
        known = isinstance(model, Model | QuantizationModule | Built)
        self._model = model if known else QuantizationModule(model)
        self._workers = workers
        self._mode = mode
        self._pool: Any = None
        self._predict: Predictor | None = None

    def __call__(self, *inputs: Any) -> Any:
        """Run on one array or tensor for each input of the model."""
        if self._predict is None:
            self._start(inputs)
        assert self._predict is not None  # _start sets it
        return _like(inputs, self._predict(inputs[0] if len(inputs) == 1 else inputs))

    def close(self) -> None:
        """End the workers."""
        if self._pool is not None:
            self._pool.close()
            self._pool = self._predict = None

    def __enter__(self) -> DataParallel:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _start(self, inputs: tuple[Any, ...]) -> None:
        if isinstance(self._model, QuantizationModule):
            self._model(*inputs)  # calibrates on the first batch where nothing was given
        source = self._model.built if isinstance(self._model, QuantizationModule) else self._model
        if not source.rows_apart:
            raise UsageError(
                "a row's result depends on the other rows of its call, so a batch cannot be spread",
                hint="call the model itself",
            )
        workers = self._workers or os.cpu_count() or 1
        self._pool = _spread(source.program, source.session, workers, self._mode)
        self._predict = Predictor(inputs=source.inputs, outputs=source.outputs, run=self._pool.run)


def _spread(program: Program, session: engine.Session, workers: int, mode: str) -> engine.Spread:
    """Start `workers` sessions of one thread each, like `session`."""
    options = engine.Options(threads=1)
    if mode == "processes":
        return engine.over_processes(program, session, workers, options)
    backend = engine.find()[session.engine]
    return engine.over_threads([backend.load(program, options, session.variant) for _ in range(workers)])


def _first_piece(calibration: Any) -> Any:
    """Two rows of the calibration data: what the exporter traces with."""
    if isinstance(calibration, list):
        return _first_piece(calibration[0]) if calibration else None
    if isinstance(calibration, Mapping):
        return {name: value[:2] for name, value in calibration.items()}
    if isinstance(calibration, tuple):
        return tuple(value[:2] for value in calibration)
    return calibration[:2]


def _like(inputs: tuple[Any, ...], result: Any) -> Any:
    """Give tensors to who gave tensors."""
    if not any(hasattr(value, "detach") for value in inputs):
        return result
    import torch

    if isinstance(result, dict):
        return {name: torch.from_numpy(value) for name, value in result.items()}
    return torch.from_numpy(result)
