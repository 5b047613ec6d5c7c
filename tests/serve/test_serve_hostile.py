"""Clients that break the protocol, lie, dawdle, come in masses or go away: answered or cut off, nothing stays."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from tests.serve.running import INPUT, Running, running
from vml.serve.settings import Limits

PATH = "/v2/models/tiny/infer"
BODY = json.dumps({"inputs": [INPUT]}).encode()
BODY_S = 1.0
BODY_BYTES = 1 << 20
PATIENCE_S = 30.0
JSON = "Content-Type: application/json"


@pytest.fixture(scope="module")
def served(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    limits = Limits(body_bytes=BODY_BYTES, body_s=BODY_S)
    with running(tiny, tmp_path_factory.mktemp("data"), limits=limits) as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_stays_behind(served: Running, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After every test the server answers, holds nothing, and no client was taken for a defect."""
    with caplog.at_level(logging.INFO):
        yield
    assert served.infer().status_code == 200
    quiet(served)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def quiet(server: Running) -> None:
    """Wait until the server does nothing for anybody."""

    def held() -> dict[str, int]:
        return {
            "slots": server.server.slots.taken + server.server.checking.taken,
            "bytes": server.server.reading.taken,
            "requests": len(server.listener.server_state.tasks),
            "waiting": len(server.server.watch._seen),
        }

    give_up = time.monotonic() + PATIENCE_S
    while any(held().values()):
        assert time.monotonic() < give_up, held()
        time.sleep(0.02)


def connection(server: Running) -> socket.socket:
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


def request(*headers: str, body: bytes = b"", method: str = "POST", path: str = PATH, version: str = "1.1") -> bytes:
    """A request as it is written, right or wrong."""
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def posted(body: bytes, *headers: str) -> bytes:
    return request(*headers, f"Content-Length: {len(body)}", body=body)


def answer(link: socket.socket) -> tuple[int, dict[str, str], bytes] | None:
    """The next answer; None where the connection was closed instead."""
    response = http.client.HTTPResponse(link)
    try:
        response.begin()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    except (ConnectionError, http.client.HTTPException):
        return None


def exchanged(server: Running, data: bytes) -> tuple[int, dict[str, str], bytes] | None:
    with connection(server) as link:
        with suppress(ConnectionError):  # the answer may come before all is sent
            link.sendall(data)
        return answer(link)


def refused(server: Running, data: bytes, *statuses: int) -> None:
    """Refused with one of these, in the one form."""
    found = exchanged(server, data)
    assert found is not None
    status, headers, body = found
    assert status in statuses, (status, body)
    assert headers["content-type"] == "application/json"
    assert json.loads(body).keys() == {"error"}


def chunked(*chunks: bytes) -> bytes:
    return request(JSON, "Transfer-Encoding: chunked", body=b"".join(chunks))


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_the_document_says_what_is_refused_here(served: Running) -> None:
    for operations in served.http.get("/openapi.json").json()["paths"].values():
        for operation in operations.values():
            assert {"400", "403", "500", "503"} <= operation["responses"].keys()


# ---- lengths


@pytest.mark.parametrize(
    "length",
    ["-1", "+5", "0x10", "1e3", "5, 6", "", " ", "5 5", "９", "1" * 25, "1" * 5000,
     f"{len(BODY)}\r\nContent-Length: 3"],
)  # fmt: skip
def test_lengths_that_are_none(served: Running, length: str) -> None:
    refused(served, request(JSON, f"Content-Length: {length}".encode().decode("latin-1"), body=BODY), 400)


def test_a_body_longer_than_it_says(served: Running) -> None:
    with connection(served) as link:
        link.sendall(request(JSON, f"Content-Length: {len(BODY) - 5}", body=BODY + b"\r\n\r\n"))
        first, second = answer(link), answer(link)
    assert first is not None
    assert first[0] == 400
    # What is left over is no request.
    assert second is None or second[0] == 400


def test_a_body_shorter_than_it_says(served: Running) -> None:
    refused(served, request(JSON, f"Content-Length: {len(BODY) + 5}", body=BODY), 408)


