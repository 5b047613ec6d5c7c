"""A scheme name that no verifier stands for is refused for its name, before anything else is looked at."""

from __future__ import annotations

import pytest

from vml.backends import backend_of_scheme
from vml.backends.ezkl import verifier
from vml.backends.types import ClaimExpectation, Environment
from vml.claim import Claim
from vml.errors import MalformedProof
from vml.policy import Policy
from vml.proof import Proof

CLAIM = Claim(*[bytes([i]) * 32 for i in range(1, 5)])


@pytest.mark.parametrize(
    "scheme",
    [
        "ezkl/x",
        "ezkl/23.0.4/kzg-bn254/input-public/model-public",
        "ezkl/23.0.5/kzg-bls12-381/input-public/model-public",
        "ezkl/23.0.5/kzg-bn254/input-public",
        "ezkl/23.0.5/kzg-bn254/input-public/model-public/more",
        "ezkl/23.0.5/kzg-bn254/model-public/input-public",
        "ezkl/23.0.5/kzg-bn254/input-none/model-public",
    ],
)
def test_unknown_ezkl_schemes(scheme: str) -> None:
    proof = Proof(scheme, (CLAIM,), {}, b"")
    with pytest.raises(MalformedProof, match="is not one of ezkl"):
        verifier.verify(proof, ClaimExpectation(frozenset({CLAIM.model})), Policy.default(), Environment())


@pytest.mark.parametrize("scheme", ["groth16/1", "ezk/23.0.5", "EZKL/23.0.5", "", "/", "vml.backends.ezkl/x"])
def test_unknown_backends(scheme: str) -> None:
    with pytest.raises(MalformedProof, match="no backend"):
        backend_of_scheme(scheme)
