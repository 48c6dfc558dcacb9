"""The console in a real browser: log in, grant, ask, watch the count, see a refusal, revoke, log out."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from intact.serve.state import Role
from support.console import ROW, STRANGE, Client, Tab, chromium, entered, tab
from support.issuer import AUDIENCE, issuer
from support.serving import INPUTS, OUTPUTS, Server, Site, open_here, rows, serving

pytestmark = pytest.mark.browser

PAGES = ("models", "models/tiny/1", "grants", "keys", "refusals", "alarms", "log", "try")
OF_A_CALLER = ("models", "models/tiny/1", "grants", "try")
CONTRAST = """() => {
  const channel = v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * channel(r / 255) + 0.7152 * channel(g / 255) + 0.0722 * channel(b / 255);
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("svg title, [hidden]")) continue;
    const style = getComputedStyle(element);
    const fore = luminance(parse(element.closest("svg") ? style.fill : style.color));
    const back = luminance(behind(element));
    const ratio = (Math.max(fore, back) + 0.05) / (Math.min(fore, back) + 0.05);
    if (ratio < 4.5) found.push([walker.currentNode.data.trim().slice(0, 40), ratio]);
  }
  return found;
}"""
UNLABELLED = """() => [...document.querySelectorAll("input, select, textarea, button, a, summary")]
  .filter(each => each.type !== "hidden" && !each.hidden)
  .filter(each => !(each.labels && each.labels.length) && !each.getAttribute("aria-label") && !each.textContent.trim())
  .map(each => each.outerHTML)"""
STRUCTURE = """() => ({
  main: document.querySelectorAll("main").length,
  h1: document.querySelectorAll("h1").length,
  lang: document.documentElement.lang,
  levels: [...document.querySelectorAll("h1, h2, h3")].map(each => Number(each.tagName[1])),
  tables: [...document.querySelectorAll("table")].every(each => each.caption && each.caption.textContent.trim()),
  scopes: [...document.querySelectorAll("th")].every(each => each.scope),
  ids: [...document.querySelectorAll("[id]")].map(each => each.id),
  described: [...document.querySelectorAll("[aria-describedby], [aria-labelledby]")].every(each =>
    document.getElementById(each.getAttribute("aria-describedby") || each.getAttribute("aria-labelledby"))),
  pictures: [...document.querySelectorAll("svg")].every(each => each.querySelector("title").textContent),
  scripts: document.querySelectorAll("script, style, [style], [onclick]").length,
})"""


@pytest.fixture(scope="module")
def strict(site: Site) -> Iterator[Server]:
    """A server whose guard refuses what is out of range."""
    with serving(site, "--guard", "range=refuse") as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def admin(site: Site) -> str:
    site.grant("operator", limit=500)
    return site.key("operator", Role.ADMIN)


@pytest.fixture(scope="module")
def cookies(strict: Server, admin: str) -> dict[str, str]:
    """Of an administrator who is logged in, for all tests that do not log out."""
    with entered(strict.http, admin) as client:
        return client.cookies


@pytest.fixture
def desk(browser: Any, strict: Server, cookies: dict[str, str]) -> Iterator[Tab]:
    """Their tab."""
    with tab(browser, strict.http, cookies) as found:
        yield found


@pytest.fixture
def client(strict: Server, cookies: dict[str, str]) -> Iterator[Client]:
    """What they send by hand."""
    with Client(strict.http, cookies) as found:
        yield found


def use_of(desk: Tab, subject: str) -> str:
    """How much of a subject's grant the page says is used."""
    desk.go(f"grants?subject={subject}")
    return str(desk.page.locator("td.use .figures").first.inner_text())


def test_the_whole_story(browser: Any, strict: Server, site: Site, admin: str) -> None:
    with tab(browser, strict.http) as desk:
        desk.enter(admin)
        tell_the_story(browser, desk, strict, site)
        desk.press("Log out")
        assert desk.heading() == "Log in"
        assert desk.go("grants") == 401


