"""Who is not let in, and who was let in for less: against the console, over HTTP and in a real browser."""

from __future__ import annotations

import http.server
import io
import re
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import httpx
import numpy as np
import pytest

from intact.serve.console.app import MOST_AT_ONCE, POLICY
from intact.serve.console.login import RATE
from intact.serve.console.pages import ROUTES
from intact.serve.console.visit import Route
from intact.serve.state import Role, Terms
from support.console import ROW, Client, chromium, entered, tab
from support.serving import INPUTS, Server, Site, serving

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "{{ 7*7 }}{% raw %}",
    "</title><style>*{display:none}</style>",
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@pytest.fixture(scope="module")
def admin(site: Site, server: Server) -> Iterator[Client]:
    """An administrator who is logged in."""
    site.grant("trespassed", limit=100_000)
    with entered(server.http, site.key("trespassed", Role.ADMIN)) as client:
        yield client


@pytest.fixture(scope="module")
def of(site: Site, server: Server, admin: Client) -> Iterator[dict[Role, Client]]:
    """Somebody who is logged in, by role."""
    with (
        entered(server.http, site.key("auditor", Role.AUDITOR)) as auditor,
        entered(server.http, site.caller("caller")) as caller,
    ):
        yield {Role.ADMIN: admin, Role.AUDITOR: auditor, Role.CALLER: caller}


@pytest.fixture(scope="module")
def tls_ended(site: Site) -> Iterator[Server]:
    """A server behind something that ends TLS."""
    with serving(site, "--plaintext") as found:
        yield found


def address(route: Route) -> str:
    """An address of a route."""
    pattern = route.path.pattern
    return "models/tiny/1" if "(" in pattern else pattern.removeprefix("/console/")


def all_of(site: Site) -> tuple[int, int, int]:
    """How much there is that a console can change."""
    with site.store() as store:
        keys, grants = store.keys(), store.grants()
    return len(keys), len(grants), sum(each.revoked is not None for each in (*keys, *grants))


NEW_GRANT = {"subject": "mallory", "limit": "", "shows": "full", "rate": "", "period": "minute"}


# ---- nobody


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {address(route)}")
@pytest.mark.parametrize("cookie", [None, "x", "a" * 43, "a" * 10_000])
def test_without_a_session_every_address_is_the_form_to_log_in(
    server: Server, site: Site, route: Route, cookie: str | None
) -> None:
    cookies = {} if cookie is None else {"intact-session": cookie}
    answer = httpx.request(route.method, f"{server.http}/console/{address(route)}", cookies=cookies)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "<h1>Log in</h1>" in answer.text
    assert site.digests["tiny"][:12] not in answer.text
    assert "trespassed" not in answer.text


def test_a_credential_in_a_header_is_no_session(server: Server, site: Site) -> None:
    headers = {"authorization": f"Bearer {site.key('header', Role.ADMIN)}"}
    assert httpx.get(f"{server.http}/console/keys", headers=headers).status_code == 401


