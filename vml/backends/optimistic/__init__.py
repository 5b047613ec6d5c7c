"""The optimistic backend: a bonded claim stands unless somebody proves one element of one operator wrong.

``docs/optimistic.md`` has the bundle and what a verdict on it means; ``docs/dispute.md`` the game, its four properties
and their proofs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from vml.backends.exact.promises import model_of, refuse_hiding, refuse_options, refuse_source, require_inputs
from vml.backends.types import (
    Asserting,
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
from vml.errors import BackendUnavailable

if TYPE_CHECKING:
    from vml.model import Model
    from vml.policy import Policy
    from vml.proof import Proof

__all__ = ["OptimisticBackend"]

NEEDED = ("numba", "threadpoolctl")
"""Packages that running a model takes, by import name."""


class OptimisticBackend:
    """The protocol `vml.backends.Backend` over the modules beside this one, each loaded when it is needed."""

    name = "optimistic"

    def capabilities(self) -> Capabilities:
        """What an assertion can do at all."""
        from vml.backends.optimistic.scheme import SEMANTICS, TRUSTS

        return Capabilities(
            assurance="economic", semantics=SEMANTICS, trusts=TRUSTS, on_chain=True, exact=True, recomputes=True
        )

    def available(self) -> None:
        """Return when a model can be run here; raise ``BackendUnavailable`` otherwise."""
        missing = [package for package in NEEDED if find_spec(package) is None]
        if missing:
            raise BackendUnavailable(f"running a model needs {', '.join(missing)}: pip install 'vml[compile]'")

    def estimate(self, model: Model, visibility: Visibility) -> Estimate:
        """Predict one inference, and the worst dispute about it."""
        from vml.backends.optimistic.estimate import estimate
        from vml.backends.optimistic.scheme import WHY_PUBLIC

        refuse_hiding(visibility, WHY_PUBLIC)
        return estimate(model)

    def setup(self, model: Model, options: SetupOptions) -> Keys:
        """Note where claims are asserted; there is nothing to make."""
        from vml.backends.optimistic.scheme import WHY_PUBLIC
        from vml.backends.optimistic.setup import setup

        refuse_hiding(options.visibility, WHY_PUBLIC)
        refuse_options(options, self.name, taken={"asserting"})
        require_inputs(model)
        return setup(model, options)

    def recompute(self, source: bytes, proof: Proof, options: SetupOptions) -> bytes:
        """Never possible: the integers follow from the calibration, too."""
        refuse_source(self.name)

    def recompute_key(self, model: Model, options: SetupOptions) -> bytes:
        """Never needed: there is no verifying key."""
        raise ValueError("an optimistic claim has no verifying key; the model's identity is all it is checked against")

    def prove(
        self,
        keys: Keys,
        inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        context: bytes,
        *,
        visibility: Visibility,
        progress: Progress | None = None,
    ) -> Proof:
        """Run the model on one input and bundle the assertion."""
        from vml.backends.optimistic.prover import prove
        from vml.backends.optimistic.scheme import WHY_PUBLIC

        refuse_hiding(visibility, WHY_PUBLIC)
        model = model_of(keys, self.name)
        if not isinstance(inputs, Mapping):
            raise ValueError("an assertion is about one input at a time")
        return prove(model, keys.asserting or Asserting(), model.quantize(inputs), context, progress)

    def verify(
        self, proof: Proof, expected: ClaimExpectation, policy: Policy, environment: Environment
    ) -> VerifiedClaim:
        """Check everything, or raise ``VerificationError``."""
        from vml.backends.optimistic.verifier import verify

        return verify(proof, expected, policy, environment)
