"""The data key in keys.age."""

from __future__ import annotations

import pyrage
import pytest

from intact import seal
from intact.crypto import Secret
from intact.errors import AccessError, IntegrityError, UsageError
from intact.seal.recipient import Recipient
from intact.seal.recipients import x25519
from intact.seal.wrapping import count_recipients, unwrap, wrap

KEY = Secret.random()


def test_the_key_file_is_plain_age() -> None:
    pair = x25519.generate()
    identity = pyrage.x25519.Identity.from_str(pair.identity.secret.value.decode())
    assert pyrage.decrypt(wrap(KEY, [pair.recipient]), [identity]) == KEY.value


def test_the_armored_form_is_refused() -> None:
    pair = x25519.generate()
    recipient = pyrage.x25519.Recipient.from_str(pair.recipient.public)
    with pytest.raises(AccessError, match="none of the 1 identities"):
        unwrap(bytes(pyrage.encrypt(KEY.value, [recipient], armored=True)), [pair.identity])


def test_a_file_that_holds_something_else_is_refused() -> None:
    pair = x25519.generate()
    with pytest.raises(IntegrityError, match="does not hold a data key"):
        unwrap(wrap(Secret(b"short"), [pair.recipient]), [pair.identity])


def test_a_passphrase_stays_alone() -> None:
    words, pair = seal.passphrase_recipient("correct horse"), x25519.generate()
    with pytest.raises(UsageError, match=r"kinds passphrase and x25519 cannot share one keys\.age"):
        wrap(KEY, [words, pair.recipient])
    with pytest.raises(UsageError, match="2 passphrases given"):
        wrap(KEY, [words, words])


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="no kind of recipient called 'smoke'"):
        wrap(KEY, [Recipient(kind="smoke")])


def test_an_empty_passphrase_is_refused() -> None:
    for make in (seal.passphrase_recipient, seal.passphrase_identity):
        with pytest.raises(UsageError, match="passphrase is empty"):
            make("")


def test_recipients_are_counted_without_a_key() -> None:
    pairs = [x25519.generate() for _ in range(5)]
    assert count_recipients(wrap(KEY, [pair.recipient for pair in pairs])) == 5
    assert count_recipients(b"") == 0
