"""The one protocol every proof system follows, and the table that finds them.

A backend is loaded when it is named and not before, so that the base install checks what it can and says
which extra is missing otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

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
from vml.errors import MalformedProof

if TYPE_CHECKING:
    from vml.model import Model
    from vml.policy import Policy
    from vml.proof import Proof

__all__ = [
    "BACKENDS",
    "Backend",
    "Capabilities",
    "ClaimExpectation",
    "Environment",
    "Estimate",
    "Keys",
    "Progress",
    "SetupOptions",
    "VerifiedClaim",
    "Visibility",
    "backend_of_scheme",
    "get_backend",
]


class Backend(Protocol):
    """One way to prove a claim. ``verify`` returns a verdict or raises; it never returns a boolean."""

    @property
    def name(self) -> str: ...

    def capabilities(self) -> Capabilities:
        """What this backend can do at all."""

    def available(self) -> None:
        """Return when the software is installed; raise ``BackendUnavailable`` naming the extra otherwise."""

    def estimate(self, model: Model, visibility: Visibility) -> Estimate:
        """Predict the cost of a proof before any work is done."""

    def setup(self, model: Model, options: SetupOptions) -> Keys:
        """Make the keys, or take them from the cache, and record the identity in the model's folder."""

    def recompute(self, source: bytes, proof: Proof, options: SetupOptions) -> bytes:
        """The model identity that `proof` must claim if it is about this ONNX file; trusts nothing in the proof."""

    def recompute_key(self, model: Model, options: SetupOptions) -> bytes:
        """The 32-byte digest of a compiled model's verifying key, made again from its weights and nothing else.

        Asked only of a backend whose `capabilities().pinned_key` is true; others raise ``ValueError``.
        """

    def prove(
        self,
        keys: Keys,
        inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        context: bytes,
        *,
        visibility: Visibility,
        progress: Progress | None = None,
    ) -> Proof:
        """Prove the model on float inputs; ``inputs`` is a batch when ``capabilities().batch`` is true."""

    def verify(
        self, proof: Proof, expected: ClaimExpectation, policy: Policy, environment: Environment
    ) -> VerifiedClaim:
        """Check everything, or raise ``VerificationError``."""


BACKENDS: dict[str, str] = {
    "ezkl": "vml.backends.ezkl:EzklBackend",
    "optimistic": "vml.backends.optimistic:OptimisticBackend",
    "sumcheck": "vml.backends.sumcheck:SumcheckBackend",
    "tee": "vml.backends.tee:TeeBackend",
}
"""Backend name to ``module:attribute`` of a class that is built without arguments."""


def get_backend(name: str) -> Backend:
    """Load one backend.

    Args:
        name: a key of ``BACKENDS``.

    Raises:
        ValueError: no backend has this name.
    """
    if name not in BACKENDS:
        raise ValueError(f"unknown backend {name!r}; known are {', '.join(sorted(BACKENDS))}")
    module, attribute = BACKENDS[name].split(":")
    backend: Backend = getattr(import_module(module), attribute)()
    return backend


def backend_of_scheme(scheme: str) -> str:
    """Name the backend that checks a scheme: the part before the first slash.

    Raises:
        MalformedProof: no backend claims this scheme.
    """
    name = scheme.split("/", 1)[0]
    if name not in BACKENDS:
        raise MalformedProof(f"no backend checks the scheme {scheme!r}")
    return name
