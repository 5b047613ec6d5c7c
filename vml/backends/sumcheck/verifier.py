"""Verifies a sumcheck proof, given the envelope, accepted model identities, accepted key digests, and nothing else.

 1. The scheme is this one.
 2. The payload splits into verifying key, graph and body.
 3. The key is about the claimed model, and one that the verifier accepts.
 4. Every claim's model is the commitment recomputed from the graph, whose numbers all have one source.
 5. The public section says what the claims commit to.
 6. The claims are what the verifier expects.
 7. The circuit of graph and batch exists, with at least 100 bits, and its fixed matrix has the key's shape.
 8. The body decodes, with nothing missing and nothing left over.
 9. The transcript holds the whole statement and the witness commitment before the first challenge.
10. Lookups: every looked-up pair is in its table, if two sums over committed columns are as claimed.
11. Products: every sum of products is as sent, if the factors are as claimed.
12. Everything that is left is linear in the committed columns: lookups, factors, constraints, inputs, outputs.
13. All of it at once, against both commitments.
14. The policy accepts the verdict.

Sources of the parts: the modules `fractions.verifier`, `products.verifier`, `opening.verifier`. Why the steps
suffice: docs/sumcheck.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from vml.backends.exact import statement
from vml.backends.sumcheck import linear
from vml.backends.sumcheck.binding import begin, boundary_tensors
from vml.backends.sumcheck.circuit import Circuit, build_circuit
from vml.backends.sumcheck.fractions.verifier import verify_fractions
from vml.backends.sumcheck.key import VerifyingKey, require_pinned
from vml.backends.sumcheck.opening.verifier import verify_opening
from vml.backends.sumcheck.payload import Body, decode_body, decode_graph, decode_payload, graph_commitment
from vml.backends.sumcheck.products.types import ProductInstance
from vml.backends.sumcheck.products.verifier import verify_products
from vml.backends.sumcheck.scheme import NAME, REVEALED, SCHEME, SEMANTICS, TRUSTS
from vml.backends.sumcheck.security import soundness
from vml.backends.sumcheck.weights import Point
from vml.backends.types import ClaimExpectation, Environment, VerifiedClaim
from vml.errors import ClaimMismatch, MalformedProof, ProofRejected, UnsupportedModel
from vml.field.goldilocks import Ext
from vml.model.graph import Graph as Integers
from vml.model.graph import Node, TensorSpec
from vml.transcript import Transcript

if TYPE_CHECKING:
    from vml.policy import Policy
    from vml.proof import Proof

Graph = tuple[tuple[Node, ...], tuple[TensorSpec, ...], tuple[TensorSpec, ...]]


def verify(proof: Proof, expected: ClaimExpectation, policy: Policy, environment: Environment) -> VerifiedClaim:
    """Check everything, or raise.

    Args:
        proof: strictly decoded envelope.
        expected: accepted identities, context, and commitments or values where the verifier has them.
        policy: what is good enough.
        environment: its pins hold the accepted digests of verifying keys.

    Returns:
        The verdict.

    Raises:
        MalformedProof, ClaimMismatch, ProofRejected, PolicyRejected: which step failed and how.
    """
    # step 1: the scheme
    if proof.scheme != SCHEME:
        raise MalformedProof(f"scheme {proof.scheme[:80]!r} is not {SCHEME!r}")

    # step 2: the payload's parts
    key_bytes, graph_bytes, body_bytes = decode_payload(proof.payload)

    # step 3: the key
    key = VerifyingKey.decode(key_bytes)
    require_pinned(key, proof.claims, environment)

    # step 4: the model
    model = graph_commitment(graph_bytes)
    for claim in proof.claims:
        if claim.model != model:
            raise ClaimMismatch("model", "0x" + model.hex(), "0x" + claim.model.hex())
    graph = decode_graph(graph_bytes)
    # step 4: the graph means one thing, also where nobody has loaded it before its identity was pinned
    require_structure(graph)

    # step 5: inputs and outputs
    rows = statement.read_public(proof.public, proof.claims, graph[1], graph[2])

    # step 6: what is expected
    statement.expect(expected, proof.claims, rows, graph[1], graph[2])

    # step 7: the circuit
    circuit = circuit_of(graph_bytes, len(proof.claims))
    if (circuit.log_cols, circuit.shape.fixed_rows) != (key.log_cols, key.fixed_rows):
        raise ProofRejected(
            "7: the key's shape", f"{circuit.shape.fixed_rows} rows", f"{key.fixed_rows} rows of 2^{key.log_cols}"
        )

    # step 8: the body
    body = decode_body(body_bytes, circuit)

    # step 9: the statement comes first
    transcript = begin(circuit, key_bytes, graph_bytes, proof.claims)

    verify_columns(circuit, key.cap, body, boundary_tensors(circuit, rows), transcript)

    verdict = VerifiedClaim(
        claims=proof.claims,
        backend=NAME,
        scheme=SCHEME,
        assurance="cryptographic",
        semantics=SEMANTICS,
        security_bits=int(soundness(circuit.sizes, circuit.parameters).bits),
        revealed=REVEALED,
        trusted=TRUSTS,
        vk_digest=key.digest,
        engine=SCHEME,
    )
    # step 14: the policy
    policy.check(verdict)
    return verdict


def require_structure(graph: Graph) -> None:
    """Refuse a graph in which a number has no source, or is read before it has one.

    Raises:
        ProofRejected: what is wrong with it.
    """
    nodes, inputs, outputs = graph
    try:
        Integers(nodes, {}, inputs, outputs, ("the graph",) * len(nodes)).validate_structure()
    except ValueError as error:
        raise ProofRejected("4: the graph", "one that every loader accepts", str(error)) from None


@lru_cache(maxsize=8)
def circuit_of(graph_bytes: bytes, batch: int) -> Circuit:
    """The circuit of an encoded graph, kept for the next proof of the same model.

    Raises:
        MalformedProof: not a graph.
        ProofRejected: no proof about this graph and batch can be sound.
    """
    try:
        return build_circuit(*decode_graph(graph_bytes), batch)
    except (UnsupportedModel, ValueError, LookupError, ArithmeticError, RuntimeError) as error:
        # All but the first two: a view that leaves its tensor, in a graph that no loader accepts.
        raise ProofRejected("7: the circuit", "a provable model", str(error)) from None


def verify_columns(
    circuit: Circuit, fixed_cap: bytes, body: Body, tensors: Sequence[Sequence[int]], transcript: Transcript
) -> None:
    """Check that committed columns satisfy the circuit and hold the claimed tensors, or raise.

    Args:
        circuit: the statements. fixed_cap: commitment of the weights, from an accepted key.
        body: from the prover. tensors: codes of the outside tensors. transcript: holds the statement.

    Raises:
        MalformedProof, ProofRejected: which step failed and how.
    """
    arrangement = circuit.arrangement
    claims: list[linear.LinearClaim] = []
    transcript.observe("witness", body.cap)

    # step 10: lookups
    if arrangement.lookups:
        alpha, beta = transcript.sample_ext("lookups/alpha"), transcript.sample_ext("lookups/beta")
        sums = verify_fractions(body.fractions, arrangement.log_fractions, transcript)
        claims += linear.fraction_claims(arrangement, alpha, beta, sums.point, sums.numerator, sums.denominator)

    # step 11: products
    point = Point(transcript.sample_point("constraints/point", circuit.index_bits))
    shapes = linear.product_shapes(arrangement, point)
    instances = [ProductInstance(shape.num_vars, shape.weight) for shape in shapes]
    for shape, product in zip(shapes, verify_products(body.products, instances, transcript), strict=True):
        claims += shape.claims(product.point, product.a, product.b)

    # step 12: everything linear
    claims += linear.constraint_claims(arrangement, point, shapes, body.products.values)
    claims += linear.boundary_claims(arrangement, point, tensors)
    terms, value = linear.combine(claims, transcript.sample_ext("claims/gamma"))

    def functional(part: str, at: Sequence[Ext]) -> Ext:
        return linear.evaluate(arrangement, terms, part, at)

    # step 13: the opening
    verify_opening(body.opening, circuit.shape, fixed_cap, body.cap, value, functional, circuit.parameters, transcript)
