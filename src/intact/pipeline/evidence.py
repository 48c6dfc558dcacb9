"""What proves on which data a model was calibrated, to those who may open it, and tells outsiders nothing.

The statement of lineage is public, and data are often few or guessable. So what it holds is

    HMAC-SHA256(key = salt, message = digest of the data)

under a salt of 32 random bytes that lies in the artifact's header. In a sealed artifact the header is encrypted:
without the key a guess cannot be tried. In a plain artifact anyone can read the salt, and try guesses one by one.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact import seal
from intact.compress.calibrate import check_data
from intact.crypto import Secret
from intact.errors import IntegrityError, UsageError
from intact.graph.run import is_batched
from intact.graph.view import Port
from intact.pipeline import lineage
from intact.pipeline.predict import batch_size, cut
from intact.pipeline.reading import read_to_compare
from intact.pipeline.spec import as_pieces

Array = NDArray[Any]

SALT_BYTES: Final = 32
FIELD: Final = "calibration"
"""Key of the salt in the header's metadata."""


def pieces_of(calibration: Any, ports: Sequence[Port]) -> list[dict[str, Array]]:
    """Return calibration data as a build takes them: checked, and cut where the model's batch is fixed.

    Args:
        calibration: As `Spec.calibration`.
        ports: The model's inputs.

    Raises:
        DataError: The data do not fit the model.
    """
    pieces = as_pieces(calibration, [port.name for port in ports])
    fixed = 0 if is_batched(ports) else batch_size(ports)
    return [check_data(ports, part) for piece in pieces for part in cut(piece, fixed)]


def digest(pieces: Sequence[Mapping[str, Array]]) -> Secret:
    """SHA-256 of data: of names, dtypes, shapes and values of every piece in order.

    It is SHA-256(for each piece: "piece", and for each array by name: name, dtype and shape, NUL after each, and
    SHA-256(its bytes, little-endian, in C order)). A secret: without a salt it can be guessed.
    """
    hasher = hashlib.sha256()
    for piece in pieces:
        hasher.update(b"piece\0")
        for name in sorted(piece):
            array = np.ascontiguousarray(piece[name], dtype=piece[name].dtype.newbyteorder("<"))
            hasher.update(f"{name}\0{array.dtype.name}\0{array.shape}\0".encode())
            hasher.update(hashlib.sha256(array.reshape(-1).view(np.uint8).data).digest())
    return Secret(hasher.digest())


def salted(found: Secret, salt: Secret) -> str:
    """Return what a statement says of data with the digest `found`, as hex."""
    return hmac.new(salt.value, found.value, hashlib.sha256).hexdigest()


def fresh_salt() -> Secret:
    """Return a new salt."""
    return Secret.random(SALT_BYTES)


def field(salt: Secret) -> dict[str, Any]:
    """Return the salt as the header holds it."""
    return {"salt": salt.value.hex()}


def holds(payload: seal.Payload, calibration: Any) -> bool:
    """Say whether `calibration` are the data that the lineage of an opened artifact names.

    Args:
        payload: The artifact, opened: the salt is inside.
        calibration: As `Spec.calibration`: the same values in the same order, in pieces as they were.

    Raises:
        UsageError: The lineage names no calibration data.
        DataError: The data do not fit the model.
        IntegrityError: Header, card or lineage lack what this needs.
    """
    return fits(payload, pieces_of(calibration, _inputs(payload.card)))


def calibrated_on(
    path: Path | str,
    calibration: Any,
    *,
    identity: seal.Identity | Sequence[seal.Identity] = (),
    signer: seal.Trust | seal.Leaf | Sequence[seal.Leaf] = (),
    allow_unsigned: bool = False,
) -> bool:
    """Say whether `calibration` are the data that the lineage of an artifact names, once its signature is checked.

    Args:
        path: The artifact's folder.
        calibration: As `Spec.calibration`: the same values in the same order, in pieces as they were.
        identity: Key or keys to open it with; not needed where it is not encrypted.
        signer: Who may have signed it, as `intact.open` takes it.
        allow_unsigned: Accept what no named key signed.

    Raises:
        UsageError: There is no artifact, or its lineage names no calibration data.
        DataError: The data do not fit the model.
        AccessError, IntegrityError: As `intact.open`; or header, card or lineage lack what this needs.
    """
    payload = read_to_compare(path, identity=identity, signer=signer, allow_unsigned=allow_unsigned)
    return holds(payload, calibration)


def fits(payload: seal.Payload, pieces: Sequence[Mapping[str, Array]]) -> bool:
    """As `holds`, of data that `pieces_of` has checked already."""
    named = lineage.parse(payload.lineage).calibration
    if named is None:
        raise UsageError("the lineage names no calibration data", hint="it was built without any")
    return hmac.compare_digest(salted(digest(pieces), _salt(payload.header)), named)


def _salt(header: Mapping[str, Any]) -> Secret:
    try:
        salt = bytes.fromhex(header[FIELD]["salt"])
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError("the header of the artifact holds no salt for the calibration data") from error
    if len(salt) != SALT_BYTES:
        raise IntegrityError(f"the header of the artifact holds a salt of {len(salt)} bytes, not {SALT_BYTES}")
    return Secret(salt)


def _inputs(card: Mapping[str, Any]) -> tuple[Port, ...]:
    """The model's inputs as its card tells them."""
    try:
        return tuple(
            Port(name=each["name"], dtype=np.dtype(each["dtype"]), shape=tuple(each["shape"]))
            for each in card["inputs"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError("the card of the artifact does not say what the model takes") from error