@pytest.mark.parametrize(
    "data",
    [
        request(JSON, f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked", body=chunk(BODY) + b"0\r\n\r\n"),
        request(JSON, "Transfer-Encoding: chunked", "Content-Length: 4", body=b"0\r\n\r\nGET /v2 HTTP/1.1\r\n\r\n"),
        request(JSON, "Transfer-Encoding: chunked, identity", body=chunk(BODY)),
        request(JSON, "Transfer-Encoding: gzip, chunked", body=chunk(BODY)),
        request(JSON, "Transfer-Encoding: xchunked", body=chunk(BODY)),
        request(JSON, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=chunk(BODY)),
        request(JSON, "Transfer-Encoding : chunked", body=chunk(BODY)),
        request(JSON, "X: a\r\n b", "Content-Length: 0", path="/v2/models /tiny/infer"),
        request(JSON, "Content-Length : 4", body=BODY),
        request(JSON, "Host: localhost", "Content-Length: 0"),
        request(JSON, "X\x00: a", "Content-Length: 0"),
        request(JSON, "X: a\rb", "Content-Length: 0"),
    ],
)
def test_what_smuggles_requests(served: Running, data: bytes) -> None:
    refused(served, data, 400, 501)
    with connection(served) as link:
        link.sendall(data)
        answer(link)
        assert answer(link) is None  # nothing that follows is read as a request


@pytest.mark.parametrize(
    "data",
    [
        chunked(b"zz\r\n" + BODY),
        chunked(b"-5\r\n" + BODY),
        chunked(b"3\r\n" + BODY),
        chunked(chunk(BODY[:20]), b"nonsense\r\n\r\n"),
        chunked(b"f" * 30 + b"\r\n" + BODY),
        chunked(chunk(BODY), b"0\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n"),
    ],
)
def test_chunks_that_are_none(served: Running, data: bytes) -> None:
    refused(served, data, 400)


def test_chunks_that_do_not_come(served: Running) -> None:
    refused(served, chunked(b"ffff\r\n{"), 408)
    refused(served, chunked(b"fffffffffffffff\r\n{"), 408)
    refused(served, chunked(chunk(BODY)), 408)


def test_chunks_that_come_byte_by_byte(served: Running) -> None:
    found = exchanged(served, chunked(*(chunk(BODY[k : k + 1]) for k in range(len(BODY))), b"0\r\n\r\n"))
    assert found is not None
    assert found[0] == 200


def test_a_body_too_large_is_not_read(served: Running) -> None:
    refused(served, request(JSON, f"Content-Length: {10**12}"), 413)
    refused(served, request(JSON, f"Content-Length: {10**12}", "Expect: 100-continue"), 413)
    sent = 0
    with connection(served) as link:
        link.settimeout(PATIENCE_S)
        with suppress(ConnectionError):
            link.sendall(request(JSON, "Transfer-Encoding: chunked"))
            piece = chunk(b" " * (1 << 16))
            while sent < 1 << 28:
                link.sendall(piece)
                sent += len(piece)
    # The rest is what the kernel's buffers hold.
    assert sent < BODY_BYTES + (1 << 25)


@pytest.mark.parametrize("length", ["-1", "5.0", str(len(BODY) + 1), "9" * 5000, "0" * 5000, "0x5", "5\t5", "²"])
def test_a_header_length_that_lies(served: Running, length: str) -> None:
    refused(served, posted(BODY, f"Inference-Header-Content-Length: {length}"), 400)


# ---- bodies


DEEP, DEEPEST = 10_000, 100_000
WITH = json.dumps({"inputs": [{**INPUT, "data": ["HERE"] * 4}]})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"\x00" * 1000,
        b"[" * DEEP,
        b"[" * DEEP + b"]" * DEEP,
        b'{"a":' * DEEP,
        b'{"inputs":' + b"[" * DEEP + b"]" * DEEP + b"}",
        BODY.replace(b"0.5", b"[" * 1000 + b"]" * 1000, 1),
        *(WITH.replace('"HERE"', word).encode() for word in ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000)),
        *(WITH.replace('"HERE"', word).encode() for word in ("9" * 400, "true", '"1"', "null", "{}", "0x1", "01")),
        BODY[:-1] + b',"inputs":[]}',
        BODY.replace(b'"name":', b'"name":"y","name":', 1),
        BODY.replace(b"[1, 4]", b"[1, 99999999999999999999]"),
        BODY.replace(b"[1, 4]", b"[1, -4]"),
        BODY.replace(b"[1, 4]", b"[true, 4]"),
        BODY.replace(b'"x"', b'"\\ud800"'),
        BODY[:-1] + b',"id":"' + b"a" * 300 + b'"}',
        BODY[:-1] + b',"parameters":{"nonce":"\\ud800"}}',
        BODY[:-1] + b',"parameters":{"sample":' + b"1" * 5000 + b"}}",
        BODY + BODY,
    ],
    ids=lambda body: body[:24].decode("latin-1").encode("unicode_escape").decode(),
)
def test_bodies_that_are_no_requests(served: Running, body: bytes) -> None:
    refused(served, posted(body, JSON), 400, 413, 422)


@pytest.mark.parametrize(
    "body", [b"[" * 4000, b"{" * 10, b'{"backend":1}', b'{"x":1}', b"NaN", b"\xff", b'{"priority":1e2}']
)
def test_bodies_that_ask_for_no_proof(served: Running, body: bytes) -> None:
    digest = served.said()["vml_claim"]
    refused(served, request(JSON, f"Content-Length: {len(body)}", body=body, path=f"/v1/proofs/{digest}"), 422)


