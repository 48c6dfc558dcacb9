"""Chunked encryption, both ways against `cryptography.cobblestone`, and everything that must not open."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from hypothesis import given, settings
from hypothesis import strategies as st

from intact.crypto import Secret
from intact.crypto.chunked import (
    CHUNK_BYTES,
    PREFIX_BYTES,
    TAG_BYTES,
    WIRE_CHUNK_BYTES,
    Opener,
    plain_size,
    seal,
    sealed_size,
    unseal,
)
from intact.errors import IntegrityError

KEY = Secret(bytes(range(32)))
REFUSED = "encrypted content does not open under this key"
SIZES = [0, 1, 15, 16383, 16384, 16385, 32768, 40000, 3 * 16384]


def plaintext(size: int) -> bytes:
    return bytes(number * 7 % 251 for number in range(size))


def chunks(message: bytes) -> list[bytes]:
    body = message[PREFIX_BYTES:]
    return [body[start : start + WIRE_CHUNK_BYTES] for start in range(0, len(body), WIRE_CHUNK_BYTES)]


@pytest.mark.parametrize("size", SIZES)
def test_the_reference_reads_what_we_write(size: int) -> None:
    decryptor = Cobblestone256Decryptor(KEY.value, b"")
    message = seal(KEY, plaintext(size))
    assert decryptor.update(message) + decryptor.finalize() == plaintext(size)
    assert len(message) == sealed_size(size)


@pytest.mark.parametrize("size", SIZES)
def test_we_read_what_the_reference_writes(size: int) -> None:
    encryptor = Cobblestone256Encryptor(KEY.value, b"")
    message = encryptor.update(plaintext(size)) + encryptor.finalize()
    assert unseal(KEY, message) == plaintext(size)


@given(st.binary(max_size=70_000))
@settings(max_examples=20)
def test_unseal_undoes_seal(data: bytes) -> None:
    assert unseal(KEY, seal(KEY, data)) == data


def test_two_messages_of_one_plaintext_differ_everywhere() -> None:
    one, other = seal(KEY, bytes(64)), seal(KEY, bytes(64))
    assert one[:24] != other[:24]
    assert one[24:56] != other[24:56]
    assert one[56:] != other[56:]


@given(st.integers(0, 2**40))
def test_sizes_are_inverse(size: int) -> None:
    assert plain_size(sealed_size(size)) == size


@pytest.mark.parametrize("size", [0, 55, 56, 71, 56 + 16400, 56 + 16400 + 15])
def test_impossible_sizes_are_refused(size: int) -> None:
    with pytest.raises(IntegrityError, match=REFUSED):
        plain_size(size)


def test_any_chunk_opens_alone_and_from_many_threads() -> None:
    data = plaintext(20 * CHUNK_BYTES + 5)
    message = seal(KEY, data)
    opener = Opener.start(KEY, message[:PREFIX_BYTES], len(message))
    parts = chunks(message)

    def open_one(number: int) -> bytes:
        out = bytearray(len(parts[number]) - TAG_BYTES)
        opener.open_run(number, memoryview(parts[number]), memoryview(out))
        return bytes(out)

    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(open_one, list(range(len(parts))) * 20))
    assert b"".join(opened) == data * 20


def test_every_bit_matters() -> None:
    message = bytearray(seal(KEY, b"weights"))
    for place in range(8 * len(message)):
        message[place // 8] ^= 1 << place % 8
        with pytest.raises(IntegrityError, match=REFUSED):
            unseal(KEY, message)
        message[place // 8] ^= 1 << place % 8
    assert unseal(KEY, message) == b"weights"


@pytest.mark.parametrize("size", [100, 16384, 40000])
def test_every_kind_of_truncation_is_refused(size: int) -> None:
    message = seal(KEY, plaintext(size))
    ends = {0, 1, 24, 55, 56, 57, 72, len(message) - 1, len(message) - 16, len(message) - 17}
    ends |= {56 + number * WIRE_CHUNK_BYTES for number in range(len(chunks(message)))}
    for end in ends:
        with pytest.raises(IntegrityError, match=REFUSED):
            unseal(KEY, message[:end])
    with pytest.raises(IntegrityError, match=REFUSED):
        unseal(KEY, message + b"\0")


def test_chunks_in_another_order_are_refused() -> None:
    message = seal(KEY, plaintext(3 * CHUNK_BYTES))
    first, second, *rest = chunks(message)
    for body in ([second, first, *rest], [first, first, *rest], [second, *rest], [first, second, second, *rest]):
        with pytest.raises(IntegrityError, match=REFUSED):
            unseal(KEY, message[:PREFIX_BYTES] + b"".join(body))


def test_chunks_of_another_message_under_the_same_key_are_refused() -> None:
    one, other = seal(KEY, plaintext(40000)), seal(KEY, plaintext(40000))
    with pytest.raises(IntegrityError, match=REFUSED):
        unseal(KEY, one[:PREFIX_BYTES] + other[PREFIX_BYTES:])


def test_another_key_is_refused_by_the_commitment_before_any_chunk() -> None:
    message = seal(KEY, plaintext(10))
    with pytest.raises(IntegrityError, match=REFUSED):
        Opener.start(Secret(bytes(32)), message[:PREFIX_BYTES], len(message))


def test_a_buffer_of_the_wrong_size_is_refused() -> None:
    message = seal(KEY, plaintext(20000))
    opener = Opener.start(KEY, message[:PREFIX_BYTES], len(message))
    for first, wire, size in [(0, chunks(message)[0], 16383), (1, chunks(message)[0], 16384), (2, b"", 1)]:
        with pytest.raises(IntegrityError, match=REFUSED):
            opener.open_run(first, memoryview(wire), memoryview(bytearray(size)))
