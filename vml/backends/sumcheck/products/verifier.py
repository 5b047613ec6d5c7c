"""Verifies many weighted inner products with one sumcheck, down to one value of each factor.

Instance j has n_j variables and asserts that its value is v_j = sum_x w_j(x) a_j(x) b_j(x), x in {0,1}^(n_j). With a
random `mix` and N = max n_j, all of them are the one statement::

    sum_j mix^j v_j = sum_(y in {0,1}^N) sum_j mix^j 2^(n_j - N) [w_j a_j b_j](the last n_j coordinates of y)

since each x is the end of 2^(N - n_j) different y. N rounds of degree 3 reduce it to one point r of N coordinates;
instance j has its factors evaluated at the last n_j of them.

 1. The proof has one value and two factors for each instance and N rounds, all of them field elements.
 2. The values are bound into the transcript before `mix`.
 3. Every round is bound into the transcript before its challenge.
 4. The factors and the verifier's own weights give what the rounds end in.
 5. The factors are bound into the transcript before whatever follows.

What is left is a claim about each factor, which the caller checks, and the values, which the caller uses. False
values pass with a chance of at most (m - 1 + 3 N) / |F| for m instances.
"""

from __future__ import annotations

from collections.abc import Sequence

from vml.backends.sumcheck.products.types import ProductClaim, ProductInstance, ProductProof
from vml.backends.sumcheck.rounds import check_elements, next_claim
from vml.errors import MalformedProof, ProofRejected
from vml.field.goldilocks import ONE, ZERO, Ext, P, add, dot, inverse, mul, scale
from vml.transcript import Transcript


def verify_products(
    proof: ProductProof, instances: Sequence[ProductInstance], transcript: Transcript
) -> tuple[ProductClaim, ...]:
    """Check everything but the factors, or raise.

    Args:
        proof: from anyone.
        instances: what the verifier knows about each sum; there may be none.
        transcript: both sides have bound what factors and weights are made of.

    Returns:
        What each instance's factors must evaluate to. ``proof.values`` are the sums, if they do.

    Raises:
        MalformedProof: the proof has another form.
        ProofRejected: a value is wrong, or the proof does not show it.
        ValueError: an instance has a negative number of variables.
    """
    if any(instance.num_vars < 0 for instance in instances):
        raise ValueError("an instance has no less than 0 variables")
    variables = max((instance.num_vars for instance in instances), default=0)
    # step 1: the form
    check_elements("the values of products", proof.values, len(instances))
    if type(proof.rounds) is not tuple or len(proof.rounds) != variables:
        raise MalformedProof(f"products: not {variables} rounds")
    for sent in proof.rounds:
        check_elements("a round of products", sent, 3)
    if type(proof.factors) is not tuple or len(proof.factors) != len(instances):
        raise MalformedProof(f"products: not {len(instances)} pairs of factors")
    for pair in proof.factors:
        check_elements("the factors of a product", pair, 2)

    # step 2: the values are fixed before they are mixed
    transcript.observe_ext("products/values", proof.values)
    mix = transcript.sample_ext("products/mix")
    powers = mix_powers(mix, len(instances))
    claim = dot(powers, proof.values)

    # step 3: the rounds
    point: list[Ext] = []
    for sent in proof.rounds:
        transcript.observe_ext("products/round", sent)
        point.append(transcript.sample_ext("products/bind"))
        claim = next_claim(claim, sent, point[-1])

    # step 4: the factors
    claims, total = [], ZERO
    half = inverse(2)
    for instance, factor, (a, b) in zip(instances, powers, proof.factors, strict=True):
        missing = variables - instance.num_vars
        own = tuple(point[missing:])
        share = scale(factor, pow(half, missing, P))
        total = add(total, mul(share, mul(instance.weight(own), mul(a, b))))
        claims.append(ProductClaim(own, a, b))
    if total != claim:
        raise ProofRejected("products 4: the factors", claim, total)

    # step 5: the factors are fixed before anything else is drawn
    transcript.observe_ext("products/factors", [factor for pair in proof.factors for factor in pair])
    return tuple(claims)


def mix_powers(mix: Ext, count: int) -> list[Ext]:
    """1, mix, mix^2, .. with `count` members."""
    powers = [ONE]
    while len(powers) < count:
        powers.append(mul(powers[-1], mix))
    return powers[:count]
