"""Too much, too long, too slow: refused at once, with a time to come back; and an end that loses nothing."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.running import INPUT, Running, running
from vml.serve import auth
from vml.serve.limits import Rates, Reading, Rejected, Slots
from vml.serve.refusals import StoreUnavailable
from vml.serve.settings import Access, Limits

PATH = "/v2/models/tiny/infer"
BODY = json.dumps({"inputs": [INPUT]}).encode()


def refused(response: httpx.Response, status: int) -> None:
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"}
    if status in (429, 503):
        assert int(response.headers["Retry-After"]) >= 1


# ---- the pieces


def test_a_bucket_fills_with_time() -> None:
    now = [0.0]
    rates = Rates(lambda: now[0])
    for _ in range(3):
        rates.take("a", 2.0, 3)
    with pytest.raises(Rejected) as caught:
        rates.take("a", 2.0, 3)
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (429, "1")
    rates.take("b", 2.0, 3)
    now[0] = 0.5
    rates.take("a", 2.0, 3)
    with pytest.raises(Rejected):
        rates.take("a", 2.0, 3)
    now[0] = 1000.0
    for _ in range(3):
        rates.take("a", 2.0, 3)
    with pytest.raises(Rejected):
        rates.take("a", 2.0, 3)
    for _ in range(100):
        rates.take("c", None, 1)


def test_buckets_do_not_grow_with_clients() -> None:
    rates = Rates()
    for k in range(10_000):
        rates.take(str(k), 1.0, 1)
    assert len(rates._buckets) <= 4096


def test_slots() -> None:
    slots = Slots(1)
    with slots.one(), pytest.raises(Rejected), slots.one():
        pass
    with slots.one():
        assert slots.taken == 1
    assert slots.taken == 0


# ---- bodies


@pytest.fixture(scope="module")
def tight(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    limits = Limits(body_bytes=4096, body_s=0.6, concurrent=2, jobs=3)
    with running(tiny, tmp_path_factory.mktemp("data"), limits=limits) as server:
        yield server


def test_a_body_that_says_it_is_too_large(tight: Running) -> None:
    refused(tight.http.post(PATH, content=b" " * 5000), 413)
    refused(tight.http.post("/v1/verify?model=tiny", content=b" " * 5000), 413)
    refused(tight.http.post("/v1/proofs/0x" + "00" * 32, content=b" " * 5000), 413)


def test_a_body_that_turns_out_too_large(tight: Running) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 100

    refused(tight.http.post(PATH, content=chunks()), 413)
    assert tight.infer().status_code == 200


def connection(server: Running) -> socket.socket:
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def received(link: socket.socket) -> bytes:
    data = b""
    while chunk := link.recv(65536):
        data += chunk
    return data


def test_a_body_that_does_not_come(tight: Running) -> None:
    with connection(tight) as link:
        link.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{" % PATH.encode())
        started = time.monotonic()
        answer = received(link)
        assert answer.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("before", [b"", b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_a_head_that_does_not_come(tight: Running, before: bytes) -> None:
    with connection(tight) as link:
        if before:
            link.sendall(before)
            assert link.recv(65536).startswith(b"HTTP/1.1 200")
            time.sleep(0.1)
        link.sendall(b"POST /v2/models")
        started = time.monotonic()
        assert received(link) in (b"", b'{"live":true}')
        assert time.monotonic() - started < 10


def test_a_client_that_goes_away_takes_no_slot_along(tight: Running) -> None:
    for _ in range(5):
        with connection(tight) as link:
            link.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{" % PATH.encode())
    deadline = time.monotonic() + 20
    while tight.server.slots.taken and time.monotonic() < deadline:
        time.sleep(0.05)
    assert tight.infer().status_code == 200


def test_nonsense_is_answered_and_the_server_goes_on(tight: Running) -> None:
    for data in (b"\x00\xff" * 50 + b"\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET " + b"/" * 100_000 + b"\r\n\r\n"):
        with connection(tight) as link:
            link.sendall(data)
            link.shutdown(socket.SHUT_WR)
            assert received(link)[:10] in (b"", b"HTTP/1.1 4")
    assert tight.infer().status_code == 200


# ---- at once


@contextmanager
def held(server: Running) -> Iterator[threading.Event]:
    """Let the model answer only when told to."""
    served, free = server.server.models["tiny"], threading.Event()
    answer, run_s = served.answer, served.run_s

    def slow(*given: Any) -> Any:
        assert free.wait(30)
        return answer(*given)

    served.answer, served.run_s = slow, 1.0  # type: ignore[method-assign]
    try:
        yield free
    finally:
        free.set()
        served.answer, served.run_s = answer, run_s  # type: ignore[method-assign]


def test_so_many_inferences_at_once(tight: Running) -> None:
    with held(tight) as free:
        answers: list[int] = []
        threads = [threading.Thread(target=lambda: answers.append(tight.infer().status_code)) for _ in range(2)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 20
        while tight.server.slots.taken < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        refused(tight.infer(), 429)
        assert tight.http.get("/v2/health/live").status_code == 200
        free.set()
        for thread in threads:
            thread.join()
    assert answers == [200, 200]
    assert tight.infer().status_code == 200


def test_so_many_jobs_and_a_refused_one_leaves_no_trace(tight: Running) -> None:
    jobs = [tight.said({"prove": "always", "nonce": f"job {k}"})["vml_job"] for k in range(3)]
    before = tight.server.store.count_claims()
    refused(tight.infer({"prove": "always", "nonce": "one too many"}), 429)
    assert tight.server.store.count_claims() == before
    digest = tight.said({"nonce": "answered, not proved"})["vml_claim"]
    refused(tight.http.post(f"/v1/proofs/{digest}"), 429)
    tight.http.delete(f"/v1/jobs/{jobs[0]}")
    assert tight.said({"prove": "always", "nonce": "one too many"})["vml_job"]


def test_a_clients_own_quota(tiny: Any, tmp_path: Path) -> None:
    entries, keys = [], {}
    for name, rate, burst in (("slow", 0.01, 2), ("fast", None, None)):
        keys[name], entry = auth.new_key(name, [auth.INFER], rate, burst)
        entries.append(json.loads(entry))
    (tmp_path / "keys.json").write_text(json.dumps({"keys": entries}))
    with running(tiny, tmp_path / "data", access=Access(keys_file=tmp_path / "keys.json")) as server:
        slow, fast = ({"X-API-Key": keys[name]} for name in ("slow", "fast"))
        assert [server.infer(headers=slow).status_code for _ in range(3)] == [200, 200, 429]
        again = server.infer(headers=slow)
        refused(again, 429)
        assert int(again.headers["Retry-After"]) > 50
        assert [server.infer(headers=fast).status_code for _ in range(5)] == [200] * 5


def test_a_database_that_does_not_answer(tight: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("the disk of 10.1.2.3 is full")

    monkeypatch.setattr(tight.server.store, "record_each", broken)
    monkeypatch.setattr(tight.server.store, "claim", broken)
    for response in (tight.infer(), tight.http.get("/v1/claims/0x" + "00" * 32)):
        refused(response, 503)
        assert "10.1.2.3" not in response.text
    monkeypatch.undo()
    assert tight.infer().status_code == 200


# ---- the end


def test_the_end_waits_for_requests_and_lets_listeners_go(tiny: Any, tmp_path: Path) -> None:
    ended: dict[str, Any] = {}
    with running(tiny, tmp_path) as server:
        job = server.said({"prove": "always", "nonce": "unfinished"})["vml_job"]
        listener = server.http.build_request("GET", f"/v1/jobs/{job}/events")
        stream = server.http.send(listener, stream=True)
        lines = stream.iter_lines()
        assert next(lines) == "event: progress"
        with held(server) as free:

            def ask() -> None:
                with httpx.Client(base_url=server.url, timeout=30) as http:
                    ended["answer"] = http.post(PATH, content=BODY)

            def follow() -> None:
                ended["events"] = list(lines)

            threads = [threading.Thread(target=ask), threading.Thread(target=follow)]
            for thread in threads:
                thread.start()
            deadline = time.monotonic() + 20
            while not server.server.slots.taken and time.monotonic() < deadline:
                time.sleep(0.01)
            app = server.server
            url = server.url
            _stop(server)
            while app.ready and time.monotonic() < deadline:
                time.sleep(0.01)
            threads[1].join(20)
            free.set()
            threads[0].join(20)
        stream.close()
        assert ended["answer"].status_code == 200
        assert not any(line == "event: end" for line in ended["events"])
    with pytest.raises(httpx.TransportError):
        httpx.get(url + "/v2/health/live")
    with running(tiny, tmp_path) as server:
        again = server.server.store.job(job)
        assert again is not None
        assert again.state == "queued"
        claim = ended["answer"].json()["parameters"]["vml_claim"]
        assert server.http.get(f"/v1/claims/{claim}").status_code == 200


def _stop(server: Running) -> None:
    server.listener.handle_exit(signal.SIGTERM, None)


def test_bodies_that_are_being_read_are_bounded_together() -> None:
    reading = Reading(100, 1.0, 150)
    with reading.share() as mine, reading.share() as yours:
        mine(100)
        yours(50)
        with pytest.raises(Rejected) as caught:
            yours(1)
        assert caught.value.status == 429
    assert reading.taken == 0
