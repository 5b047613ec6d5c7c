"""A server that really listens, in a thread of this process; its jobs wait until a test does them."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from vml.proof import Proof
from vml.serve import process
from vml.serve.app import create_app
from vml.serve.server import Server
from vml.serve.settings import Settings

PATIENCE_S = 60.0
X = np.array([[0.5, -0.25, 1.0, 0.125]], dtype=np.float32)
INPUT = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": X.ravel().tolist()}


def bearer(key: str) -> dict[str, str]:
    """The header that shows a key or a token."""
    return {"Authorization": f"Bearer {key}"}


@dataclass
class Running:
    """A server, and a client of it."""

    url: str
    server: Server
    http: httpx.Client = field(repr=False)
    listener: Any = field(repr=False)

    def infer(self, parameters: dict[str, Any] | None = None, **more: Any) -> httpx.Response:
        """Ask the model `tiny`."""
        body: dict[str, Any] = {"inputs": [INPUT], **more.pop("body", {})}
        if parameters is not None:
            body["parameters"] = parameters
        return self.http.post("/v2/models/tiny/infer", json=body, **more)

    def said(self, parameters: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """What an answer says of its claim."""
        response = self.infer(parameters, **more)
        assert response.status_code == 200, response.text
        value: dict[str, Any] = response.json()["parameters"]
        return value

    def work(self, payload: bytes = b"proof") -> str:
        """Do the first job in line, as a worker whose proofs prove nothing."""
        store = self.server.store
        lease = store.lease("a test", seconds=30)
        assert lease is not None
        store.finish(lease, Proof(f"{lease.backend}/1", (lease.claim,), {}, payload))
        return lease.job


@contextmanager
def running(model: Any, data: Path, *, verify: Any = True, cert: Any = None, **settings: Any) -> Iterator[Running]:
    """Serve a compiled model as `tiny`.

    Args:
        model: compiled, in a folder.
        data: the server's folder.
        verify, cert: of the client, for TLS.
        settings: further ones.
    """
    how = Settings(**{"models": {"tiny": model.folder}, "data": data, "workers": 0, **settings})
    app = create_app(how)
    listening = process.listen(how.host, 0)
    started = threading.Event()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(process.serve(app, how, listening, started.set))
        except BaseException as error:
            failed.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=run, name="server")
    thread.start()
    try:
        assert started.wait(PATIENCE_S)
        if failed:
            raise failed[0]
        url = process.url_of(how, listening)
        with httpx.Client(base_url=url, timeout=PATIENCE_S, verify=verify, cert=cert) as http:
            _wait_until_ready(app.state.server)
            yield Running(url, app.state.server, http, app.state.listener)
    finally:
        if not failed and not app.state.listener.should_exit:
            app.state.listener.handle_exit(signal.SIGTERM, None)
        thread.join(PATIENCE_S)
        listening.close()
    assert not thread.is_alive()
    assert not failed


def _wait_until_ready(server: Server) -> None:
    for _ in range(int(PATIENCE_S / 0.02)):
        if server.ready:
            return
        threading.Event().wait(0.02)
    raise AssertionError("never ready")
