"""OpenTelemetry traces, for operators who ask for them: a span a request, with names and times, never a payload."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, TypeAlias

from intact.errors import UsageError

NAME: Final = "intact.infer"
SERVICE: Final = "intact"

Trace: TypeAlias = Callable[[str, str, str], AbstractContextManager[None]]
"""Makes a span around a request: model, version, transport."""


@contextmanager
def tracing(url: str | None) -> Iterator[Trace | None]:
    """Send traces to an OTLP collector until the block ends; what waits then is sent.

    Args:
        url: Where it takes them over HTTP, such as http://127.0.0.1:4318/v1/traces; None for no traces.

    Raises:
        UsageError: OpenTelemetry is not installed, or the URL is none.
    """
    if url is None:
        yield None
        return
    if not url.startswith(("http://", "https://")):
        raise UsageError("URL for traces is none", hint="give one such as http://127.0.0.1:4318/v1/traces")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise UsageError("OpenTelemetry is not installed", hint="pip install 'intact[otel]'") from error
    provider = TracerProvider(resource=Resource.create({"service.name": SERVICE}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
    tracer = provider.get_tracer(SERVICE)

    @contextmanager
    def span(model: str, version: str, transport: str) -> Iterator[None]:
        attributes = {"model": model, "version": version, "transport": transport}
        with tracer.start_as_current_span(NAME, attributes=attributes, record_exception=False):
            yield

    try:
        yield span
    finally:
        provider.shutdown()