def test_a_session_is_no_credential_elsewhere(server: Server, admin: Client) -> None:
    for path in ("/v2", "/v2/models/tiny", "/log/checkpoint", "/metrics"):
        assert httpx.get(server.http + path, cookies=admin.cookies).status_code == 401
    body = {"inputs": [{"name": "x", "shape": [1, INPUTS], "datatype": "FP32", "data": ROW}]}
    answer = httpx.post(f"{server.http}/v2/models/tiny/infer", cookies=admin.cookies, json=body)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        *("../log/checkpoint", "%2e%2e/log/checkpoint", "..%2flog/checkpoint", "/models", "models%00", "models/"),
        *("models/tiny/1/../../keys", "style.css/../keys", "templates/base.html.j2", "style.css%2f..%2fkeys"),
    ],
)
def test_addresses_do_not_lead_elsewhere(server: Server, admin: Client, path: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:  # httpx would tidy it up
        cookie = "; ".join(f"{name}={value}" for name, value in admin.cookies.items())
        head = f"GET /console/{path} HTTP/1.1\r\nhost: x\r\ncookie: {cookie}\r\nconnection: close\r\n\r\n"
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.split()[1] in (b"404", b"400", b"401")


def test_keys_cannot_be_guessed_at_leisure(tls_ended: Server, site: Site) -> None:
    most = int(RATE.partition("/")[0])
    with Client(tls_ended.http) as client:
        token, cookie = login_form(client)
        good = log_in(client, token, cookie, site.key("secure"))
        answers = [log_in(client, token, cookie, "intact_aaaaaaaa_" + "a" * 43) for _ in range(most + 5)]
    assert good.status_code == 303
    assert re.match(r"__Host-intact-session=.*; Path=/; Secure; HttpOnly; SameSite=Strict", good.headers["set-cookie"])
    statuses = [answer.status_code for answer in answers]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert statuses.count(401) < most


def login_form(client: Client) -> tuple[str, str]:
    """Token and cookie of the form to log in."""
    page = client.client.get("/console/login")
    token = re.search(r'name="token" value="([^"]+)"', page.text)
    assert token is not None
    return token[1], page.headers["set-cookie"].partition(";")[0]


def log_in(client: Client, token: str, cookie: str, key: str) -> httpx.Response:
    fields = {"token": token, "credential": key, "next": ""}
    return client.client.post("/console/login", data=fields, headers={"cookie": cookie})


# ---- somebody else's browser


@pytest.mark.parametrize("token", [None, "", "x", "login", "other"])
def test_a_form_without_the_sessions_token_does_nothing(
    site: Site, server: Server, of: dict[Role, Client], token: str | None
) -> None:
    admin = of[Role.ADMIN]
    fields = {**NEW_GRANT, "model": site.digests["tiny"]}
    if token == "login":
        with Client(server.http) as stranger:
            fields["token"] = stranger.token("login")
    elif token == "other":
        fields["token"] = of[Role.CALLER].token()
    elif token is not None:
        fields["token"] = token
    before = all_of(site)
    for path in ("grants", "grants/revoke", "keys", "keys/revoke", "log/verify", "try", "logout"):
        assert admin.post(path, {**fields, "grant": "1", "role": "admin"}).status_code == 403
    assert all_of(site) == before
    assert admin.get("models").status_code == 200


@pytest.mark.parametrize("site_", ["cross-site", "same-site"])
def test_what_a_browser_says_comes_from_elsewhere_is_refused(admin: Client, site_: str) -> None:
    for path in ("keys", "login", "logout"):
        answer = admin.send(path, {"subject": "m", "role": "admin"}, headers={"sec-fetch-site": site_})
        assert answer.status_code == 403


def test_logging_in_needs_its_form(server: Server, site: Site) -> None:
    key = site.key("forced", Role.ADMIN)
    with Client(server.http) as client:
        token = client.token("login")
    with Client(server.http) as other:  # nothing of the form's cookie
        answer = other.post("login", {"token": token, "credential": key, "next": ""})
        assert answer.status_code == 403
        assert "intact-session" not in answer.headers.get("set-cookie", "")
        other.token("login")
        assert other.post("login", {"token": token, "credential": key, "next": ""}).status_code == 403


@pytest.mark.parametrize("known", [False, True])
def test_a_session_that_was_planted_is_not_taken_over(server: Server, site: Site, known: bool) -> None:
    """An intruder has a victim's browser begin with a cookie of theirs, made up or good."""
    planted = "b" * 43
    if known:
        with entered(server.http, site.key("intruder")) as intruder:
            planted = intruder.cookies["intact-session"]
    with Client(server.http) as victim:
        token, cookie = login_form(victim)
        fields = {"token": token, "credential": site.key("victim"), "next": ""}
        headers = {"cookie": f"{cookie}; intact-session={planted}"}
        answer = victim.client.post("/console/login", data=fields, headers=headers)
    assert answer.status_code == 303
    fresh = re.search(r"intact-session=([^;]+)", answer.headers["set-cookie"])
    assert fresh is not None
    assert fresh[1] != planted
    for cookie_, status in ((fresh[1], 200), (planted, 401)):
        assert httpx.get(f"{server.http}/console/models", cookies={"intact-session": cookie_}).status_code == status


def test_two_sessions_in_one_request_are_none(server: Server, admin: Client) -> None:
    own = admin.cookies["intact-session"]
    for header in (f"intact-session={own}; intact-session={own}", f"intact-session={'c' * 43}; intact-session={own}"):
        assert httpx.get(f"{server.http}/console/models", headers={"cookie": header}).status_code == 401


@pytest.mark.parametrize(
    "wanted",
    [
        *(
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "/console/../v2",
            "/console/%0d%0aset-cookie:a=b",
        ),
        *("/console/x\r\nset-cookie: a=b", "javascript:alert(1)", "/console/login", "/console/logout", "/v2", ""),
        *("/console//evil.example/..", "/console/" + "a" * 5000),
    ],
)
def test_a_log_in_leads_to_a_page_of_ours(server: Server, site: Site, wanted: str) -> None:
    with Client(server.http) as client:
        answer = client.enter(site.key("led"), wanted)
        assert answer.status_code == 303
        assert re.fullmatch(r"/console/[a-z0-9/.]*", answer.headers["location"])
        assert "a=b" not in str(answer.headers)


def test_nothing_is_framed_sniffed_or_kept(server: Server, admin: Client) -> None:
    with Client(server.http) as stranger:
        answers = [client.get(path) for client in (admin, stranger) for path in ("models", "nothing", "log?x=%ff")]
        answers += [admin.post("keys", {}), admin.send("log/verify", {}), admin.get("style.css"), admin.get("icon.svg")]
    for answer in answers:
        for name, value in HEADERS.items():
            assert answer.headers[name] == value, answer.request.url
        kept = answer.request.url.path in ("/console/style.css", "/console/icon.svg")
        assert (answer.headers["cache-control"] == "no-store") != kept
        assert "strict-transport-security" not in answer.headers  # it is not TLS


def test_over_tls_cookies_never_go_in_the_clear(tls_ended: Server) -> None:
    answer = httpx.get(f"{tls_ended.http}/console/login")
    assert answer.headers["strict-transport-security"].startswith("max-age=")
    assert re.match(r"__Host-intact-login=.*; Path=/; Secure; HttpOnly; SameSite=Strict", answer.headers["set-cookie"])


# ---- somebody with less


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.CALLER])
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {address(route)}")
def test_pages_of_another_role_are_refused(site: Site, of: dict[Role, Client], route: Route, role: Role) -> None:
    client, before = of[role], all_of(site)
    model = "tiny/1" if route.here == "try" else site.digests["tiny"]
    fields = {**NEW_GRANT, "model": model, "role": "admin", "grant": "1", "key": "aaaaaaaa"}
    answer = client.get(address(route)) if route.method == "GET" else client.send(address(route), fields)
    assert (answer.status_code == 403) == (role not in route.roles)
    assert all_of(site) == before


