"""`vml serve` and its workers are killed at once, under load, and start again: whoever got an answer keeps it.

What clients see over HTTP, and what the database itself wrote down about ends of jobs.
"""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.serve.running import INPUT
from tests.serve.test_serve_faults_jobs import WATCH
from vml import api
from vml.claim import parse_bytes32
from vml.client.server_log import ServerLog
from vml.proof import Proof
from vml.serve.store import Store
from vml.transparency.audit import audit_entry, audit_growth
from vml.transparency.note import VerifierKey

PATH = "/v2/models/tiny/infer"
CLIENTS = 4
LEASE_S = 60.0
GONE = (httpx.TransportError, OSError)


class Killed:
    """`vml serve` on one port and one data folder, again and again."""

    def __init__(self, folder: Path, data: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        words = ["serve", str(folder), "--data", str(data), "--port", str(self.port), "--backend", "sumcheck"]
        self._command = [sys.executable, "-m", "vml", *words, "--workers", "2", "--quiet", "--json"]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, start_new_session=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline()

    def kill(self) -> None:
        """Server, workers and whatever they started, at once."""
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=30)
        psutil.wait_procs(family, 30)


@dataclass
class Clients:
    """Clients who send each request under its key until it is answered; some of them once more."""

    url: str
    count: int
    jobs: dict[int, str] = field(default_factory=dict)
    claims: dict[int, str] = field(default_factory=dict)
    sequences: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> list[threading.Thread]:
        threads = [threading.Thread(target=self._run, args=(k,), daemon=True) for k in range(CLIENTS)]
        for thread in threads:
            thread.start()
        return threads

    def _run(self, first: int) -> None:
        with httpx.Client(base_url=self.url, timeout=30) as http:
            for number in range(first, self.count, CLIENTS):
                for _ in range(1 + (number % 5 == 0)):
                    self._send(http, number)

    def _send(self, http: httpx.Client, number: int) -> None:
        body = {"inputs": [INPUT], "parameters": {"prove": "always", "nonce": f"case {number}"}}
        while True:
            try:
                response = http.post(PATH, json=body, headers={"Idempotency-Key": f"request {number}"})
            except GONE:
                time.sleep(0.05)
                continue
            if response.status_code in (429, 503):
                time.sleep(0.1)
                continue
            break
        with self._lock:
            if response.status_code != 200:
                self.wrong.append(response.text)
                return
            said = response.json()["parameters"]
            if self.jobs.setdefault(number, said["vml_job"]) != said["vml_job"]:
                self.wrong.append(f"request {number} has two jobs")
            self.claims[number] = said["vml_claim"]
            self.sequences.append(json.loads(said["vml_receipt"])["sequence"])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder whose database writes down whatever ends a job, or changes one that has ended."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    Store.open(f"sqlite:///{folder / 'vml.db'}").close()
    with closing(sqlite3.connect(folder / "vml.db")) as connection:
        connection.executescript(WATCH["sqlite"])
    return folder


def let_time_pass(data: Path) -> None:
    """Leases of the dead are over, as they are when a server starts again a minute later."""
    with closing(sqlite3.connect(data / "vml.db", timeout=30)) as connection:
        connection.execute("UPDATE jobs SET lease_until = lease_until - ? WHERE state = 'running'", (LEASE_S,))
        connection.commit()


def run(folder: Path, data: Path, count: int, kills: int) -> None:
    server = Killed(folder, data)
    notes: list[bytes] = []
    pin = None
    try:
        clients = Clients(server.url, count)
        threads = clients.start()
        give_up = time.monotonic() + 120 + 60 * kills + count
        for kill in range(1, kills + 1):
            while len(clients.jobs) < kill * count // (kills + 1):
                assert time.monotonic() < give_up
                time.sleep(0.01)
            log = ServerLog(server.url)
            with closing(log), suppress(Exception):
                pin = pin or VerifierKey.parse(httpx.get(server.url + "/v1/log/key").json()["key"])
                notes.append(log.checkpoint())
            server.kill()
            let_time_pass(data)
            server.start()
        for thread in threads:
            thread.join(max(1.0, give_up - time.monotonic()))
        assert clients.wrong == []
        assert sorted(clients.jobs) == list(range(count))
        wait_for_ends(server.url, give_up)
        assert len(notes) == kills
        assert pin is not None
        check_log(server.url, pin, notes, clients)
        proofs = {digest: httpx.get(f"{server.url}/v1/proofs/{digest}").content for digest in clients.claims.values()}
    finally:
        server.kill()
    check(folder, data, clients, proofs)


def wait_for_ends(url: str, give_up: float) -> None:
    with httpx.Client(base_url=url, timeout=30) as http:
        while any(http.get("/v1/jobs?limit=1").json()["counts"].get(state) for state in ("queued", "running")):
            assert time.monotonic() < give_up
            time.sleep(0.1)


def check_log(url: str, pin: VerifierKey, notes: list[bytes], clients: Clients) -> None:
    """Whatever was signed before a death is the beginning of what is signed now, and has every claim."""
    log = ServerLog(url)
    with closing(log):
        newest = log.checkpoint()
        for note in notes:
            sizes = [int(text.split(b"\n")[1]) for text in (note, newest)]
            before, after = audit_growth(note, newest, log.consistency(*sizes), pin)
            assert before.size <= after.size == clients.count
        for digest in clients.claims.values():
            evidence = log.evidence(parse_bytes32(digest))
            assert evidence is not None
            audit_entry(evidence, pin, digest=parse_bytes32(digest))


def check(folder: Path, data: Path, clients: Clients, proofs: dict[str, bytes]) -> None:
    assert len(set(clients.sequences)) == len(clients.sequences) >= clients.count
    assert len(set(clients.jobs.values())) == len(set(clients.claims.values())) == clients.count
    with closing(sqlite3.connect(data / "vml.db")) as connection:
        ends = connection.execute("SELECT id, state FROM ends").fetchall()
        published = connection.execute("SELECT job FROM proofs").fetchall()
    # Every job ended once, and nothing touched it afterwards.
    assert sorted(id for id, _ in ends) == sorted(clients.jobs.values())
    proved = {id for id, state in ends if state == "proved"}
    assert proved == {id for (id,) in published}
    assert len(proved) == len(published) >= clients.count - 2
    model = api.load_model(folder)
    some = sorted(clients.claims.items())[:: max(1, clients.count // 10)]
    for number, digest in some:
        if clients.jobs[number] in proved:
            proof = Proof.from_bytes(proofs[digest])
            context = proof.claims[0].context
            verdict = api.verify(proof, model=model, context=context)
            assert "0x" + verdict.claims[0].digest().hex() == digest


@pytest.mark.slow
def test_a_server_that_is_killed_once(tiny: Any, data: Path) -> None:
    run(tiny.folder, data, 30, kills=1)


@pytest.mark.slow
def test_a_server_that_is_killed_often(tiny: Any, data: Path) -> None:
    run(tiny.folder, data, 500, kills=6)
