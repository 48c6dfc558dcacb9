"""Servers of others, with nothing on: no credentials, no checks, no record. Run in the peers' interpreter.

Usage: serving_peers.py fastapi|litserve|kserve MODEL.onnx PORT [GRPC_PORT]

Where the server leaves that open, inputs travel as the raw bytes of their arrays, in order, their shapes fixed.
"""

from __future__ import annotations

import json
import sys
from math import prod
from typing import Any

import numpy as np
import onnxruntime
from fastapi import FastAPI, Request, Response  # annotations of a route are looked up here

TYPES = {"tensor(float)": np.dtype("f4"), "tensor(int64)": np.dtype("i8")}


class Net:
    """A model on onnxruntime, one thread."""

    def __init__(self, path: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        shapes = json.loads(self.session.get_modelmeta().custom_metadata_map["shapes"])
        self.inputs = [(each.name, TYPES[each.type], tuple(shapes[each.name])) for each in self.session.get_inputs()]

    def run(self, body: bytes) -> bytes:
        """Return the outputs for inputs, as raw bytes."""
        feeds, start = {}, 0
        for name, dtype, shape in self.inputs:
            feeds[name] = np.frombuffer(body, dtype, prod(shape), start).reshape(shape)
            start += feeds[name].nbytes
        return b"".join(output.tobytes() for output in self.session.run(None, feeds))


def fastapi(path: str, port: int, _: int) -> None:
    """Plain FastAPI: raw bytes in, raw bytes out."""
    import uvicorn

    app, net = FastAPI(), Net(path)

    @app.post("/infer")
    async def infer(request: Request) -> Response:
        return Response(net.run(await request.body()), media_type="application/octet-stream")

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


def litserve(path: str, port: int, _: int) -> None:
    """LitServe, one worker; lists in JSON, as its guides do."""
    from peer_litserve import serve

    serve(path, port)


def kserve(path: str, port: int, grpc_port: int) -> None:
    """KServe's Python server: Open Inference Protocol over REST and gRPC."""
    from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer

    class Served(Model):
        def __init__(self) -> None:
            super().__init__("m")
            self.net = Net(path)
            self.ready = True

        def predict(self, payload: InferRequest, headers: Any = None, response_headers: Any = None) -> InferResponse:
            feeds = {each.name: each.as_numpy() for each in payload.inputs}
            names = [each.name for each in self.net.session.get_outputs()]
            outputs = []
            for name, value in zip(names, self.net.session.run(names, feeds), strict=True):
                output = InferOutput(name=name, shape=list(value.shape), datatype="FP32")
                output.set_data_from_numpy(value, binary_data=True)
                outputs.append(output)
            return InferResponse(response_id="", model_name="m", infer_outputs=outputs)

    ModelServer(http_port=port, grpc_port=grpc_port, enable_grpc=True, workers=1, access_log_format=None).start(
        [Served()]
    )


if __name__ == "__main__":
    kind, path, port, *rest = sys.argv[1:]
    {"fastapi": fastapi, "litserve": litserve, "kserve": kserve}[kind](path, int(port), int(rest[0]) if rest else 0)
