"""One request from credential to receipt, whatever wire it came over.

1. Who asks?                           401
2. Which grant do they use?            403, 429
3. Not too fast?                       429
4. Parse what they sent, bounded       400
5. Guard the input, run, guard the output; what the guard refuses goes on as a refusal, 422
6. Show as much of the output as the grant says, and write the response's bytes
7. Settle: one durable transaction looks at grant and credential again, counts, and records. 403, 429, 503
8. Sign the receipt

Nothing of an answer leaves before step 7 is done, so what was answered and what is recorded cannot differ.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from intact.errors import IntactError
from intact.guard import Finding, Probing
from intact.ledger.answer import Judged, Verdict, encode_answer
from intact.ledger.checkpoint import CheckpointSigner
from intact.ledger.receipt import Issuer
from intact.serve.access import Authenticator, Limiter, Permits
from intact.serve.batching import Batcher
from intact.serve.computing import Outcome
from intact.serve.errors import GrantRefused, Reason
from intact.serve.metrics import Meters
from intact.serve.models import Models, Served
from intact.serve.protocol import shows
from intact.serve.protocol.request import Array, InferRequest, InferResponse, check_nonce
from intact.serve.protocol.rest import Body
from intact.serve.refused import RETRY_AFTER_S, Refused, as_refused
from intact.serve.state import Charge, Grant, Principal, Role, Settler, Store
from intact.serve.tracing import Trace

PROBING: Final = "probing"
PROBED: Final = 16
"""Rows of one call that are compared with earlier ones."""
WATCHERS: Final = (Role.ADMIN, Role.AUDITOR)


class Wire(Protocol):
    """How requests and responses are written."""

    transport: str

    def parse(self, body: bytes, header_length: int | None) -> InferRequest:
        """Return the request in a body."""

    def write(self, response: InferResponse, request: InferRequest) -> Body:
        """Return the bytes of a response."""

    def refusal(self, error: Refused) -> bytes:
        """Return the bytes that tell why there is no answer."""


@dataclass(frozen=True, slots=True)
class Admission:
    """A caller who may ask a model, as far as is known by now."""

    principal: Principal
    served: Served
    grant: Grant


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller sent.

    Args:
        body: The exact bytes, of bounded length.
        header_length: Bytes of JSON at its begin where data follow (REST only).
        nonce: What the receipt shall repeat.
    """

    body: bytes
    header_length: int | None = None
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller gets.

    Args:
        body: The exact bytes of the response, or of the refusal.
        receipt: The signed receipt over them: a DSSE envelope.
        refused: Why there is no response; None where there is one.
    """

    body: Body
    receipt: bytes
    refused: Refused | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the core is put together from.

    Args:
        models: What is served.
        batchers: What runs each of them, by digest and name.
        store: Where it is kept who may, how much was used, and the log.
        settler: Counts and records.
        authenticator: Tells who asks.
        permits: Finds their grant.
        limiter: Tells whether they are too fast.
        issuer: Signs receipts.
        signer: Signs checkpoints.
        meters: Count for the operator.
        clock: Returns seconds since 1970.
        trace: Makes a span around a request; None for no traces.
    """

    models: Models
    batchers: Mapping[Served, Batcher]
    store: Store
    settler: Settler
    authenticator: Authenticator
    permits: Permits
    limiter: Limiter
    issuer: Issuer
    signer: CheckpointSigner
    meters: Meters
    clock: Callable[[], float] = time.time
    trace: Trace | None = None


