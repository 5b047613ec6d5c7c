"""The bare server of `benchmarks.serve`: onnxruntime behind the same HTTP stack and protocol, without claims.

Run: ``python -m benchmarks.serve_bare MODEL.onnx``. Prints one line of JSON with its address.
"""

from __future__ import annotations

import json
import os
import socket
import sys

import onnxruntime
import uvicorn
from fastapi import FastAPI, Request, Response

from vml.client import tensors
from vml.serve.limits import read_body

MAX_BYTES = 64 << 20


def create(path: str) -> FastAPI:
    """The application around one model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    app = FastAPI()

    @app.get("/v2/health/ready")
    async def ready() -> dict[str, bool]:
        return {"live": True}

    @app.post("/v2/models/{name}/infer")
    async def infer(request: Request, name: str) -> Response:
        body = await read_body(request, MAX_BYTES, 30.0)
        value, rest = tensors.split_body(body, request.headers.get(tensors.HEADER_LENGTH))
        made = session.run(names, tensors.decode(value.get("inputs"), rest))
        outputs = tensors.encode_json(dict(zip(names, made, strict=True)))
        answer = {"model_name": name, "model_version": "1", "outputs": outputs}
        return Response(json.dumps(answer, separators=(",", ":")).encode(), media_type="application/json")

    return app


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        print(json.dumps({"url": url, "pid": os.getpid()}), flush=True)
        server = uvicorn.Server(uvicorn.Config(create(sys.argv[1]), log_level="critical", access_log=False))
        server.run(sockets=[listening])


if __name__ == "__main__":
    main()
