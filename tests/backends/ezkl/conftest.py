"""A tiny model, its keys and its proofs, made once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vml.backends.ezkl import prover
from vml.backends.ezkl.payload import Payload
from vml.backends.ezkl.setup import Circuit, setup
from vml.backends.types import ClaimExpectation, Environment, SetupOptions, VerifiedClaim, Visibility
from vml.claim import Claim
from vml.policy import Policy
from vml.proof import Proof

CONTEXT = bytes(range(1, 33))
SALT = bytes(range(101, 133))
LENIENT = Policy.default().relaxed(allow_unsafe_setup=True)


def tiny_mlp(seed: int = 0) -> bytes:
    """Four inputs, three hidden units, two outputs."""
    rng = np.random.default_rng(seed)
    weights = {
        "w1": rng.normal(size=(4, 3)),
        "b1": rng.normal(size=3),
        "w2": rng.normal(size=(3, 2)),
        "b2": rng.normal(size=2),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("Add", ["a", "b1"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("MatMul", ["c", "w2"], ["d"]),
        helper.make_node("Add", ["d", "b2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def calibration() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    return {"x": rng.uniform(-1, 1, size=(12, 4)).astype(np.float32)}


def sample(row: int = 3) -> dict[str, np.ndarray]:
    return {"x": calibration()["x"][row].reshape(1, 4)}


@dataclass(frozen=True)
class Case:
    """A circuit, a proof under it, and how to verify or alter that proof."""

    circuit: Circuit
    proof: Proof

    @property
    def claim(self) -> Claim:
        return self.proof.claims[0]

    @property
    def payload(self) -> Payload:
        return Payload.from_bytes(self.proof.payload)

    def expectation(self, **changes: object) -> ClaimExpectation:
        return replace(ClaimExpectation(frozenset({self.circuit.identity}), context=CONTEXT), **changes)

    def verify(
        self,
        proof: Proof | None = None,
        expected: ClaimExpectation | None = None,
        policy: Policy = LENIENT,
        environment: Environment | None = None,
    ) -> VerifiedClaim:
        from vml.backends.ezkl.verifier import verify

        return verify(proof or self.proof, expected or self.expectation(), policy, environment or Environment())

    def with_claim(self, **fields: bytes) -> Proof:
        """The same payload under another claim."""
        return replace(self.proof, claims=(replace(self.claim, **fields),))

    def with_payload(self, **parts: object) -> Proof:
        """The same claim over another payload."""
        return replace(self.proof, payload=replace(self.payload, **parts).to_bytes())

    def relabelled(self, instances: tuple[bytes, ...], context: bytes | None = None) -> Proof:
        """What a forger sends: altered instances with every commitment and value made to agree."""
        statement = self.circuit.statement
        claim = replace(
            self.claim,
            input=statement.commit_input(statement.input_words(instances)),
            output=statement.commit_output(statement.output_words(instances)),
            context=context or self.claim.context,
        )
        payload = replace(self.payload, instances=instances)
        return Proof(self.proof.scheme, (claim,), statement.public(instances), payload.to_bytes())


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vml-cache")


def make_case(cache: Path, visibility: Visibility, source: bytes | None = None) -> Case:
    options = SetupOptions(visibility=visibility, cache_dir=cache)
    circuit = setup(source or tiny_mlp(), calibration(), options)
    salt = SALT if visibility.input == "private" else None
    proof, _ = prover.prove(circuit, sample(), CONTEXT, salt=salt)
    return Case(circuit, proof)


@pytest.fixture(scope="session")
def public(cache: Path) -> Case:
    """Everything public."""
    return make_case(cache, Visibility())


@pytest.fixture(scope="session")
def private(cache: Path) -> Case:
    """A private input behind a salt."""
    return make_case(cache, Visibility(input="private"))


@pytest.fixture(scope="session")
def hidden_model(cache: Path) -> Case:
    """Private weights and a hashed input."""
    return make_case(cache, Visibility(input="hashed", model="private"))


@pytest.fixture(scope="session")
def other_model(cache: Path) -> Case:
    """Other weights, everything public."""
    return make_case(cache, Visibility(), tiny_mlp(seed=1))


@pytest.fixture(autouse=True)
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("VML_CACHE_DIR", str(cache))
    return
