"""An artifact that was accepted, whose tensors are read from disk when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from intact.errors import IntegrityError, UsageError
from intact.seal import weights
from intact.seal.derivation import Keyring
from intact.seal.folder import Folder, open_folder
from intact.seal.header import TensorSpec
from intact.seal.manifest import Manifest


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class Source:
    """What is known of an accepted artifact: enough to read any tensor of it again and to know it for the same.

    Args:
        path: The artifact's directory.
        manifest: Its manifest, accepted.
        specs: What the tensors are, from its header.
        keyring: Its keys; None where it is not sealed.
        signed: Whether a signer that the reader named vouches for the manifest.
    """

    path: Path
    manifest: Manifest
    specs: tuple[TensorSpec, ...]
    keyring: Keyring | None
    signed: bool

    def read(self, names: Iterable[str]) -> dict[str, NDArray[Any]]:
        """Read tensors, and no byte of any other.

        Returns:
            A read-only array for each of `names`, of which every byte has the digest that the manifest gave it and,
            when sealed, is authentic.

        Raises:
            UsageError: The artifact has no tensor of that name, or is no longer there.
            IntegrityError: The file is not, or no longer, what the manifest describes.
        """
        wanted = list(dict.fromkeys(names))
        self.refuse_unknown(wanted)
        with open_folder(self.path) as folder:
            return self.read_from(folder, wanted)

    def read_from(self, folder: Folder, names: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
        """Do the same in the open folder of the artifact; all tensors where no names are given."""
        if folder.sealed != self.manifest.sealed:
            raise IntegrityError("manifest.json is of another suite than the files beside it")
        places = {spec.name: number for number, spec in enumerate(self.specs)}
        numbers = list(places.values()) if names is None else [places[name] for name in names]
        keys = self.keyring.tensors((spec.dtype, spec.shape) for spec in self.specs) if self.keyring else []
        arrays = weights.read(folder, self.manifest, self.specs, keys, numbers)
        return {self.specs[number].name: array for number, array in zip(numbers, arrays, strict=True)}

    def refuse_unknown(self, names: Iterable[str]) -> None:
        """Raise UsageError where the artifact has no tensor of one of these names; says which come nearest."""
        known = [spec.name for spec in self.specs]
        for name in names:
            if name not in known:
                near = get_close_matches(name, known, cutoff=0.4) or sorted(known)[:3]
                raise UsageError(
                    f"artifact has no tensor {name!a:.80}",
                    hint=f"the nearest are {', '.join(near)}" if near else "it has no tensors at all",
                )

    def __repr__(self) -> str:
        return f"<Source, artifact {self.manifest.artifact}, revision {self.manifest.revision}>"
