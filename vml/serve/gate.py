"""What every request passes: who asks and how often, security headers, one line of log, figures.

Plain ASGI, for speed. A line of log has the route, the status, the time and the client's name: no path, no query, no
body, no header, and of a defect its kind and the places in the code, never its words.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from vml.serve.auth import INFER, Principal
from vml.serve.limits import Rejected
from vml.serve.logs import places
from vml.serve.server import INSIDE, PRINCIPAL, Server
from vml.serve.settings import is_loopback

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

PUBLIC = ("/v2/health/", "/console/")
"""What is shown to everybody: whether the server lives, and files that hold no data."""

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
PASSED_ON = frozenset({"forwarded", "via", "x-forwarded-for", "x-real-ip"})
"""What proxies add: behind one, everybody comes from this machine."""

READING = frozenset({"GET", "HEAD"})
ASKED_INSIDE = Principal("", frozenset({INFER}))
"""A client of the server that `vml.serve.middleware` wraps, which has let it in: it may have claims."""

BODY_TYPES = frozenset({"", "application/json", "application/octet-stream"})
SECURITY = {
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
}
log = logging.getLogger("vml.serve")


class Gate:
    """The middleware.

    Args:
        app: what is behind.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        server: Server = scope["app"].state.server
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                present = {name for name, _ in headers}
                headers += [item for item in SECURITY.items() if item[0] not in present]
                if scope["scheme"] == "https":
                    headers.append((b"strict-transport-security", b"max-age=31536000"))
                message["headers"] = headers
            await send(message)

        client = ""
        try:
            client = await self._admit(scope, server)
            await self._app(scope, receive, answer)
        except Rejected as rejected:
            await _refuse(rejected, answer)
        except Exception as error:
            log.error("defect", extra={"fields": {"kind": type(error).__name__, "at": places(error)}})
            if status:
                raise
            await _refuse(Rejected(500, "a defect of the server; its log says where"), answer)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "none")
            server.metrics.count(route, scope["method"], status, seconds)
            log.info(
                "request",
                extra={
                    "fields": {
                        "method": scope["method"] if scope["method"].isalpha() else "?",
                        "route": route,
                        "status": status,
                        "ms": round(1000 * seconds, 2),
                        "client": client,
                    }
                },
            )

    async def _admit(self, scope: Any, server: Server) -> str:
        """Let a request in, and say whose it is."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        access = server.settings.access
        if scope.get(INSIDE):
            return await self._admit_inside(scope, headers, server)
        if not access.guarded and not access.unsafe_open:
            _require_local(scope, headers)
        if access.keys_file is None and access.oidc is None and scope["method"] not in READING:
            # Who asks shows nothing, or a browser shows it by itself: then a page of another site could ask, too.
            _require_same_site(headers)
        if "content-length" in headers and "transfer-encoding" in headers:
            # Two lengths of one body: a proxy that believes the other one takes what follows for a request.
            raise Rejected(400, "a body has one length, or comes in chunks", headers={"Connection": "close"})
        path = scope["path"]
        if path == "/" or path.startswith(PUBLIC):
            scope[PRINCIPAL] = None
            return ""
        principal = await server.guard.principal(headers)
        _enter(scope, server, principal)
        if scope["method"] == "POST":
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind not in BODY_TYPES or headers.get("content-encoding", "identity") != "identity":
                raise Rejected(415, "a body is application/json or application/octet-stream, not compressed")
        return principal.name

    async def _admit_inside(self, scope: Any, headers: Mapping[str, str], server: Server) -> str:
        """Let in what the wrapped server has answered already; who shows something that is known here has its name."""
        try:
            principal = await server.guard.principal(headers)
        except Rejected:
            principal = ASKED_INSIDE
        _enter(scope, server, principal)
        return principal.name


def _enter(scope: Any, server: Server, principal: Principal) -> None:
    """Count a request of somebody who may come in."""
    scope[PRINCIPAL] = principal
    limits = server.settings.limits
    rate = principal.requests_per_second or limits.requests_per_second
    server.rates.take(principal.name, rate, principal.burst or limits.burst)


async def _refuse(rejected: Rejected, send: Send) -> None:
    """Answer with an error."""
    body = json.dumps({"error": rejected.error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in rejected.headers.items()]
    await send({"type": "http.response.start", "status": rejected.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _require_local(scope: Any, headers: Mapping[str, str]) -> None:
    """Refuse what does not come from this machine itself, under a local name.

    A page of another site must not reach an open server through a name of its own, and nobody through a proxy, or
    where another server runs the application on an address that others reach.
    """
    client = (scope.get("client") or ("",))[0]
    if _host(headers.get("host", "")) not in LOCAL_HOSTS or (client and not is_loopback(client)):
        raise Rejected(403, "this server answers to localhost only")
    if not PASSED_ON.isdisjoint(headers):
        raise Rejected(403, "this server answers to localhost only, and a proxy sent this: give it keys of clients")


def _require_same_site(headers: Mapping[str, str]) -> None:
    """Refuse what a browser sends for a page of another site."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is None and origin is not None:
        site = "same-origin" if urlsplit(origin).netloc == headers.get("host") else "cross-site"
    if site not in (None, "same-origin", "none"):
        raise Rejected(403, "a page of another site asks")


def _host(header: str) -> str:
    """The host's name without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if ":" in header else header
