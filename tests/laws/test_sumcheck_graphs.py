"""Random graphs, over every primitive: what they compute is proved, alone and in a batch, and nothing else is."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.backends.sumcheck.runs import Stage, stage_of, violated
from tests.laws.random_graphs import COMPUTED, random_graph, random_inputs
from vml.errors import ClaimMismatch, ProofRejected, UnsupportedModel
from vml.proof import Proof

QUICK = range(8)
MANY = range(100, 500)
# Some random graphs have numbers that the equations cannot hold: that is said before anything is proved.
REFUSED = ("the proof system's field", "lie differently in a batch")


def staged(seed: int, batch: int) -> Stage | None:
    stage = stage_of(random_graph(seed))
    try:
        stage.circuit(batch)
    except UnsupportedModel as error:
        if not any(part in str(error) for part in REFUSED):
            raise
        return None
    return stage


def check(seed: int, batch: int) -> bool:
    """Prove and verify; then claim another output. False where the graph is refused."""
    stage = staged(seed, batch)
    if stage is None:
        return False
    rows = [random_inputs(stage.graph, seed + k) for k in range(batch)]
    proof = Proof.from_bytes(stage.public_prove(rows).to_bytes())
    assert stage.verify(proof).claims == proof.claims
    for row, claim in zip(rows, proof.claims, strict=True):
        assert stage.claims(stage.sides([np.asarray(v) for v in stage.values([row])], 1)) == (claim,)
    return True


@pytest.mark.parametrize("seed", QUICK)
def test_a_random_graph(seed: int) -> None:
    check(seed, 1 + seed % 2)


@pytest.mark.slow
def test_many_random_graphs() -> None:
    refused = sum(not check(seed, 1 + seed % 3) for seed in MANY)
    assert refused < len(MANY) // 2


def test_the_quick_graphs_have_every_primitive() -> None:
    seen: Counter[str] = Counter()
    for seed in QUICK:
        stage = staged(seed, 1 + seed % 2)
        seen.update(node.primitive for node in (stage.graph.nodes if stage else ()))
    assert len(set(COMPUTED) - set(seen)) <= 2, set(COMPUTED) - set(seen)


def lie(seed: int) -> None:
    """One element of one node is another one, everything after it follows: never accepted."""
    stage = staged(seed, 1)
    if stage is None:
        return
    rng = np.random.default_rng(seed)
    computed = [k for k, node in enumerate(stage.graph.nodes) if node.primitive not in ("input", "constant")]
    k = int(rng.choice(computed))
    place, by = int(rng.integers(stage.graph.nodes[k].header.size)), int(rng.choice([-2, -1, 1, 2]))

    def altered(flat: list[int]) -> list[int]:
        return [v + by * (i == place) for i, v in enumerate(flat)]

    try:
        columns = stage.columns(stage.values([random_inputs(stage.graph, seed)], {k: altered}))
    except IndexError:
        return  # what follows looks the lie up, beyond the table's end
    constraints, lookups = violated(stage.circuit().arrangement.system, columns)
    assert constraints + lookups, "two outputs satisfy the relation"
    try:
        proof = stage.prove(columns)
    except ValueError as error:
        if "codes in" not in str(error):
            raise
        return  # the lie has left the declared range: no claim says it
    with pytest.raises((ProofRejected, ClaimMismatch), match="fractions 2" if lookups else "opening 13"):
        stage.verify(proof)


@pytest.mark.parametrize("seed", QUICK[:4])
def test_a_lie_in_a_random_graph(seed: int) -> None:
    lie(seed)


@pytest.mark.slow
def test_many_lies_in_random_graphs() -> None:
    for seed in MANY:
        lie(seed)
