"""Proofs on many machines, by Ray: a fleet of processes that hold keys, and the caller who checks what they send.

The caller compiles, makes the keys and computes every claim; what travels is the model, the keys and the inputs, what
comes back is bytes that the caller checks. `docs/serve-ray.md` says what a Ray cluster is trusted with.
"""

from __future__ import annotations

from vml.ray.checking import check, claim_of, claims_of
from vml.ray.cluster import Cluster, Need, address_of, connect, is_ray
from vml.ray.proving import Made, keep_opening, prove_each, prove_together

__all__ = [
    "Cluster",
    "Made",
    "Need",
    "address_of",
    "check",
    "claim_of",
    "claims_of",
    "connect",
    "is_ray",
    "keep_opening",
    "prove_each",
    "prove_together",
]
