"""PostgreSQL for real: broken connections, a server that goes away and comes back, many who take jobs at once."""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.serve.kit import Clock, answer, asked, claim_of, proof_of
from tests.serve.postgresql import PASSWORD, PostgreSQL
from vml.serve import log
from vml.serve.records import Lease
from vml.serve.refusals import StoreUnavailable
from vml.serve.store import Store

# pg8000 leaves the socket of a connection that broke to the collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def url(postgresql: PostgreSQL) -> str:
    return postgresql.new_database()


@pytest.fixture
def own(request: pytest.FixtureRequest) -> Iterator[PostgreSQL]:
    """A server of one test's own, that it may stop."""
    request.getfixturevalue("postgresql")  # skips where there is none
    server = PostgreSQL()
    server.start()
    yield server
    server.remove()


def test_a_broken_connection_is_replaced_unseen(store: Store, url: str, postgresql: PostgreSQL) -> None:
    store.record([asked(1)])
    assert postgresql.break_connections(url) >= 1
    lease = store.lease("w", seconds=30)
    assert lease is not None
    postgresql.break_connections(url)
    assert store.beat(lease, seconds=30, stage="", fraction=0.5)
    postgresql.break_connections(url)
    store.finish(lease, proof_of(lease))
    assert store.proof(claim_of(1).digest()) is not None


def test_a_connection_that_breaks_in_the_middle_is_tried_again(store: Store, url: str, postgresql: PostgreSQL) -> None:
    tries = []

    def work(connection: object) -> int:
        tries.append(connection)
        with store.database.reading() as other:
            assert log.size(other) == 0
        log.append(connection, [(b"\1" * 32, b"{}")])  # type: ignore[arg-type]
        if len(tries) < 3:
            postgresql.break_connections(url)
        return log.size(connection)  # type: ignore[arg-type]

    assert store.database.append(work) == 1
    assert len(tries) == 3


def test_what_was_not_committed_is_not_there(store: Store, url: str, postgresql: PostgreSQL) -> None:
    def broken() -> None:
        with store.writing() as connection:
            log.append(connection, [(b"\1" * 32, b"{}")])
            postgresql.break_connections(url)

    with pytest.raises(StoreUnavailable) as caught:
        broken()
    assert PASSWORD not in str(caught.value)
    store.record([answer(1)])
    assert store.count_claims() == 1
    with store.reading() as connection:
        assert log.size(connection) == 1


def test_one_snapshot_for_whoever_reads(store: Store) -> None:
    with store.reading() as connection:
        assert log.size(connection) == 0
        store.record([answer(1)])
        assert log.size(connection) == 0


def test_nobody_gets_the_same_job(store: Store, url: str, clock: Clock) -> None:
    count, workers = 60, 6
    store.record([asked(n) for n in range(count)])
    taken: list[Lease] = []

    def work(name: str) -> None:
        own = Store.open(url, clock=clock)
        while (lease := own.lease(name, seconds=30)) is not None:
            taken.append(lease)
            own.finish(lease, proof_of(lease))
        own.close()

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(Counter(lease.job for lease in taken).values()) == {1}
    assert len(taken) == count
    assert store.depth() == 0


def test_a_job_that_somebody_is_taking_is_stepped_over(store: Store) -> None:
    store.record([asked(1, priority=1), asked(2)])
    first = store.jobs(limit=2, claim=claim_of(1).digest())[0].id
    with store.database.appending() as connection:
        connection.exec_driver_sql(f"SELECT id FROM jobs WHERE id = '{first}' FOR UPDATE")
        lease = store.lease("w", seconds=30)
        assert lease is not None
        assert lease.claim == claim_of(2)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["shutdown", "crash"])
def test_a_server_that_comes_back_is_waited_for(own: PostgreSQL, how: signal.Signals) -> None:
    store = Store.open(own.new_database(), patience_s=30.0)
    store.record([asked(n) for n in range(3)])
    own.stop(how)
    recorded = []
    thread = threading.Thread(target=lambda: recorded.extend(store.record([asked(3)])))
    thread.start()
    time.sleep(0.3)
    assert not recorded
    own.start()
    thread.join(30)
    assert [r.log_index for r in recorded] == [3]
    own.stop(how)
    impatient = Store(store.database, clock=time.time, max_jobs=9, retry_s=1.0)
    store.database._patience_s = 0.3
    started = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        impatient.depth()
    assert time.monotonic() - started < 15
    assert PASSWORD not in str(caught.value)
    own.start()
    assert impatient.depth() == 4
    store.close()
