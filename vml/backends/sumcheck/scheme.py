"""The scheme: the name of every parameter that affects verification, and what rests on it.

The number of columns opened is not part of the name: both sides compute it from the sizes of the proof, for
`bits` bits of proved security (`security`).
"""

from __future__ import annotations

from vml.backends.sumcheck.security import GRINDING_BITS, REQUIRED_BITS

NAME = "sumcheck"
SEMANTICS = "vml-int/1"
PROTOCOL_VERSION = 1
LOG_BLOWUPS = (3, 4)
"""Rates of the codes of the two levels, 2^-3 and 2^-4."""

SCHEME = (
    f"{NAME}/{PROTOCOL_VERSION}/{SEMANTICS.replace('/', '-')}/goldilocks2/"
    f"rates-{1 << LOG_BLOWUPS[0]}-{1 << LOG_BLOWUPS[1]}/keccak256/bits-{REQUIRED_BITS}-grinding-{GRINDING_BITS}"
)
"""``sumcheck/1/vml-int-1/goldilocks2/rates-8-16/keccak256/bits-100-grinding-0``."""

TRUSTS = ("keccak-256 as a random oracle",)
"""What every proof of this scheme rests on."""

REVEALED = (
    "input and output: their values are in the proof",
    "the model's graph, shapes and scales are in the proof",
    "weights and activations: the proof is not zero-knowledge; it holds weighted sums of them and some symbols of "
    "their codewords, so treat them as public",
)
"""What whoever holds a proof learns or may learn."""
