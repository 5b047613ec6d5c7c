"""Workers and the server are killed, connections broken, at random: every accepted job ends once, nothing is lost."""

from __future__ import annotations

import gc
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.serve.fault_server import ATTEMPTS, backend, kind
from tests.serve.postgresql import PostgreSQL
from vml import api
from vml.proof import Proof
from vml.serve import log, reading
from vml.serve.records import State
from vml.serve.store import Store
from vml.serve.tables import log_entries, proofs

# pg8000 leaves the socket of a connection that broke to the collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

ROOT = Path(__file__).parents[2]
_ENDS = "('proved', 'failed', 'cancelled')"
WATCH = {
    "sqlite": f"""
        CREATE TABLE ends (id TEXT, state TEXT);
        CREATE TRIGGER watch AFTER UPDATE ON jobs WHEN new.state IN {_ENDS} OR old.state IN {_ENDS}
        BEGIN INSERT INTO ends VALUES (new.id, new.state); END""",
    "postgresql": f"""
        CREATE TABLE ends (id TEXT, state TEXT);
        CREATE FUNCTION watch() RETURNS trigger AS 'BEGIN INSERT INTO ends VALUES (new.id, new.state); RETURN new; END'
        LANGUAGE plpgsql;
        CREATE TRIGGER watch AFTER UPDATE ON jobs FOR EACH ROW
        WHEN (new.state IN {_ENDS} OR old.state IN {_ENDS}) EXECUTE FUNCTION watch()""",
}
"""Whatever ends a job, or changes one that has ended, is written down by the database itself."""


