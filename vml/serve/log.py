"""The transparency log in the server's database: entries, the roots of full ranges, signed checkpoints.

Every function works inside the transaction of the connection it is given. Whoever appends holds the database's lock for
writers, so that sizes follow each other. An append reads the roots on the right edge of the tree, a proof the ranges it
is made of: O(log n) rows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select, update

from vml import canonical
from vml.errors import LogRejected
from vml.serve.tables import claims, log_checkpoints, log_entries, log_nodes
from vml.transparency import tree
from vml.transparency.checkpoint import Checkpoint
from vml.transparency.note import NoteSigner

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from vml.serve.records import NewAnswer

MAX_ENTRY_BYTES = 1 << 16
MAX_ASKED = 100


def entry(answer: NewAnswer, created_at: float) -> bytes:
    """What the log holds of an answer: canonical JSON with its claim, its receipt, and when and by which model.

    Args:
        answer: what is remembered; its receipt is canonical JSON already.
        created_at: unix seconds; the whole ones are kept.
    """
    fields: dict[str, canonical.JSON] = {
        "claim": answer.claim.to_json(),
        "created_at": int(created_at),
        "model_name": answer.model_name,
        "receipt": canonical.decode(answer.receipt, max_bytes=MAX_ENTRY_BYTES) if answer.receipt else None,
        "semantics": answer.semantics,
    }
    return canonical.encode(fields)


def append(connection: Connection, entries: Sequence[tuple[bytes, bytes]]) -> int:
    """Add entries at the end.

    Args:
        entries: claim digest (32 bytes, not in the log yet) and data of each, in order.

    Returns:
        The index of the first.
    """
    first = size(connection)
    if not entries:
        return first
    edge = _roots(connection, tree.full_ranges(0, first))
    rows = [{"index": first + at, "claim": claim, "data": data} for at, (claim, data) in enumerate(entries)]
    connection.execute(insert(log_entries), rows)
    added = tree.grown(first, edge, [tree.leaf_hash(data) for _, data in entries])
    roots = [{"position": tree.position(node), "hash": root} for node, root in added.items()]
    connection.execute(insert(log_nodes), roots)
    return first


def size(connection: Connection) -> int:
    """How many entries there are."""
    last = connection.execute(select(func.max(log_entries.c.index))).scalar()
    return 0 if last is None else int(last) + 1


def root(connection: Connection, size: int) -> bytes:
    """The root of the first entries.

    Raises:
        LookupError: there are fewer.
    """
    nodes = tree.full_ranges(0, size)
    found = _roots(connection, nodes)
    return tree.fold([found[node] for node in nodes])


def inclusion(connection: Connection, index: int, size: int) -> list[bytes]:
    """The roots that prove that an entry is among the first `size`, lowest first.

    Raises:
        ValueError: the index is beyond the size.
        LookupError: the log is smaller.
    """
    return _joined(connection, tree.inclusion_ranges(index, size))


def consistency(connection: Connection, first: int, second: int) -> list[bytes]:
    """The roots that prove that the log of `first` entries is the beginning of that of `second`, lowest first.

    Raises:
        ValueError: the first is larger.
        LookupError: the log is smaller.
    """
    return _joined(connection, tree.consistency_ranges(first, second))


def index_of(connection: Connection, claim: bytes) -> int | None:
    """Where the entry of a claim stands; None where there is none."""
    found = connection.execute(select(log_entries.c.index).where(log_entries.c.claim == claim)).scalar()
    return None if found is None else int(found)


def asked_under(connection: Connection, context: bytes, start: int = 0) -> tuple[list[bytes], int | None]:
    """Claims that were asked under a context, the oldest first: whoever asks under it later hides none of them.

    Args:
        start: index in the log from which on.

    Returns:
        At most `MAX_ASKED` digests, and the index to go on from; None where these are all.
    """
    wanted = select(claims.c.digest, claims.c.log_index).where(claims.c.context == context, claims.c.log_index >= start)
    rows = connection.execute(wanted.order_by(claims.c.log_index).limit(MAX_ASKED + 1)).all()
    following = int(rows[MAX_ASKED].log_index) if len(rows) > MAX_ASKED else None
    return [bytes(row.digest) for row in rows[:MAX_ASKED]], following


def entries(connection: Connection, start: int, limit: int) -> list[bytes]:
    """The data of at most `limit` entries from `start` on."""
    chosen = (log_entries.c.index >= start) & (log_entries.c.index < start + limit)
    return list(connection.execute(select(log_entries.c.data).where(chosen).order_by(log_entries.c.index)).scalars())


def checkpoint(connection: Connection, signer: NoteSigner, now: float) -> bytes:
    """The signed note of the present size; signed when the size is new, then stored.

    A log whose earlier entries are no longer those of the last checkpoint is not signed for: whoever edits the
    database has to find the key besides.

    Args:
        signer: the log's key, named as the log.
        now: unix seconds.

    Raises:
        LogRejected: the last checkpoint is about another log.
    """
    present = size(connection)
    newest = select(log_checkpoints).order_by(log_checkpoints.c.size.desc()).limit(1)
    last = connection.execute(newest).one_or_none()
    if last is not None:
        if last.size > present:
            raise LogRejected("consistency", f"a checkpoint says {last.size} entries, the log holds {present}")
        if root(connection, last.size) != last.root:
            raise LogRejected("consistency", f"the first {last.size} entries are others than when they were signed")
    now_root = root(connection, present)
    note = Checkpoint(signer.name, present, now_root).sign(signer)  # the same text gives the same bytes
    if last is None or last.size < present:
        row = {"size": present, "root": now_root, "note": note, "created_at": now}
        connection.execute(insert(log_checkpoints), row)
    elif last.note != note:  # another key: the old one's word is gone with it
        connection.execute(update(log_checkpoints).where(log_checkpoints.c.size == present).values(note=note))
    return note


def _joined(connection: Connection, ranges: Sequence[tree.Range]) -> list[bytes]:
    return tree.joined(ranges, _roots(connection, list(tree.needed(ranges))))


def _roots(connection: Connection, nodes: Collection[tree.Node]) -> dict[tree.Node, bytes]:
    """The roots of full ranges. LookupError where one is not there: the log is smaller, or was damaged."""
    if not nodes:
        return {}
    places = {tree.position(node): node for node in nodes}
    rows = connection.execute(select(log_nodes).where(log_nodes.c.position.in_(list(places))))
    found = {places[row.position]: bytes(row.hash) for row in rows}
    if len(found) != len(places):
        raise LookupError(f"the log lacks the root {sorted(set(nodes) - set(found))[0]} (level, index)")
    return found
