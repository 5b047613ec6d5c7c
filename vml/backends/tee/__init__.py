"""The tee backend: hardware says which code runs, and a key made inside signs what that code gave.

``docs/tee-backend.md`` has the bytes, the request to an attester, and what a verdict means; ``docs/tee.md`` what makes
evidence genuine.
"""

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
from vml.errors import BackendUnavailable

if TYPE_CHECKING:
    from vml.model import Model
    from vml.policy import Policy
    from vml.proof import Proof

__all__ = ["TeeBackend"]

NEEDED = {"numba": "compile", "threadpoolctl": "compile", "cryptography": "tee"}
"""Packages that it takes, by import name, and the extra that brings each."""


class TeeBackend:
    """The protocol `vml.backends.Backend` over the modules beside this one, each loaded when it is needed."""

    name = "tee"

    def capabilities(self) -> Capabilities:
        """What a receipt can do at all."""
        from vml.backends.tee.scheme import FLOAT_SCHEME, SEMANTICS, TRUSTS

        return Capabilities(
            assurance="hardware",
            semantics=SEMANTICS,
            trusts=TRUSTS,
            on_chain=True,
            exact=True,
            from_source=(FLOAT_SCHEME,),
        )

    def available(self) -> None:
        """Return when a model's inputs can be prepared here; raise ``BackendUnavailable`` otherwise."""
        missing = [package for package in NEEDED if find_spec(package) is None]
        if missing:
            extras = ",".join(sorted({NEEDED[package] for package in missing}))
            raise BackendUnavailable(f"tee needs {', '.join(missing)}: pip install 'vml[{extras}]'")

    def estimate(self, model: Model, visibility: Visibility) -> Estimate:
        """Predict a proof's size."""
        from vml.backends.tee.estimate import estimate
        from vml.backends.tee.scheme import WHY_PUBLIC

        refuse_hiding(visibility, WHY_PUBLIC)
        return estimate(model)

    def setup(self, model: Model, options: SetupOptions) -> Keys:
        """Note who runs and signs, and in which engine; there is nothing to make."""
        from vml.backends.tee.scheme import WHY_PUBLIC
        from vml.backends.tee.setup import setup

        refuse_hiding(options.visibility, WHY_PUBLIC)
        refuse_options(options, self.name, taken={"attesting"})
        require_inputs(model)
        return setup(model, options)

    def recompute(self, source: bytes, proof: Proof, options: SetupOptions) -> bytes:
        """Of a float run, from the file and the description in the proof. No file gives an exact model's."""
        from vml.backends.tee.engines import engine_of
        from vml.backends.tee.payload import SignedRun

        engine = engine_of(proof.scheme)
        if not engine.described:
            refuse_source(self.name)
        from vml.backends.tee.session import float_program

        return float_program(source, SignedRun.decode(proof.payload, True).description).identity

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
        from vml.backends.tee.scheme import WHY_PUBLIC
        from vml.backends.types import Attesting

        refuse_hiding(visibility, WHY_PUBLIC)
        model = model_of(keys, self.name)
        if not isinstance(inputs, Mapping):
            raise ValueError("a receipt is for one input at a time")
        attesting = keys.attesting or Attesting()
        if attesting.engine == "exact":
            return prove(model, attesting, model.quantize(inputs), context, progress)
        from vml.backends.tee.session import float_inputs

        given = float_inputs(model.source, inputs)
        return prove(model, attesting, given, context, progress, keys.verifying_key)

    def verify(
        self, proof: Proof, expected: ClaimExpectation, policy: Policy, environment: Environment
    ) -> VerifiedClaim:
        """Check everything, or raise ``VerificationError``."""
        from vml.backends.tee.verifier import verify

        return verify(proof, expected, policy, environment)
