"""Runs the exact model and says what came out: the assertion bundle. It proves nothing; a bond and a window do that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vml.backends.exact.statement import section_of_run
from vml.backends.optimistic.payload import Bundle
from vml.backends.optimistic.scheme import SCHEME
from vml.backends.optimistic.signature import domain_separator, require_asserters, struct_hash
from vml.backends.optimistic.trace import Trace
from vml.backends.types import Asserting, Progress
from vml.errors import ProofRejected, ProvingError
from vml.model.graph import encode_specs
from vml.proof import Proof

if TYPE_CHECKING:
    from vml.model import Model

Array = np.ndarray[Any, np.dtype[Any]]


def prove(
    model: Model, asserting: Asserting, codes: Mapping[str, Array], context: bytes, progress: Progress | None
) -> Proof:
    """One run, claimed and bundled.

    Args:
        model: the compiled model.
        asserting: where and by whom.
        codes: integer codes by input name.
        context: 32 bytes the claim is bound to.
        progress: called with a stage and the fraction of it that is done.

    Raises:
        ProvingError: what signs is not the asserter's key.
        ValueError: chain, game, asserter and terms do not fit together.
    """
    tell = progress or (lambda stage, done: None)
    graph = model.graph
    tell("running the model", 0.0)
    trace = Trace(model.executor, codes)
    claim = trace.claim(context)
    tell("running the model", 1.0)
    bundle = Bundle(
        claim=claim.digest(),
        chain_id=asserting.chain_id,
        game=asserting.game,
        asserter=asserting.asserter,
        terms=asserting.terms,
        trace=trace.commitment() if asserting.commit_trace else bytes(32),
        nonce=asserting.nonce,
        graph=graph.root,
        inputs=encode_specs(graph.inputs),
        outputs=encode_specs(graph.outputs),
    )
    if asserting.sign is not None:
        signature = asserting.sign(domain_separator(bundle), struct_hash(bundle))
        bundle = replace(bundle, signature=signature)
        try:
            require_asserters(bundle)
        except ProofRejected as error:
            raise ProvingError(f"what signs is not the key of 0x{bundle.asserter.hex()}: {error}") from None
    tensors = {spec.node: trace.tensor(spec.node) for spec in (*graph.inputs, *graph.outputs)}
    return Proof(SCHEME, (claim,), section_of_run(graph.inputs, graph.outputs, tensors), bundle.encode())
