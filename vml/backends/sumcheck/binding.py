"""What prover and verifier do alike between the sub-protocols: bind the statement, mix the linear claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

from vml.backends.exact.statement import Row
from vml.backends.sumcheck.circuit import Circuit
from vml.backends.sumcheck.scheme import SCHEME
from vml.claim import Claim
from vml.transcript import Transcript


def begin(circuit: Circuit, key: bytes, graph: bytes, claims: Sequence[Claim]) -> Transcript:
    """A transcript that holds the whole statement, before the first challenge.

    Args:
        circuit: of the graph and the batch. key: the verifying key's bytes. graph: its bytes (bound by the claims'
            model too). claims: in order.
    """
    transcript = Transcript(SCHEME)
    transcript.observe("verifying key", key)
    transcript.observe("graph", graph)
    transcript.observe("claims", b"".join(claim.digest() for claim in claims))
    numbers = (circuit.batch, *astuple(circuit.parameters), *astuple(circuit.shape), *_flat(circuit))
    transcript.observe("sizes", b"".join(n.to_bytes(8, "big") for n in numbers))
    return transcript


def _flat(circuit: Circuit) -> tuple[int, ...]:
    sizes = circuit.sizes
    return (sizes.log_fractions, sizes.index_bits, sizes.products, sizes.product_rounds, sizes.claims)


def boundary_tensors(circuit: Circuit, rows: Sequence[Row]) -> list[list[int]]:
    """Codes of every outside tensor over the batch, in the order of the arrangement's boundary."""
    sides = [[*row.inputs, *row.outputs] for row in rows]
    count = len(circuit.inputs) + len(circuit.outputs)
    return [[code for side in sides for code in side[k]] for k in range(count)]
