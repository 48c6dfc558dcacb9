"""The data key in keys.json."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact import seal
from intact.crypto import Secret, blake3
from intact.errors import AccessError, IntegrityError, UsageError
from intact.seal import entries
from intact.seal.derivation import Keyring
from intact.seal.entries import Entry
from intact.seal.recipient import Recipient
from intact.seal.recipients import passphrase, x25519
from intact.seal.wrapping import KeyFile, wrap
from intact.wire import decode, encode

KEYRING = Keyring(data_key=Secret.random(), artifact="0" * 32, revision=1)
PAIR = x25519.generate()


def entry(number: int = 0, **fields: str) -> Entry:
    """Return an entry that nobody opens."""
    plain = {"kind": "x25519", "id": f"{number:032x}", "label": "", "wrapped": base64.b64encode(b"wrapped").decode()}
    return Entry(**{**plain, **fields})


def raw(change: Callable[[Any], None]) -> bytes:
    """Return keys.json with `change` made to its JSON."""
    value = decode(wrap(KEYRING, [PAIR.recipient]), where="keys")
    change(value)
    return encode(value)


def test_what_is_wrapped_is_a_plain_age_file() -> None:
    (found,) = KeyFile.from_bytes(wrap(KEYRING, [PAIR.recipient])).recipients
    identity = pyrage.x25519.Identity.from_str(PAIR.identity.secret.value.decode())
    assert pyrage.decrypt(found.data, [identity]) == KEYRING.data_key.value
    assert (found.kind, found.label) == ("x25519", "")
    assert found.id == PAIR.recipient.id == blake3(f"x25519\0{PAIR.recipient.public}".encode())[:32]


def test_the_file_has_the_fields_of_the_specification() -> None:
    value = decode(wrap(KEYRING, [PAIR.recipient]), where="keys")
    assert value.keys() == {"mac", "recipients"}
    assert value["recipients"][0].keys() == {"kind", "id", "label", "wrapped"}


def test_kinds_and_several_passphrases_share_a_file() -> None:
    words = [seal.passphrase_recipient(word, label=word[:1]) for word in ("one", "two")]
    file = KeyFile.from_bytes(wrap(KEYRING, [words[0], PAIR.recipient, words[1]]))
    assert [each.label for each in file.recipients] == ["o", "", "t"]
    for identity in (PAIR.identity, seal.passphrase_identity("two")):
        assert file.unwrap([x25519.generate().identity, identity]) == KEYRING.data_key
    with pytest.raises(AccessError, match="passphrase does not unwrap the data key"):
        file.unwrap([seal.passphrase_identity("three")])


def test_no_recipient_is_tried_that_is_not_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    file = KeyFile.of([entry(number) for number in range(200)], KEYRING)
    monkeypatch.setattr(pyrage, "decrypt", None)
    with pytest.raises(AccessError, match="none of the 1 identities given is among the 200 recipients"):
        file.unwrap([PAIR.identity])


def test_no_identity_is_an_error_of_its_own() -> None:
    with pytest.raises(AccessError, match="sealed and no identity was given"):
        KeyFile.of([entry()], KEYRING).unwrap([])


def test_something_else_than_a_data_key_is_refused() -> None:
    short = Keyring(data_key=Secret(b"short"), artifact="0" * 32, revision=1)
    wrapped = base64.b64encode(x25519.wrap(short.data_key, PAIR.recipient)).decode()
    file = KeyFile.of([entry(id=str(PAIR.recipient.id), wrapped=wrapped)], KEYRING)
    with pytest.raises(IntegrityError, match="does not hold a data key"):
        file.unwrap([PAIR.identity])


def test_an_armored_age_file_opens_no_other_way() -> None:
    recipient = pyrage.x25519.Recipient.from_str(PAIR.recipient.public)
    armored = bytes(pyrage.encrypt(KEYRING.data_key.value, [recipient], armored=True))
    file = KeyFile.of([entry(id=str(PAIR.recipient.id), wrapped=base64.b64encode(armored).decode())], KEYRING)
    assert file.unwrap([PAIR.identity]) == KEYRING.data_key  # the mac fixes which spelling it is
    file.check(KEYRING)


def test_an_unknown_kind_is_refused_for_wrapping_and_passed_over_for_unwrapping() -> None:
    with pytest.raises(UsageError, match="no kind of recipient called 'smoke'"):
        wrap(KEYRING, [Recipient(kind="smoke")])
    known = KeyFile.from_bytes(wrap(KEYRING, [PAIR.recipient])).recipients
    file = KeyFile.from_bytes(KeyFile.of([entry(kind="of_tomorrow"), *known], KEYRING).to_bytes())
    assert file.unwrap([PAIR.identity]) == KEYRING.data_key


def test_an_empty_passphrase_is_refused() -> None:
    for make in (seal.passphrase_recipient, seal.passphrase_identity):
        with pytest.raises(UsageError, match="passphrase is empty"):
            make("")


def test_no_passphrase_is_wrapped_that_readers_would_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passphrase, "MAX_WORK", 1)
    monkeypatch.setattr(passphrase, "ATTEMPTS", 1)
    with pytest.raises(UsageError, match=r"more than the 2\^1 steps"):
        wrap(KEYRING, [seal.passphrase_recipient("words")])


@pytest.mark.parametrize("label", ["x" * 65, "näme", "a\nb", "\x1b[31m"])
def test_a_label_is_short_and_printable(label: str) -> None:
    with pytest.raises(UsageError, match="label of a recipient"):
        Recipient(kind="x25519", public="age1", label=label)


@pytest.mark.parametrize(
    ("recipients", "message"),
    [
        ([], "would have 0 recipients"),
        ([entry(number) for number in range(257)], "would have 257 recipients, wanted 1 to 256"),
        ([entry(), entry()], "would name a recipient twice"),
        ([entry(number, kind="passphrase") for number in range(9)], "would have 9 passphrases, at most 8"),
    ],
)
def test_a_list_that_readers_would_refuse_is_not_made(recipients: list[Entry], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        KeyFile.of(recipients, KEYRING)


def test_a_file_that_readers_would_refuse_is_not_made() -> None:
    large = base64.b64encode(bytes(entries.MAX_WRAPPED_BYTES)).decode()
    with pytest.raises(UsageError, match="bytes, 1048576 are allowed"):
        KeyFile.of([entry(number, wrapped=large) for number in range(256)], KEYRING).to_bytes()


def test_as_many_recipients_as_are_allowed_come_back() -> None:
    file = KeyFile.of([entry(number) for number in range(256)], KEYRING)
    assert KeyFile.from_bytes(file.to_bytes()) == file


BAD_FIELDS = {
    "kind": ["", "a b", "é", "x" * 33, "9"],
    "id": ["", "0" * 31, "0" * 33, "A" * 32, "g" * 32],
    "label": ["x" * 65, "é", "\n"],
    "wrapped": ["", "A", "AA", "AA=", "AAB=", "AA==\n", " AAA", "!!!!", "AAAA" * 2049],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field in BAD_FIELDS for value in BAD_FIELDS[field]])
def test_a_field_out_of_range_is_refused(field: str, value: str) -> None:
    data = raw(lambda file: file["recipients"][0].update({field: value}))
    with pytest.raises(IntegrityError, match=r"recipient 0 in keys\.json has a field that is out of range"):
        KeyFile.from_bytes(data)


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.pop("mac"),
        lambda file: file.update(mac="0" * 63),
        lambda file: file.update(mac=7),
        lambda file: file.update(more=1),
        lambda file: file.update(recipients=[]),
        lambda file: file.update(recipients={}),
        lambda file: file.update(recipients=file["recipients"] * 2),
        lambda file: file.update(recipients=file["recipients"] * 300),
        lambda file: file["recipients"][0].pop("label"),
        lambda file: file["recipients"][0].update(wrapped=None),
    ],
)
def test_another_shape_is_refused(change: Callable[[Any], None]) -> None:
    with pytest.raises(IntegrityError, match=r"keys\.json"):
        KeyFile.from_bytes(raw(change))


def test_every_truncation_and_every_flipped_bit_is_refused() -> None:
    data = wrap(KEYRING, [PAIR.recipient])
    for size in range(len(data)):
        with pytest.raises(IntegrityError, match="not JSON|not canonical"):
            KeyFile.from_bytes(data[:size])
    for place in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises((IntegrityError, AccessError)):
            file = KeyFile.from_bytes(bytes(damaged))
            assert file.unwrap([PAIR.identity]) == KEYRING.data_key
            file.check(KEYRING)


@given(st.binary(max_size=300))
def test_whatever_else_is_no_key_file(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        KeyFile.from_bytes(data)


def test_entries_are_bound_to_each_other_and_to_the_artifact() -> None:
    file = KeyFile.of([entry(1), entry(2)], KEYRING)
    one, other = file.recipients
    for changed in ((one,), (other, one), (one, other, entry(3)), (one, entry(2, label="x"))):
        with pytest.raises(IntegrityError, match="changed by someone who does not have the key"):
            KeyFile(mac=file.mac, recipients=changed).check(KEYRING)
    for place in ({"artifact": "1" * 32, "revision": 1}, {"artifact": "0" * 32, "revision": 2}):
        with pytest.raises(IntegrityError, match="changed by someone"):
            file.check(Keyring(data_key=KEYRING.data_key, **place))
    file.check(KEYRING)
