"""Which grant a request uses. Answers are remembered for half a second; settling looks again."""

from __future__ import annotations

import time
from collections.abc import Callable

from intact.serve.access.remembered import Remembered
from intact.serve.errors import GrantRefused, Reason
from intact.serve.state import Grant, Principal, Store


class Permits:
    """Finds grants. Belongs to one event loop.

    Args:
        store: Where they are.
        clock: Returns seconds since 1970.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._known: Remembered[tuple[str, str, str], Grant | None] = Remembered("grants")

    async def find(self, principal: Principal, model: str, action: str = "infer") -> Grant:
        """Return a grant by which `principal` may do `action` with the model of digest `model` now.

        How much of it is used may be half a second old: only settling knows.

        Raises:
            GrantRefused: There is none, or none now; 403 or 429, see `status`.
            StateUnavailable: The database cannot be reached. 503.
            Busy: Too many are being looked up. 503.
        """
        key = (principal.subject, model, action)
        grant = await self._known.get(key, lambda: self._store.find_grant(*key))
        if grant is None:
            raise GrantRefused(Reason.NO_GRANT)
        reason = grant.refusal(self._clock())
        if reason is not None:
            raise GrantRefused(reason)
        return grant

    def close(self) -> None:
        """End the threads that look up."""
        self._known.close()
