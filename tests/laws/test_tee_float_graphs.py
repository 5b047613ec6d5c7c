"""Random ONNX files over every number type: what they give is signed and accepted, and no receipt fits other bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.backends.tee.float_runs import restated, sides_of
from tests.backends.tee.signed_runs import AT, NONCE, attesting, pins
from vml.backends.tee.floats import FloatSpec
from vml.backends.tee.inside import run
from vml.backends.tee.session import FloatModel
from vml.backends.tee.simulated import simulated_key
from vml.backends.tee.verifier import verify
from vml.backends.types import ClaimExpectation, Environment
from vml.claim import ZERO_CONTEXT
from vml.errors import EvidenceRejected, MalformedProof
from vml.merkle import VALUE_DTYPES
from vml.policy import Policy
from vml.proof import Proof
from vml.values import is_value

QUICK, MANY = range(8), range(100, 400)
DTYPES = list(VALUE_DTYPES)


def random_file(rng: np.random.Generator) -> bytes:
    """One to three tensors, each cast and turned once or twice."""
    nodes, inputs, outputs = [], [], []
    for place in range(int(rng.integers(1, 4))):
        shape = [int(n) for n in rng.integers(1, 5, int(rng.integers(0, 4)))]
        given, made = (DTYPES[int(k)] for k in rng.integers(0, len(DTYPES), 2))
        types = [helper.np_dtype_to_tensor_dtype(np.dtype(name)) for name in (given, made)]
        inputs.append(helper.make_tensor_value_info(f"x{place}", types[0], shape))
        outputs.append(helper.make_tensor_value_info(f"y{place}", types[1], shape[::-1]))
        nodes.append(helper.make_node("Cast", [f"x{place}"], [f"c{place}"], to=types[1]))
        nodes.append(helper.make_node("Transpose", [f"c{place}"], [f"y{place}"]))
    graph = helper.make_graph(nodes, "random", inputs, outputs)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(proto.SerializeToString())


def random_values(rng: np.random.Generator, spec: FloatSpec) -> Any:
    """Numbers that every type holds, so that casts are defined."""
    return rng.integers(0, 2, spec.shape).astype(spec.dtype)


def check(seed: int) -> None:
    """Sign and verify; then, of every tensor of either side, one other bit."""
    rng = np.random.default_rng(seed)
    model = FloatModel(random_file(rng))
    key, attestation = simulated_key(model.program.identity, attesting(), NONCE)
    inputs = {spec.name: random_values(rng, spec) for spec in model.program.inputs}
    honest = run(model, key, attestation, inputs, ZERO_CONTEXT, AT)

    def accepted(proof: Proof) -> bool:
        expected = ClaimExpectation(frozenset({model.program.identity}), public_input=inputs)
        rules = Policy.default().relaxed(allow_simulated=True)
        return verify(proof, expected, rules, Environment(now=AT, pins=pins())).final

    assert accepted(Proof.from_bytes(honest.to_bytes()))
    inside, outside = sides_of(honest)
    for k, spec in enumerate(model.program.outputs):
        data = bytearray(outside[k])
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        lie = restated(honest, (inside, [*outside[:k], bytes(data), *outside[k + 1 :]]))
        with pytest.raises(EvidenceRejected if is_value(spec.dtype, bytes(data)) else MalformedProof):
            accepted(lie)


@pytest.mark.parametrize("seed", QUICK)
def test_a_random_file(seed: int) -> None:
    check(seed)


@pytest.mark.slow
def test_many_random_files() -> None:
    for seed in MANY:
        check(seed)
