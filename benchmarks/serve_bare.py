"""The bare server of `benchmarks.serve`: onnxruntime behind the same HTTP stack and protocol, without claims.

Run: ``python -m benchmarks.serve_bare MODEL.onnx``. Prints one line of JSON with its address.
"""

from __future__ import annotations

import json
import os
import sys

import onnxruntime
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vml.client import tensors
from vml.serve.process import listen


def create(path: str) -> Starlette:
    """The application around one model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    async def ready(request: Request) -> Response:
        return Response(b'{"live":true}', media_type="application/json")

    async def infer(request: Request) -> Response:
        value, rest = tensors.split_body(await request.body(), request.headers.get(tensors.HEADER_LENGTH))
        made = session.run(names, tensors.decode(value.get("inputs"), rest))
        outputs = tensors.encode_json(dict(zip(names, made, strict=True)))
        answer = {"model_name": request.path_params["name"], "model_version": "1", "outputs": outputs}
        return Response(json.dumps(answer, separators=(",", ":")).encode(), media_type="application/json")

    return Starlette(
        routes=[Route("/v2/health/ready", ready), Route("/v2/models/{name}/infer", infer, methods=["POST"])]
    )


def main() -> None:
    with listen("127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        print(json.dumps({"url": url, "pid": os.getpid()}), flush=True)
        server = uvicorn.Server(uvicorn.Config(create(sys.argv[1]), log_level="error", access_log=False))
        server.run(sockets=[listening])


if __name__ == "__main__":
    main()
