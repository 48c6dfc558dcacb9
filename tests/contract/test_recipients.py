"""Every kind of recipient found in the folder keeps the contract of `Kind`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from intact.crypto import Secret
from intact.errors import AccessError
from intact.seal import recipients
from intact.seal.recipient import KeyPair, Kind
from intact.seal.wrapping import count_recipients, unwrap

KINDS = recipients.kinds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped:
    kind: Kind
    pair: KeyPair
    key: Secret
    data: bytes


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def wrapped(request: pytest.FixtureRequest) -> Wrapped:
    pair, key = request.param.generate(), Secret.random()
    return Wrapped(kind=request.param, pair=pair, key=key, data=request.param.wrap(key, [pair.recipient]))


def test_every_file_is_a_kind_of_its_name() -> None:
    files = {path.stem for path in Path(recipients.__file__).parent.glob("*.py")} - {"__init__"}
    assert {kind.name for kind in KINDS} == files
    assert len({kind.stanza for kind in KINDS}) == len(KINDS)


def test_unwrap_undoes_wrap(wrapped: Wrapped) -> None:
    assert unwrap(wrapped.data, [wrapped.pair.identity]) == wrapped.key


def test_the_file_is_age_and_hides_the_key(wrapped: Wrapped) -> None:
    assert wrapped.data.startswith(b"age-encryption.org/v1\n-> " + wrapped.kind.stanza + b" ")
    assert wrapped.key.value not in wrapped.data
    assert count_recipients(wrapped.data) == 1


def test_another_identity_is_refused(wrapped: Wrapped) -> None:
    with pytest.raises(AccessError, match="identity does not unwrap the data key"):
        wrapped.kind.unwrap(wrapped.data, wrapped.kind.generate().identity)


def test_an_identity_of_another_kind_is_refused(wrapped: Wrapped) -> None:
    for other in KINDS:
        if other is not wrapped.kind:
            with pytest.raises(AccessError):
                other.unwrap(wrapped.data, other.generate().identity)


@pytest.mark.parametrize("place", [-1, 27])
def test_a_damaged_file_is_refused_in_the_same_words(wrapped: Wrapped, place: int) -> None:
    damaged = bytearray(wrapped.data)
    damaged[place] ^= 1
    with pytest.raises(AccessError, match="identity does not unwrap the data key"):
        wrapped.kind.unwrap(bytes(damaged), wrapped.pair.identity)


def test_the_texts_of_a_pair_come_back(wrapped: Wrapped) -> None:
    if wrapped.pair.recipient.public:
        assert wrapped.kind.parse_recipient(wrapped.pair.recipient.public) == wrapped.pair.recipient
        text = wrapped.pair.identity.secret.value.decode()
        assert wrapped.kind.parse_identity(text) == wrapped.pair.identity
    assert wrapped.kind.parse_recipient("something else") is None
    assert wrapped.kind.parse_identity("something else") is None


def test_secrets_do_not_show(wrapped: Wrapped) -> None:
    secret = wrapped.pair.identity.secret.value.decode()
    assert secret not in repr(wrapped.pair)
    assert secret not in wrapped.pair.recipient.public