def tell_the_story(browser: Any, desk: Tab, strict: Server, site: Site) -> None:
    # a key, shown once
    desk.go("keys")
    desk.page.get_by_label("Subject").fill("story")
    desk.press("Make key")
    key = desk.page.get_by_label("Key", exact=True).input_value()
    assert re.fullmatch(r"intact_[A-Za-z0-9]{8}_[A-Za-z0-9_-]{43}", key)
    desk.go("keys")
    assert key.rpartition("_")[2] not in desk.page.content()
    # a grant
    desk.go("grants")
    form = desk.page.locator("form.grid")
    form.get_by_label("Subject").fill("story")
    form.get_by_label("Queries ever").fill("3")
    form.get_by_label("Shows of the output").select_option("label")
    desk.press("Add grant")
    assert "was added" in desk.page.get_by_role("status").inner_text()
    assert use_of(desk, "story") == "0 of 3"
    with tab(browser, strict.http) as caller:
        caller.enter(key)
        assert [link.inner_text() for link in caller.page.locator("nav a").all()] == ["Models", "Grants", "Try"]
        # an answer, counted
        caller.ask(ROW)
        assert caller.heading() == "Answer"
        assert caller.page.locator("pre").first.inner_text() == str(
            int(np.argmax(open_here(site)(np.array([ROW], np.float32))))
        )
        assert use_of(desk, "story") == "1 of 3"
        # a refusal by the guard, counted too
        caller.ask(STRANGE)
        assert caller.heading() == "Refused"
        assert "'range'" in caller.alert()
        assert use_of(desk, "story") == "2 of 3"
        # used up, while another form lies open
        form = Tab(page=caller.page.context.new_page(), http=caller.http)
        form.go("try")
        caller.ask(ROW)
        assert caller.heading() == "Answer"
        time.sleep(0.6)
        form.page.get_by_label("Numbers").fill(str(ROW))
        form.press("Ask")
        assert "grant used up" in form.alert()
        assert "Your grants say why" in form.page.locator("main").inner_text()
        assert use_of(desk, "story") == "3 of 3"
        # seen by who watches
        time.sleep(1.5)
        desk.go("refusals")
        row = desk.page.get_by_role("row").filter(has_text="story")
        assert "429 grant used up" in row.first.inner_text()
        assert desk.page.locator("svg.columns rect.later").count() >= 1
        desk.go("alarms")
        assert desk.page.get_by_role("row").filter(has_text="range").filter(has_text="refuse").count() == 1
        # revoked: the key's session is over within a second
        desk.go("keys")
        mine = desk.page.get_by_role("row").filter(has_text="story")
        mine.locator("summary").click()
        mine.get_by_role("button", name="for good").click()
        assert "was revoked" in desk.page.get_by_role("status").inner_text()
        assert caller.go("models") == 401


def test_what_the_page_shows_is_what_the_model_gives(desk: Tab, site: Site) -> None:
    desk.ask(ROW)
    shown = [float(text) for text in desk.page.locator("pre").first.inner_text().split(",")]
    np.testing.assert_array_equal(np.array(shown, np.float32), open_here(site)(np.array([ROW], np.float32))[0])


@pytest.mark.parametrize("kind", ["npy", "npz", "fortran"])
def test_a_file_is_asked_with(desk: Tab, site: Site, tmp_path: Path, kind: str) -> None:
    x, path = rows(4), tmp_path / f"x.{'npz' if kind == 'npz' else 'npy'}"
    if kind == "npz":
        np.savez(path, x=x.astype(np.float64))
    else:
        np.save(path, np.asfortranarray(x) if kind == "fortran" else x)
    desk.go("try")
    desk.page.get_by_label("Or a file").set_input_files(path)
    desk.press("Ask")
    shown = np.array(re.findall(r"-?\d[\d.e-]*", desk.page.locator("pre").first.inner_text()), np.float32)
    np.testing.assert_array_equal(shown.reshape(4, OUTPUTS), open_here(site)(x))


def test_receipt_and_bytes_are_downloaded_and_verified(
    desk: Tab, site: Site, started: Callable[..., Any], tmp_path: Path
) -> None:
    desk.ask(ROW)
    for name in ("receipt.json", "request.bin", "response.json"):
        with desk.page.expect_download() as download:
            desk.page.get_by_role("link", name=name).click()
        assert download.value.suggested_filename == name
        download.value.save_as(tmp_path / name)
    words = ["receipt", "verify", tmp_path / "receipt.json", "--key", site.keys / "signing.pub"]
    words += ["--request", tmp_path / "request.bin", "--response", tmp_path / "response.json"]
    told = started(*words)
    assert told.code == 0, told.out + told.err
    (tmp_path / "response.json").write_bytes((tmp_path / "response.json").read_bytes() + b" ")
    assert started(*words).code != 0
    outputs = json.loads((tmp_path / "response.json").read_text())["outputs"]
    assert outputs[0]["shape"] == [1, OUTPUTS]


