"""Claims for an inference server that exists already: ASGI middleware around it.

    from vml.serve.middleware import ClaimMiddleware
    from vml.serve.settings import Access

    access = Access(keys_file=Path("keys.json"))
    app.add_middleware(ClaimMiddleware, models={"digits-cnn": "digits-cnn.vml"}, data="vml-data", access=access)

Whatever the server answers to an inference with a status of success, the exact model is run on the same input, its
claim is recorded as by `vml serve`, and the answer gets headers; those of these names that it has itself are dropped:

    Vml-Claim: 0x…          digest of the claim
    Vml-Proof: /vml/v1/proofs/0x…
    Vml-Difference: 0.0123  largest difference between what was answered and what the claim says, where both can be read
    Vml-Refused: 422        instead of these, where there is no claim, and why by its status

The claim is about the exact model, not about the server that is wrapped: the difference is what the reader learns of
that one. `max_difference` makes it a rule: an answer further off is not sent. A request may carry ``Vml-Context: 0x…``
or ``Vml-Nonce: text``, ``Vml-Prove: always`` and ``Vml-Backend: …``, as the parameters of `vml serve`.

Everything else of `vml serve` (claims, proofs, jobs, the log, the console) is under `mount`, for those whom `access`
lets in: the wrapped server may be reached by anybody. Claims are made for everybody whom that one answers.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vml.client import tensors
from vml.client.tensors import Array, BadTensor
from vml.serve.app import create_app
from vml.serve.server import INSIDE
from vml.serve.settings import Access, Settings

if TYPE_CHECKING:
    from vml.model.graph import TensorSpec

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]
Read = Callable[[bytes, Mapping[str, str]], Mapping[str, Any]]
"""From a body and its headers (names in lower case) to arrays by name; ValueError where it cannot be read."""

INFER = re.compile(r"/v2/models/(?P<name>[^/]+)(?:/versions/[^/]+)?/infer")
PARAMETERS = {"vml-context": "context", "vml-nonce": "nonce", "vml-prove": "prove", "vml-backend": "backend"}
MAX_ANSWER_BYTES = 64 << 20
NOBODY = Access()


@dataclass(frozen=True)
class Route:
    """How one path of a server is read.

    Args:
        model: name among the middleware's models.
        inputs: of a request, as lists or as arrays of the model's number types; None takes JSON
            ``{"input": nested list, …}``.
        outputs: of an answer; None takes JSON ``{"output": nested list, …}``.
    """

    model: str
    inputs: Read | None = None
    outputs: Read | None = None


class ClaimMiddleware:
    """Adds claims to what an ASGI application answers.

    Args:
        app: the inference server.
        models: compiled folders by the name that its clients use.
        data: folder of what is recorded.
        routes: how its own paths are read, by path; those of the Open Inference Protocol v2 are known.
        mount: where `vml serve` is beside it.
        max_difference: an answer that differs more from the claim's outputs, or has no claim, or cannot be compared,
            is not sent (502).
        access: who may come in under `mount`: keys or tokens, or ``Access(unsafe_open=True)``.
        settings: further ones of `Settings`, such as ``proving``.

    Raises:
        ValueError, UnsupportedModel, OSError: as `create_app`; a route of a model that is not there; everybody could
            come in, and `access` does not say so.
    """

    def __init__(
        self,
        app: App,
        *,
        models: Mapping[str, str | os.PathLike[str]],
        data: str | os.PathLike[str],
        routes: Mapping[str, Route] | None = None,
        mount: str = "/vml",
        max_difference: float | None = None,
        access: Access = NOBODY,
        **settings: Any,
    ) -> None:
        if access.client_ca is not None:
            raise ValueError("the wrapped server ends TLS, and nobody here asks for certificates: take keys or tokens")
        if not (access.guarded or access.unsafe_open):
            raise ValueError(
                f"whoever reaches the wrapped server reaches {mount}, and nothing says who may come in: give access "
                "with keys_file or oidc, or unsafe_open to let everybody in"
            )
        self._app, self._mount, self._max_difference = app, mount.rstrip("/"), max_difference
        folders = {name: Path(folder) for name, folder in models.items()}
        self._settings = Settings(folders, Path(data), access=access, **settings)
        self._routes = {"/" + path.strip("/"): route for path, route in (routes or {}).items()}
        unknown = {route.model for route in self._routes.values()} - self._settings.models.keys()
        if unknown:
            raise ValueError(f"a route names the model {min(unknown)!r}, which is not among the models")
        if not self._mount.startswith("/"):
            raise ValueError(f"{mount!r} is no path to mount at: /vml, say")
        self._inner = create_app(self._settings)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """One connection, or the whole life of the application."""
        if scope["type"] == "lifespan":
            async with self._inner.router.lifespan_context(self._inner):
                await self._app(scope, receive, send)
            return
        path = scope.get("path", "")
        if scope["type"] == "http" and path == self._mount:
            await _answer(send, Reply(307, [(b"location", f"{self._mount}/".encode())], b""))
            return
        if scope["type"] == "http" and path.startswith(self._mount + "/"):
            inside = path[len(self._mount) :]
            await self._inner({**scope, "path": inside, "raw_path": inside.encode()}, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        route = self._route(path) if scope["method"] == "POST" else None
        if route is None:
            await self._app(scope, receive, _without_claims(send))
        else:
            await self._claimed(route, scope, receive, send)

    def _route(self, path: str) -> Route | None:
        """How a path is read, also one that many servers take for the same: with further slashes."""
        path = "/" + "/".join(part for part in path.split("/") if part)
        if path in self._routes:
            return self._routes[path]
        found = INFER.fullmatch(path)
        if found is None or found["name"] not in self._settings.models:
            return None
        return Route(found["name"], READ_INPUTS, read_tensors("outputs"))

    async def _claimed(self, route: Route, scope: Any, receive: Receive, send: Send) -> None:
        """One inference: the wrapped server's answer, then the claim of the same input, then both together."""
        limit = self._settings.limits.body_bytes
        try:
            body = await _body(receive, limit)
        except ConnectionError:
            return
        if body is None:
            await _answer(send, Reply(413, [], json.dumps({"error": f"a request has at most {limit} bytes"}).encode()))
            return
        answer = await _asked(self._app, scope, body, receive)
        if 200 <= answer.status < 300:
            claimed, difference = await self._claim(route, scope, body, answer, receive)
            bound = self._max_difference
            if bound is not None and (difference is None or not difference <= bound):
                why = "cannot be compared with" if difference is None else f"differs by {difference:g} from"
                error = f"the answer {why} the exact model's, at most {bound:g} is allowed: it is not sent"
                answer = Reply(502, [JSON], json.dumps({"error": error}).encode())
            answer = Reply(answer.status, [*answer.headers, *claimed], answer.body)
        await _answer(send, answer)

    async def _claim(
        self, route: Route, scope: Any, body: bytes, answer: Reply, receive: Receive
    ) -> tuple[list[tuple[bytes, bytes]], float | None]:
        """The headers of a claim, and how far the answer is from it; None where that cannot be said."""
        given = _names(scope["headers"])
        served = self._inner.state.server.models[route.model]
        if len(body) > served.body_bytes and route.inputs in (None, READ_INPUTS):
            return [(b"vml-refused", b"413")], None
        try:
            arrays = (route.inputs or read_json("input"))(body, given)
            request = _infer_request(scope, route.model, _inputs(arrays, served.inputs), given)
        except (ValueError, KeyError, TypeError):
            return [(b"vml-refused", b"400")], None
        reply = await _asked(self._inner, *request, receive)
        if reply.status != 200:
            return [(b"vml-refused", str(reply.status).encode())], None
        told = _names(reply.headers)
        exact = read_tensors("outputs")(reply.body, told)
        claim = told["vml-claim"]
        headers = [(b"vml-claim", claim.encode()), (b"vml-proof", f"{self._mount}/v1/proofs/{claim}".encode())]
        try:
            shown = (route.outputs or read_json("output"))(answer.body, _names(answer.headers))
            difference = _difference(shown, exact)
        except (ValueError, KeyError, TypeError):
            return headers, None
        return [*headers, (b"vml-difference", f"{difference:.6g}".encode())], difference


