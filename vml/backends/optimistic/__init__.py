"""The optimistic backend: a bonded claim stands unless somebody proves one element of one operator wrong.

``docs/optimistic.md`` has the bundle and what a verdict on it means; ``docs/dispute.md`` the game, its four properties
and their proofs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

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
from vml.errors import BackendUnavailable, UnsupportedModel

if TYPE_CHECKING:
    from vml.model import Model
    from vml.policy import Policy
    from vml.proof import Proof

__all__ = ["OptimisticBackend"]

PUBLIC = Visibility()
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

        _refuse_hiding(visibility)
        return estimate(model)

    def setup(self, model: Model, options: SetupOptions) -> Keys:
        """Note where claims are asserted; there is nothing to make."""
        from vml.backends.optimistic.setup import setup

        _refuse_hiding(options.visibility)
        _refuse_options(options)
        if not model.inputs:
            raise UnsupportedModel("the model has no input, so there is nothing that a claim could be about")
        return setup(model, options)

    def recompute(self, source: bytes, proof: Proof, options: SetupOptions) -> bytes:
        """Never possible: the integers follow from the calibration, too."""
        raise ValueError(
            "an optimistic claim is about the exact integer model, which an .onnx file alone does not give: "
            "use the compiled folder, or its 0x commitment"
        )

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

        _refuse_hiding(visibility)
        model = keys.compiled
        if keys.backend != self.name or model is None:
            raise ValueError("these are not optimistic keys, or they have lost their model: make them with setup")
        if not isinstance(inputs, Mapping):
            raise ValueError("an assertion is about one input at a time")
        return prove(model, keys.asserting or Asserting(), model.quantize(inputs), context, progress)

    def verify(
        self, proof: Proof, expected: ClaimExpectation, policy: Policy, environment: Environment
    ) -> VerifiedClaim:
        """Check everything, or raise ``VerificationError``."""
        from vml.backends.optimistic.verifier import verify

        return verify(proof, expected, policy, environment)


def _refuse_hiding(visibility: Visibility) -> None:
    """Refuse to promise what would leave nobody to challenge."""
    if visibility != PUBLIC:
        from vml.backends.optimistic.scheme import WHY_PUBLIC

        raise ValueError(f"{visibility} cannot be had: {WHY_PUBLIC}; leave --private out, or take --backend ezkl")


def _refuse_options(options: SetupOptions) -> None:
    """Refuse options of a set-up that mean nothing here."""
    for name, given in (
        ("calibration", options.calibration is not None),
        ("max_error", options.max_error is not None),
        ("tune", not options.tune),
        ("on_chain", options.on_chain),
        ("srs", options.srs is not None),
        ("memory_limit", options.memory_limit_bytes is not None),
        ("time_limit", options.time_limit_s is not None),
        ("check", options.check),
        ("attesting", options.attesting is not None),
    ):
        if given:
            raise ValueError(f"optimistic runs the compiled model as it is and has no set-up: {name} means nothing")
