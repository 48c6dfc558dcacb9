"""How tensors are stored: losslessly, each in the form that is smallest, found by looking at it.

    encode(array) -> Stored;  Decoder(form, parameters, shape, itemsize, bytes).decode(chunk, out)

A form is raw, or a member of the family in `forms`. Forms are cut into chunks that any thread can decode.
"""

from intact.numbers.storage.decode import Decoder, check_size, decode
from intact.numbers.storage.encode import RAW, Stored, encode

__all__ = ["RAW", "Decoder", "Stored", "check_size", "decode", "encode"]
