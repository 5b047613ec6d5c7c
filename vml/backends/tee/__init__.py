"""The tee backend: hardware says which code runs, and a key made inside signs what that code gave.

``docs/tee-backend.md`` has the bytes, the request to an attester, and what a verdict means; ``docs/tee.md`` what makes
evidence genuine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
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
from vml.errors import BackendUnavailable, UnsupportedModel

if TYPE_CHECKING:
    from vml.model import Model
    from vml.policy import Policy
    from vml.proof import Proof

__all__ = ["TeeBackend"]

PUBLIC = Visibility()
NEEDED = {"numba": "compile", "threadpoolctl": "compile", "cryptography": "tee"}
"""Packages that it takes, by import name, and the extra that brings each."""


class TeeBackend:
    """The protocol `vml.backends.Backend` over the modules beside this one, each loaded when it is needed."""

    name = "tee"

    def capabilities(self) -> Capabilities:
        """What a receipt can do at all."""
        from vml.backends.tee.scheme import SEMANTICS, TRUSTS

        return Capabilities(assurance="hardware", semantics=SEMANTICS, trusts=TRUSTS, on_chain=True, exact=True)

    def available(self) -> None:
        """Return when a model's inputs can be prepared here; raise ``BackendUnavailable`` otherwise."""
        missing = [package for package in NEEDED if find_spec(package) is None]
        if missing:
            extras = ",".join(sorted({NEEDED[package] for package in missing}))
            raise BackendUnavailable(f"tee needs {', '.join(missing)}: pip install 'vml[{extras}]'")

    def estimate(self, model: Model, visibility: Visibility) -> Estimate:
        """Predict a proof's size."""
        from vml.backends.tee.estimate import estimate

        _refuse_hiding(visibility)
        return estimate(model)

    def setup(self, model: Model, options: SetupOptions) -> Keys:
        """Note who runs and signs; there is nothing to make."""
        from vml.backends.tee.setup import setup

        _refuse_hiding(options.visibility)
        _refuse_options(options)
        if not model.inputs:
            raise UnsupportedModel("the model has no input, so there is nothing that a claim could be about")
        return setup(model, options)

    def recompute(self, source: bytes, proof: Proof, options: SetupOptions) -> bytes:
        """Never possible: the integers follow from the calibration, too."""
        raise ValueError(
            "a tee claim is about the exact integer model, which an .onnx file alone does not give: "
            "use the compiled folder, or its 0x commitment"
        )

    def recompute_key(self, model: Model, options: SetupOptions) -> bytes:
        """Never needed: the key is in the evidence."""
        raise ValueError("a tee claim has no verifying key: evidence names the key, and a policy says which is good")

    def prove(
        self,
        keys: Keys,
        inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        context: bytes,
        *,
        visibility: Visibility,
        progress: Progress | None = None,
    ) -> Proof:
        """Have one input run and signed for."""
        from vml.backends.tee.prover import prove
        from vml.backends.types import Attesting

        _refuse_hiding(visibility)
        model = keys.compiled
        if keys.backend != self.name or model is None:
            raise ValueError("these are not tee keys, or they have lost their model: make them with setup")
        if not isinstance(inputs, Mapping):
            raise ValueError("a receipt is for one input at a time")
        return prove(model, keys.attesting or Attesting(), model.quantize(inputs), context, progress)

    def verify(
        self, proof: Proof, expected: ClaimExpectation, policy: Policy, environment: Environment
    ) -> VerifiedClaim:
        """Check everything, or raise ``VerificationError``."""
        from vml.backends.tee.verifier import verify

        return verify(proof, expected, policy, environment)


def _refuse_hiding(visibility: Visibility) -> None:
    """Refuse to promise what the proof would show."""
    if visibility != PUBLIC:
        from vml.backends.tee.scheme import WHY_PUBLIC

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
        ("asserting", options.asserting is not None),
    ):
        if given:
            raise ValueError(f"tee runs the compiled model as it is and has no set-up: {name} means nothing")
