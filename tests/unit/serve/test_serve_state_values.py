"""Terms, grants and charges refuse what cannot be; peppers are read from where they should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.crypto import Secret
from intact.errors import UsageError
from intact.serve.errors import Reason
from intact.serve.state import Charge, Grant, Terms, credentials
from intact.serve.state.values import checked_subject

TIMES = st.none() | st.integers(0, 253_402_300_799)


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"action": "train"}, "action"),
        ({"not_before": -1}, "not_before"),
        ({"not_after": 2**60}, "not_after"),
        ({"not_before": 2, "not_after": 1}, "before it begins"),
        ({"limit": 0}, "limit"),
        ({"limit": 2**53}, "limit"),
        ({"limit": True}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"rate": ""}, "rate"),
        ({"rate": "0/second"}, "rate"),
        ({"rate": "10/fortnight"}, "rate"),
        ({"rate": "10/second;20/hour"}, "rate"),
        ({"rate": "1000001/day"}, "rate"),
        ({"shows": ""}, "shows"),
        ({"shows": "top-0"}, "shows"),
        ({"shows": "top-12345"}, "shows"),
        ({"shows": "rounded-10"}, "shows"),
        ({"shows": "all"}, "shows"),
        ({"shows": "full\n"}, "shows"),
    ],
)
def test_terms_that_cannot_be(terms: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Terms(**terms)


@given(begin=TIMES, end=TIMES, limit=st.none() | st.integers(1, 9), used=st.integers(0, 10), now=st.floats(0, 3e11))
def test_a_grant_says_why_it_does_not_allow(
    begin: int | None, end: int | None, limit: int | None, used: int, now: float
) -> None:
    if begin is not None and end is not None and begin > end:
        begin, end = end, begin
    terms = Terms(not_before=begin, not_after=end, limit=limit)
    grant = Grant(id=1, subject="a", model="ab" * 32, terms=terms, used=used, created=0, revoked=None)
    open_now = (begin or 0) <= now <= (float("inf") if end is None else end)
    left = limit is None or used < limit
    assert (grant.refusal(now) is None) == (open_now and left)
    if grant.refusal(now) is Reason.USED_UP:
        assert open_now


def test_reasons_have_the_status_that_clients_know() -> None:
    assert {reason: reason.status for reason in Reason} == {
        Reason.NO_GRANT: 403,
        Reason.REVOKED: 403,
        Reason.EARLY: 403,
        Reason.EXPIRED: 403,
        Reason.USED_UP: 429,
        Reason.CREDENTIAL: 401,
    }


def test_an_event_that_is_too_long_is_not_charged() -> None:
    Charge(1, b"x" * 8192, "jwt:x")
    with pytest.raises(UsageError, match="8193 bytes"):
        Charge(1, b"x" * 8193, "jwt:x")


@given(st.text(max_size=300))
def test_subjects_are_printable_and_short(text: str) -> None:
    good = 1 <= len(text) <= 256 and text.isprintable() and text == text.strip()
    try:
        assert checked_subject(text) == text
    except UsageError:
        assert not good
    else:
        assert good


# ---- keys and peppers


def test_keys_differ_and_are_long_enough() -> None:
    keys = [credentials.new_key() for _ in range(200)]
    assert len({id_ for id_, _ in keys}) == len({text.value for _, text in keys}) == 200
    for id_, text in keys:
        assert credentials.id_of(text.value.decode()) == id_
        assert len(text.value.split(b"_", 2)[2]) == 43  # 256 bits in base64


def test_a_digest_depends_on_key_and_pepper() -> None:
    one, two = Secret(b"1" * 32), Secret(b"2" * 32)
    digests = {credentials.digest(text, pepper) for text in (b"a", b"b") for pepper in (one, two)}
    assert len(digests) == 4
    assert credentials.fingerprint(one) != credentials.fingerprint(two)
    assert bytes.fromhex(credentials.fingerprint(one)) not in credentials.digest(b"", one)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user of whom nothing is known; returns where the pepper would be."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("INTACT_PEPPER", raising=False)
    monkeypatch.delenv("INTACT_PEPPER_FILE", raising=False)
    return tmp_path / "intact" / "serve" / "pepper.key"


def test_a_pepper_is_made_once(alone: Path) -> None:
    with pytest.raises(UsageError, match="cannot read pepper file"):
        credentials.load_pepper(make=False)
    made = credentials.load_pepper(make=True)
    assert alone.stat().st_mode & 0o777 == 0o600
    assert credentials.load_pepper(make=True) == credentials.load_pepper(make=False) == made
    assert len(made) == 32
    assert [path.name for path in alone.parent.iterdir()] == ["pepper.key"]


def test_a_pepper_that_others_can_read_is_refused(alone: Path) -> None:
    credentials.load_pepper(make=True)
    for mode in (0o640, 0o604, 0o644):
        alone.chmod(mode)
        with pytest.raises(UsageError, match="can be read by others"):
            credentials.load_pepper(make=False)


def test_a_pepper_comes_from_the_environment(alone: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = tmp_path / "mine"
    named.write_text("ab" * 32 + "\n")
    named.chmod(0o600)
    monkeypatch.setenv("INTACT_PEPPER_FILE", str(named))
    assert credentials.load_pepper(make=True) == Secret(b"\xab" * 32)
    monkeypatch.setenv("INTACT_PEPPER", "cd" * 32)
    assert credentials.load_pepper(make=True) == Secret(b"\xcd" * 32)
    assert not alone.exists()
    for bad in ("", "cd" * 31, "zz" * 32, "cd" * 33):
        monkeypatch.setenv("INTACT_PEPPER", bad)
        with pytest.raises(UsageError, match="INTACT_PEPPER holds no pepper") as caught:
            credentials.load_pepper(make=True)
        assert not bad or bad not in str(caught.value)
    monkeypatch.delenv("INTACT_PEPPER")
    named.unlink()
    with pytest.raises(UsageError, match="cannot read pepper file"):
        credentials.load_pepper(make=True)  # one that was named is not made