def test_the_log_is_verified_while_one_watches(desk: Tab) -> None:
    for _ in range(2):
        desk.go("log")
        desk.press("Verify all of it now")
        outcome = desk.page.locator(".outcome")
        outcome.wait_for()
        assert "The log is what was signed" in outcome.inner_text()
        lines = desk.page.locator(".progress li").all_inner_texts()
        assert lines[0].startswith("Signed: ")
        assert len(lines) <= 43
    assert "were" in outcome.inner_text() or "those that were signed before" in outcome.inner_text()
    desk.go("log")
    assert "grant.add" in desk.page.locator("main").inner_text()
    assert "intact.local/log\n" in desk.page.locator("pre").text_content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_can_be_read_by_everybody(desk: Tab, scheme: str) -> None:
    desk.page.emulate_media(color_scheme=scheme)
    for page in PAGES:
        desk.go(page)
        look(desk)
    desk.page.context.clear_cookies()
    desk.go("login")
    look(desk)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_outcomes_can_be_read_by_everybody(desk: Tab, scheme: str) -> None:
    desk.page.emulate_media(color_scheme=scheme)
    for numbers in (ROW, STRANGE, [1.0]):
        desk.ask(numbers)
        look(desk)
    desk.go("grants?done=added-1&all=yes")
    desk.page.locator("summary").first.click()
    look(desk)
    desk.go("keys")
    desk.page.get_by_label("Subject").fill(f"look {scheme}")
    desk.press("Make key")
    look(desk)
    desk.go("nothing")
    look(desk)
    desk.go("log")
    desk.press("Verify all of it now")
    desk.page.locator(".outcome").wait_for()
    look(desk)


def look(desk: Tab) -> None:
    """Check a page for what keeps people from using it."""
    assert desk.page.evaluate(CONTRAST) == []
    assert desk.page.evaluate(UNLABELLED) == []
    found = desk.page.evaluate(STRUCTURE)
    assert (found["main"], found["h1"], found["lang"], found["scripts"]) == (1, 1, "en", 0)
    assert found["tables"]
    assert found["scopes"]
    assert found["described"]
    assert found["pictures"]
    assert len(set(found["ids"])) == len(found["ids"])
    levels = found["levels"]
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_a_narrow_window_needs_no_scrolling_sideways(
    browser: Any, strict: Server, site: Site, cookies: dict[str, str]
) -> None:
    site.grant(f"{'a-very-long-subject-' * 10}@example.com", not_after=2_000_000_000, rate="1000/minute")
    with tab(browser, strict.http, cookies, viewport={"width": 360, "height": 740}) as phone:

        def check(what: str) -> None:
            assert phone.page.evaluate("document.documentElement.scrollWidth") <= 360, what
            # what a table's cells are is still told where they are stacked
            tree = phone.page.locator("body").aria_snapshot()
            assert ("- table" in tree and "columnheader" in tree) or phone.page.locator("table").count() == 0, what

        for page in PAGES:
            phone.go(page)
            check(page)
        for numbers in (ROW, STRANGE):
            phone.ask(numbers)
            check(f"answer to {numbers}")
        phone.page.context.clear_cookies()
        phone.go("login")
        check("login")


