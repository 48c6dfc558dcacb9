"""Forms, cookies, pictures, counts: what pages are made of."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from intact.crypto import Secret, SigningKey
from intact.errors import UsageError
from intact.ledger.checkpoint import CheckpointSigner
from intact.serve.console import charts, cookies, login
from intact.serve.console.app import find
from intact.serve.console.charts import Column
from intact.serve.console.forms import Form, parse_form, parse_query
from intact.serve.console.pages import ROUTES, log, tallies
from intact.serve.console.render import figure, when
from intact.serve.console.visit import House, Stream, Visit
from intact.serve.refused import Refused
from intact.serve.state import Principal, RefusalCount, Role, Store, Terms
from intact.serve.state.sessions import Session

SECRET = Secret(bytes(range(32)))
HTTP, TLS = cookies.Cookies(secure=False), cookies.Cookies(secure=True)


# ---- cookies


@pytest.mark.parametrize("known", [HTTP, TLS])
def test_a_cookie_comes_back(known: cookies.Cookies) -> None:
    name, value = known.keep("session", SECRET)
    pair = value.decode().partition(";")[0]
    assert name == b"set-cookie"
    assert known.read([(b"cookie", f"a=b; {pair}; c".encode())], "session") == SECRET
    assert known.read([(b"cookie", pair.encode())], "login") is None


def test_what_a_cookie_is_called_and_may() -> None:
    assert HTTP.keep("session", SECRET)[1].decode().split("; ")[1:] == [
        *("Path=/console", "HttpOnly", "SameSite=Strict", "Max-Age=43200"),
    ]
    value = TLS.keep("session", SECRET)[1].decode()
    assert value.startswith("__Host-intact-session=")
    assert value.split("; ")[1:] == ["Path=/", "Secure", "HttpOnly", "SameSite=Strict", "Max-Age=43200"]
    assert "Max-Age=0" in TLS.drop("session")[1].decode()


@pytest.mark.parametrize(
    "text", ["", "x", "a" * 42, "a" * 44, "a" * 42 + "%", "a" * 42 + "é", "{good}; intact-session={good}"]
)
def test_other_cookies_are_none(text: str) -> None:
    good = HTTP.keep("session", SECRET)[1].decode().partition(";")[0].partition("=")[2]
    header = f"intact-session={text.format(good=good)}".encode("latin-1")
    assert HTTP.read([(b"cookie", header)], "session") is None


def test_a_token_is_of_one_browser_and_one_kind_of_form() -> None:
    token = cookies.token_of(SECRET, "session")
    assert cookies.is_token(token, SECRET, "session")
    assert not cookies.is_token(token, SECRET, "login")
    assert not cookies.is_token(token, Secret(bytes(32)), "session")
    assert not cookies.is_token("", SECRET, "session")
    assert not cookies.is_token("é", SECRET, "session")


# ---- forms


def parsed(body: bytes, kind: str = "application/x-www-form-urlencoded", *, files: bool = False) -> Form:
    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", kind.encode())]}
    return asyncio.run(parse_form(scope, kind, body, files=files))


def test_a_form_is_read() -> None:
    form = parsed(b"a=1&b=%20x%C3%A9+&n=1%2C000&t=2030-01-01T00%3A00")
    assert (form.text("b"), form.text("c")) == ("xé", "")
    assert (form.whole("n", "n"), form.whole("c", "c")) == (1000, None)
    assert form.moment("t", "t") == 1_893_456_000


@pytest.mark.parametrize("body", [b"a=1&a=2", b"a=%ff", b"\xff", b"&".join(b"f%d=1" % n for n in range(40))])
def test_a_form_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        parsed(body)
    with pytest.raises(Refused):
        parse_query(body)


def test_addresses_are_short() -> None:
    with pytest.raises(Refused):
        parse_query(b"a=" + b"x" * 3000)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/json", "multipart/form-data; boundary=x"])
def test_other_bodies_are_refused(kind: str) -> None:
    with pytest.raises(Refused) as caught:
        parsed(b"a=1", kind)
    assert caught.value.status == 415


def multipart(*parts: tuple[str, bytes]) -> bytes:
    return b"".join(b"--x\r\ncontent-disposition: form-data; %b\r\n\r\n%b\r\n" % (h.encode(), b) for h, b in parts) + (
        b"--x--\r\n"
    )


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"--x", b"nothing", multipart(("", b"1"))[:-5], multipart(('name="a"', b"1"), ('name="a"', b"2"))),
        multipart(*((f'name="f{n}"', b"1") for n in range(40))),
        multipart(*((f'name="f{n}"; filename="a"', b"1") for n in range(3))),
        multipart(('name="a"', b"\xff")),
    ],
)
def test_broken_uploads_raise_nothing_else(body: bytes) -> None:
    try:
        assert parsed(body, "multipart/form-data; boundary=x", files=True).file is None
    except Refused as error:
        assert error.status == 400


def test_a_file_is_read() -> None:
    body = multipart(('name="a"', b"1"), ('name="file"; filename="x.npy"', b"\0\1"))
    assert parsed(body, "multipart/form-data; boundary=x", files=True) == Form({"a": "1"}, b"\0\1", "x.npy")
    large = multipart(('name="file"; filename="x"', bytes(2**20 + 1)))
    with pytest.raises(Refused) as caught:
        parsed(large, "multipart/form-data; boundary=x", files=True)
    assert caught.value.status == 413


@pytest.mark.parametrize("text", ["x", "1.5", "-1", "٣", "9" * 16])
def test_other_numbers_and_times_are_told(text: str) -> None:
    form = Form({"a": text})
    with pytest.raises(UsageError):
        form.whole("a", "a")
    with pytest.raises(UsageError):
        form.moment("a", "a")


# ---- where to go on to


@pytest.mark.parametrize("wanted", ["/console/grants", "/console/log?before=7", "/console/models/a.b/1"])
def test_pages_of_ours_are_gone_on_to(wanted: str) -> None:
    assert login.checked_next(wanted) == wanted


@given(st.text())
def test_nothing_else_is_gone_on_to(wanted: str) -> None:
    assert re.fullmatch(r"/console/[!-~]*", login.checked_next(wanted))


@pytest.mark.parametrize("address", ["/console/nothing", "/console/", "/console/models/../keys", "/console/log/"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(Refused) as caught:
        find("GET", address)
    assert caught.value.status == 404


def test_every_route_names_its_roles() -> None:
    for route in ROUTES:
        assert route.roles
        if route.method == "POST" and route.path.pattern not in ("/console/log/verify", "/console/try"):
            assert route.roles == {Role.ADMIN}


# ---- pictures and counts


def test_columns_are_as_high_as_their_counts() -> None:
    picture = str(charts.columns([Column(0, (1, 3)), Column(60, (0, 0)), Column(120, (0, 1))], LOOKS, "<t>", 60))
    heights = [float(found) for found in re.findall(r'<rect[^>]* height="([\d.]+)">', picture)]
    full = charts.HEIGHT - charts.TOP
    assert heights == [full / 4, 3 * full / 4, full / 4]
    assert "&lt;t&gt;" in picture
    assert "style=" not in picture
    assert "none" in str(charts.columns([], LOOKS, "t", 60))


LOOKS = (("a", "a"), ("b", "b"))


@pytest.mark.parametrize(("used", "whole", "width"), [(0, 10, None), (5, 10, "50.00%"), (10, 10, "100.00%")])
def test_a_part_is_drawn(used: int, whole: int, width: str | None) -> None:
    found = re.search(r'class="filled[^"]*" width="([^"]+)"', str(charts.part(used, whole, "t")))
    assert (found and found[1]) == width


def test_counts_fall_into_their_columns() -> None:
    def count(minute: int, reason: str, many: int) -> RefusalCount:
        return RefusalCount(minute=minute, model="", subject="", reason=reason, count=many)

    found = [count(0, "401", 1), count(60, "429 x", 2), count(120, "403", 4), count(120, "403", 8)]
    made = tallies.columns(found, 0, 239, 120, lambda each: int(each.reason[:3] == "429"), 2)
    assert made == [Column(0, (1, 2)), Column(120, (12, 0))]
    assert tallies.grouped(found, lambda each: each.reason)[0] == ("403", 12)


def test_times_and_figures_are_written() -> None:
    assert when(None) == "—"
    assert when(0) == '<time datetime="1970-01-01T00:00:00Z">1970-01-01 00:00:00</time>'
    assert figure(-0.00012345) == "−0.000123"
    assert figure(None) == "—"


# ---- verification of the log


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store.open(f"sqlite:///{tmp_path / 'state.db'}", pepper=SECRET)
    yield found
    found.close()


@pytest.fixture
def house(store: Store) -> Iterator[House]:
    signer = CheckpointSigner(key=SigningKey.generate(), origin="test.local/log")
    core: Any = SimpleNamespace(parts=SimpleNamespace(store=store, signer=signer))
    with ThreadPoolExecutor(1) as pool:
        yield House(core=core, pool=pool, modes={})


def visit_of(house: House) -> Visit:
    who = Principal(subject="a", role=Role.AUDITOR, credential="a" * 8)
    return Visit(house=house, session=Session(principal=who, created=0), token="t", here="log")


def verified(house: House) -> str:
    async def collect() -> str:
        stream = await log.verify(visit_of(house))
        assert isinstance(stream, Stream)
        return b"".join([part async for part in stream.parts]).decode()

    return asyncio.run(collect())


def change(tmp_path: Path, statement: str) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'state.db'}")
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_a_good_log_is_verified(house: House, store: Store) -> None:
    assert "The log is what was signed" in verified(house)
    for number in range(300):
        store.add_grant(f"s{number}", "0" * 64, Terms())
    assert "The root over all 300 entries" in verified(house)
    page = verified(house)
    assert "The first 300 are those that were signed before." in page
    assert page.count("<li>") <= 2 * log.STEPS + 1 + 10


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log_entries SET event = replace(event, 's1', 's2') WHERE position = 1",
        "UPDATE log_entries SET hash = zeroblob(32) WHERE position = 1",
        "UPDATE log_entries SET salt = zeroblob(32) WHERE position = 1",
        "UPDATE checkpoints SET note = replace(note, 'test.local/log', 'last.local/log')",
        "UPDATE log_tiles SET hashes = zeroblob(8192)",
    ],
)
def test_a_log_that_was_changed_is_found_out(house: House, store: Store, tmp_path: Path, statement: str) -> None:
    for number in range(300):
        store.add_grant(f"s{number}", "0" * 64, Terms())
    assert "The log is what was signed" in verified(house)
    change(tmp_path, statement)
    page = verified(house)
    assert "The log is not what was signed" in page or "Could not be verified" in page


def test_a_log_that_is_too_long_is_not_called_good(house: House, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add_grant("s", "0" * 64, Terms())
    monkeypatch.setattr(log, "LONGEST_S", -1.0)
    assert "Not finished" in verified(house)


def test_one_verifies_at_a_time(house: House) -> None:
    async def both() -> None:
        await house.verifying.acquire()
        await log.verify(visit_of(house))

    with pytest.raises(Refused) as caught:
        asyncio.run(both())
    assert caught.value.status == 503


def test_a_damaged_entry_is_shown_as_one() -> None:
    assert log._row(7, b"{").kind == "damaged"


@pytest.mark.parametrize("fields", [{}, {"guard": [1]}, {"model": 3}, {"model": {"name": 1}}, {"guard": ()}])
def test_events_of_any_form_are_told(fields: dict[str, Any]) -> None:
    assert isinstance(log.about(fields), str)
