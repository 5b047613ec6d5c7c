"""Predicts what a signed run costs. How long it takes is the attester's machine's business, so it is not said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vml.backends.exact.statement import Row, public_section
from vml.backends.tee.payload import SignedRun
from vml.backends.tee.scheme import SCHEME
from vml.backends.types import Estimate
from vml.claim import ZERO_CONTEXT, Claim
from vml.model.graph import encode_specs
from vml.proof import Proof
from vml.tee.binding import PUBLIC_KEY, SIGNATURE, Algorithm, KeyCertificate

if TYPE_CHECKING:
    from vml.model import Model

EVIDENCE_BYTES, POLICY_BYTES = 25 << 10, 1 << 10
"""Of a TDX quote with its collateral, the largest of the common kinds, and of a policy with one image."""


def estimate(model: Model) -> Estimate:
    """Predict a proof: one inference inside, one signature."""
    return Estimate(
        fits=True,
        prove_s=None,
        setup_s=0.0,
        proof_bytes=proof_bytes(model),
        reasons=(
            "one inference on the attester's machine, and a signature",
            "takes an attester in trusted hardware (--attester URL)",
        ),
    )


def proof_bytes(model: Model) -> int:
    """Size of the envelope, with evidence and policy of the usual size."""
    graph = model.graph
    sides = (graph.inputs, graph.outputs)
    lowest = Row(*(tuple((spec.header.lo,) * spec.header.size for spec in side) for side in sides))
    claim = Claim(graph.commitment, bytes(32), bytes(32), ZERO_CONTEXT)
    run = SignedRun(
        certificate=KeyCertificate(Algorithm.SECP256K1, bytes(PUBLIC_KEY), graph.commitment, bytes(32), 0, 0),
        nonce=bytes(32),
        sequence=0,
        issued_at=0,
        signature=bytes(SIGNATURE),
        source=graph.root,
        inputs=encode_specs(graph.inputs),
        outputs=encode_specs(graph.outputs),
        policy=bytes(POLICY_BYTES),
        evidence=bytes(EVIDENCE_BYTES),
    )
    return len(Proof(SCHEME, (claim,), public_section(graph.inputs, graph.outputs, [lowest]), run.encode()).to_bytes())
