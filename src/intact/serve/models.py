"""The models that are served: opened once, found by name and revision."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from intact import seal
from intact.crypto import sha256
from intact.errors import UsageError
from intact.graph.view import Port
from intact.ledger.answer import ServedModel
from intact.pipeline.artifact import ports
from intact.pipeline.model import Model
from intact.serve.protocol import tensors
from intact.serve.protocol.request import Array, InferRequest
from intact.serve.refused import Refused, bad_request

PLATFORM: Final = "intact_integer_onnx"
MOST_ROWS: Final = 1024
MOST_SIZE: Final = 1024

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a request may ask of a model, where the model itself leaves sizes open.

    Args:
        rows: Most rows, along the first axis.
        size: Largest size of any other axis.
    """

    rows: int = MOST_ROWS
    size: int = MOST_SIZE


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Served:
    """A model under the name it is served by.

    Args:
        name: What callers call it.
        model: The opened model.
        about: What events say of it: name, digest, artifact, revision.
        outputs: What it gives.
        policy: Limits that its owner set.
        limits: Limits that the operator set.
    """

    name: str
    model: Model
    about: ServedModel
    outputs: tuple[Port, ...]
    policy: seal.Policy
    limits: Limits = Limits()
    inputs: Mapping[str, Port] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", {port.name: port for port in self.model.inputs})

    @property
    def version(self) -> str:
        """Its revision, as the protocol writes it."""
        return str(self.about.revision)

    @property
    def digest(self) -> str:
        """SHA-256 of its manifest, in hex: what grants name."""
        return self.about.digest

    def metadata(self, versions: list[str]) -> dict[str, Any]:
        """Return what the protocol says of a model."""
        return {
            "name": self.name,
            "versions": versions,
            "platform": PLATFORM,
            "inputs": [_described(port) for port in self.inputs.values()],
            "outputs": [_described(port) for port in self.outputs],
        }

    def check_time(self, now: float) -> None:
        """Refuse once the owner's policy does: a server runs longer than an opening lasts.

        Raises:
            Refused: The model may not be used now.
        """
        start, end = self.policy.not_before, self.policy.not_after
        if (end is not None and now > end) or (start is not None and now < start):
            raise Refused(403, "the owner's policy does not allow the use of this model now")

    def check_inputs(self, feeds: Mapping[str, Array]) -> None:
        """Accept inputs that the model takes, as far as names, datatypes and shapes say.

        Raises:
            Refused: It does not take them.
        """
        if feeds.keys() != self.inputs.keys():
            raise bad_request(f"inputs are {sorted(feeds)!a:.200}, the model wants {sorted(self.inputs)!a:.200}")
        for name, value in feeds.items():
            port = self.inputs[name]
            if value.dtype != port.dtype:
                found, wanted = tensors.datatype_of(value.dtype), tensors.datatype_of(port.dtype)
                raise bad_request(f"input {name!a} has datatype {found}, the model wants {wanted}")
            if not port.accepts(value.shape):
                raise bad_request(f"input {name!a} has shape {list(value.shape)}, the model wants {_shape(port)}")
            self._check_sizes(name, port, value.shape)

    def check_names(self, request: InferRequest) -> tuple[str, ...]:
        """Return the names of the outputs that are asked for, all of them where none is named.

        Raises:
            Refused: One is asked for twice, or is none of the model's.
        """
        wanted = tuple([each.name for each in request.wanted])
        if len(set(wanted)) != len(wanted) or not set(wanted) <= set(self.model.outputs):
            raise bad_request("an output is asked for twice, or is none of the model's")
        return wanted or self.model.outputs

    def _check_sizes(self, name: str, port: Port, shape: tuple[int, ...]) -> None:
        for axis, (wanted, size) in enumerate(zip(port.shape, shape, strict=True)):
            most = self.limits.size if axis else self.limits.rows
            if isinstance(wanted, str) and size > most:
                raise bad_request(f"input {name!a} has {size} along axis {axis}, more than the {most} allowed")


class Models:
    """All models of a server.

    Args:
        served: They.

    Raises:
        UsageError: There are none, or two of one name and revision.
    """

    def __init__(self, served: Iterable[Served]) -> None:
        self._by_name: dict[str, dict[str, Served]] = {}
        for each in served:
            versions = self._by_name.setdefault(each.name, {})
            if each.version in versions:
                raise UsageError(
                    f"two models are served as '{each.name}', revision {each.version}", hint="give one another name"
                )
            versions[each.version] = each
        if not self._by_name:
            raise UsageError("no model is named", hint="give a sealed model, such as model.intact")
        self._latest = {
            name: max(versions.values(), key=lambda each: each.about.revision)
            for name, versions in self._by_name.items()
        }

    def find(self, name: str, version: str = "") -> Served | None:
        """Return the model of that name and revision, its latest where none is named; None where there is none."""
        return self._by_name.get(name, {}).get(version) if version else self._latest.get(name)

    def versions(self, name: str) -> list[str]:
        """Return the revisions of a model, the oldest first."""
        return sorted(self._by_name.get(name, ()), key=int)

    def all(self) -> list[Served]:
        """Return every model and revision."""
        return [versions[number] for name, versions in self._by_name.items() for number in self.versions(name)]


def serve_as(name: str | None, model: Model, limits: Limits = Limits()) -> Served:
    """Return an opened model as it is served.

    Args:
        name: What callers call it; what its card says where it is None.
        model: The model, opened from an artifact.
        limits: Limits that the operator sets.

    Raises:
        UsageError: The name cannot stand in an address, or the model takes or gives what the protocol has no name for.
    """
    source = model.payload.source
    assert source is not None  # it was opened from an artifact
    name = check_served_name(model.name if name is None else name)
    outputs = tuple(port for port in ports(model.session.outputs) if port.name in model.outputs)
    known = tensors.DATATYPES.values()
    for port in (*model.inputs, *outputs):
        if port.dtype not in known:
            raise UsageError(f"model '{name}' has '{port.name}' of type {port.dtype}, which the protocol does not have")
    manifest = source.manifest
    about = ServedModel(
        name=name, digest=sha256(manifest.to_bytes()), artifact=manifest.artifact, revision=manifest.revision
    )
    return Served(name=name, model=model, about=about, outputs=outputs, policy=manifest.policy, limits=limits)


def check_served_name(name: str) -> str:
    """Return the name of a model, which must be able to stand in an address.

    Raises:
        UsageError: It is not.
    """
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"model name {name!a:.120} cannot stand in an address",
            hint="name it, such as NAME=model.intact, with letters, digits, '.', '_' and '-'",
        )
    return name


def split_name(text: str) -> tuple[str | None, Path]:
    """Return name and path of "NAME=PATH", or no name and the path of "PATH"."""
    name, equals, path = text.partition("=")
    return (check_served_name(name), Path(path)) if equals and "/" not in name else (None, Path(text))


def _shape(port: Port) -> list[int]:
    return [-1 if isinstance(size, str) else size for size in port.shape]


def _described(port: Port) -> dict[str, Any]:
    return {"name": port.name, "datatype": tensors.datatype_of(np.dtype(port.dtype)), "shape": _shape(port)}
