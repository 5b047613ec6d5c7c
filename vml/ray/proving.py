"""Proofs of many inputs, made on a cluster and checked here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vml import canonical, files
from vml.backends import get_backend
from vml.backends.types import Keys, Progress, Visibility
from vml.errors import ProvingError
from vml.ray.answers import Ended
from vml.ray.checking import check, claims_of
from vml.ray.cluster import Cluster, Need, cores_each
from vml.ray.crew import Crew, Task
from vml.ray.holder import KeyHolder
from vml.ray.kit import OPENINGS, pack

if TYPE_CHECKING:
    from vml.claim import Claim
    from vml.model import Model
    from vml.proof import Proof

POLL_S = 0.2


@dataclass(frozen=True)
class Made:
    """What became of one input.

    Args:
        index: of the input.
        proof: checked; None with an error.
        opening: bytes that open a hidden input; empty where nothing is hidden behind a salt.
        node: id of the node that made it.
        seconds: that the node took.
        error: why there is no proof.
    """

    index: int
    proof: Proof | None
    opening: bytes
    node: str
    seconds: float
    error: Exception | None


def prove_each(
    cluster: Cluster,
    model: Model,
    rows: Sequence[Mapping[str, Any]],
    *,
    keys: Keys,
    context: bytes,
    visibility: Visibility,
    progress: Progress | None = None,
    holder: type = KeyHolder,
) -> Iterator[Made]:
    """Prove every input by itself; one that fails does not stop the others.

    Args:
        cluster: connected.
        model: compiled.
        rows: arrays by name, one mapping a proof.
        keys: of `vml.setup` on this machine.
        context: 32 bytes every proof is bound to.
        visibility: that of the keys.
        progress: told how many are done, and the fraction of all work.
        holder: class of the processes on the nodes.

    Yields:
        One `Made` an input, as they come.

    Raises:
        ProvingError: no node can hold one proof, or the cluster is gone.
        ValueError: the keys cannot travel.
    """
    jobs: list[Sequence[Mapping[str, Any]]] = [[row] for row in rows]
    yield from _run(cluster, model, jobs, keys, context, visibility, progress, holder, together=False)


def prove_together(
    cluster: Cluster,
    model: Model,
    rows: Sequence[Mapping[str, Any]],
    *,
    keys: Keys,
    context: bytes,
    visibility: Visibility,
    progress: Progress | None = None,
    holder: type = KeyHolder,
) -> Made:
    """Prove all inputs in one proof, on one node. Arguments and errors are those of `prove_each`.

    Raises:
        Exception: what proving failed with.
    """
    (made,) = _run(cluster, model, [rows], keys, context, visibility, progress, holder, together=True)
    if made.error is not None:
        raise made.error
    return made


def need_of(model: Model, backend: str, visibility: Visibility, rows: int = 1, cpus: int = 1) -> Need:
    """What one proof takes of a node, as `vml plan` predicts it.

    Args:
        model, backend, visibility: of the proof.
        rows: inputs in one proof.
        cpus: cores it may use.

    Raises:
        UnsupportedModel: the backend cannot prove the model.
    """
    estimate = get_backend(backend).estimate(model, visibility)
    return Need((estimate.memory_bytes or 0) * max(1, rows), cpus)


def keep_opening(proof: Proof, opening: bytes, keys: Keys) -> None:
    """Put what opens a proof where it would be, had it been made here: among the keys, for the owner's eyes only."""
    if not opening or keys.directory is None:
        return
    place = keys.directory / OPENINGS
    place.mkdir(mode=0o700, exist_ok=True)
    files.write_atomic(place / f"0x{proof.claims[0].digest().hex()}.json", opening, mode=0o600)


def _run(
    cluster: Cluster,
    model: Model,
    jobs: Sequence[Sequence[Mapping[str, Any]]],
    keys: Keys,
    context: bytes,
    visibility: Visibility,
    progress: Progress | None,
    holder: type,
    *,
    together: bool,
) -> Iterator[Made]:
    need = need_of(model, keys.backend, visibility, max(map(len, jobs)), cores_each(cluster.nodes(), len(jobs)))
    cluster.require_room(need)
    kit = pack(model, keys, visibility)
    crew = Crew(cluster, holder)
    claims: dict[str, tuple[Claim, ...] | None] = {}
    try:
        crew.add(kit, need)
        for index, rows in enumerate(jobs):
            # The caller's own run: what comes back is compared with it.
            try:
                claims[str(index)] = claims_of(model, keys, rows, context)
            except (ValueError, ProvingError) as error:
                yield Made(index, None, b"", "", 0.0, error)
                continue
            crew.submit(Task(str(index), kit.name, list(rows) if together else rows[0], context))
        count, ended = len(jobs), len(jobs) - len(claims)
        while crew.pending:
            for end in crew.poll(POLL_S):
                ended += 1
                yield _checked(end, keys, context, visibility, claims[end.id], jobs[int(end.id)])
            if progress:
                running = crew.progress().values()
                nodes = len({node for _, _, node in running if node})
                done = (ended + sum(fraction for _, fraction, _ in running)) / count
                progress(f"{ended} of {count} done, {len(running)} at work on {nodes} node(s)", min(1.0, done))
    finally:
        crew.close()


def _checked(
    end: Ended,
    keys: Keys,
    context: bytes,
    visibility: Visibility,
    claims: tuple[Claim, ...] | None,
    rows: Sequence[Mapping[str, Any]],
) -> Made:
    """What a node sent, checked."""
    index = int(end.id)
    if end.error is not None:
        return Made(index, None, b"", end.node, end.seconds, end.error)
    try:
        salt = salt_of(end.opening)
        proof = check(end.proof, keys, context, claims=claims, rows=rows, visibility=visibility, salt=salt)
    except ProvingError as error:
        return Made(index, None, b"", end.node, end.seconds, ProvingError(f"node {end.node}: {error}"))
    return Made(index, proof, end.opening, end.node, end.seconds, None)


def salt_of(opening: bytes) -> bytes | None:
    """The salt in an opening that a node sent. Raises ProvingError."""
    from vml.api.keys import MAX_RECORD_BYTES
    from vml.claim import parse_bytes32

    if not opening:
        return None
    try:
        value = canonical.decode(opening, max_bytes=MAX_RECORD_BYTES)
        return parse_bytes32(value["salt"])
    except (ValueError, TypeError, KeyError) as error:
        raise ProvingError("what a node sent opens nothing") from error
