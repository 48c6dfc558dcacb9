"""Secrets do not show."""

from __future__ import annotations

import copy
import pickle

import pytest

from intact.crypto import Secret


def test_a_secret_hides_its_value() -> None:
    secret = Secret(b"open sesame")
    for shown in (repr(secret), str(secret), f"{secret}", repr([secret]), repr({"k": secret})):
        assert "sesame" not in shown
        assert "11 bytes" in shown


def test_secrets_compare_by_value() -> None:
    assert Secret(b"a") == Secret(b"a")
    assert Secret(b"a") != Secret(b"b")
    assert Secret(b"a") != Secret(b"aa")
    assert Secret(b"a") != b"a"


def test_a_secret_is_not_hashed_copied_or_pickled() -> None:
    with pytest.raises(TypeError):
        hash(Secret(b"a"))
    with pytest.raises(TypeError):
        pickle.dumps(Secret(b"a"))
    with pytest.raises(TypeError):
        copy.copy(Secret(b"a"))


def test_random_secrets_differ() -> None:
    assert len(Secret.random(16)) == 16
    assert Secret.random() != Secret.random()
