"""Predicts what an assertion costs: one inference when all is well, and the longest dispute when it is not.

An inference is products and elements, each at a speed that is measured anew in a few hundredths of a second, times how
much slower a whole model goes than the bare operation does. The dispute is counted from the graph's descriptors
(`vml.model.onestep.step_bound`, `profiles`): it depends on no machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from vml.backends.exact.statement import Row, public_section
from vml.backends.optimistic.payload import SIGNATURE_BYTES, Bundle
from vml.backends.optimistic.profiles import PROFILES, resolution_bound_s, terms_for, worst_case
from vml.backends.optimistic.scheme import SCHEME
from vml.backends.types import DisputeEstimate, Estimate
from vml.claim import ZERO_CONTEXT, Claim
from vml.model.graph import encode_specs
from vml.model.onestep import MAX_TERMS, MAX_TRANSACTION_BYTES, step_bound, too_large
from vml.model.primitives import PRIMITIVES
from vml.proof import Proof

if TYPE_CHECKING:
    from vml.model import Model
    from vml.model.graph import Graph

SHOWN_PROFILES = ("fast-l2", "l1-safe")
PRODUCT_FACTOR, ELEMENT_FACTOR = 3.0, 15.0
"""How many times slower a model is than one large matrix product, and than one pass over an array for each term."""

NODE_NS = 15_000
"""What a node takes besides: the interpreter between two operations."""
PROCESS_BYTES = 150 << 20
"""What an interpreter takes that has loaded the executor."""

_REPEATS = 9
_SIDE, _ELEMENTS = 64, 1 << 16


def estimate(model: Model) -> Estimate:
    """Predict one inference, its bundle, and the worst dispute under each of `SHOWN_PROFILES`."""
    graph = model.graph
    refused = refusals(graph)
    disputes, remarks = ((), refused) if refused else worst_disputes(graph)
    return Estimate(
        fits=not refused,
        prove_s=inference_s(graph),
        setup_s=0.0,
        memory_bytes=memory_bytes(model),
        proof_bytes=bundle_bytes(model),
        reasons=remarks,
        disputes=disputes,
    )


def refusals(graph: Graph) -> tuple[str, ...]:
    """Why no game takes this model: the operators whose one step is too long or too large for a transaction."""
    reasons = []
    for k, node in enumerate(graph.nodes):
        if not _is_step(graph, k):
            continue
        bound, name = step_bound(graph, k), f"{graph.names[k]} ({node.primitive})"
        if bound.terms > MAX_TERMS:
            reasons.append(
                f"{name}: one element takes {bound.terms} terms, a step in a transaction at most {MAX_TERMS}; no "
                "dispute could be decided, so no registry takes the model"
            )
        elif bound.transaction_bytes > MAX_TRANSACTION_BYTES:
            reasons.append(f"{name} {too_large(bound)}; no dispute could be decided, so no registry takes the model")
    return tuple(reasons)


def worst_disputes(graph: Graph) -> tuple[tuple[DisputeEstimate, ...], tuple[str, ...]]:
    """The worst dispute under each profile, and remarks on profiles that cannot serve."""
    step_gas = max(
        (step_bound(graph, k).transaction_gas for k in range(len(graph.nodes)) if _is_step(graph, k)), default=0
    )
    worst = worst_case(graph, step_gas)
    found, remarks = [], []
    for name in SHOWN_PROFILES:
        try:
            terms = terms_for(PROFILES[name], worst)
        except ValueError as error:
            remarks.append(str(error))
            continue
        found.append(
            DisputeEstimate(
                profile=name,
                asserter_gas=worst.asserter_gas,
                challenger_gas=worst.challenger_gas,
                input_gas=worst.input_gas,
                step_gas=step_gas,
                window_s=terms.window_s,
                resolution_s=resolution_bound_s(terms, worst),
                asserter_bond=terms.asserter_bond,
                challenger_bond=terms.challenger_bond,
            )
        )
    return tuple(found), tuple(remarks)


def inference_s(graph: Graph) -> float:
    """Seconds of one inference here."""
    products = elements = 0
    for k, node in enumerate(graph.nodes):
        if _is_step(graph, k):
            work = _terms(graph, k) * node.header.size
            products, elements = (products + work, elements) if node.primitive == "dot" else (products, elements + work)
    product_ns, element_ns = measure_speeds()
    spent = products * product_ns * PRODUCT_FACTOR + elements * element_ns * ELEMENT_FACTOR + len(graph.nodes) * NODE_NS
    return spent / 1e9


def measure_speeds() -> tuple[float, float]:
    """Nanoseconds of one multiplication with addition in a matrix product, and of one element of an array."""
    import numpy as np

    square = np.ones((_SIDE, _SIDE))
    values = np.ones(_ELEMENTS, dtype=np.int64)
    return _quickest_ns(lambda: square @ square) / _SIDE**3, _quickest_ns(lambda: values * values) / _ELEMENTS


def memory_bytes(model: Model) -> int:
    """Peak of a process that runs the model: weights, once more as float64, and the widest node's tensors."""
    graph = model.graph
    weights = sum(values.nbytes + 8 * values.size for values in graph.constants.values())
    widest = max(
        8 * (node.header.size + sum(graph.nodes[ref].header.size for ref in node.inputs)) for node in graph.nodes
    )
    return PROCESS_BYTES + len(model.source) + weights + 2 * widest


def bundle_bytes(model: Model) -> int:
    """Size of a signed bundle in its envelope; exact, but for a preimage of the context."""
    graph = model.graph
    sides = (graph.inputs, graph.outputs)
    lowest = Row(*(tuple((spec.header.lo,) * spec.header.size for spec in side) for side in sides))
    claim = Claim(graph.commitment, bytes(32), bytes(32), ZERO_CONTEXT)
    bundle = Bundle(
        claim=claim.digest(),
        chain_id=1,
        game=b"\1" * 20,
        asserter=b"\1" * 20,
        terms=b"\1" * 32,
        trace=bytes(32),
        nonce=0,
        graph=graph.root,
        inputs=encode_specs(graph.inputs),
        outputs=encode_specs(graph.outputs),
        signature=bytes(SIGNATURE_BYTES),
    )
    public = public_section(graph.inputs, graph.outputs, [lowest])
    return len(Proof(SCHEME, (claim,), public, bundle.encode()).to_bytes())


def _is_step(graph: Graph, k: int) -> bool:
    """Whether a node is computed: neither an input nor a constant."""
    return graph.nodes[k].primitive not in ("input", "constant")


def _terms(graph: Graph, k: int) -> int:
    """Visits of elements for one element of a node's output."""
    node = graph.nodes[k]
    headers = [graph.nodes[ref].header for ref in node.inputs]
    return max(way.terms for way in PRIMITIVES[node.primitive].cost(node.attributes, node.header, headers))


def _quickest_ns(run: Callable[[], object]) -> float:
    """The quickest of a few runs after one that warms up: what else the machine does is no part of the prediction."""
    run()
    spent = []
    for _ in range(_REPEATS):
        started = time.perf_counter_ns()
        run()
        spent.append(time.perf_counter_ns() - started)
    return min(spent)
