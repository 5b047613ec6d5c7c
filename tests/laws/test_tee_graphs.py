"""Random graphs, over every primitive: what they compute is signed and accepted, and no receipt fits anything else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.backends.tee.signed_runs import AT, SEED, attesting
from tests.laws.random_graphs import random_graph, random_inputs
from vml.backends.exact.statement import commit, public_section, row_of
from vml.backends.tee.prover import prove
from vml.backends.tee.verifier import verify
from vml.backends.types import TEE_ANCHORS, TEE_NONCE, TEE_POLICIES, ClaimExpectation, Environment
from vml.claim import ZERO_CONTEXT
from vml.errors import EvidenceRejected
from vml.model import Model
from vml.policy import Policy
from vml.proof import Proof
from vml.tee_sim import anchors, matching_policy

# The last one has a product without dimensions for an output.
QUICK = (*range(8), 126)
MANY = range(100, 500)
KINDS = ("sgx", "tdx", "snp", "nitro")


def check(seed: int) -> None:
    """Sign and verify; then, of every output tensor, another value of one element."""
    model = Model(random_graph(seed), b"", None, {})  # type: ignore[arg-type]  # no certificate is looked at
    codes, who = random_inputs(model.graph, seed), attesting(KINDS[seed % 4])
    pins = {TEE_POLICIES: (matching_policy(KINDS[seed % 4]),), TEE_ANCHORS: anchors(SEED), TEE_NONCE: who.nonce}

    def accepted(proof: Proof) -> bool:
        expected = ClaimExpectation(frozenset({model.commitment}))
        rules = Policy.default().relaxed(allow_simulated=True)
        return verify(proof, expected, rules, Environment(now=AT, pins=pins)).final

    honest = prove(model, who, codes, ZERO_CONTEXT, None)
    assert accepted(Proof.from_bytes(honest.to_bytes()))
    row = row_of(model.inputs, model.outputs, codes, model.run_exact(codes))
    assert honest.public == public_section(model.inputs, model.outputs, [row])
    for k, spec in enumerate(model.outputs):
        values = list(row.outputs[k])
        place = seed % len(values)
        values[place] += -1 if values[place] == spec.header.hi else 1
        if values[place] < spec.header.lo:
            continue  # a constant: its range holds one value
        outputs = tuple(tuple(values) if j == k else given for j, given in enumerate(row.outputs))
        lie = replace(row, outputs=outputs)
        claim = replace(honest.claims[0], output=commit(model.outputs, lie.outputs))
        section = public_section(model.inputs, model.outputs, [lie])
        with pytest.raises(EvidenceRejected, match="RECEIPT_SIGNATURE"):
            accepted(Proof(honest.scheme, (claim,), section, honest.payload))


@pytest.mark.parametrize("seed", QUICK)
def test_a_random_graph(seed: int) -> None:
    check(seed)


@pytest.mark.slow
def test_many_random_graphs() -> None:
    for seed in MANY:
        check(seed)