@pytest.mark.parametrize(
    "body", [b"[" * DEEPEST, b'{"a":' * DEEPEST, b"{}", b"\xff", b'{"format":"vml-proof/1"}', b'{"payload":NaN}']
)
def test_bodies_that_are_no_proofs(served: Running, body: bytes) -> None:
    data = request(JSON, f"Content-Length: {len(body)}", body=body, path="/v1/verify?model=tiny")
    found = exchanged(served, data)
    assert found is not None
    assert (found[0], json.loads(found[2])["verified"]) == (200, False)


@pytest.mark.parametrize(
    "header",
    ["Content-Encoding: gzip", "Content-Encoding: br", "Content-Type: text/xml", "Content-Type: multipart/form-data",
     "Content-Type: application/json-patch+json", "Content-Type: ;;;"],
)  # fmt: skip
def test_bodies_of_other_types(served: Running, header: str) -> None:
    if header == "Content-Type: ;;;":  # no type at all is taken for JSON
        found = exchanged(served, posted(BODY, header))
        assert found is not None
        assert found[0] == 200
    else:
        refused(served, posted(BODY, header), 415)


# ---- heads


@pytest.mark.parametrize(
    "path",
    ["/v2/models/%00/ready", "/v2/models/..%2f..%2f..%2fetc/ready", "/v2/models/%ff%fe", "/v2//models//tiny",
     "/console/%2e%2e/app.py", "/console/../app.py", "/console/..%2f..%2fapp.py", "/console/%2fetc%2fpasswd",
     "/console/index.html%00", "/console//etc/passwd", "/" + "a/" * 10_000, "/v1/jobs/%00", "/v1/jobs/" + "0" * 32,
     "/v1/claims/0x" + "00" * 32, "http://localhost/v2", "//evil.test/v2", "*",
     "/v1/proofs/0x" + "00" * 32 + "?backend=%00", "/v1/log/inclusion/0x" + "00" * 32],
)  # fmt: skip
def test_paths_that_lead_nowhere(served: Running, path: str) -> None:
    refused(served, request(method="GET", path=path), 404, 422)


@pytest.mark.parametrize(
    "query",
    ["limit=9" + "9" * 5000, "limit=-1", "limit=1e1", "before=NaN", "model=%00", "name=%00", "nobody=1", "name="],
)
def test_queries_out_of_range(served: Running, query: str) -> None:
    refused(served, request(method="GET", path=f"/v1/claims?{query}"), 422)


@pytest.mark.parametrize("method", ["PUT", "TRACE", "CONNECT", "OPTIONS", "PROPFIND", "a-b", "get"])
def test_methods_that_nobody_has(served: Running, method: str) -> None:
    refused(served, request(method=method, path="/v2"), 405)


@pytest.mark.parametrize(
    "data",
    [
        request("X: " + "a" * 1_000_000, method="GET", path="/v2"),
        request(*["X: a"] * 200_000, method="GET", path="/v2"),
        request(method="GET", path="/" + "a" * 1_000_000),
        request(method="GET", path="/v2", version="2"),
        b"GET /v2 HTTP/1.1\r\n\r\n",
        b"GET /v2\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"GET /v2 HTTP/1.1\nHost: localhost\n\x00\r\n\r\n",
    ],
    ids=len,
)
def test_heads_that_are_none(served: Running, data: bytes) -> None:
    refused(served, data, 400)


