"""Charges grants from a process of its own, as a server does: `python -m support.charging URL GRANT CALLERS TRIES`.

It prints a line for each charge that was acknowledged, at once, and at the end how many were not.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from intact.ledger import Event
from intact.serve.errors import GrantRefused, StateUnavailable
from intact.serve.state import Charge, Settler, Store

TESTS = Path(__file__).parents[1]


def event(text: str) -> bytes:
    """An event that says nothing but `text`."""
    return Event(type="answer", time_ms=0, subject="alice", fields={"request": text}).encode()


def start(url: str, grant: int, *, callers: int, tries: int) -> subprocess.Popen[str]:
    """Start this module as a process."""
    words = [sys.executable, "-m", "support.charging", url, str(grant), str(callers), str(tries)]
    return subprocess.Popen(
        words, cwd=TESTS, env={**os.environ, "PYTHONPATH": str(TESTS)}, stdout=subprocess.PIPE, text=True
    )


async def charge(store: Store, grant: int, callers: int, tries: int) -> dict[str, int]:
    """Charge with so many callers at a time, each so often; return how often each answer came."""
    settler = Settler(store)
    found = {"granted": 0, "denied": 0, "lost": 0}

    async def call(caller: int) -> None:
        for number in range(tries):
            text = f"{os.getpid()}-{caller}-{number}"
            try:
                entry = await settler.settle(Charge(grant, event(text), "jwt:test"))
            except GrantRefused:
                found["denied"] += 1
            except StateUnavailable:
                found["lost"] += 1
                await asyncio.sleep(0.05)
            else:
                found["granted"] += 1
                print(json.dumps([entry.index, entry.salt.hex(), text]), flush=True)

    await asyncio.gather(*(call(caller) for caller in range(callers)))
    await settler.drain()
    return found


def main() -> None:
    """Charge as the command line says."""
    url, grant, callers, tries = sys.argv[1], *map(int, sys.argv[2:])
    store = Store.open(url)
    print(json.dumps(asyncio.run(charge(store, grant, callers, tries))), flush=True)
    store.close()


if __name__ == "__main__":
    main()
