"""sumcheck: a native, transparent proof of the exact integer model; only a hash function is trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from vml.backends.exact.promises import model_of, refuse_hiding, refuse_options, refuse_source, require_inputs
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
from vml.errors import BackendUnavailable, ProvingError

if TYPE_CHECKING:
    from vml.model import Model
    from vml.policy import Policy
    from vml.proof import Proof

__all__ = ["SumcheckBackend"]

WHY_PUBLIC = "sumcheck proofs are not zero-knowledge and hide nothing"
NEEDED = ("filelock", "numba", "platformdirs")
"""Packages of the extra that proving uses, by import name."""


class SumcheckBackend:
    """The protocol `vml.backends.Backend` over the modules beside this one, each loaded when it is needed."""

    name = "sumcheck"

    def capabilities(self) -> Capabilities:
        """What sumcheck can do at all."""
        from vml.backends.sumcheck.scheme import SEMANTICS, TRUSTS

        return Capabilities(
            assurance="cryptographic",
            semantics=SEMANTICS,
            trusts=TRUSTS,
            batch=True,
            exact=True,
            pinned_key=True,
        )

    def available(self) -> None:
        """Return when a proof can be made here; raise ``BackendUnavailable`` otherwise. Verifying needs no extra."""
        missing = [package for package in NEEDED if find_spec(package) is None]
        if missing:
            raise BackendUnavailable(f"sumcheck needs {', '.join(missing)}: pip install 'vml[sumcheck]'")

    def estimate(self, model: Model, visibility: Visibility) -> Estimate:
        """Predict the cost from the sizes of the graph; nothing is committed to."""
        from vml.backends.sumcheck.estimate import estimate

        refuse_hiding(visibility, WHY_PUBLIC)
        return estimate(model, visibility)

    def setup(self, model: Model, options: SetupOptions) -> Keys:
        """Commit to the weights, or take that from the cache; record the key in the model's folder."""
        from vml.backends.sumcheck.setup import setup
        from vml.identities import record_identity
        from vml.keccak import keccak256

        refuse_hiding(options.visibility, WHY_PUBLIC)
        refuse_options(options, self.name, taken={"check", "memory_limit_bytes"})
        require_inputs(model)
        keys = setup(model, options)
        if options.check:
            again = self.recompute_key(model, options)
            if again != keccak256(keys.verifying_key):
                raise ProvingError(
                    f"made again from the weights, the verifying key is 0x{again.hex()}, but the cached one is "
                    f"0x{keccak256(keys.verifying_key).hex()}; remove it: vml cache clear"
                )
        if model.folder is not None:
            record_identity(model.folder, keys)
        return keys

    def recompute(self, source: bytes, proof: Proof, options: SetupOptions) -> bytes:
        """Never possible: the integers follow from the calibration, too."""
        refuse_source(self.name)

    def recompute_key(self, model: Model, options: SetupOptions) -> bytes:
        """The digest of the verifying key, from the weights and nothing else."""
        from vml.backends.sumcheck.setup import recompute_key

        return recompute_key(model).digest

    def prove(
        self,
        keys: Keys,
        inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        context: bytes,
        *,
        visibility: Visibility,
        progress: Progress | None = None,
    ) -> Proof:
        """Prove the model on one input or on several, in one proof with one claim each."""
        from vml.backends.sumcheck.prover import prove

        refuse_hiding(visibility, WHY_PUBLIC)
        model = model_of(keys, self.name)
        rows = [inputs] if isinstance(inputs, Mapping) else list(inputs)
        return prove(model, keys, [model.quantize(row) for row in rows], context, progress)

    def verify(
        self, proof: Proof, expected: ClaimExpectation, policy: Policy, environment: Environment
    ) -> VerifiedClaim:
        """Check everything, or raise ``VerificationError``."""
        from vml.backends.sumcheck.verifier import verify

        return verify(proof, expected, policy, environment)
