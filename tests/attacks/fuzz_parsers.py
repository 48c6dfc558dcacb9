"""Coverage-guided fuzzing of everything that reads a stranger's bytes: run by test_fuzz.py in a process of its own.

Usage: fuzz_parsers.py PARSER [options of libFuzzer] CORPUS. Ends with an error where a parser raises anything but ours.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["intact.seal", "intact.wire", "intact.numbers.storage"]):
    from intact.errors import IntactError
    from intact.numbers.storage import Decoder, check_size
    from intact.seal import bundle, header, statement
    from intact.seal.manifest import Manifest
    from intact.seal.wrapping import KeyFile

FORMS = ("codes", "multiples", "planes", "sparse", "zstd")


def stored(data: bytes) -> None:
    """Decode a stored tensor whose form, parameters and shape the data choose."""
    provider = atheris.FuzzedDataProvider(data)
    form = FORMS[provider.ConsumeIntInRange(0, len(FORMS) - 1)]
    names = ("values", "bits", "axis", "group", "multipliers", "multiplier_bits")
    parameters = {name: provider.ConsumeIntInRange(-1, 300) for name in names if provider.ConsumeBool()}
    shape = tuple(provider.ConsumeIntListInRange(provider.ConsumeIntInRange(0, 3), 0, 70))
    itemsize = provider.PickValueInList([1, 2, 4, 8])
    body = provider.ConsumeBytes(provider.remaining_bytes())
    check_size(form, parameters, shape, itemsize, len(body))
    size = itemsize
    for extent in shape:
        size *= extent
    out = memoryview(bytearray(size))
    import numpy as np

    decoder = Decoder(form, parameters, shape, itemsize, memoryview(body))
    for chunk in range(decoder.chunks):
        decoder.decode(chunk, np.frombuffer(out, np.uint8))


def signature(data: bytes) -> None:
    """Read a bundle, and its statement as if the signature had held."""
    statement.read(bundle.read(data).payload)


PARSERS: dict[str, Callable[[bytes], object]] = {
    "signature": signature,
    "statement": statement.read,
    "countersignatures": bundle.read_more,
    "manifest": Manifest.from_bytes,
    "header": header.split,
    "keys": KeyFile.from_bytes,
    "stored": stored,
}


def main() -> None:
    """Fuzz until libFuzzer's limits are reached."""
    parse = PARSERS[sys.argv.pop(1)]

    def once(data: bytes) -> None:
        with suppress(IntactError):
            parse(data)

    atheris.Setup(sys.argv, once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
