"""What is counted for the operator, as Prometheus reads it. Names of callers are not among it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

BOUNDS_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Meters:
    """The counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._answers = Histogram(
            "intact_answer_seconds",
            "Time from a request's last byte to its answer",
            ("model", "transport"),
            buckets=BOUNDS_S,
            registry=self.registry,
        )
        self._refusals = Counter(
            "intact_refusals", "Requests without an answer", ("transport", "status"), registry=self.registry
        )
        self._alarms = Counter(
            "intact_guard_alarms", "What checks of the guard said", ("check", "verdict"), registry=self.registry
        )
        self.waiting = Gauge("intact_waiting", "Requests that wait for a model", registry=self.registry)
        self.log_size = Gauge("intact_log_entries", "Entries in the log", registry=self.registry)
        self._observe: dict[tuple[str, str], Callable[[float], None]] = {}
        self._count: dict[tuple[str, str], Callable[[], None]] = {}

    def answered(self, model: str, transport: str, took_s: float) -> None:
        """Count an answer, or a refusal by the guard."""
        observe = self._observe.get((model, transport))
        if observe is None:
            observe = self._observe[model, transport] = self._answers.labels(model, transport).observe
        observe(took_s)

    def refused(self, transport: str, status: int) -> None:
        """Count a request that was neither answered nor recorded."""
        self._refusals.labels(transport, str(status)).inc()

    def alarm(self, check: str, verdict: str) -> None:
        """Count what a check said."""
        count = self._count.get((check, verdict))
        if count is None:
            count = self._count[check, verdict] = self._alarms.labels(check, verdict).inc
        count()

    def text(self) -> bytes:
        """Return everything in the text format of Prometheus."""
        return generate_latest(self.registry)