def test_a_caller_sees_nothing_of_others(site: Site, of: dict[Role, Client]) -> None:
    site.grant("neighbour", "other")
    caller = of[Role.CALLER]
    for page in ("grants", "grants?subject=neighbour", f"grants?model={site.digests['other']}", "models", "try"):
        text = caller.get(page).text
        assert "neighbour" not in text
        assert site.digests["other"][:12] not in text
    for path in ("models/other/1", "models/none/1"):
        assert caller.get(path).status_code == 403
    answer = caller.send("try", {"model": "other/1", "numbers": str(ROW)})
    assert answer.status_code == 403


def test_trying_is_counted_and_refused_as_any_request(site: Site, server: Server) -> None:
    with entered(server.http, site.caller("spender", limit=2)) as client:
        statuses = [client.send("try", {"model": "tiny/1", "numbers": str(ROW)}).status_code for _ in range(4)]
    assert statuses[:2] == [200, 200]
    assert statuses[2:] == [429, 429]
    with site.store() as store:
        (grant,) = store.grants("spender")
    assert grant.used == 2


def test_a_revoked_keys_session_is_over_within_a_second(site: Site, server: Server) -> None:
    with site.store() as store:
        text, info = store.add_key("gone", Role.ADMIN)
    with entered(server.http, text.value.decode()) as client:
        assert client.get("keys").status_code == 200
        token = client.token()
        with site.store() as store:
            store.revoke_key(info.id)
        end = time.monotonic() + 1
        while client.get("keys").status_code != 401:
            assert time.monotonic() < end
        assert client.post("keys", {"token": token, "subject": "m", "role": "admin"}).status_code == 401