def test_the_keyboard_is_enough(browser: Any, strict: Server, admin: str) -> None:
    with tab(browser, strict.http) as found:
        found.go("models")
        keys = found.page.keyboard

        def focused() -> str:
            return str(
                found.page.evaluate(
                    "(e => e.getAttribute('aria-label') || (e.labels && e.labels.length ? e.labels[0].textContent : "
                    "e.textContent.trim()))(document.activeElement)"
                )
            )

        def outline() -> str:
            return str(found.page.evaluate("getComputedStyle(document.activeElement).outlineStyle"))

        keys.press("Tab")
        assert focused() == "Skip to content"
        keys.press("Tab")
        assert focused() == "API key or token"
        assert outline() != "none"
        keys.type(admin)
        keys.press("Enter")
        found.page.get_by_role("button", name="Log out").wait_for()
        order = []
        for _ in range(9):
            keys.press("Tab")
            order.append(focused())
            assert outline() != "none"
        assert order == [
            *("Skip to content", "Models", "Grants", "Keys", "Refusals", "Alarms", "Log", "Try", "Log out"),
        ]
        found.go("models")
        keys.press("Tab")
        keys.press("Enter")  # skip to content
        keys.press("Tab")
        assert focused() == "tiny"
        found.go("try")
        found.page.get_by_label("Numbers").focus()
        keys.type(str(ROW))
        keys.press("Tab")
        keys.press("Tab")
        assert focused() == "Ask"
        keys.press("Enter")
        found.page.get_by_role("heading", name="Answer").wait_for()
        # what cannot be undone takes two steps
        found.go("grants?subject=operator")
        found.page.locator("summary").first.focus()
        keys.press("Enter")
        keys.press("Tab")
        assert re.fullmatch(r"Revoke grant \d+ for good", focused())


def test_everything_works_without_scripts(browser: Any, strict: Server, admin: str) -> None:
    with tab(browser, strict.http, java_script_enabled=False) as found:
        found.enter(admin)
        found.ask(ROW)
        assert found.heading() == "Answer"
        for page in PAGES:
            assert found.go(page) == 200


def test_a_page_of_grants_loads_anew_by_itself(desk: Tab, site: Site, strict: Server) -> None:
    key = site.caller("watched", limit=10)
    desk.go("grants?subject=watched&refresh=2")
    figures = desk.page.locator("td.use .figures")
    assert figures.inner_text() == "0 of 10"
    body = {"inputs": [{"name": "x", "shape": [1, INPUTS], "datatype": "FP32", "data": ROW}]}
    httpx.post(f"{strict.http}/v2/models/tiny/infer", headers={"authorization": f"Bearer {key}"}, json=body)
    desk.page.get_by_text("1 of 10").first.wait_for(timeout=10_000)
    assert desk.page.get_by_role("link", name="Stop").is_visible()


def test_a_session_is_good_on_every_replica(server: Server, strict: Server, admin: str) -> None:
    with entered(strict.http, admin) as client:
        cookies = client.cookies
        assert httpx.get(f"{server.http}/console/models", cookies=cookies).status_code == 200
        assert client.send("logout", {}).status_code == 303
        assert httpx.get(f"{server.http}/console/models", cookies=cookies).status_code == 401


def test_what_was_asked_for_comes_after_the_log_in(browser: Any, strict: Server, admin: str) -> None:
    with tab(browser, strict.http) as found:
        found.enter(admin, "refusals?span=week")
        assert found.page.url == f"{strict.http}/console/refusals?span=week"
        assert found.heading() == "Refusals"


def test_a_wrong_key_is_told_and_counted(browser: Any, strict: Server, site: Site) -> None:
    with tab(browser, strict.http) as found:
        found.go("models")
        found.page.get_by_label("API key or token").fill("intact_aaaaaaaa_" + "a" * 43)
        found.press("Log in")
        assert "no key or token" in found.alert()
        look(found)


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ("[1, 2", "not JSON"),
        ("[1, NaN]", "not JSON"),
        ('["a"]', "no number"),
        ("[[1, 2], [3]]", "ragged"),
        ("[1, 2, 3]", "has shape [1, 3], the model wants [-1, 8]"),
        ("[]", "empty"),
        ('{"y": [1]}', "the names are"),
        ("null", "no number"),
        ("[1e999]", "shape"),
        ("", "numbers or a file"),
    ],
)
def test_numbers_that_are_none_are_told(client: Client, numbers: str, told: str) -> None:
    answer = client.send("try", {"model": "tiny/1", "numbers": numbers})
    assert answer.status_code == 400
    assert told in answer.text.replace("&#39;", "'")


