"""A disk that is full, a database that may not be written, or whose file goes: refused, nothing half done, then on."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event, select

from tests.serve.kit import answer, asked
from tests.serve.running import INPUT, Running, running
from tests.serve.test_serve_cli import process
from vml.claim import parse_bytes32
from vml.cli import main
from vml.proof import Proof
from vml.serve import log, worker
from vml.serve.executor import Work
from vml.serve.records import State
from vml.serve.refusals import StoreUnavailable
from vml.serve.sampling import nonce_context
from vml.serve.store import Store
from vml.serve.tables import claims, jobs, log_entries, proofs
from vml.transparency import tree

MISSING = "a small file system cannot be mounted here"
SIZE, LARGER = 4 << 20, 24 << 20


class Disk:
    """A small file system."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._ballast = place / "ballast"

    def fill(self) -> None:
        """Leave not a page free."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    pass

    def clear(self) -> None:
        """Room again."""
        self._ballast.unlink()


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    size = getattr(request, "param", SIZE)
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None or _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place):
        pytest.skip(MISSING)
    try:
        yield Disk(place)
    finally:
        assert _run("umount", place) == 0


def _run(*command: object) -> int:
    return subprocess.run([str(word) for word in command], capture_output=True, check=False).returncode


def refused(response: httpx.Response) -> None:
    assert response.status_code == 503, response.text
    assert response.json().keys() == {"error"}
    assert int(response.headers["Retry-After"]) >= 1


def ask_until_refused(server: Running, begin: int) -> tuple[dict[str, str], list[str]]:
    """Ask under one nonce after the other: (claims by nonce, refused nonces)."""
    accepted: dict[str, str] = {}
    refusals: list[str] = []
    for number in range(begin, begin + 2000):
        nonce = f"case {number}"
        response = server.infer({"prove": "always", "nonce": nonce})
        if response.status_code == 200:
            accepted[nonce] = response.json()["parameters"]["vml_claim"]
        else:
            refused(response)
            refusals.append(nonce)
        if len(refusals) == 5:
            return accepted, refusals
    raise AssertionError("never full")


def test_answers_on_a_full_disk(tiny: Any, disk: Disk) -> None:
    with running(tiny, disk.place / "data") as server:
        accepted = {"case 0": server.said({"prove": "always", "nonce": "case 0"})["vml_claim"]}
        server.work()
        key = server.http.get("/v1/log/checkpoint")
        assert key.status_code == 200
        disk.fill()
        more, refusals = ask_until_refused(server, 1)
        accepted |= more
        # Reading goes on.
        for path in (
            "/v2/health/ready", "/v2/models/tiny", "/v1/models", "/v1/jobs", "/v1/claims", "/metrics",
            "/v1/log/entries", f"/v1/claims/{accepted['case 0']}", f"/v1/proofs/{accepted['case 0']}",
            f"/v1/log/inclusion/{accepted['case 0']}?size=1",
        ):  # fmt: skip
            assert server.http.get(path).status_code == 200, path
        # What would have to be written is refused.
        assert server.http.get("/v1/log/checkpoint").status_code in (200, 503)
        disk.clear()
        accepted["after"] = server.said({"prove": "always", "nonce": "after"})["vml_claim"]
        check(server.server.store, accepted, refusals)
        # A refused request may be sent again.
        accepted[refusals[0]] = server.said({"prove": "always", "nonce": refusals[0]})["vml_claim"]
        check(server.server.store, accepted, refusals[1:])
        assert server.http.get("/v1/log/checkpoint").status_code == 200


def check(store: Store, accepted: dict[str, str], refusals: list[str]) -> None:
    """Everything that was accepted is there whole, of what was refused nothing, and the log is that of its entries."""
    digests = {parse_bytes32(digest) for digest in accepted.values()}
    with store.reading() as connection:
        assert set(connection.execute(select(claims.c.digest)).scalars()) == digests
        assert set(connection.execute(select(jobs.c.claim)).scalars()) == digests
        assert set(connection.execute(select(log_entries.c.claim)).scalars()) == digests
        size = log.size(connection)
        assert size == len(digests)
        leaves = [tree.leaf_hash(entry) for entry in log.entries(connection, 0, size)]
        assert log.root(connection, size) == root(leaves)
        for nonce in refusals:
            assert log.asked_under(connection, nonce_context(nonce)) == ([], None)
    assert all(store.inputs(digest) for digest in digests)


def root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return tree.node_hash(root(leaves[:half]), root(leaves[half:]))


def test_receipts_that_cannot_be_counted(tiny: Any, disk: Disk) -> None:
    with running(tiny, disk.place / "data") as server:
        first = server.said({"nonce": "first"})
        server.server.signer._next = server.server.signer._reserved
        disk.fill()
        refused(server.infer({"nonce": "second"}))
        refused(server.infer({"nonce": "second"}))
        disk.clear()
        second = server.said({"nonce": "second"})
        assert second["vml_log_index"] == first["vml_log_index"] + 1
        files = {path.name for path in (disk.place / "data").iterdir()}
        assert not [name for name in files if "tmp" in name], files


class Made:
    """A prover whose proof is ready."""

    def __init__(self, size: int) -> None:
        self.size, self.calls = size, 0

    def prove(self, lease: Any, progress: Any) -> Proof:
        self.calls += 1
        return Proof("sumcheck/1", (lease.claim,), {}, bytes(self.size))


def test_a_proof_for_which_there_is_no_room(disk: Disk) -> None:
    """It is kept and handed in when there is room: made once, published once."""
    url = f"sqlite:///{disk.place / 'vml.db'}"
    store = Store.open(url)
    (recorded,) = store.record([asked(1)])
    prover, stop = Made(300_000), threading.Event()
    lease = store.lease("a worker", seconds=30)
    assert lease is not None
    disk.fill()
    with pytest.raises(StoreUnavailable):
        store.finish(lease, prover.prove(lease, None))
    work = Work(url, {"tiny": "nowhere"})
    thread = threading.Thread(target=worker.do, args=(work, store, prover, lease, stop))
    thread.start()
    time.sleep(1.5)
    assert thread.is_alive()
    job = store.job(lease.job)
    assert job is not None
    assert job.state is State.RUNNING
    assert store.proof(recorded.digest) is None
    disk.clear()
    thread.join(30)
    assert not thread.is_alive()
    job = store.job(lease.job)
    assert job is not None
    assert (job.state, job.attempts) == (State.PROVED, 1)
    assert prover.calls == 2  # the one above, and the worker's
    with store.reading() as connection:
        assert len(connection.execute(select(proofs.c.claim)).all()) == 1
    store.close()


@pytest.mark.slow
@pytest.mark.parametrize("disk", [LARGER], indirect=True)
def test_a_whole_server_on_a_full_disk(tiny: Any, disk: Disk) -> None:
    """Its jobs wait, none is begun twice, and all are proved when there is room."""
    arguments = [tiny.folder, "--data", disk.place / "data", "--workers", 1, "--backend", "sumcheck", "--quiet"]
    with process(*arguments) as (_, said), httpx.Client(base_url=said["url"], timeout=60) as http:

        def ask(nonce: str, prove: str = "always") -> httpx.Response:
            body = {"inputs": [INPUT], "parameters": {"prove": prove, "nonce": nonce}}
            return http.post("/v2/models/tiny/infer", json=body)

        def jobs_in(*states: str) -> int:
            counts = http.get("/v1/jobs?limit=1").json()["counts"]
            return sum(counts[state] for state in states)

        assert ask("first", "sync").json()["parameters"]["vml_state"] == "proved"
        asked = [ask(f"case {number}").status_code for number in range(20)]
        disk.fill()
        full_until = time.monotonic() + 5
        while time.monotonic() < full_until:
            asked.append(ask(f"case {len(asked)}").status_code)
            time.sleep(0.1)
        assert set(asked) == {200, 503}
        assert jobs_in("queued", "running") > 0
        disk.clear()
        give_up = time.monotonic() + 120
        while jobs_in("queued", "running"):
            assert time.monotonic() < give_up
            time.sleep(0.1)
        assert jobs_in("proved") == 1 + asked.count(200)
        assert {job["attempts"] for job in http.get("/v1/jobs?limit=500").json()["jobs"]} == {1}


def test_a_server_does_not_start_on_a_full_disk(tiny: Any, disk: Disk, capsys: pytest.CaptureFixture[str]) -> None:
    disk.fill()
    assert main(["serve", str(tiny.folder), "--port", "0", "--data", str(disk.place / "data")]) != 0
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert len(err.splitlines()) < 5


# ---- a database that may not be written, and one that goes


@contextmanager
def read_only(store: Store) -> Iterator[None]:
    """What SQLite says where the file or its file system may not be written."""
    engine = store.database._engine

    def forbid(connection: Any) -> None:
        connection.exec_driver_sql("PRAGMA query_only=ON")

    event.listen(engine, "begin", forbid)
    try:
        yield
    finally:
        event.remove(engine, "begin", forbid)
        engine.dispose()


@pytest.fixture
def served(tiny: Any, tmp_path: Path) -> Iterator[Running]:
    with running(tiny, tmp_path / "data") as server:
        yield server


def test_a_database_that_may_not_be_written(served: Running) -> None:
    first = served.said({"prove": "always", "nonce": "first"})
    with read_only(served.server.store):
        refused(served.infer({"nonce": "second"}))
        refused(served.http.delete(f"/v1/jobs/{first['vml_job']}"))
        assert served.http.get(f"/v1/claims/{first['vml_claim']}").status_code == 200
        assert served.http.get("/v1/claims").json()["total"] == 1
    assert served.said({"nonce": "second"})["vml_log_index"] == 1


def test_a_read_only_disk_is_no_place_for_a_database(disk: Disk) -> None:
    path = disk.place / "vml.db"
    Store.open(f"sqlite:///{path}").close()
    assert _run("mount", "-o", "remount,ro", disk.place) == 0
    with pytest.raises((StoreUnavailable, OSError)):
        Store.open(f"sqlite:///{path}")


def _remove(path: Path) -> None:
    path.unlink()


def _replace(path: Path) -> None:
    other = path.with_name("other.db")
    Store.open(f"sqlite:///{other}").close()
    os.replace(other, path)


@pytest.mark.parametrize("gone", [_remove, _replace])
def test_a_database_whose_file_goes(served: Running, gone: Callable[[Path], None]) -> None:
    """The open file would still take everything, and lose it with the process."""
    path = served.server.settings.data / "vml.db"
    kept = path.with_name("kept.db")
    first = served.said({"nonce": "first"})["vml_claim"]
    os.link(path, kept)
    gone(path)
    for nonce in ("second", "third"):
        refused(served.infer({"nonce": nonce}))
    assert gone is _replace or not path.exists()  # none was made in its place
    assert served.http.get("/v2/health/live").status_code == 200
    os.replace(kept, path)
    assert served.http.get(f"/v1/claims/{first}").status_code == 200
    assert served.said({"nonce": "second"})["vml_log_index"] == 1


def test_a_database_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "vml.db"
    store = Store.open(f"sqlite:///{path}")
    store.record([answer(1)])
    store.close()
    path.write_bytes(b"\xff" * 8192)
    with pytest.raises(StoreUnavailable):
        Store.open(f"sqlite:///{path}")