def test_logging_out_is_for_good(site: Site, server: Server) -> None:
    with entered(server.http, site.key("left")) as client:
        cookies = client.cookies
        assert client.send("logout", {}).status_code == 303
    assert httpx.get(f"{server.http}/console/models", cookies=cookies).status_code == 401


# ---- too much, or something else


def send_raw(server: Server, head: str, body: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        with suppress(OSError):  # it hangs up, as it may
            connection.sendall(body)
        connection.settimeout(10)
        try:
            return connection.recv(65536)
        except ConnectionResetError:
            return b"HTTP/1.1 413 "


@pytest.mark.parametrize("path", ["keys", "try", "login"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_not_read(server: Server, admin: Client, path: str, chunked: bool) -> None:
    cookie = "; ".join(f"{name}={value}" for name, value in admin.cookies.items())
    size = 2**22
    length = "transfer-encoding: chunked" if chunked else f"content-length: {size}"
    body = b"%x\r\n" % size + bytes(size) + b"\r\n0\r\n\r\n" if chunked else bytes(size)
    head = f"POST /console/{path} HTTP/1.1\nhost: x\ncookie: {cookie}\ncontent-type: multipart/form-data\n{length}"
    assert send_raw(server, head, body).split()[1] == b"413"
    assert admin.get("models").status_code == 200


def test_uploads_are_bounded_and_hold_nothing_but_numbers(admin: Client) -> None:
    def npy(value: Any, **options: Any) -> bytes:
        file = io.BytesIO()
        np.save(file, value, **options)
        return file.getvalue()

    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy(np.zeros((2**22, INPUTS), np.float32)))
    good = npy(np.zeros((1, INPUTS), np.float32))
    lie = good.replace(b"(1, 8), }" + b" " * 9, b"(9999999999, 8), }")
    pickle = npy(np.array([print], dtype=object), allow_pickle=True)
    start = time.monotonic()
    for name, data in {"bomb": bomb.getvalue(), "lie": lie, "pickle": pickle, "noise": bytes(1000)}.items():
        answer = admin.send("try", {"model": "tiny/1", "numbers": ""}, files={"file": (f"{name}.npy", data)})
        assert answer.status_code == 400, name
    files = {"file": ("x.npy", bytes(2**20 + 1))}
    assert admin.send("try", {"model": "tiny/1"}, files=files).status_code == 413
    many = {f"f{number}": ("x", b"1") for number in range(50)}
    assert admin.send("try", {"model": "tiny/1"}, files=many).status_code == 400
    assert time.monotonic() - start < 10
    assert admin.send("try", {"model": "tiny/1", "numbers": "[" * 60_000}).status_code == 400


def test_who_sends_slowly_keeps_nobody_out(server: Server, admin: Client) -> None:
    head = b"POST /console/login HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n"
    head += b"content-type: application/x-www-form-urlencoded\r\n\r\na="
    with ExitStack() as stack:
        for _ in range(MOST_AT_ONCE + 8):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10)).sendall(head)
        assert admin.get("models").status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_do_nothing(admin: Client, method: str) -> None:
    assert admin.client.request(method, "/console/keys").status_code == 405


