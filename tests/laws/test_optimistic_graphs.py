"""Random graphs, over every primitive: what they compute is accepted when run again, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.laws.random_graphs import random_graph, random_inputs
from vml.backends.exact.statement import Row, commit, public_section, row_of
from vml.backends.optimistic.payload import Bundle
from vml.backends.optimistic.prover import prove
from vml.backends.optimistic.verifier import verify
from vml.backends.types import Asserting, ClaimExpectation, Environment
from vml.claim import ZERO_CONTEXT
from vml.errors import ProofRejected
from vml.model import Model
from vml.policy import Policy
from vml.proof import Proof

QUICK = range(8)
MANY = range(100, 500)


def accepted(model: Model, proof: Proof) -> bool:
    expected = ClaimExpectation(frozenset({model.commitment}))
    return verify(proof, expected, Policy.default(), Environment(model=model)).final


def check(seed: int) -> None:
    """Assert and verify; then, of every output tensor, another value of one element."""
    model = Model(random_graph(seed), b"", None, {})  # type: ignore[arg-type]  # no certificate is looked at
    codes = random_inputs(model.graph, seed)
    honest = prove(model, Asserting(commit_trace=bool(seed % 2)), codes, ZERO_CONTEXT, None)
    assert accepted(model, Proof.from_bytes(honest.to_bytes()))
    exact = model.run_exact(codes)
    row = row_of(model.inputs, model.outputs, codes, exact)
    assert honest.public == public_section(model.inputs, model.outputs, [row])
    for k, spec in enumerate(model.outputs):
        values = list(row.outputs[k])
        place = seed % len(values)
        values[place] += -1 if values[place] == spec.header.hi else 1
        if values[place] < spec.header.lo:
            continue  # a constant: its range holds one value
        outputs = tuple(tuple(values) if j == k else codes for j, codes in enumerate(row.outputs))
        with pytest.raises(ProofRejected, match="8: the output"):
            accepted(model, restated(model, honest, replace(row, outputs=outputs)))


def restated(model: Model, honest: Proof, row: Row) -> Proof:
    claim = replace(honest.claims[0], output=commit(model.outputs, row.outputs))
    public: dict[str, Any] = public_section(model.inputs, model.outputs, [row])
    payload = replace(Bundle.decode(honest.payload), claim=claim.digest()).encode()
    return Proof(honest.scheme, (claim,), public, payload)


@pytest.mark.parametrize("seed", QUICK)
def test_a_random_graph(seed: int) -> None:
    check(seed)


@pytest.mark.slow
def test_many_random_graphs() -> None:
    for seed in MANY:
        check(seed)
