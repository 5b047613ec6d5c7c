"""ezkl: a Halo2/KZG proof of ezkl's own fixed point circuit of the ONNX model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vml.backends.types import (
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

if TYPE_CHECKING:
    from vml.model import Model
    from vml.policy import Policy
    from vml.proof import Proof

__all__ = ["EzklBackend"]


class EzklBackend:
    """The protocol `vml.backends.Backend` over the modules beside this one, each loaded when it is needed."""

    name = "ezkl"

    def capabilities(self) -> Capabilities:
        """What ezkl can do at all."""
        from vml.backends.ezkl.statement import SEMANTICS

        return Capabilities(
            assurance="cryptographic",
            semantics=SEMANTICS,
            trusts=("the KZG set-up", "ezkl's code"),
            inputs=("public", "hashed", "private"),
            models=("public", "private"),
            needs_setup=True,
            on_chain=True,
        )

    def available(self) -> None:
        """Return when the tested ezkl is installed; raise ``BackendUnavailable`` otherwise."""
        from vml.backends.ezkl.process import require_engine

        require_engine()

    def estimate(self, model: Model, visibility: Visibility) -> Estimate:
        """Predict the cost from a layout of the circuit; no keys are made."""
        from vml.backends.ezkl.estimate import estimate

        return estimate(model.source, visibility)

    def setup(self, model: Model, options: SetupOptions) -> Keys:
        """Make the keys or take them from the cache; record the identity in the model's folder."""
        from vml.backends.ezkl.setup import setup
        from vml.identities import record_identity

        calibration = options.calibration
        if calibration is None:
            calibration = model.calibration
        circuit = setup(model.source, calibration, options)
        if model.folder is not None:
            record_identity(model.folder, circuit.keys)
        return circuit.keys

    def recompute(self, source: bytes, proof: Proof, options: SetupOptions) -> bytes:
        """Make the identity a proof claims again from the ONNX file."""
        from vml.backends.ezkl.recompute import recompute

        return recompute(source, proof, options)

    def recompute_key(self, model: Model, options: SetupOptions) -> bytes:
        """Never needed: the identity binds the key, which travels in the proof."""
        raise ValueError("an ezkl proof is pinned by its model identity, which binds the verifying key")

    def prove(
        self,
        keys: Keys,
        inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        context: bytes,
        *,
        visibility: Visibility,
        progress: Progress | None = None,
    ) -> Proof:
        """Prove one input; the salt of a private one is kept in the key's folder."""
        from vml.backends.ezkl import prover
        from vml.backends.ezkl.setup import load

        if not isinstance(inputs, Mapping):
            raise ValueError("ezkl proves one input at a time")
        if keys.directory is None or keys.backend != self.name:
            raise ValueError("these are not ezkl keys")
        circuit = load(keys.directory)
        if circuit.statement.visibility != visibility:
            raise ValueError(f"the keys are for {circuit.statement.visibility}, not for {visibility}")
        proof, _ = prover.prove(circuit, inputs, context, progress=progress)
        return proof

    def verify(
        self, proof: Proof, expected: ClaimExpectation, policy: Policy, environment: Environment
    ) -> VerifiedClaim:
        """Check everything, or raise ``VerificationError``."""
        from vml.backends.ezkl.verifier import verify

        return verify(proof, expected, policy, environment)
