"""A backend that is quick and knows nothing of cryptography, and a small model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vml.backends.types import (
    PINNED_KEYS,
    Capabilities,
    ClaimExpectation,
    Environment,
    Estimate,
    Keys,
    Progress,
    SetupOptions,
    VerifiedClaim,
    Visibility,
)
from vml.claim import Claim
from vml.errors import ClaimMismatch, ProofRejected
from vml.identities import record_identity
from vml.keccak import keccak256
from vml.policy import Policy
from vml.proof import Proof


class PlainBackend:
    """Hashes what it should prove: right or wrong shows at once, forging takes a text editor."""

    name = "plain"
    estimate_result = Estimate(fits=True, prove_s=0.01, setup_s=0.0, memory_bytes=1 << 20, proof_bytes=500)
    verdict_changes: Mapping[str, Any] = {}
    pinned = False  # prove the exact model under a key that a verifier pins
    remade = 0  # how often a key was made again

    def capabilities(self) -> Capabilities:
        return Capabilities(
            "cryptographic",
            "plain/1",
            ("this test",),
            inputs=("public", "private"),
            batch=True,
            exact=self.pinned,
            pinned_key=self.pinned,
        )

    def available(self) -> None:
        return

    def estimate(self, model: Any, visibility: Visibility) -> Estimate:
        return self.estimate_result

    def setup(self, model: Any, options: SetupOptions) -> Keys:
        if options.progress:
            options.progress("making keys", 1.0)
        keys = Keys("plain", "plain/1", model.commitment, model.source)
        if self.pinned and model.folder is not None:
            record_identity(model.folder, keys)
        return keys

    def recompute(self, source: bytes, proof: Proof, options: SetupOptions) -> bytes:
        return keccak256(source)

    def recompute_key(self, model: Any, options: SetupOptions) -> bytes:
        type(self).remade += 1
        return keccak256(model.source)

    def prove(
        self,
        keys: Keys,
        inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        context: bytes,
        *,
        visibility: Visibility,
        progress: Progress | None = None,
    ) -> Proof:
        rows = [inputs] if isinstance(inputs, Mapping) else inputs
        claims = tuple(
            Claim(keys.model, keccak256(b"".join(row[n].tobytes() for n in sorted(row))), bytes(32), context)
            for row in rows
        )
        public = {"output": [], "hidden": [], "key": keccak256(keys.verifying_key).hex()}
        return Proof("plain/1", claims, public, claims[0].digest())

    def verify(
        self, proof: Proof, expected: ClaimExpectation, policy: Policy, environment: Environment
    ) -> VerifiedClaim:
        for claim in proof.claims:
            if claim.model not in expected.model:
                raise ClaimMismatch("model", "another", "this")
            if claim.context != expected.context:
                raise ClaimMismatch("context", "another", "this")
        if proof.payload != proof.claims[0].digest():
            raise ProofRejected("the hash differs")
        digest = bytes.fromhex(str(proof.public["key"]))
        if self.pinned and digest not in environment.pins.get(PINNED_KEYS, ()):
            raise ProofRejected("the key")
        revealed = ("everything",)
        verdict = VerifiedClaim(
            proof.claims, "plain", "plain/1", "cryptographic", "plain/1", 128, revealed=revealed, vk_digest=digest
        )
        return replace(verdict, **self.verdict_changes)


def tiny_onnx(seed: int = 0, dtype: int = TensorProto.FLOAT, width: int = 4) -> bytes:
    """One layer: x [1, width] to y [1, 2]."""
    weights = np.random.default_rng(seed).normal(size=(width, 2)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="layer")],
        "tiny",
        [helper.make_tensor_value_info("x", dtype, [1, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
