"""Every kind of recipient found in the folder keeps the contract of `Kind`."""

from __future__ import annotations

import base64
import logging
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from intact.crypto import Secret
from intact.errors import AccessError
from intact.seal import recipients
from intact.seal.derivation import Keyring
from intact.seal.entries import MAX_WRAPPED_BYTES, Entry
from intact.seal.recipient import KeyPair, Kind
from intact.seal.wrapping import KeyFile
from support.services import makers

KINDS = recipients.kinds()
REFUSED = "does not (unwrap the data key|let these credentials use)"  # the imitation of AWS knows one refusal only

Makers = dict[str, Callable[[], KeyPair]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped:
    kind: Kind
    pair: KeyPair
    key: Secret
    data: bytes


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Makers]:
    with makers(KINDS, tmp_path_factory.mktemp("services")) as found:
        yield found


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def wrapped(request: pytest.FixtureRequest, make: Makers) -> Wrapped:
    pair, key = make[request.param.name](), Secret.random()
    return Wrapped(kind=request.param, pair=pair, key=key, data=request.param.wrap(key, pair.recipient))


def test_every_file_is_a_kind_of_its_name() -> None:
    files = {path.stem for path in Path(recipients.__file__).parent.glob("*.py")} - {"__init__"}
    assert {kind.name for kind in KINDS} == files


def test_unwrap_undoes_wrap(wrapped: Wrapped) -> None:
    assert wrapped.kind.unwrap(wrapped.data, wrapped.pair.identity) == wrapped.key


def test_two_wrappings_differ_and_hide_the_key(wrapped: Wrapped) -> None:
    again = wrapped.kind.wrap(wrapped.key, wrapped.pair.recipient)
    assert again != wrapped.data
    for data in (again, wrapped.data):
        assert wrapped.key.value not in data
        assert base64.b64encode(wrapped.key.value)[:40] not in data
        assert 0 < len(data) <= MAX_WRAPPED_BYTES


def test_another_identity_is_refused(wrapped: Wrapped, make: Makers) -> None:
    with pytest.raises(AccessError, match=REFUSED) as caught:
        wrapped.kind.unwrap(wrapped.data, make[wrapped.kind.name]().identity)
    assert caught.value.hint


def test_what_another_kind_wrapped_is_refused(wrapped: Wrapped, make: Makers) -> None:
    for other in KINDS:
        if other is not wrapped.kind:
            with pytest.raises(AccessError, match=REFUSED):
                other.unwrap(wrapped.data, make[other.name]().identity)


@pytest.mark.parametrize("place", [-1, 0, 10, 27, 60])
def test_what_is_damaged_is_refused_in_the_same_words(wrapped: Wrapped, place: int) -> None:
    damaged = bytearray(wrapped.data)
    damaged[place] ^= 1
    with pytest.raises(AccessError, match=REFUSED):
        wrapped.kind.unwrap(bytes(damaged), wrapped.pair.identity)


@pytest.mark.parametrize("data", [b"", b"\0", b"\0" * MAX_WRAPPED_BYTES, b"age-encryption.org/v1\n", b"vault:v1:AAAA"])
def test_what_is_no_wrapping_is_refused_in_the_same_words(wrapped: Wrapped, data: bytes) -> None:
    with pytest.raises(AccessError, match=REFUSED):
        wrapped.kind.unwrap(data, wrapped.pair.identity)


def test_every_truncation_is_refused(wrapped: Wrapped) -> None:
    for size in range(0, len(wrapped.data), 1 if wrapped.kind.generate and wrapped.kind.name != "passphrase" else 40):
        with pytest.raises(AccessError, match=REFUSED):
            wrapped.kind.unwrap(wrapped.data[:size], wrapped.pair.identity)


def test_the_texts_of_a_pair_come_back(wrapped: Wrapped) -> None:
    recipient, identity = wrapped.pair.recipient, wrapped.pair.identity
    if recipient.public:
        assert wrapped.kind.parse_recipient(recipient.public) == recipient
        text = identity.public if identity.secret is None else identity.secret.value.decode()
        assert wrapped.kind.parse_identity(text.strip()) == identity
    assert wrapped.kind.parse_recipient("something else") is None
    assert wrapped.kind.parse_identity("something else") is None


def test_no_text_is_of_two_kinds(wrapped: Wrapped) -> None:
    public = wrapped.pair.recipient.public
    found = [kind.name for kind in KINDS if public and kind.parse_recipient(public)]
    assert found == ([wrapped.kind.name] if public else [])


def test_both_sides_have_one_id(wrapped: Wrapped, make: Makers) -> None:
    assert wrapped.pair.recipient.id == wrapped.pair.identity.id
    other = make[wrapped.kind.name]().recipient.id
    assert other is None or (len(other) == 32 and other != wrapped.pair.recipient.id)


def test_an_entry_of_keys_json_opens_for_this_identity_only(wrapped: Wrapped, make: Makers) -> None:
    keyring = Keyring(data_key=wrapped.key, artifact="0" * 32, revision=1)
    others = [make[kind.name]() for kind in KINDS]
    text = base64.b64encode(wrapped.data).decode()
    entry = Entry(kind=wrapped.kind.name, id=wrapped.pair.recipient.id or "0" * 32, label="", wrapped=text)
    file = KeyFile.from_bytes(KeyFile.of([entry], keyring).to_bytes())
    assert file.unwrap([wrapped.pair.identity]) == wrapped.key
    with pytest.raises(AccessError, match=r"among the 1 recipients|does not unwrap"):
        file.unwrap([pair.identity for pair in others])


def test_secrets_do_not_show(wrapped: Wrapped, caplog: pytest.LogCaptureFixture) -> None:
    secret = wrapped.pair.identity.secret
    texts = [] if secret is None else [secret.value.decode(), secret.value.decode()[-40:-4]]
    texts += [wrapped.key.value.hex(), base64.b64encode(wrapped.key.value).decode(), repr(wrapped.key.value)[2:-1]]
    shown = [repr(wrapped.pair), repr(wrapped.pair.recipient), wrapped.pair.recipient.public]
    with caplog.at_level(logging.DEBUG):
        if wrapped.kind.generate is None:  # a service's client may log what it sends and gets
            wrapped.kind.unwrap(wrapped.kind.wrap(wrapped.key, wrapped.pair.recipient), wrapped.pair.identity)
        with pytest.raises(AccessError) as caught:
            wrapped.kind.unwrap(wrapped.data[:-8], wrapped.pair.identity)
    shown += ["".join(traceback.format_exception(caught.value)), caplog.text]
    for text in texts:
        assert not [each for each in shown if text in each]
