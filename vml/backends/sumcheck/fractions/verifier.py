"""Verifies that a sum of 2^n fractions is zero, down to one value of the numerators and one of the denominators.

Fractions are added in a binary tree whose leaves are p_i / q_i. A node of layer k (2^k nodes, the root is layer 0)
is the sum of its children, nodes x and x + 2^k of layer k + 1::

    p(x) = p0(x) q1(x) + p1(x) q0(x)        q(x) = q0(x) q1(x)

where p0, p1, q0, q1 are the halves of layer k + 1: its most significant variable set to 0 and to 1. For multilinear
extensions at any point r, with eq(r, x) = prod_i (r_i x_i + (1 - r_i)(1 - x_i)), this says::

    p(r) + fold q(r) = sum_x eq(r, x) [p0 q1 + p1 q0 + fold q0 q1](x)

for a random `fold` at once, which k sumcheck rounds of degree 3 reduce to the four values p0, p1, q0, q1 at a point
s. With a random `child` they become one value of each of p and q at (child, s) in layer k + 1; and so on down.

 1. The proof has one layer for each variable; layer k has k rounds and four values, all of them field elements.
 2. The root's numerator, p0 q1 + p1 q0, is zero.
 3. The root's denominator, q0 q1, is not zero. It is the product of all q_i: no leaf divides by zero.
 4. Every round is bound into the transcript before its challenge.
 5. The four values give what the rounds of their layer end in.
 6. They are bound into the transcript before `child`.

What is left is a claim about the leaves, which the caller checks. A false statement passes with a chance of at most
sum_(k=1)^(n-1) (3k + 1 + 1) / |F|, and 1 / |F| for the root's `child`.

Source: S. Papini and U. Haböck, "Improving logarithmic derivative lookups using GKR", eprint 2023/1284, section 3.
"""

from __future__ import annotations

from vml.backends.sumcheck.fractions.types import FractionClaim, FractionProof
from vml.backends.sumcheck.rounds import check_elements, next_claim
from vml.errors import MalformedProof, ProofRejected
from vml.field.goldilocks import ZERO, Ext, add, eq_point, mul, sub
from vml.transcript import Transcript


def verify_fractions(proof: FractionProof, log_size: int, transcript: Transcript) -> FractionClaim:
    """Check everything but the leaves, or raise.

    Args:
        proof: from anyone.
        log_size: n >= 1; the caller knows that there are 2^n fractions.
        transcript: both sides have bound what the leaves are made of.

    Returns:
        What the leaves must evaluate to.

    Raises:
        MalformedProof: the proof has another form.
        ProofRejected: the sum is not zero, or the proof does not show it.
        ValueError: `log_size` is below 1.
    """
    if log_size < 1:
        raise ValueError(f"a tree of fractions has at least two leaves, got log_size {log_size}")
    # step 1: the form
    if type(proof.layers) is not tuple or len(proof.layers) != log_size:
        raise MalformedProof(f"fractions: not {log_size} layers")
    for k, layer in enumerate(proof.layers):
        if type(layer.rounds) is not tuple or len(layer.rounds) != k:
            raise MalformedProof(f"fractions: layer {k} has not {k} rounds")
        for sent in layer.rounds:
            check_elements("a round of fractions", sent, 3)
        check_elements("a layer of fractions", layer.values, 4)

    point: list[Ext] = []
    numerator, denominator = ZERO, ZERO
    for k, layer in enumerate(proof.layers):
        p0, p1, q0, q1 = layer.values
        crossed, both = add(mul(p0, q1), mul(p1, q0)), mul(q0, q1)
        bound: list[Ext] = []
        if k == 0:
            # step 2: the sum is zero
            if crossed != ZERO:
                raise ProofRejected("fractions 2: the sum's numerator", ZERO, crossed)
            # step 3: nothing is divided by zero
            if both == ZERO:
                raise ProofRejected("fractions 3: the sum's denominator", "not zero", both)
        else:
            fold = transcript.sample_ext("fractions/fold")
            claim = add(numerator, mul(fold, denominator))
            # step 4: the rounds
            for sent in layer.rounds:
                transcript.observe_ext("fractions/round", sent)
                bound.append(transcript.sample_ext("fractions/bind"))
                claim = next_claim(claim, sent, bound[-1])
            # step 5: the children's values
            value = mul(eq_point(point, bound), add(crossed, mul(fold, both)))
            if value != claim:
                raise ProofRejected(f"fractions 5: the children of layer {k}", claim, value)
        # step 6: one claim about both children
        transcript.observe_ext("fractions/values", layer.values)
        child = transcript.sample_ext("fractions/child")
        numerator = add(p0, mul(child, sub(p1, p0)))
        denominator = add(q0, mul(child, sub(q1, q0)))
        point = [child, *bound]
    return FractionClaim(tuple(point), numerator, denominator)
