"""OpenTelemetry traces reach a collector, with names and without payloads."""

from __future__ import annotations

import signal
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx

from support.serving import Site, rows, serving


def test_a_request_leaves_a_span(site: Site) -> None:
    found: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    collector = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=collector.serve_forever, daemon=True)
    thread.start()
    key = site.caller("traced")
    url = f"http://127.0.0.1:{collector.server_port}/v1/traces"
    try:
        with serving(site, "--traces", url) as server:
            tensor = {"name": "x", "shape": [1, 8], "datatype": "FP32", "data": (rows() * 0 + 0.12345).tolist()}
            headers = {"authorization": f"Bearer {key}"}
            answer = httpx.post(f"{server.http}/v2/models/tiny/infer", headers=headers, json={"inputs": [tensor]})
            assert answer.status_code == 200
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(30)
    finally:
        collector.shutdown()
        collector.server_close()
    assert [path for path, _ in found] == ["/v1/traces"] * len(found)
    told = b"".join(body for _, body in found)
    assert b"intact.infer" in told
    assert b"tiny" in told
    for secret in (b"traced", key.encode(), b"0.12345"):
        assert secret not in told
