"""A key that a simulated machine made, attestors, and chains that admit it."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from tests.chain.chain_world import Clock, signer
from vml.backends.tee.payload import SignedRun
from vml.chain import keys
from vml.chain.client import Chain
from vml.chain.deploy_tee import SCHEME, TeeDeployer
from vml.chain.deployment import Deployment
from vml.chain.embedded import GENESIS_TIME, EmbeddedChain
from vml.chain.rpc import Rpc
from vml.chain.tee_endorsement import Admission, Endorsement, Place, endorse
from vml.chain.tee_evidence import Finding, KeyEvidence, finding_of, judge
from vml.chain.tee_rules import Mode, Rules, ascending, rules_of
from vml.chain.transactions import Limits
from vml.claim import Claim
from vml.proof import Proof
from vml.tee.appraisal import AppraisalPolicy
from vml.tee.binding import Algorithm, KeyCertificate, public_key_of, sign_receipt
from vml.tee_sim import anchors, matching_policy, simulate

NONCE = bytes([0x5A]) * 32
MODEL = bytes(range(32))
CLAIM = Claim(MODEL, b"\x0a" * 32, b"\x0b" * 32, b"\x0c" * 32)
SEED = "tests"
LATER = GENESIS_TIME + 86_400 * 365
CURVES = {Algorithm.SECP256K1: ec.SECP256K1(), Algorithm.P256: ec.SECP256R1()}


@functools.cache
def attestor(number: int) -> keys.Signer:
    return keys.from_private_key((0xA77E57 + number).to_bytes(32, "big").hex())


ATTESTORS = tuple(ascending([attestor(number).address for number in range(5)]))


@functools.cache
def policy() -> AppraisalPolicy:
    """What the simulated machine meets, and a contract can look at."""
    strict = matching_policy("tdx")
    assert strict.tdx is not None
    return strict.model_copy(update={"tdx": strict.tdx.model_copy(update={"min_evaluation_number": None})})


def rules(**changes: Any) -> Rules:
    return rules_of(policy(), **{"attestors": ATTESTORS, "threshold": 3, **changes})


@dataclass(frozen=True)
class Enclave:
    """A key inside a machine that does not exist, and what shows that it is attested."""

    key: Any
    shown: KeyEvidence

    @property
    def certificate(self) -> KeyCertificate:
        return self.shown.certificate

    def sign(self, claim: Claim = CLAIM, sequence: int = 7, issued_at: int = GENESIS_TIME) -> Proof:
        """A signed run; nothing but its receipt is looked at by a contract."""
        run = SignedRun(
            certificate=self.certificate,
            nonce=NONCE,
            sequence=sequence,
            issued_at=issued_at,
            signature=bytes(64),
            source=bytes(32),
            inputs=b"",
            outputs=b"",
            policy=b"",
            evidence=b"",
        )
        signature = sign_receipt(run.receipt(claim.digest()), self.certificate.algorithm, self.key)
        return Proof(SCHEME, (claim,), {}, replace(run, signature=signature).encode())


def enclave(
    seed: int = 1,
    *,
    at: int = GENESIS_TIME,
    nonce: bytes = NONCE,
    epoch: int = 1,
    algorithm: Algorithm = Algorithm.SECP256K1,
    lasts_s: int = 86_400,
    model: bytes = MODEL,
) -> Enclave:
    key = ec.derive_private_key(424242 + seed, CURVES[algorithm])
    certificate = KeyCertificate(algorithm, public_key_of(key), model, policy().policy_id, epoch, at + lasts_s)
    evidence = simulate("tdx", report_data=certificate.digest() + nonce, at=at, seed=SEED)
    return Enclave(key, KeyEvidence(certificate, nonce, evidence))


def found(inside: Enclave, *, at: int = GENESIS_TIME, deadline: int = LATER) -> Finding:
    result = judge(inside.shown, policy(), anchors(SEED), at, inside.shown.nonce)
    return finding_of(result, deadline)


def seen_through(node: Any) -> Chain:
    clock = Clock()
    rpc = Rpc(node, "a node", sleep=clock.sleep, attempts=2)
    return Chain(rpc, "test", signer=signer(), limits=Limits(timeout_s=20), clock=clock, sleep=clock.sleep)


def sent(node: Any) -> int:
    return int(node.make_request("eth_getTransactionCount", [signer().address])["result"], 16)


def deployed(node: Any, file: Path | None = None, under: Rules | None = None, **more: Any) -> Deployment:
    return TeeDeployer(seen_through(node), file).run(MODEL, under or rules(), more.pop("modes", (Mode.QUORUM,)), **more)


def place(state: Deployment) -> Place:
    return Place(state.chain_id, state.contracts["adapter"].address, state.deployer)


def endorsed(where: Place, inside: Enclave, finding: Finding, *numbers: int, under: Rules | None = None) -> Any:
    admission = Admission(where, under or rules(), inside.certificate, finding)
    made: list[Endorsement] = [endorse(admission, attestor(number)) for number in numbers or (0, 1, 2)]
    return made


def node(**more: Any) -> EmbeddedChain:
    return EmbeddedChain(**more)