def test_a_grant_that_is_none_keeps_what_was_filled_in(client: Client, site: Site) -> None:
    good = {"subject": "x y", "model": site.digests["tiny"], "limit": "10", "shows": "full", "rate": "", "period": ""}
    for wrong in (
        {"subject": ""},
        {"limit": "many"},
        {"limit": "0"},
        {"model": "0" * 64},
        {"shows": "half"},
        {"rate": "5", "period": "year"},
        {"not_before": "tomorrow"},
        {"not_before": "2030-01-01T00:00", "not_after": "2029-01-01T00:00"},
        {"not_after": "2030-13-01T00:00"},
    ):
        answer = client.send("grants", {**good, **wrong})
        assert answer.status_code == 400, wrong
        assert "The grant was not added" in answer.text
    assert 'value="x y"' in answer.text
    answer = client.send("grants", {**good, "not_after": "2030-01-01T00:00", "rate": "5", "period": "hour"})
    assert answer.status_code == 303
    page = client.get(answer.headers["location"].removeprefix("/console/")).text
    assert "5/hour" in page
    assert "2030-01-01 00:00" in page


def test_the_page_of_a_verification_comes_whole(client: Client) -> None:
    token = client.token("log")
    with client.client.stream("POST", "/console/log/verify", data={"token": token}) as first:
        text = "".join(first.iter_text())
    assert "The log is what was signed" in text


def test_pages_are_turned(client: Client, site: Site) -> None:
    with site.store() as store:
        for _ in range(105):
            store.add_key("many", Role.CALLER)
    first, second = client.get("keys").text, client.get("keys?from=100").text
    assert first.count("<tr ") == 101
    assert "from=100" in first
    assert "Newer" in second
    log = client.get("log").text
    assert log.count("<tr ") == 26
    assert client.get("log?before=25").text.count("<tr ") == 26


def test_the_auditor_sees_all_and_changes_nothing(strict: Server, site: Site) -> None:
    key = site.key("auditor", Role.AUDITOR)
    with entered(strict.http, key) as client:
        for page in PAGES:
            answer = client.get(page)
            assert answer.status_code == (403 if page == "try" else 200)
            assert set(re.findall(r'method="post" action="([^"]+)"', answer.text)) <= {
                "/console/logout",
                "/console/log/verify",
            }


def test_the_caller_sees_their_own(strict: Server, site: Site) -> None:
    key = site.caller("own one", limit=7)
    site.grant("another one")
    with entered(strict.http, key) as client:
        for page in PAGES:
            assert client.get(page).status_code == (200 if page in OF_A_CALLER else 403), page
        text = client.get("grants?subject=another+one&all=yes").text
        assert "0 of 7" in text
        assert "another one" not in text
        assert client.get("models/other/1").status_code == 403
        assert "other" not in client.get("models").text


def test_heads_and_other_methods(strict: Server) -> None:
    with Client(strict.http) as client:
        answer = client.client.head("/console/models")
        assert (answer.status_code, answer.content) == (401, b"")
        style = client.get("style.css")
        assert (style.status_code, style.headers["content-type"]) == (200, "text/css; charset=utf-8")


def test_a_token_logs_in_with_the_role_that_its_subject_has_now(site: Site, tmp_path: Path) -> None:
    with issuer(tmp_path / "issuer") as told:
        told.new_key("one")
        options = ("--oidc-issuer", told.url, "--oidc-audience", AUDIENCE, "--oidc-ca", told.ca_file)
        with serving(site, *options) as server, site.store() as store:
            store.set_role("oidc:alice", Role.ADMIN)
            with entered(server.http, told.token("one")) as client:
                assert client.get("keys").status_code == 200
                assert "oidc:alice" in client.get("models").text
                store.set_role("oidc:alice", Role.CALLER)
                assert client.get("keys").status_code == 403
            with Client(server.http) as stranger:
                assert stranger.enter(told.token("one", aud="another")).status_code == 401


def test_no_console_where_none_is_wanted(site: Site) -> None:
    with serving(site, "--no-console") as server:
        assert httpx.get(f"{server.http}/console/models").headers["content-type"] == "application/json"


def test_an_upload_may_be_as_large_as_it_says(client: Client) -> None:
    file = io.BytesIO()
    np.save(file, np.zeros((1024, INPUTS), np.float32))
    files = {"file": ("x.npy", file.getvalue())}
    answer = client.send("try", {"model": "tiny/1", "numbers": ""}, files=files)
    assert answer.status_code == 200
    assert f"The first 100 of {1024 * OUTPUTS:,} values" in answer.text
