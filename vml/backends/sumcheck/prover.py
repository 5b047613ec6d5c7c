"""Proves runs of a model; the counterpart of `verifier`, in the same order.

The model runs once for each input on the exact executor. Everything after that is about the columns: their values are
committed to, and every statement of the circuit is proved of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vml.backends.exact.statement import Row, public_section, row_of
from vml.backends.exact.statement import commit as commit_tensors
from vml.backends.sumcheck import linear, warm
from vml.backends.sumcheck.arrange import FIXED, WITNESS
from vml.backends.sumcheck.binding import begin, boundary_tensors
from vml.backends.sumcheck.circuit import Circuit
from vml.backends.sumcheck.factors import Factors
from vml.backends.sumcheck.fractions.prover import prove_fractions
from vml.backends.sumcheck.fractions.types import FractionProof
from vml.backends.sumcheck.leaves import leaves
from vml.backends.sumcheck.matrices import functional, lay_out
from vml.backends.sumcheck.opening.prover import Committed, commit, prove_opening
from vml.backends.sumcheck.payload import Body, encode_body, encode_graph, encode_payload
from vml.backends.sumcheck.products.prover import prove_products
from vml.backends.sumcheck.scheme import LOG_BLOWUPS, SCHEME
from vml.backends.sumcheck.setup import commit_fixed, model_circuit
from vml.backends.sumcheck.weights import Point
from vml.backends.sumcheck.witness import build_columns, evaluate
from vml.backends.types import Keys, Progress
from vml.claim import Claim
from vml.model.relation import Expression
from vml.proof import Proof
from vml.transcript import Transcript

if TYPE_CHECKING:
    from vml.model import Model

Array = np.ndarray[Any, np.dtype[Any]]


def prove(
    model: Model, keys: Keys, rows: Sequence[Mapping[str, Array]], context: bytes, progress: Progress | None
) -> Proof:
    """Prove one run for each row, all in one proof.

    Args:
        model: the compiled model. keys: of its set-up.
        rows: integer codes by input name. context: 32 bytes every claim is bound to.
        progress: called with a stage and the fraction of it that is done.

    Raises:
        UnsupportedModel: a batch of this size cannot be proved.
        ProvingError: a value is outside what the circuit can express, which is a defect.
    """
    tell = progress or (lambda stage, done: None)
    graph = model.graph
    circuit = model_circuit(model, len(rows))
    warm.compile_kernels(progress)
    tell("running the model", 0.0)
    runs = [model.executor.run_all(row) for row in rows]
    values = [
        graph.constants[k] if node.primitive == "constant" else np.stack([run[k] for run in runs])
        for k, node in enumerate(graph.nodes)
    ]
    columns = build_columns(circuit.arrangement.system, values)
    tell("running the model", 1.0)
    sides = [row_of(graph.inputs, graph.outputs, _named(graph.inputs, run), _named(graph.outputs, run)) for run in runs]
    claims = tuple(_claim(model, row, context) for row in sides)
    graph_bytes = encode_graph(graph.nodes, graph.inputs, graph.outputs)
    transcript = begin(circuit, keys.verifying_key, graph_bytes, claims)
    fixed = commit_fixed(model, keys, circuit, progress)
    body = prove_columns(circuit, fixed, columns, boundary_tensors(circuit, sides), transcript, progress)
    return Proof(
        scheme=SCHEME,
        claims=claims,
        public=public_section(graph.inputs, graph.outputs, sides),
        payload=encode_payload(keys.verifying_key, graph_bytes, encode_body(body)),
    )


def prove_columns(
    circuit: Circuit,
    fixed: Committed,
    columns: Sequence[Array],
    tensors: Sequence[Sequence[int]],
    transcript: Transcript,
    progress: Progress | None = None,
) -> Body:
    """Prove that columns satisfy the circuit. Nothing is checked: of columns that do not, the proof is refused.

    Args:
        circuit: the statements. fixed: the committed weights. columns: int64 values of every column.
        tensors: codes of the outside tensors. transcript: holds the statement.
    """
    tell = progress or (lambda stage, done: None)
    arrangement, log_cols = circuit.arrangement, circuit.log_cols

    def values(expression: Expression, loops: Sequence[int]) -> Array:
        return evaluate(expression, columns, loops)

    tell("committing", 0.0)
    witness = commit(lay_out(arrangement, WITNESS, columns, log_cols), LOG_BLOWUPS[0])
    transcript.observe("witness", witness.cap)
    tell("committing", 1.0)

    claims: list[linear.LinearClaim] = []
    fractions = FractionProof(())
    if arrangement.lookups:
        alpha, beta = transcript.sample_ext("lookups/alpha"), transcript.sample_ext("lookups/beta")
        tell("lookups", 0.0)
        above, below = leaves(arrangement, columns, values, alpha, beta)
        fractions, sums = prove_fractions(above, below, transcript, progress)
        del above, below  # the largest arrays of all
        claims += linear.fraction_claims(arrangement, alpha, beta, sums.point, sums.numerator, sums.denominator)

    point = Point(transcript.sample_point("constraints/point", circuit.index_bits))
    shapes = linear.product_shapes(arrangement, point)
    factors = Factors(arrangement, columns)
    tell("products", 0.0)
    products, points = prove_products([factors.tables(shape) for shape in shapes], transcript, progress)
    for shape, at, (a, b) in zip(shapes, points, products.factors, strict=True):
        claims += shape.claims(at, a, b)
    claims += linear.constraint_claims(arrangement, point, shapes, products.values)
    claims += linear.boundary_claims(arrangement, point, tensors)
    terms, value = linear.combine(claims, transcript.sample_ext("claims/gamma"))

    tell("opening", 0.0)
    of_fixed, of_witness = (functional(arrangement, terms, part, log_cols) for part in (FIXED, WITNESS))
    opening = prove_opening(fixed, witness, of_fixed, of_witness, value, circuit.parameters, transcript, progress)
    return Body(witness.cap, fractions, products, opening)


def _named(specs: Sequence[Any], run: Sequence[Array]) -> dict[str, Array]:
    return {spec.name: run[spec.node] for spec in specs}


def _claim(model: Model, row: Row, context: bytes) -> Claim:
    graph = model.graph
    return Claim(
        graph.commitment, commit_tensors(graph.inputs, row.inputs), commit_tensors(graph.outputs, row.outputs), context
    )