@pytest.mark.parametrize("data", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /v2 HTTP/1.0\r\n\r\n"])
def test_heads_without_a_host(served: Running, data: bytes) -> None:
    refused(served, data, 403)


def test_an_old_client(served: Running) -> None:
    with connection(served) as link:
        link.sendall(request(f"Content-Length: {len(BODY)}", body=BODY, version="1.0"))
        found = answer(link)
        assert found is not None
        assert found[0] == 200
        assert link.recv(1) == b""


def test_requests_one_after_the_other_without_waiting(served: Running) -> None:
    with connection(served) as link:
        link.sendall(posted(BODY, JSON) * 20 + request(method="GET", path="/v2/health/live"))
        found = [answer_kept(link) for _ in range(21)]
    assert [status for status, _ in found] == [200] * 21
    assert json.loads(found[-1][1]) == {"live": True}


def answer_kept(link: socket.socket) -> tuple[int, bytes]:
    """An answer, and not a byte of the next."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += link.recv(1)
    (length,) = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    size, body = int(length.partition(b":")[2]), b""
    while len(body) < size:
        body += link.recv(size - len(body))
    return int(head.split()[1]), body


@pytest.mark.filterwarnings("ignore:.*Unsupported upgrade")
def test_no_other_protocol(served: Running) -> None:
    socket_key = ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
    for upgrade in ("websocket", "h2c"):
        data = request(f"Upgrade: {upgrade}", "Connection: Upgrade", *socket_key, method="GET", path="/v2/health/live")
        found = exchanged(served, data)
        assert found is not None
        assert found[0] == 200


# ---- slow ones


def test_heads_and_bodies_that_dawdle(served: Running) -> None:
    """They are cut off although something always comes, and others are served meanwhile."""
    heads = [connection(served) for _ in range(40)]
    bodies = [connection(served) for _ in range(40)]
    with ExitStack() as stack:
        for link in heads + bodies:
            stack.enter_context(link)
        for link in bodies:
            link.sendall(request(JSON, f"Content-Length: {len(BODY)}"))
        open_, started, served_meanwhile = {*heads, *bodies}, time.monotonic(), 0
        while open_ and time.monotonic() < started + 10 * BODY_S + 5:
            for link in list(open_):
                try:
                    link.sendall(b"X" if link in heads else b" ")
                    link.setblocking(False)
                    if not link.recv(1 << 16):
                        open_.discard(link)
                except BlockingIOError:
                    pass
                except ConnectionError:
                    open_.discard(link)
                finally:
                    link.settimeout(PATIENCE_S)
            assert served.infer().status_code == 200
            served_meanwhile += 1
            time.sleep(0.05)
    assert not open_
    assert served_meanwhile > 5


def test_a_reader_that_does_not_read(served: Running) -> None:
    """Its answers wait in its connection, and the server asks it for no more."""
    with connection(served) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.settimeout(1.0)
        sent = 0
        with suppress(TimeoutError, ConnectionError):
            while sent < 1 << 26:
                sent += link.send(request(method="GET", path="/openapi.json") * 100)
        assert sent < 1 << 26
        assert served.infer().status_code == 200


# ---- many


def test_connections_beyond_the_limit(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    limits = Limits(connections=40, body_s=4.0)
    with running(tiny, tmp_path_factory.mktemp("data"), limits=limits) as server, ExitStack() as stack:
        live = request(method="GET", path="/v2/health/live")
        first = stack.enter_context(connection(server))
        first.sendall(live)
        assert answer_kept(first)[0] == 200
        for _ in range(45):
            stack.enter_context(connection(server))
        late = exchanged(server, live)
        assert late is not None
        status, headers, body = late
        assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
        assert json.loads(body).keys() == {"error"}
        # Who is there already goes on.
        first.sendall(live)
        assert answer_kept(first)[0] == 200
        for _ in range(200):
            stack.enter_context(connection(server))
        give_up = time.monotonic() + PATIENCE_S
        while len(server.listener.server_state.connections) > 80:  # those too many are on their way out
            assert time.monotonic() < give_up
            time.sleep(0.01)
        found = exchanged(server, live)
        assert found is None or found[0] == 503
        first.sendall(live)
        assert answer_kept(first)[0] == 200
        # Those who say nothing are put out, and there is room again.
        give_up = time.monotonic() + PATIENCE_S
        while (found := exchanged(server, live)) is None or found[0] != 200:
            assert time.monotonic() < give_up
            time.sleep(0.1)


def tasks(server: Running) -> int:
    """How many tasks the server's event loop has."""
    return len(asyncio.all_tasks(server.listener._loop))


def test_clients_that_hang_up_while_they_wait(served: Running) -> None:
    said = served.said({"prove": "always", "nonce": "never proved"})
    waiting = json.dumps({"inputs": [INPUT], "parameters": {"prove": "sync", "nonce": "never proved"}}).encode()
    quiet(served)
    before = tasks(served)
    for data in (posted(waiting, JSON), request(method="GET", path=f"/v1/jobs/{said['vml_job']}/events")):
        with ExitStack() as stack:
            for _ in range(30):
                stack.enter_context(connection(served)).sendall(data)
            give_up = time.monotonic() + PATIENCE_S
            while served.server.watch._seen.get(said["vml_job"]) is None or waiting_for(served, said["vml_job"]) < 30:
                assert time.monotonic() < give_up
                time.sleep(0.02)
        quiet(served)
    # Connections that are kept have none.
    assert tasks(served) <= before + 1
    served.http.delete(f"/v1/jobs/{said['vml_job']}")


def waiting_for(server: Running, job: str) -> int:
    seen = server.server.watch._seen.get(job)
    return 0 if seen is None else seen.waiting


def test_clients_that_hang_up_anywhere(served: Running) -> None:
    whole = posted(BODY, JSON)

    def cut(at: int) -> None:
        for _ in range(3):
            with connection(served) as link:
                link.sendall(whole[:at])

    threads = [threading.Thread(target=cut, args=(at,)) for at in range(0, len(whole), len(whole) // 12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