@dataclass(frozen=True)
class Reply:
    """What an application answered, as a whole."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


JSON = (b"content-type", b"application/json")


def read_tensors(name: str) -> Read:
    """Reads the tensors of the Open Inference Protocol v2, ``inputs`` or ``outputs``."""

    def read(body: bytes, headers: Mapping[str, str]) -> Mapping[str, Array]:
        value, rest = tensors.split_body(body, headers.get(tensors.HEADER_LENGTH.lower()))
        return tensors.decode(value.get(name), rest)

    return read


READ_INPUTS = read_tensors("inputs")


def read_json(what: str) -> Read:
    """Reads an object of nested lists by tensor name."""

    def read(body: bytes, headers: Mapping[str, str]) -> Mapping[str, Any]:
        value, _ = tensors.split_body(body, None)
        if not value or not all(isinstance(numbers, list) for numbers in value.values()):
            raise BadTensor(f"the body is no object of nested lists, one an {what}")
        return value

    return read


def _inputs(arrays: Mapping[str, Any], specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """The model's inputs, as `vml serve` takes them: nothing is rounded, cut or taken for a number that is none.

    Raises:
        ValueError: other names, or numbers that the model's types cannot hold.
    """
    if arrays.keys() != {spec.name for spec in specs}:
        raise BadTensor("other inputs than the model's")
    return {spec.name: _input(arrays[spec.name], spec) for spec in specs}


def _input(given: Any, spec: TensorSpec) -> Array:
    dtype = np.dtype(spec.onnx_dtype)
    if not isinstance(given, np.ndarray):
        header = {"name": spec.name, "shape": list(spec.shape), "datatype": tensors.datatype(dtype), "data": given}
        return tensors.decode([header], b"")[spec.name]
    if given.dtype != dtype:
        raise BadTensor(f"input {spec.name!r} is an array of {given.dtype}, the model takes {dtype}")
    return given


def _difference(shown: Mapping[str, Any], exact: Mapping[str, Array]) -> float:
    """The largest difference of any number; ValueError where names or sizes differ, or a number is none."""
    if shown.keys() != exact.keys():
        raise ValueError("other outputs")
    largest = 0.0
    for name, array in exact.items():
        numbers = np.asarray(shown[name], np.float64).reshape(array.shape)
        if not np.isfinite(numbers).all():
            raise ValueError("a number that is none")
        if array.size:
            largest = max(largest, float(np.abs(numbers - array).max()))
    return largest


def _infer_request(
    scope: Any, name: str, inputs: Mapping[str, Array], given: Mapping[str, str]
) -> tuple[dict[str, Any], bytes]:
    """The same inference as a request to `vml serve`: scope and body."""
    items, chunk = tensors.encode_binary(inputs)
    asked = {parameter: given[header] for header, parameter in PARAMETERS.items() if header in given}
    head = json.dumps({"inputs": items, "parameters": {**asked, "binary_data_output": True}}).encode()
    headers = [(b"content-type", b"application/octet-stream")]
    headers.append((tensors.HEADER_LENGTH.lower().encode(), str(len(head)).encode()))
    kept = {b"authorization", b"x-api-key", b"idempotency-key"}
    headers += [(header, value) for header, value in scope["headers"] if header in kept]
    path = f"/v2/models/{name}/infer"
    inner = {**scope, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers, INSIDE: True}
    return inner, head + chunk


async def _asked(app: App, scope: Any, body: bytes, more: Receive) -> Reply:
    """What an application answers to a request whose body is here already; `more` says when the client went away."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    status, size = 500, 0
    headers: list[tuple[bytes, bytes]] = []
    parts: list[bytes] = []

    async def receive() -> Message:
        return waiting.pop() if waiting else await more()

    async def send(message: Message) -> None:
        nonlocal status, headers, size
        if message["type"] == "http.response.start":
            status, headers = message["status"], list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            part = message.get("body", b"")
            size += len(part)
            if size > MAX_ANSWER_BYTES:
                raise ValueError(f"an answer of more than {MAX_ANSWER_BYTES} bytes cannot be compared with a claim")
            parts.append(part)

    await app(scope, receive, send if scope.get(INSIDE) else _without_claims(send))
    return Reply(status, headers, b"".join(parts))


def _without_claims(send: Send) -> Send:
    """Sends what the wrapped server answers, without what only this middleware says."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [item for item in message.get("headers", ()) if not item[0].lower().startswith(b"vml-")]
            message = {**message, "headers": headers}
        await send(message)

    return sending


async def _body(receive: Receive, limit: int) -> bytes | None:
    """A request's body; None where it is too long. ConnectionError where the client went away."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError
        size += len(message.get("body", b""))
        if size > limit:
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _answer(send: Send, reply: Reply) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": reply.body})


def _names(headers: Any) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
