"""Verification through the Python API: every step refuses what it is there for, also when a backend forgets to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from vml import api, backends
from vml.backends.types import PINNED_KEYS, Capabilities, ClaimExpectation, Environment, Keys, VerifiedClaim
from vml.claim import ZERO_CONTEXT, Claim, Context
from vml.errors import ClaimMismatch, MalformedProof, PolicyRejected, ProofRejected
from vml.keccak import keccak256
from vml.policy import Policy
from vml.proof import Proof

MODEL, OTHER, USE, KEY = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, b"\x06" * 32
CLAIM = Claim(MODEL, b"\x04" * 32, b"\x05" * 32, ZERO_CONTEXT)
PROOF = Proof("lax/1", (CLAIM,), {}, b"")


@dataclass
class LaxBackend:
    """Checks nothing and reports what it is told to; remembers what it was asked."""

    verdict: VerifiedClaim
    asked: list[tuple[Proof, ClaimExpectation, Policy, Environment]] = field(default_factory=list)
    error: Exception | None = None
    pinned_key: bool = False

    def capabilities(self) -> Capabilities:
        return Capabilities("cryptographic", "lax/1", (), pinned_key=self.pinned_key)

    def verify(
        self, proof: Proof, expected: ClaimExpectation, policy: Policy, environment: Environment
    ) -> VerifiedClaim:
        self.asked.append((proof, expected, policy, environment))
        if self.error is not None:
            raise self.error
        return self.verdict


@pytest.fixture
def lax(monkeypatch: pytest.MonkeyPatch) -> LaxBackend:
    backend = LaxBackend(VerifiedClaim((CLAIM,), "lax", "lax/1", "cryptographic", "lax/1", 128))
    monkeypatch.setitem(backends.BACKENDS, "lax", "nowhere:Lax")
    for module in ("verifying", "pins"):
        monkeypatch.setattr(f"vml.api.{module}.get_backend", {"lax": backend}.__getitem__)
    return backend


@pytest.mark.parametrize("proof", [PROOF, PROOF.to_bytes()])
@pytest.mark.parametrize("model", [MODEL, "0x" + MODEL.hex(), frozenset({MODEL, OTHER})])
def test_a_sound_proof(lax: LaxBackend, proof: Proof | bytes, model: Any) -> None:
    assert api.verify(proof, model=model) == lax.verdict


def test_the_backend_is_told_everything(lax: LaxBackend) -> None:
    arrays: Mapping[str, Any] = {"x": 1}
    policy, environment = Policy(min_security_bits=1), Environment(now=5)
    lax.verdict = replace(lax.verdict, claims=(replace(CLAIM, context=USE),))
    proof = replace(PROOF, claims=lax.verdict.claims)
    api.verify(
        proof,
        model=MODEL,
        context=USE,
        policy=policy,
        input=arrays,
        output={"y": 2},
        salt=OTHER,
        environment=environment,
    )
    expected = ClaimExpectation(
        frozenset({MODEL}), context=USE, public_input=arrays, public_output={"y": 2}, salt=OTHER
    )
    assert lax.asked == [(proof, expected, policy, environment)]


def test_nothing_is_known_of_the_world_unless_told(lax: LaxBackend) -> None:
    api.verify(PROOF, model=MODEL)
    (_, expected, policy, environment) = lax.asked[0]
    assert environment == Environment()
    assert policy == Policy.default()
    assert expected.context == ZERO_CONTEXT


def test_step_1_decodes(lax: LaxBackend) -> None:
    with pytest.raises(MalformedProof):
        api.verify(PROOF.to_bytes() + b" ", model=MODEL)
    assert not lax.asked


def test_step_2_an_unknown_scheme(lax: LaxBackend) -> None:
    with pytest.raises(MalformedProof, match="magic"):
        api.verify(replace(PROOF, scheme="magic/1"), model=MODEL)


def test_step_3_what_the_backend_refuses_is_refused(lax: LaxBackend) -> None:
    lax.error = ProofRejected("9")
    with pytest.raises(ProofRejected):
        api.verify(PROOF, model=MODEL)


@pytest.mark.parametrize("change", ["model", "input", "output", "context", "one more", "none"])
def test_step_4_a_verdict_about_other_claims(lax: LaxBackend, change: str) -> None:
    changed: Any = {change: OTHER} if change in ("model", "input", "output", "context") else {}
    claims = {"one more": (CLAIM, CLAIM), "none": ()}.get(change, (replace(CLAIM, **changed),))
    lax.verdict = replace(lax.verdict, claims=claims)
    with pytest.raises(ClaimMismatch, match="claims"):
        api.verify(PROOF, model=MODEL)


def test_step_4_another_model(lax: LaxBackend) -> None:
    for model in (OTHER, frozenset({OTHER}), frozenset[bytes]()):
        with pytest.raises(ClaimMismatch, match="model"):
            api.verify(PROOF, model=model)


def test_step_4_another_model_later_in_a_batch(lax: LaxBackend) -> None:
    claims = (CLAIM, replace(CLAIM, model=OTHER))
    lax.verdict = replace(lax.verdict, claims=claims)
    with pytest.raises(ClaimMismatch, match="model"):
        api.verify(replace(PROOF, claims=claims), model=MODEL)


def test_step_4_another_context(lax: LaxBackend) -> None:
    with pytest.raises(ClaimMismatch, match="context"):
        api.verify(PROOF, model=MODEL, context=USE)
    claims = (replace(CLAIM, context=USE),)
    lax.verdict = replace(lax.verdict, claims=claims)
    with pytest.raises(ClaimMismatch, match="context"):
        api.verify(replace(PROOF, claims=claims), model=MODEL)


def test_step_4_another_key(lax: LaxBackend) -> None:
    for digest in (None, OTHER):
        lax.verdict = replace(lax.verdict, vk_digest=digest)
        with pytest.raises(ProofRejected, match="verifying key"):
            api.verify(PROOF, model=MODEL, key=KEY)
    lax.verdict = replace(lax.verdict, vk_digest=KEY)
    api.verify(PROOF, model=MODEL, key=KEY)
    assert lax.asked[-1][3].pins == {PINNED_KEYS: frozenset({KEY})}


def test_a_key_from_the_verifiers_side(lax: LaxBackend, tmp_path: Path) -> None:
    lax.pinned_key, lax.verdict = True, replace(lax.verdict, vk_digest=keccak256(b"key"))
    api.save_verifying_key(Keys("lax", "lax/1", MODEL, b"key"), tmp_path / "key")
    digest = keccak256(b"key")
    for key in (digest, "0x" + digest.hex(), frozenset({digest, OTHER}), tmp_path / "key", str(tmp_path / "key")):
        assert api.verify(PROOF, model=MODEL, key=key) == lax.verdict
    for named in (
        Policy(verifying_keys=frozenset({digest})),
        Policy(any_of=(Policy(verifying_keys=frozenset({digest})),)),
    ):
        assert api.verify(PROOF, model="0x" + MODEL.hex(), policy=named) == lax.verdict
        assert lax.asked[-1][3].pins == {PINNED_KEYS: frozenset({digest})}
    with pytest.raises(ProofRejected, match="verifying key"):
        api.verify(PROOF, model=MODEL, policy=Policy(verifying_keys=frozenset({OTHER})))
    # What the verifier names goes before what its policy names, and must meet the policy, too.
    with pytest.raises(PolicyRejected, match="verifying_keys"):
        api.verify(PROOF, model=MODEL, key=digest, policy=Policy(verifying_keys=frozenset({OTHER})))


def test_without_a_key_an_identity_is_not_enough(lax: LaxBackend) -> None:
    lax.pinned_key, lax.verdict = True, replace(lax.verdict, vk_digest=KEY)
    for model in (MODEL, "0x" + MODEL.hex(), frozenset({MODEL})):
        with pytest.raises(ValueError, match="--key"):
            api.verify(PROOF, model=model)
    assert not lax.asked


def test_a_key_that_is_none(lax: LaxBackend, tmp_path: Path) -> None:
    api.save_verifying_key(Keys("lax", "lax/2", MODEL, b"key"), tmp_path / "key")
    for key in (b"short", "0x12", tmp_path / "key", frozenset({b"short"})):
        with pytest.raises(ValueError, match=r"key|hex digits"):
            api.verify(PROOF, model=MODEL, key=key)
    with pytest.raises(TypeError):
        api.verify(PROOF, model=MODEL, key=5)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        api.verify(PROOF, model=MODEL, key=tmp_path / "none")
    assert not lax.asked


def test_step_5_the_policy(lax: LaxBackend) -> None:
    lax.verdict = replace(lax.verdict, unsafe_setup=True)
    with pytest.raises(PolicyRejected):
        api.verify(PROOF, model=MODEL)
    api.verify(PROOF, model=MODEL, policy=Policy.default().relaxed(allow_unsafe_setup=True))
    with pytest.raises(PolicyRejected):
        api.verify(PROOF, model=MODEL, policy=Policy())


@pytest.mark.parametrize("model", ["0x12", "0xZZ", b"short", "no/such/folder"])
def test_the_verifiers_own_mistakes(lax: LaxBackend, model: Any) -> None:
    with pytest.raises((ValueError, FileNotFoundError)):
        api.verify(PROOF, model=model)


def test_a_context_preimage_must_fit() -> None:
    person = "0x" + "11" * 20
    context = Context(person, 1, person, bytes(32), person, 0)
    bound = replace(PROOF, claims=(replace(CLAIM, context=context.commitment()),))
    assert api.with_context_preimage(bound, context).public == {"context_preimage": context.to_json()}
    with pytest.raises(ValueError, match="another context"):
        api.with_context_preimage(PROOF, context)
