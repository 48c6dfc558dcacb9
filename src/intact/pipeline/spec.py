"""What to build: a model, an example of its inputs, data to calibrate on and a way to score it."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from intact.errors import DataError, IntactError, ModelError, UsageError
from intact.graph.capture import DynamicAxes, capture
from intact.graph.load import load
from intact.scan import scan

Array = NDArray[Any]
Predict = Callable[[Any], Any]
Evaluate = Callable[[Predict], Any]

ONNX, UNKNOWN = "ONNX", "unknown"
"""Formats of a scan: what a model file must be, and what is nothing that a scan knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Everything a build needs to know of a float model.

    Args:
        model: A torch module, the path of an ONNX file, the bytes of one, or a ModelProto.
        inputs: Example inputs, needed for a torch module: one array (or tensor) for each argument of `forward`, as a
            mapping by name, a sequence in order, or the one array itself. The first axis is the batch.
        calibration: Inputs like `inputs` with many rows; or a list (any iterable) of such pieces, whose shapes may
            differ, so that sentences need no padding. Typically 100 to 1,000 rows.
        evaluate: `evaluate(predict)` runs `predict` on held-out data and returns one score an example (higher is
            better; their mean is the metric), or one float. `predict` takes what the model takes and returns an array,
            or a mapping of them where the model has several outputs.
        dynamic_axes: Axes that may vary, {input: {axis: name}}; axis 0 of every input where it is None.
        name: What the model is called; shown in reports and on the artifact's card.
    """

    model: Any
    inputs: Any = None
    calibration: Any = None
    evaluate: Evaluate | None = None
    dynamic_axes: DynamicAxes | None = None
    name: str = "model"

    def __post_init__(self) -> None:
        if self.evaluate is not None and not callable(self.evaluate):
            raise UsageError(
                f"evaluate is a {type(self.evaluate).__name__}, not a function",
                hint="evaluate(predict) returns one score an example",
            )

    def proto(self) -> onnx.ModelProto:
        """Return the model as a checked ONNX model.

        Raises:
            ModelError: It cannot be read or captured.
            UsageError: It is of no kind we know, or example inputs are missing.
        """
        if isinstance(self.model, onnx.ModelProto):
            return load(self.model.SerializeToString())
        if isinstance(self.model, str | Path):
            return load(let_through(Path(self.model)))
        if isinstance(self.model, bytes):
            return load(self.model)
        if not callable(getattr(self.model, "forward", None)):
            raise UsageError(
                f"the model is a {type(self.model).__name__}, not a torch module, an ONNX file or its bytes",
                hint="return intact.Spec(model=..., inputs=..., calibration=..., evaluate=...)",
            )
        if self.inputs is None:
            raise UsageError("a torch module was given without example inputs", hint="set Spec(inputs=...)")
        names = _forward_names(self.model)
        return load(
            capture(self.model, as_arrays(self.inputs, names), dynamic_axes=self.dynamic_axes).SerializeToString()
        )


def let_through(path: Path) -> Path:
    """Return `path` unless the allow-list refuses it; what is of no known format `load` refuses itself.

    Raises:
        ModelError: It carries code, is of another format than ONNX, or refers to files outside its folder.
    """
    if not path.is_file():
        return path
    (found,) = scan(path).files
    why = next((finding for finding in found.findings if finding.kind != "unknown"), None)
    if why is not None:
        inside = f"{why.inside}: " if why.inside else ""
        raise ModelError(f"'{path}' is not read: {inside}{why.told}", hint="intact scan says more; export to ONNX")
    if found.format not in (ONNX, UNKNOWN):
        raise ModelError(f"'{path}' is {found.format}, not an ONNX model", hint="export the model to ONNX")
    return path


def _forward_names(module: Any) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(module.forward).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind in kinds]
    if not names:
        raise ModelError(f"forward() of {type(module).__name__} names no arguments", hint="give them names")
    return names


def as_arrays(data: Any, names: Sequence[str]) -> dict[str, Array]:
    """Return `data` as arrays by name.

    Args:
        data: A mapping by name, a tuple or list in the order of `names`, or one array for the first name. Torch
            tensors on the CPU count as arrays.
        names: The names in order.

    Raises:
        DataError: More values than names, or a value that is no array.
    """
    if isinstance(data, Mapping):
        return {str(name): _as_array(value, str(name)) for name, value in data.items()}
    values = list(data) if isinstance(data, tuple | list) else [data]
    if len(values) > len(names):
        raise DataError(f"{len(values)} inputs were given, the model takes {len(names)}: {', '.join(names)}")
    return {name: _as_array(value, name) for name, value in zip(names, values, strict=False)}


def as_pieces(data: Any, names: Sequence[str]) -> list[dict[str, Array]]:
    """Return calibration data as pieces, each with arrays by name; a whole is one piece.

    Raises:
        DataError: No pieces, or something that is no array.
    """
    if isinstance(data, Mapping | tuple | np.ndarray) or hasattr(data, "__array__"):
        return [as_arrays(data, names)]
    if not isinstance(data, Iterable):
        raise DataError(f"the calibration data are a {type(data).__name__}, not arrays or an iterable of them")
    pieces = [as_arrays(piece, names) for piece in data]
    if not pieces:
        raise DataError("the calibration data hold no pieces", hint="give at least one example")
    return pieces


def _as_array(value: Any, name: str) -> Array:
    detach = getattr(value, "detach", None)
    array = np.asarray(detach() if callable(detach) else value)
    if array.dtype.kind not in "fiub" or array.ndim == 0:
        raise DataError(
            f"input '{name}' is {array.dtype} of shape {array.shape}, not an array of numbers with a batch axis"
        )
    return array


def read_source(text: str) -> Spec:
    """Return the Spec behind a command-line SOURCE: `x.onnx`, or `file.py:name` where name() returns a Spec.

    Raises:
        UsageError: Neither; or the function is missing, or returns something else.
    """
    path, separator, name = text.rpartition(":")
    if separator and path.endswith(".py"):
        return _call(Path(path), name)
    if text.endswith(".onnx") or (Path(text).is_file() and not text.endswith(".py")):
        return Spec(model=let_through(Path(text)), name=Path(text).stem)
    raise UsageError(
        f"source '{text}' is neither x.onnx nor file.py:name", hint="for example: intact build model.py:spec"
    )


def _call(path: Path, name: str) -> Spec:
    if not path.is_file():
        raise UsageError(f"no file at '{path}'")
    function = getattr(_import(path), name, None)
    if not callable(function):
        raise UsageError(f"'{path}' has no function called '{name}'")
    try:
        spec = function()
    except IntactError:
        raise
    except Exception as error:
        told = f"{name}() of '{path}' raised {type(error).__name__}: {error}"
        raise UsageError(told, hint="see the cause") from error
    if not isinstance(spec, Spec):
        raise UsageError(f"{name}() of '{path}' returned a {type(spec).__name__}, not an intact.Spec")
    return spec


def _import(path: Path) -> ModuleType:
    """Import the user's own file, which they named on the command line, as Python would run it."""
    module_spec = importlib.util.spec_from_file_location(path.stem, path)
    if module_spec is None or module_spec.loader is None:
        raise UsageError(f"'{path}' cannot be imported")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules.setdefault(path.stem, module)
    sys.path.insert(0, str(path.parent.resolve()))
    module_spec.loader.exec_module(module)
    return module
