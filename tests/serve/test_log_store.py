"""The log in the database: the same tree as in memory, in any portions; an edited database is not signed for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, delete, event, select, update

from tests.serve.kit import answer
from tests.serve.kit import claim_of as claim_number
from vml import canonical
from vml.claim import Claim
from vml.errors import LogRejected
from vml.serve import log
from vml.serve.records import NewAnswer
from vml.serve.store import Store
from vml.serve.tables import log_checkpoints, log_entries, log_nodes, metadata
from vml.transparency import tree
from vml.transparency.audit import Entry
from vml.transparency.checkpoint import open_checkpoint
from vml.transparency.note import NoteSigner

SIGNER = NoteSigner("log.example/vml", bytes(range(32)))


def claim_of(number: int) -> bytes:
    return number.to_bytes(32, "big")


def portion(start: int, count: int) -> list[tuple[bytes, bytes]]:
    return [(claim_of(number), b"entry %d" % number) for number in range(start, start + count)]


def naive(entries: list[bytes]) -> bytes:
    if len(entries) < 2:
        return tree.leaf_hash(entries[0]) if entries else tree.EMPTY_ROOT
    k = 1 << (len(entries) - 1).bit_length() - 1
    return tree.node_hash(naive(entries[:k]), naive(entries[k:]))


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def filled(connection: Connection, count: int) -> Connection:
    log.append(connection, portion(0, count))
    return connection


@given(st.lists(st.integers(0, 20), max_size=6))
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=40)
def test_portions_make_the_same_tree(portions: list[int]) -> None:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.begin() as connection:
        total = 0
        for count in portions:
            assert log.append(connection, portion(total, count)) == total
            total += count
        assert log.size(connection) == total
        data = [entry for _, entry in portion(0, total)]
        assert log.entries(connection, 0, total + 1) == data
        for size in range(total + 1):
            assert log.root(connection, size) == naive(data[:size])
    engine.dispose()


def test_proofs_verify(connection: Connection) -> None:
    filled(connection, 21)
    root = log.root(connection, 21)
    for index in range(21):
        proof = log.inclusion(connection, index, 21)
        tree.verify_inclusion(tree.leaf_hash(b"entry %d" % index), index, 21, proof, root)
        way = log.consistency(connection, index, 21)
        tree.verify_consistency(index, log.root(connection, index), 21, root, way)


def test_where_a_claim_stands(connection: Connection) -> None:
    filled(connection, 5)
    assert log.index_of(connection, claim_of(3)) == 3
    assert log.index_of(connection, claim_of(5)) is None
    assert log.entries(connection, 3, 1) == [b"entry 3"]
    assert log.entries(connection, 5, 9) == []


def test_a_claim_is_logged_once(connection: Connection) -> None:
    filled(connection, 5)
    with pytest.raises(Exception, match="UNIQUE"):
        log.append(connection, portion(4, 1))


def test_reads_grow_with_the_logarithm(connection: Connection) -> None:
    for start in range(0, 4000, 1000):
        log.append(connection, portion(start, 1000))
    rows = 0

    def count(cursor: Any, *_: Any) -> None:
        nonlocal rows
        rows += 1

    event.listen(connection, "after_cursor_execute", lambda *args: count(args[1]))
    assert len(log.inclusion(connection, 1234, 4000)) == 12
    assert rows == 1
    assert len(log.consistency(connection, 1234, 4000)) <= 13
    assert rows == 2
    log.append(connection, portion(4000, 50))
    assert rows == 6  # the size, the edge, entries and roots
    plan = connection.exec_driver_sql("explain query plan select * from log_nodes where position in (0, 7, 9)")
    assert any("SEARCH log_nodes" in str(row) for row in plan)


def test_a_log_that_is_smaller_has_no_such_proof(connection: Connection) -> None:
    filled(connection, 5)
    with pytest.raises(LookupError):
        log.inclusion(connection, 2, 6)
    with pytest.raises(LookupError):
        log.root(connection, 6)
    with pytest.raises(ValueError):
        log.inclusion(connection, 5, 5)


def test_checkpoints_are_signed_once_a_size(connection: Connection) -> None:
    empty = log.checkpoint(connection, SIGNER, 1.0)
    assert open_checkpoint(empty, SIGNER.verifier).root == tree.EMPTY_ROOT
    filled(connection, 5)
    note = log.checkpoint(connection, SIGNER, 2.0)
    found = open_checkpoint(note, SIGNER.verifier)
    assert (found.size, found.root) == (5, log.root(connection, 5))
    assert log.checkpoint(connection, SIGNER, 3.0) == note
    kept = connection.execute(select(log_checkpoints.c.size, log_checkpoints.c.created_at)).all()
    assert [tuple(row) for row in kept] == [(0, 1.0), (5, 2.0)]


def test_another_key_signs_the_same_size_anew(connection: Connection) -> None:
    filled(connection, 5)
    log.checkpoint(connection, SIGNER, 1.0)
    other = NoteSigner(SIGNER.name, bytes(32))
    note = log.checkpoint(connection, other, 2.0)
    assert open_checkpoint(note, other.verifier).size == 5
    assert connection.execute(select(log_checkpoints.c.note)).scalars().all() == [note]


def test_an_edited_database_is_not_signed_for(connection: Connection) -> None:
    filled(connection, 5)
    log.checkpoint(connection, SIGNER, 1.0)
    connection.execute(
        update(log_nodes).where(log_nodes.c.position == tree.position((0, 4))).values(hash=tree.leaf_hash(b"forged"))
    )
    with pytest.raises(LogRejected, match="others than when they were signed"):
        log.checkpoint(connection, SIGNER, 2.0)


def test_a_shortened_database_is_not_signed_for(connection: Connection) -> None:
    filled(connection, 5)
    log.checkpoint(connection, SIGNER, 1.0)
    connection.execute(delete(log_entries).where(log_entries.c.index == 4))
    with pytest.raises(LogRejected, match="the log holds 4"):
        log.checkpoint(connection, SIGNER, 2.0)


def test_an_entry_says_which_model_when_and_under_which_receipt() -> None:
    claim = Claim(b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, bytes(32))
    receipt = canonical.encode({"signature": "0x00", "epoch": 1})
    answer = NewAnswer(claim, "vml-int/1", "digits", receipt=receipt, client="somebody")
    data = log.entry(answer, 1700000000.9)
    assert canonical.decode(data, max_bytes=4096) == {
        "claim": claim.to_json(),
        "created_at": 1700000000,
        "model_name": "digits",
        "receipt": {"signature": "0x00", "epoch": 1},
        "semantics": "vml-int/1",
    }
    bare = canonical.decode(log.entry(NewAnswer(claim, "vml-int/1", "digits"), 0.0), max_bytes=4096)
    assert bare["receipt"] is None


def test_nothing_to_append(connection: Connection) -> None:
    filled(connection, 3)
    assert log.append(connection, []) == 3
    assert log.size(connection) == 3


def test_the_log_of_a_store_on_every_database(store: Store) -> None:
    """What the server itself does: answers recorded in groups, one checkpoint, proofs of all of it."""
    recorded = [
        each for start in (0, 3, 7) for each in store.record([answer(number) for number in range(start, start + 4)])
    ]
    indices = {each.digest: each.log_index for each in recorded}
    assert sorted(indices.values()) == list(range(11))
    with store.writing() as connection:
        note = log.checkpoint(connection, SIGNER, 1.0)
    with store.reading() as connection:
        found = open_checkpoint(note, SIGNER.verifier)
        data = log.entries(connection, 0, 100)
        assert (found.size, found.root) == (11, naive(data))
        for digest, index in indices.items():
            assert log.index_of(connection, digest) == index
            proof = log.inclusion(connection, index, 11)
            tree.verify_inclusion(tree.leaf_hash(data[index]), index, 11, proof, found.root)
            way = log.consistency(connection, index, 11)
            tree.verify_consistency(index, log.root(connection, index), 11, found.root, way)
        assert Entry.from_bytes(data[5]).claim == claim_number(5)
        first = sorted(indices, key=indices.__getitem__)
        assert log.asked_under(connection, bytes(32)) == (first, None)


def test_whoever_asks_later_under_a_context_hides_nothing(store: Store) -> None:
    true = store.record([answer(0)])[0].digest
    for number in range(1, 2 * log.MAX_ASKED):
        store.record([answer(number)])
    with store.reading() as connection:
        found, following = log.asked_under(connection, bytes(32))
        assert (found[0], len(found), following) == (true, log.MAX_ASKED, log.MAX_ASKED)
        rest, end = log.asked_under(connection, bytes(32), following)
    assert (len({*found, *rest}), end) == (2 * log.MAX_ASKED, None)