def test_the_log_of_the_server_holds_no_secret(server: Server, site: Site) -> None:
    key = site.key("quiet", Role.ADMIN)
    with entered(server.http, key) as client:
        made = client.send("keys", {"subject": "shown once", "role": "caller", "not_after": ""})
        shown = re.search(r"intact_\w{8}_[\w-]{43}", made.text)
        assert shown is not None
        assert made.headers["cache-control"] == "no-store"
        cookie = client.cookies["intact-session"]
        client.get(f"nothing?{key}")
    said = server.errors.read_text()
    for secret in (key, shown[0], cookie):
        assert secret not in said


# ---- in a real browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@contextmanager
def other_site(page: str) -> Iterator[str]:
    """A site of another origin that serves one page."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None:
            pass

    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield f"http://localhost:{found.server_port}/"
    found.shutdown()
    found.server_close()
    thread.join()


@pytest.mark.browser
def test_hostile_names_stay_names(browser: Any, site: Site, server: Server, admin: Client) -> None:
    with site.store() as store:
        for name in HOSTILE:
            store.add_grant(name, site.digests["tiny"], Terms())
            store.add_key(name)
            store.count_refusal("", name, name[:64])
            store.count_refusal(name[:64], name, "403")
            store.count_alarm(name[:64], name[:64], name[:16])
    pages = ["grants", "grants?all=yes", "keys", "refusals?span=hour", "alarms", "log", "try"]
    pages += [f"grants?subject={httpx.QueryParams({'a': name})}" for name in HOSTILE]
    pages += [
        f"{page}?{httpx.QueryParams({field: HOSTILE[0]})}"
        for page in ("grants", "keys", "log", "refusals", "try")
        for field in ("subject", "model", "done", "from", "before", "span", "revoked", "refresh")
    ]
    with tab(browser, server.http, admin.cookies) as found:
        for page in pages:
            assert found.go(page) == 200
            assert found.page.locator("main script, main img, main style, [onload], [onerror]").count() == 0
            assert found.page.locator("h1").inner_text() != "49"
        found.go("grants")
        assert HOSTILE[0] in found.page.locator("main").inner_text()
        found.go("try")
        found.page.get_by_label("Numbers").fill(f"</textarea>{HOSTILE[0]}")
        found.press("Ask")
        assert found.page.get_by_label("Numbers").input_value() == f"</textarea>{HOSTILE[0]}"
        found.go("grants")
        found.page.locator("form.grid").get_by_label("Subject").fill(HOSTILE[1])
        found.page.get_by_label("Queries ever").fill(HOSTILE[2][:20])
        found.press("Add grant")
        assert "was not added" in found.alert()
        found.go("keys")
        found.page.get_by_label("Subject").fill(HOSTILE[0])
        found.press("Make key")
        assert HOSTILE[0] in found.heading()


@pytest.mark.browser
def test_another_site_can_neither_send_forms_nor_frame(browser: Any, site: Site, server: Server, admin: Client) -> None:
    page = f"""<form method=post action="{server.http}/console/keys">
      <input name=subject value=mallory><input name=role value=admin><button>go</button></form>
      <iframe src="{server.http}/console/keys"></iframe>"""
    before = all_of(site)
    with other_site(page) as elsewhere:
        context = browser.new_context()
        context.add_cookies(
            [
                {"name": name, "value": value, "url": f"{server.http}/console", "sameSite": "Strict"}
                for name, value in admin.cookies.items()
            ]
        )
        found = context.new_page()
        said: list[str] = []
        found.on("console", lambda message: said.append(message.text))
        found.goto(elsewhere)
        found.wait_for_timeout(300)
        assert any("frame" in text.lower() for text in said)
        assert not any("<h1>Keys" in frame.content() for frame in found.frames[1:])
        found.get_by_role("button", name="go").click()
        found.wait_for_load_state()
        assert found.locator("h1").inner_text() in ("Log in", "Not possible")
        context.close()
    assert all_of(site) == before