class Core:
    """Answers requests.

    Args:
        parts: What it is put together from.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.models = parts.models
        self.meters = parts.meters
        self.draining = False
        self.identify = parts.authenticator.identify
        self._probing = Probing()

    async def admit(self, principal: Principal, name: str, version: str) -> Admission:
        """Let a caller ask a model (steps 2 and 3).

        Raises:
            Refused: The model is not known to the caller, or may not be used now.
            GrantRefused: There is no grant, or none now.
            TooFast: It allows no more at a time.
            StateUnavailable: The state cannot be reached.
        """
        served = self.find(principal, name, version)
        grant = await self.parts.permits.find(principal, served.digest)
        await self.parts.limiter.hit(grant)
        served.check_time(self.parts.clock())
        return Admission(principal, served, grant)

    def find(self, principal: Principal, name: str, version: str) -> Served:
        """Return a model; callers are not told which names there are that they may not use.

        Raises:
            Refused: There is none of that name and revision.
        """
        served = self.models.find(name, version)
        if served is None:
            if principal.role in WATCHERS:
                raise Refused(404, "no model of that name and revision is served")
            raise Refused(403, "not granted: no grant")
        return served

    async def may_see(self, principal: Principal, name: str, version: str) -> Served:
        """Return a model that `principal` may know of: watchers may of all, callers of those they have a grant for.

        Raises:
            Refused: There is none of that name and revision.
            GrantRefused: There is no grant, or none now.
        """
        served = self.find(principal, name, version)
        if principal.role not in WATCHERS:
            await self.parts.permits.find(principal, served.digest)
        return served

    async def visible(self, principal: Principal) -> list[Served]:
        """Return the models that `principal` may know of.

        Raises:
            StateUnavailable: The state cannot be reached.
        """
        found = []
        for served in self.models.all():
            with suppress(GrantRefused):
                found.append(await self.may_see(principal, served.name, served.version))
        return found

    async def check_ready(self) -> None:
        """Raise Refused or StateUnavailable unless requests can be answered now."""
        if self.draining:
            raise Refused(503, "server is stopping", retry_after_s=RETRY_AFTER_S)
        await asyncio.to_thread(self.parts.store.size)
        await self.parts.limiter.ready()

    async def answer(self, admission: Admission, asked: Asked, wire: Wire) -> Answer:
        """Answer a request of a caller who was admitted (steps 4 to 8).

        Raises:
            IntactError: There is no answer, and nothing was counted or recorded.
        """
        if self.parts.trace is None:
            return await self._answer(admission, asked, wire)
        with self.parts.trace(admission.served.name, admission.served.version, wire.transport):
            return await self._answer(admission, asked, wire)

    async def _answer(self, admission: Admission, asked: Asked, wire: Wire) -> Answer:
        served, start = admission.served, time.perf_counter()
        nonce = check_nonce(asked.nonce)
        request = wire.parse(asked.body, asked.header_length)
        served.check_inputs(request.feeds)
        wanted = served.check_names(request)
        outcome = await self.parts.batchers[served].compute(request.feeds)
        refusal = self._watch(admission, outcome)
        if refusal is None:
            outputs = _select(outcome.outputs, wanted)
            shown = shows.apply(admission.grant.terms.shows, outputs)
            body = wire.write(InferResponse(served.name, served.version, request.id, shown), request)
        else:
            body = Body(wire.refusal(refusal), None)
        receipt = await self._settle(admission, asked, body, outcome, nonce, wire.transport)
        self.meters.answered(served.name, wire.transport, time.perf_counter() - start)
        return Answer(body, receipt, refusal)

    async def _settle(
        self, admission: Admission, asked: Asked, body: Body, outcome: Outcome, nonce: str, transport: str
    ) -> bytes:
        """Count and record (step 7), then return the receipt (step 8)."""
        principal, grant = admission.principal, admission.grant
        event = encode_answer(
            time_ms=int(self.parts.clock() * 1000),
            subject=principal.subject,
            grant=grant.id,
            credential=principal.credential,
            model=admission.served.about,
            request_sha256=hashlib.sha256(asked.body).hexdigest(),
            response_sha256=hashlib.sha256(body.data).hexdigest(),
            nonce=nonce,
            guard=_said(outcome, grant),
            shows=grant.terms.shows,
            transport=transport,
            refused=outcome.refused is not None,
        )
        if principal.expires is not None and self.parts.clock() > principal.expires:
            raise GrantRefused(Reason.CREDENTIAL)  # the database knows when keys end, but of no token
        entry = await self.parts.settler.settle(Charge(grant.id, event, principal.credential))
        return self.parts.issuer.issue(event, entry.index, entry.salt)

    def _watch(self, admission: Admission, outcome: Outcome) -> Refused | None:
        """Count what the guard said; return what a caller it refused is told: which check, never its score."""
        digest = admission.served.digest
        for finding in outcome.findings:
            if finding.verdict != "ok":
                self._alarm(digest, finding)
        if outcome.embedding is not None:
            drift = self._probing.observe(f"{digest} {admission.principal.subject}", _some(outcome.embedding))
            if drift.alarm:
                self._alarm(digest, Finding(check=PROBING, verdict="flag", score=drift.statistic or 0.0, row=0))
        refused = outcome.refused
        return None if refused is None else Refused(422, f"the input was refused by the check '{refused.check}'")

    def _alarm(self, digest: str, finding: Finding) -> None:
        self.parts.store.count_alarm(digest, finding.check, finding.verdict)
        self.meters.alarm(finding.check, finding.verdict)

    def refuse(self, error: IntactError, transport: str, principal: Principal | None, served: Served | None) -> Refused:
        """Count a request that gets no answer, and return what its caller is told."""
        refused = as_refused(error)
        reason = getattr(error, "reason", None)
        self.meters.refused(transport, refused.status)
        self.parts.store.count_refusal(
            "" if served is None else served.digest,
            "" if principal is None else principal.subject,
            str(refused.status) if reason is None else f"{refused.status} {reason}",
        )
        return refused


def _said(outcome: Outcome, grant: Grant) -> Sequence[Judged]:
    """Return what checks said, as the caller's receipt may have it.

    Scores are computed from outputs: whoever is shown less than all of these is not shown them, and nobody those of an
    input that was refused, which would tell how near the next one comes.
    """
    if outcome.refused is None and grant.terms.shows == shows.FULL:
        return outcome.findings
    return [_verdict(each.check, each.verdict) for each in outcome.findings]


@lru_cache(maxsize=256)
def _verdict(check: str, verdict: str) -> Verdict:
    return Verdict(check=check, verdict=verdict, score=None)


def _some(rows: Array) -> Array:
    """Return some rows of a call, drawn so that nobody knows which: to look at all of many takes long."""
    return rows if len(rows) <= PROBED else rows[random.SystemRandom().sample(range(len(rows)), PROBED)]


def _select(outputs: Mapping[str, Array], wanted: tuple[str, ...]) -> dict[str, Array]:
    return {name: outputs[name] for name in wanted}
