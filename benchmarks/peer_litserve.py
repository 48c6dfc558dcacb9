"""LitServe with a model on onnxruntime: a module of its own, since its workers are new processes that import it."""

from __future__ import annotations

from typing import Any

import litserve
import numpy as np

from serving_peers import Net


class Api(litserve.LitAPI):
    """The model behind LitServe's four steps.

    Args:
        path: The ONNX file.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def setup(self, device: str) -> None:
        """Load the model, in a worker."""
        self._net = Net(self._path)

    def decode_request(self, request):  # LitServe reads annotations: none, or its own
        """Return the inputs as raw bytes."""
        parts = [np.asarray(request[name], dtype) for name, dtype, _ in self._net.inputs]
        return b"".join(part.tobytes() for part in parts)

    def predict(self, body: bytes) -> list[float]:
        """Run."""
        return np.frombuffer(self._net.run(body), "f4").tolist()

    def encode_response(self, output: list[float]) -> dict[str, Any]:
        """Return what becomes JSON."""
        return {"output": output}


def serve(path: str, port: int) -> None:
    """Serve one worker until the process ends."""
    server = litserve.LitServer(Api(path), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, num_api_servers=1, log_level="warning", generate_client_file=False)
