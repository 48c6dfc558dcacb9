"""Two servers on one PostgreSQL and one Redis behind nginx: counted once, recorded once, whatever dies."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

import httpx
import pytest

from intact import ledger
from intact.crypto import VerifyingKey
from intact.serve.state import Role
from support.callers import INFER, Client, Crowd, Reply, Rest, Rpc, crowd, until
from support.console import entered
from support.fleet import Fleet, Replica, fleet
from support.serving import rows


@pytest.fixture(scope="module")
def site_of_two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet")) as found:
        yield found


@pytest.fixture
def two(site_of_two: Fleet) -> Fleet:
    """The servers, both of them well."""
    for each in site_of_two.replicas:
        if each.process is None or each.process.poll() is not None:
            each.start()
            each.ready()
    return site_of_two


def clients(two: Fleet, key: str, each: int) -> list[Client]:
    """So many over HTTP, and as many over gRPC, all through nginx."""
    x = rows()
    return [*(Rest(two.http, key, x) for _ in range(each)), *(Rpc(two.grpc, key, x) for _ in range(each))]


def answered(each: Replica, key: str) -> float:
    """How many requests a server answered since it was started, as it says itself."""
    text = httpx.get(f"{each.http}/metrics", headers={"authorization": f"Bearer {key}"}).text
    return sum(float(number) for number in re.findall(r"^intact_answer_seconds_count\S* (\S+)$", text, re.MULTILINE))


def ask_all(asking: Sequence[Client], times: int) -> list[Reply]:
    """Have everybody ask so often, at the same time."""
    found: list[list[Reply]] = [[] for _ in asking]

    def ask(client: Client, replies: list[Reply]) -> None:
        replies.extend(client.ask() for _ in range(times))
        client.close()

    threads = [threading.Thread(target=ask, args=pair) for pair in zip(asking, found, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return list(chain.from_iterable(found))


def others(replies: Sequence[Reply]) -> list[Reply]:
    """What is neither an answer nor the word that there will be none."""
    return [each for each in replies if each.status not in (200, 429)]


def check_recorded(two: Fleet, receipts: Sequence[bytes], key: str) -> None:
    """Prove with the log as an auditor gets it, through nginx, that it has what every receipt says, where it says."""
    verifier = VerifyingKey.from_pem((two.site.keys / "signing.pub").read_bytes())
    read = [ledger.read_receipt(receipt, [verifier]) for receipt in receipts]
    assert len({each.index for each in read}) == len(read)
    files: dict[str, bytes] = {}
    with httpx.Client(base_url=f"{two.http}/log/", headers={"authorization": f"Bearer {key}"}) as client:

        def fetch(path: str, _: int) -> bytes:
            if path not in files:
                answer = client.get(path)
                assert answer.status_code == 200, path
                files[path] = answer.content
            return files[path]

        note = client.get("checkpoint").content
        signed = ledger.read_checkpoint(note, verifier)
        log = ledger.TiledLog(fetch=fetch, size=signed.checkpoint.size)
        ledger.check_log(signed.checkpoint, log)
        for each in read:
            proof = ledger.prove(each, signed.checkpoint, note.decode(), log)
            ledger.check_proof(each, proof, verifier)


def check_count(two: Fleet, subject: str, seen: Crowd, lost: int = 0) -> None:
    """Hold what a grant says was used against the log, and against what callers saw."""
    with two.site.store() as store:
        (grant,) = store.grants(subject)
        events = chain.from_iterable(store.events(at, at + 4096) for at in range(0, store.size(), 4096))
        recorded = [ledger.Event.decode(event) for _, event in events]
    mine = [each for each in recorded if each.type == "answer" and each.fields["grant"] == grant.id]
    assert grant.used == len(mine)
    assert grant.terms.limit is None or grant.used <= grant.terms.limit
    assert len(seen.answers()) <= grant.used <= len(seen.answers()) + lost


def test_a_grant_of_n_gives_exactly_n_over_both(two: Fleet) -> None:
    key, auditor = two.site.caller("exact", limit=200), two.site.key("auditor", Role.AUDITOR)
    before = [answered(each, auditor) for each in two.replicas]
    replies = ask_all(clients(two, key, 4), 40)
    statuses = [each.status for each in replies]
    assert (statuses.count(200), statuses.count(429)) == (200, 120), others(replies)
    after = [answered(each, auditor) for each in two.replicas]
    assert all(now > then for now, then in zip(after, before, strict=True))
    with two.site.store() as store:
        assert store.grants("exact")[0].used == 200
    check_recorded(two, [each.receipt for each in replies if each.receipt is not None], auditor)


def test_bursts_are_counted_over_both_together(two: Fleet) -> None:
    key = two.site.caller("fast", rate="10/hour")
    replies = ask_all([Rest(each.http, key, rows()) for each in two.replicas], 10)
    statuses = [each.status for each in replies]
    assert (statuses.count(200), statuses.count(429)) == (10, 10), others(replies)


@pytest.mark.parametrize(("what", "status"), [("key", 401), ("grant", 403)])
def test_what_is_revoked_is_refused_by_both_within_a_second(two: Fleet, what: str, status: int) -> None:
    key, grant = two.site.key(f"revoked-{what}"), two.site.grant(f"revoked-{what}")
    with each_way(two, key) as asking:
        assert [client.ask().status for client in asking] == [200] * 4
        with two.site.store() as store:
            if what == "key":
                store.revoke_key(key.split("_")[1])
            else:
                store.revoke_grant(grant)
            end = time.monotonic() + 1.0
        while any(client.ask().status != status for client in asking):
            assert time.monotonic() < end, "it was still answered after a second"


@pytest.mark.parametrize(
    ("terms", "first", "then"),
    [({"limit": 4}, 200, 429), ({"not_after": 2}, 200, 403), ({"not_before": 2}, 403, 200)],
    ids=["used up", "expired", "too early"],
)
def test_both_see_within_a_second_what_a_grant_says(two: Fleet, terms: dict[str, int], first: int, then: int) -> None:
    now = int(time.time())
    given = {name: value if name == "limit" else now + value for name, value in terms.items()}
    key = two.site.caller(f"terms-{first}-{then}", **given)
    with each_way(two, key) as asking:
        assert [client.ask().status for client in asking] == [first] * 4
        while "limit" not in terms and time.time() < now + 3:  # the last second that is named belongs to it still
            time.sleep(0.05)
        end = time.monotonic() + 1.0
        while any(client.ask().status != then for client in asking):
            assert time.monotonic() < end, "a second was not enough"


@contextmanager
def each_way(two: Fleet, key: str) -> Iterator[list[Client]]:
    """A client of each server, past nginx, over HTTP and over gRPC."""
    asking: list[Client] = []
    for each in two.replicas:
        asking += [Rest(each.http, key, rows()), Rpc(each.grpc, key, rows())]
    try:
        yield asking
    finally:
        for client in asking:
            client.close()


def test_a_killed_replica_loses_nothing_it_acknowledged(two: Fleet) -> None:
    key, auditor = two.site.caller("killed", limit=100_000), two.site.key("auditor", Role.AUDITOR)
    killed, other = two.replicas
    asking = clients(two, key, 3)
    with crowd(asking) as seen:
        seen.wait(100)
        killed.stop(signal.SIGKILL)
        seen.wait(100)  # nginx goes on with the other
        killed.start()
        killed.ready()
        until(lambda: answered(killed, auditor) > 10, 20)  # and takes the first one back
    statuses = [each.status for each in seen.replies]
    assert set(statuses) <= {200, 502, 503}
    lost = len(statuses) - statuses.count(200)
    assert lost <= len(asking), [each for each in seen.replies if each.status != 200]
    assert answered(other, auditor) > 0
    check_count(two, "killed", seen, lost)
    check_recorded(two, seen.answers(), auditor)


def test_nothing_is_answered_without_the_database_and_all_go_on_with_it(two: Fleet) -> None:
    key, auditor = two.site.caller("patient"), two.site.key("auditor", Role.AUDITOR)
    with each_way(two, key) as direct, crowd(clients(two, key, 2)) as seen:
        seen.wait(40)
        two.postgres.stop(signal.SIGQUIT)
        stopped = len(seen.replies)
        until(lambda: all(client.ask().status == 503 for client in direct), 5)
        quiet = len(seen.replies)
        for _ in range(5):
            assert [client.ask().status for client in direct] == [503] * 4
            time.sleep(0.1)
        assert {each.status for each in seen.replies[quiet + 4 :]} == {503}  # those under way were asked before
        two.postgres.start()
        until(lambda: all(client.ask().status == 200 for client in direct), 20)
        seen.wait(40)
    assert {each.status for each in seen.replies} == {200, 503}
    assert stopped <= quiet
    check_recorded(two, seen.answers(), auditor)


def test_a_replica_that_is_stopped_finishes_what_it_began(two: Fleet) -> None:
    key, auditor = two.site.caller("drained"), two.site.key("auditor", Role.AUDITOR)
    stopped = two.replicas[1]
    with crowd(clients(two, key, 3)) as seen:
        seen.wait(100)
        process = stopped.process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        seen.wait(100)
    assert [each for each in seen.replies if each.status != 200] == []
    check_count(two, "drained", seen)
    check_recorded(two, seen.answers(), auditor)


def test_a_server_that_is_not_there_is_told_as_the_protocol_has_it(two: Fleet) -> None:
    key = two.site.caller("alone")
    for each in two.replicas:
        each.stop(signal.SIGKILL)
    rest, rpc = ask_all(clients(two, key, 1), 1)
    assert (rest.status, rpc.status) == (502, 503)
    assert "no replica answered" in rest.text
    assert "no replica answered" in rpc.text


def test_large_bodies_go_through_and_larger_ones_do_not(two: Fleet) -> None:
    key = two.site.caller("large")
    body = b" " * (2**20 * 16)
    replies = ask_all([Rest(two.http, key, rows(1000)), Rpc(two.grpc, key, rows(1000))], 1)
    assert [each.status for each in replies] == [200, 200]
    headers = {"authorization": f"Bearer {key}"}
    assert httpx.post(two.http + INFER, content=body, headers=headers).status_code == 400
    larger = httpx.post(two.http + INFER, content=body + b" ", headers=headers)
    assert (larger.status_code, list(larger.json())) == (413, ["error"])


def test_the_console_is_one_whichever_replica_answers(two: Fleet) -> None:
    with two.site.store() as store:
        key, info = store.add_key("over both", Role.ADMIN)
    with entered(two.http, key.value.decode()) as client:
        assert [client.get("grants").status_code for _ in range(20)] == [200] * 20
        assert all(client.send("keys", {"subject": "made", "role": "caller"}).status_code == 200 for _ in range(4))
        assert "The log is what was signed" in client.send("log/verify", {}).text
        with two.site.store() as store:
            store.revoke_key(info.id)
        assert [client.get("grants").status_code for _ in range(6)] == [401] * 6
