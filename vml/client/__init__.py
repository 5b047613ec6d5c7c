"""Asks an inference server, and believes nothing that it has not verified (docs/client.md).

    from vml.client import Client

    with Client("http://127.0.0.1:8000", model="digits-cnn.vml") as client:
        answer = client.infer({"image": image})      # verified outputs, or an exception

`Client` blocks, `AsyncClient` awaits; they are alike otherwise.
"""

from vml.client.asynchronous import AsyncClient
from vml.client.flow import Answer, Pending
from vml.client.synchronous import Client

__all__ = ["Answer", "AsyncClient", "Client", "Pending"]
