"""Float runs of a small ONNX file, honest and forged, under a simulator's roots."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import onnx
from cryptography.hazmat.primitives.asymmetric import ec
from onnx import TensorProto, helper, numpy_helper

from tests.backends.tee import signed_runs
from tests.backends.tee.signed_runs import CONTEXT, INPUTS, NONCE, OTHER_INPUTS, attesting, decoded
from vml.backends.exact.statement import commit_packed, packed_section, read_public
from vml.backends.tee import TeeBackend
from vml.backends.tee.engines import FLOAT
from vml.backends.tee.floats import Runtime, decode_specs, identity
from vml.backends.tee.payload import SignedRun
from vml.backends.tee.session import FloatModel
from vml.backends.tee.simulated import simulated_key
from vml.backends.types import Keys, SetupOptions, VerifiedClaim, Visibility
from vml.claim import Claim
from vml.keccak import keccak256
from vml.model import Model
from vml.proof import Proof

Sides = tuple[list[bytes], list[bytes]]


@cache
def source() -> bytes:
    """Two inputs; outputs are floats and truth values."""
    weights = numpy_helper.from_array(np.array([[1, -2, 3], [4, 5, -6]], np.float32), "w")
    zero = numpy_helper.from_array(np.zeros((), np.float32), "zero")
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["xw"]),
        helper.make_node("Mul", ["xw", "y"], ["product"]),
        helper.make_node("Tanh", ["product"], ["rest"]),
        helper.make_node("Greater", ["product", "zero"], ["positive"]),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [3]),
    ]
    outputs = [
        helper.make_tensor_value_info("positive", TensorProto.BOOL, [2, 3]),
        helper.make_tensor_value_info("rest", TensorProto.FLOAT, [2, 3]),
    ]
    graph = helper.make_graph(nodes, "floats", inputs, outputs, [weights, zero])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(proto)
    return proto.SerializeToString(deterministic=True)


@cache
def model() -> Model:
    """The small exact model, with that file as its source."""
    return replace(signed_runs.model(), source=source())


@cache
def loaded() -> FloatModel:
    return FloatModel(source())


def keys(**change: Any) -> Keys:
    return TeeBackend().setup(model(), SetupOptions(attesting=attesting(**{"engine": "float", **change})))


@cache
def honest(kind: str = "tdx") -> Proof:
    return TeeBackend().prove(keys(simulate=kind), INPUTS, CONTEXT, visibility=Visibility())


@cache
def other_run() -> Proof:
    """Another input's, by the same key."""
    return TeeBackend().prove(keys(), OTHER_INPUTS, CONTEXT, visibility=Visibility())


def model_id() -> bytes:
    return loaded().program.identity


def identity_of(run: SignedRun) -> bytes:
    """Of what a float run says it ran."""
    return identity(run.description, run.source, run.inputs, run.outputs)


def private_key() -> ec.EllipticCurvePrivateKey:
    """The simulated key itself: who knows the seed has it."""
    key: ec.EllipticCurvePrivateKey = simulated_key(model_id(), attesting(), NONCE)[0]._key
    return key


def runtime(proof: Proof | None = None) -> Runtime:
    return Runtime.decode(decoded(proof or honest()).description)


def sides_of(proof: Proof) -> Sides:
    """The bytes of every input and output."""
    run = decoded(proof)
    specs = decode_specs(run.inputs), decode_specs(run.outputs)
    (row,) = read_public(proof.public, proof.claims, *specs, FLOAT.form)
    inputs: Any = row.inputs
    outputs: Any = row.outputs
    return list(inputs), list(outputs)


def restated(proof: Proof, sides: Sides, context: bytes | None = None) -> Proof:
    """Claim and public section of other values, agreeing with each other; the payload is as it was."""
    run, old = decoded(proof), proof.claims[0]
    inputs, outputs = decode_specs(run.inputs), decode_specs(run.outputs)
    committed = commit_packed(inputs, sides[0], FLOAT.form), commit_packed(outputs, sides[1], FLOAT.form)
    claim = Claim(old.model, *committed, context or old.context)
    return Proof(proof.scheme, (claim,), packed_section(inputs, outputs, *sides, FLOAT.form), proof.payload)


def claiming(proof: Proof, **change: Any) -> tuple[Proof, bytes]:
    """The proof of a run that says it ran something else: payload, certificate and claim agree. And its identity."""
    odd = replace(decoded(proof), **change)
    found = identity_of(odd)
    odd = replace(odd, certificate=replace(odd.certificate, model=found))
    claim = replace(proof.claims[0], model=found)
    return replace(proof, claims=(claim,), payload=odd.encode()), found


def check(proof: Proof, **options: Any) -> VerifiedClaim:
    """Verify as the simulator's friend does who pinned the float model."""
    return signed_runs.check(proof, **{"model": frozenset({model_id()}), **options})


def description_digest(proof: Proof) -> bytes:
    return keccak256(decoded(proof).description)