class Server:
    """The server's process, killed and started anew; what it said it had accepted."""

    def __init__(self, url: str, folder: str, count: int, pace_s: float) -> None:
        self._command = [sys.executable, "-m", "tests.serve.fault_server", url, folder, str(count), str(pace_s)]
        self.accepted: dict[int, set[tuple[str, str]]] = {}
        self._lines: queue.Queue[str] = queue.Queue()
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        threading.Thread(target=self._listen, args=(self.process.stdout,), daemon=True).start()

    def _listen(self, pipe: Any) -> None:
        with pipe:
            for line in pipe:
                if line.endswith("\n"):  # a line that was cut off was never said
                    self._lines.put(line)

    def hear(self) -> None:
        while not self._lines.empty():
            words = self._lines.get().split()
            if len(words) == 3:
                self.accepted.setdefault(int(words[0]), set()).add((words[1], words[2]))

    def workers(self) -> list[int]:
        task = Path(f"/proc/{self.process.pid}/task")
        children = [int(pid) for thread in task.iterdir() for pid in (thread / "children").read_text().split()]
        return [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def fault(self, what: str, dice: random.Random, break_connections: Callable[[], int]) -> None:
        if what == "server":
            self.process.kill()
            self.process.wait(30)
            self.start()
        elif what == "connections":
            while not break_connections():
                time.sleep(0.01)
        else:
            while not (workers := self.workers()):
                time.sleep(0.01)
            os.kill(dice.choice(workers), signal.SIGKILL)


def run(
    url: str, folder: str, count: int, log_file: Path, postgresql: PostgreSQL | None, faults: dict[str, int]
) -> None:
    store = Store.open(url)
    with store.writing() as connection:
        if postgresql:
            connection.exec_driver_sql(WATCH["postgresql"])
        else:
            connection.connection.executescript(WATCH["sqlite"])  # type: ignore[attr-defined]
            faults = {**faults, "connections": 0}
    dice = random.Random(4711)
    planned = [what for what, times in faults.items() for _ in range(times)]
    dice.shuffle(planned)
    # A fault comes when so much more has happened: answers accepted, jobs ended.
    step = 2 * count // (len(planned) + 2)
    server = Server(url, folder, count, pace_s=0.03)
    give_up = time.monotonic() + 60 + 12 * len(planned)
    due = step
    try:
        while store.depth() or len(server.accepted) < count or planned:
            assert time.monotonic() < give_up, (store.count_jobs(), planned)
            server.hear()
            ended = sum(n for state, n in store.count_jobs().items() if state.ended)
            if planned and len(server.accepted) + ended >= due:
                if planned[-1] == "worker" and not store.jobs(limit=1, state=State.RUNNING):
                    continue  # one that has something to lose
                due += step
                time.sleep(dice.uniform(0.0, 0.3))
                server.fault(planned.pop(), dice, lambda: postgresql.break_connections(url) if postgresql else 0)
            time.sleep(0.05)
    finally:
        server.process.kill()
        server.process.wait(30)
    server.hear()
    check(store, server.accepted, count, log_file, folder)
    store.close()


def check(store: Store, accepted: dict[int, set[tuple[str, str]]], count: int, log_file: Path, folder: str) -> None:
    assert sorted(accepted) == list(range(count))
    # However often a request was sent, it got one claim and one job.
    assert {len(answers) for answers in accepted.values()} == {1}
    jobs = {job.id: job for job in store.jobs(limit=10 * count)}
    assert len(jobs) == count == store.count_claims()
    with store.reading() as connection:
        # Each claim is one entry of the log, and the tree stands.
        claims = connection.execute(select(log_entries.c.claim).order_by(log_entries.c.index)).scalars().all()
        assert len(set(claims)) == len(claims) == log.size(connection) == count
        assert len(log.root(connection, count)) == 32
        made = connection.execute(select(proofs.c.claim, proofs.c.job)).all()
        ends = connection.exec_driver_sql("SELECT id, state FROM ends").all()
        assert reading.count_jobs(connection)[State.PROVED] == len(made)
    # Every job ended once, and nothing touched it afterwards.
    assert sorted(id for id, _ in ends) == sorted(jobs)
    assert dict(map(tuple, ends)) == {id: job.state.value for id, job in jobs.items()}
    begun = Counter(line.split()[0] for line in log_file.read_text().splitlines())
    for number, ((digest, id),) in accepted.items():
        job = jobs[id]
        assert job.claim.hex() == digest
        record = store.proof(job.claim)
        if kind(number, count) == 3.25:
            assert (job.state, job.error_code) == (State.FAILED, "ProvingError")
        elif kind(number, count) == 3.5:
            assert (job.state, job.error_code, job.attempts) == (State.FAILED, "WorkerLost", 2)
        else:
            assert job.state is State.PROVED or (job.error_code, job.attempts) == ("WorkerLost", ATTEMPTS)
        if job.state is State.PROVED:
            assert record is not None
            proof = Proof.from_bytes(record.data)
            assert (record.job, proof.claims[0].digest()) == (id, job.claim)
            if backend(number, count) == "sumcheck":
                api.verify(proof, model=folder)
        else:
            assert record is None
            assert job.error
        # A prover is started once an attempt, unless it died between taking the job and starting.
        assert begun[digest] <= job.max_attempts
    proved = sum(job.state is State.PROVED for job in jobs.values())
    assert proved >= 0.9 * count


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def server_of(request: pytest.FixtureRequest, url: str) -> PostgreSQL | None:
    return request.getfixturevalue("postgresql") if url.startswith("postgresql") else None


def test_sixty_jobs(
    url: str, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server_of: PostgreSQL | None
) -> None:
    monkeypatch.setenv("VML_TEST_LOG", str(tmp_path / "log"))
    run(url, str(tiny.folder), 60, tmp_path / "log", server_of, {"worker": 2, "server": 1, "connections": 1})


@pytest.mark.slow
def test_five_hundred_jobs(
    url: str, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server_of: PostgreSQL | None
) -> None:
    monkeypatch.setenv("VML_TEST_LOG", str(tmp_path / "log"))
    run(url, str(tiny.folder), 500, tmp_path / "log", server_of, {"worker": 30, "server": 8, "connections": 12})
