"""Bonded proposals on an embedded chain, with simulated evidence: what is published is enough to judge and dispute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from eth_abi import encode
from eth_account import Account

from tests.parity.test_solidity_tee import MODEL, RULES_TYPE, SINGLE, typed_digest, words
from vml.chain import abi, artifacts
from vml.chain.client import Chain, address
from vml.chain.embedded import RULES, EmbeddedChain
from vml.chain.rpc import Rpc
from vml.claim import Claim, checksum_address
from vml.errors import ChainError, EvidenceRejected, MalformedProof
from vml.keccak import keccak256
from vml.tee.appraise import appraise
from vml.tee.binding import Algorithm, KeyCertificate, Receipt, public_key_of, recoverable, sign_receipt
from vml.tee.dcap.quote import TdReport
from vml.tee.files import read_json, write_json
from vml.tee.verify import verify_evidence
from vml.tee_sim import anchors, matching_policy, simulate

SEED, AT = "proposals", 1_800_000_000
OWNER, PROPOSER, WATCHER = (checksum_address(bytes([digit]) * 20) for digit in b"abc")
DAY = 86_400
TERMS = (DAY, DAY, 10**18, 10**18, 10**17, 10**16)
TERMS_TYPE = "(uint32,uint32,uint96,uint96,uint96,uint96)"
PROPOSAL_TYPE = "(address,address,bytes32,bytes32,bytes32,bytes32,bytes32,uint64,uint64,bool,bool)"
CHALLENGED, ACCEPTED, REFUSED, LAPSED = range(2, 6)
OPTIMISTIC = 4
POLICY = matching_policy("tdx")
KEY = ec.derive_private_key(31337, ec.SECP256K1())
ATTESTORS = sorted((Account.from_key(bytes([seed]) * 32) for seed in (1, 2, 3)), key=lambda one: int(one.address, 16))
DECISION = {"Decision": [{"name": "proposal", "type": "bytes32"}, {"name": "genuine", "type": "bool"}]}
CLAIM = Claim(MODEL, b"\x0a" * 32, b"\x0b" * 32, b"\x0c" * 32)
VERIFIER, PROPOSALS = (artifacts.load(name).abi for name in ("TeeVerifier", "TeeProposals"))
TD_BODY = slice(48, 48 + 584)


@dataclass(frozen=True)
class Published:
    """What a watcher finds in the event, and nothing else."""

    id: bytes
    proposal: tuple[Any, ...]
    rules: tuple[Any, ...]
    certificate: tuple[Any, ...]
    evidence: bytes

    @property
    def key(self) -> KeyCertificate:
        algorithm, x, y, model, policy, epoch, not_after, gpus = self.certificate
        return KeyCertificate(Algorithm(algorithm), x + y, model, policy, epoch, not_after, gpus if any(gpus) else None)


class World:
    """A chain with the registry on it, and one key that wants to come in."""

    def __init__(self, contracts: dict[str, Any], chain_id: int = 31337) -> None:
        self.node = Rpc(EmbeddedChain(chain_id, AT), "the embedded EVM")
        owner = Chain(self.node, RULES, account=OWNER)
        self.tee = owner.deploy(artifacts.load("TeeVerifier").bytecode)
        self.proposals = address(owner.call(self.tee, VERIFIER, "proposals"))
        mock = contracts["MockAttestation.sol:MockAttestation"]
        self.mock_abi = mock["abi"]
        self.mock = owner.deploy(bytes.fromhex(mock["bytecode"][2:]))
        self.public = public_key_of(KEY)
        self.certificate = KeyCertificate(Algorithm.SECP256K1, self.public, MODEL, POLICY.policy_id, 3, AT + 20 * DAY)
        td = TdReport.read(self.evidence(bytes(32)).data[TD_BODY])
        measurement = keccak256(td.mr_td + b"".join(td.rtmr))
        named = [attestor.address for attestor in ATTESTORS]
        terms = keccak256(encode([TERMS_TYPE], [TERMS]))
        self.rules = (POLICY.policy_id, 15 * DAY, 2, named, self.mock, 1, 0b1110, [measurement], terms)

    @property
    def time(self) -> int:
        return int(self.node.ask("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def evidence(self, nonce: bytes) -> Any:
        return simulate("tdx", report_data=self.certificate.digest() + nonce, seed=SEED, at=AT)

    def wait(self, seconds: int) -> None:
        self.node.ask("evm_increaseTime", hex(seconds))
        self.node.ask("evm_mine")

    def as_(self, who: str) -> Chain:
        return Chain(self.node, RULES, account=who)

    def move(self, who: str, name: str, *arguments: Any, value: int = 0) -> list[dict[str, Any]]:
        receipt = self.as_(who).transact(self.proposals, PROPOSALS, name, *arguments, value=value)
        return [{"event": event, **values} for event, values in abi.decode_logs(PROPOSALS, receipt.logs)]

    def refused(self, error: str, who: str, name: str, *arguments: Any, value: int = 0) -> None:
        with pytest.raises(ChainError) as caught:
            self.move(who, name, *arguments, value=value)
        assert caught.value.error == error

    def ask(self, name: str, *arguments: Any) -> Any:
        return self.as_(OWNER).call(self.proposals, PROPOSALS, name, *arguments)

    def block(self) -> int:
        return int(self.node.ask("eth_blockNumber"), 16)

    def nonce(self, block: int) -> bytes:
        # One block on, so that it is one of the last 256.
        self.node.ask("evm_mine")
        found: bytes = self.as_(OWNER).call(self.tee, VERIFIER, "nonceAt", block)
        return found

    def propose(self, nonce: bytes | None = None, *, quote: bool = False, end: int = AT + 28 * DAY) -> None:
        """Publish evidence; with a nonce, of another moment than is said."""
        block = self.block()
        asked = self.nonce(block)
        made = self.evidence(asked if nonce is None else nonce)
        application = (OWNER, block, end, True, quote)
        data = made.data if quote else write_json(made)
        self.move(PROPOSER, "propose", application, self.rules, TERMS, words(self.certificate), data, value=TERMS[2])

    def found(self) -> Published:
        """The last proposal, as the chain's logs have it."""
        question = {"address": self.proposals, "fromBlock": "0x0", "toBlock": "latest"}
        logs = abi.decode_logs(PROPOSALS, self.node.ask("eth_getLogs", question))
        values = [values for name, values in logs if name == "KeyProposed"][-1]
        return Published(*(values[name] for name in ("id", "proposal", "rules", "certificate", "evidence")))

    def status(self, found: Published) -> int:
        return int(self.ask("stateOf", found.id)[2])

    def votes(self, found: Published, genuine: bool, **domain: Any) -> bytes:
        """Two of three, by a library that knows nothing of ours."""
        full = {"name": "vml", "version": "1", "chainId": 31337, "verifyingContract": self.proposals, **domain}
        digest = typed_digest(full, DECISION, {"proposal": found.id, "genuine": genuine})
        return b"".join(bytes(attestor.unsafe_sign_hash(digest).signature) for attestor in ATTESTORS[:2])

    def attest(self, quote: bytes) -> None:
        """The attestation contract accepts this quote and puts out what is in it."""
        output = b"\x00\x04\x00\x02\x00\xff" + b"SIMUL" + quote[TD_BODY]
        self.as_(OWNER).transact(self.mock, self.mock_abi, "set", True, output)

    def counts(self) -> tuple[bool, int]:
        """Whether a receipt of the key is taken in mode Optimistic, and the mode that its verdict names."""
        receipt = Receipt(CLAIM.digest(), self.certificate.key_id, 3, 1, self.time)
        signature = recoverable(receipt, sign_receipt(receipt, Algorithm.SECP256K1, KEY), self.public)
        numbers = b"".join(number.to_bytes(8, "big") for number in (3, 1, receipt.issued_at))
        proof = bytes([SINGLE, OPTIMISTIC]) + receipt.key_id + numbers + signature
        rules = keccak256(encode([RULES_TYPE], [self.rules]))
        metadata = encode(["address", "bytes32", "uint256", "uint64"], [OWNER, rules, 1 << OPTIMISTIC, 0])
        claim = (CLAIM.model, CLAIM.input, CLAIM.output, CLAIM.context)
        try:
            verdict = self.as_(OWNER).call(self.tee, VERIFIER, "verdict", claim, metadata, proof)
        except ChainError as error:
            if error.error != "KeyUnknown":
                raise
            return False, 0
        return bool(verdict[1]), int(verdict[0])


def is_good(found: Published) -> bool:
    """What a watcher asks of a proposal: offline, as of when it was made, for its own certificate, nonce and policy."""
    _, _, _, _, digest, evidence, nonce, at, end, simulated, _ = found.proposal
    assert keccak256(found.evidence) == evidence
    try:
        read = read_json(found.evidence)
        result = appraise(verify_evidence(read, anchors(SEED), at), POLICY, at, nonce)
    except (EvidenceRejected, MalformedProof):
        return False
    bound = result.claims.bound_digest == found.key.digest() == digest
    named = found.rules[0] == POLICY.policy_id == found.key.policy_id
    lasts = result.not_after is None or end <= result.not_after
    return bool(bound and named and lasts and simulated == result.simulated)


@pytest.fixture
def world(artifacts: dict[str, Any]) -> World:
    return World(artifacts)


def test_nobody_objects(world: World) -> None:
    world.propose()
    found = world.found()
    assert is_good(found)
    world.refused("TooEarly", WATCHER, "activate", found.proposal, TERMS, found.rules, found.certificate)
    assert world.counts() == (False, 0)
    world.wait(DAY)
    world.move(WATCHER, "activate", found.proposal, TERMS, found.rules, found.certificate)
    assert world.counts() == (True, OPTIMISTIC)
    assert world.move(PROPOSER, "withdraw") == [{"event": "Withdrawn", "who": PROPOSER, "amount": TERMS[2]}]


WRONG: dict[str, Callable[[World], None]] = {
    "made before": lambda world: world.propose(world.nonce(world.block() - 1)),
    "no nonce": lambda world: world.propose(bytes(32)),
    "lasts too long": lambda world: world.propose(end=AT + 31 * DAY),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_watcher_who_is_right_is_paid(world: World, wrong: str) -> None:
    WRONG[wrong](world)
    found = world.found()
    assert not is_good(found)
    world.move(WATCHER, "challenge", found.proposal, TERMS, value=TERMS[3])
    assert world.status(found) == CHALLENGED
    world.move(WATCHER, "decide", found.proposal, TERMS, found.rules, False, world.votes(found, False))
    assert world.status(found) == REFUSED
    world.wait(DAY)
    world.refused("WrongStatus", PROPOSER, "activate", found.proposal, TERMS, found.rules, found.certificate)
    assert world.counts() == (False, 0)
    assert world.ask("creditOf", WATCHER) == TERMS[3] + TERMS[4]
    assert world.ask("burned") == TERMS[2] - TERMS[4]


def test_a_good_key_outlives_its_challenge(world: World) -> None:
    world.propose()
    found = world.found()
    world.move(WATCHER, "challenge", found.proposal, TERMS, value=TERMS[3])
    world.move(PROPOSER, "decide", found.proposal, TERMS, found.rules, True, world.votes(found, True))
    assert world.status(found) == ACCEPTED
    world.move(PROPOSER, "activate", found.proposal, TERMS, found.rules, found.certificate)
    assert world.counts() == (True, OPTIMISTIC)
    assert world.ask("creditOf", PROPOSER) == TERMS[2] + TERMS[4]


def test_no_decision_no_key(world: World) -> None:
    world.propose()
    found = world.found()
    world.move(WATCHER, "challenge", found.proposal, TERMS, value=TERMS[3])
    world.wait(DAY)
    late = world.votes(found, True)
    world.refused("TooLate", PROPOSER, "decide", found.proposal, TERMS, found.rules, True, late)
    world.move(PROPOSER, "expire", found.proposal, TERMS)
    assert world.status(found) == LAPSED
    world.refused("WrongStatus", PROPOSER, "activate", found.proposal, TERMS, found.rules, found.certificate)
    assert world.counts() == (False, 0)
    assert world.ask("burned") == 2 * TERMS[5]


def test_decisions_serve_once(world: World) -> None:
    """Another proposal's, another chain's, another contract's, or of the other kind."""
    world.propose()
    first = world.found()
    world.move(WATCHER, "challenge", first.proposal, TERMS, value=TERMS[3])
    world.propose()
    second = world.found()
    assert first.id != second.id
    world.move(WATCHER, "challenge", second.proposal, TERMS, value=TERMS[3])
    replayed = [
        world.votes(first, True),
        world.votes(second, False),
        world.votes(second, True, chainId=1),
        world.votes(second, True, verifyingContract=world.tee),
        world.votes(second, True, version="2"),
    ]
    for votes in replayed:
        with pytest.raises(ChainError) as caught:
            world.move(PROPOSER, "decide", second.proposal, TERMS, second.rules, True, votes)
        assert caught.value.error in ("NotAnAttestor", "SignersNotAscending")
    world.move(PROPOSER, "decide", second.proposal, TERMS, second.rules, True, world.votes(second, True))


def test_a_quote_speaks_for_itself(world: World) -> None:
    world.propose(quote=True)
    found = world.found()
    world.move(WATCHER, "challenge", found.proposal, TERMS, value=TERMS[3])
    arguments = (found.proposal, TERMS, found.rules, found.evidence)
    world.refused("AttestationFailed", PROPOSER, "prove", *arguments)
    world.attest(world.evidence(bytes(32)).data)
    world.refused("NonceMismatch", PROPOSER, "prove", *arguments)
    world.attest(found.evidence)
    world.move(PROPOSER, "prove", *arguments)
    world.move(PROPOSER, "activate", found.proposal, TERMS, found.rules, found.certificate)
    assert world.counts() == (True, OPTIMISTIC)


def test_names_and_digests(world: World) -> None:
    world.propose()
    found = world.found()
    name = keccak256(encode(["address", PROPOSAL_TYPE], [world.proposals, found.proposal]))
    assert found.id == name == world.ask("idOf", found.proposal)
    assert found.proposal[2:4] == (keccak256(encode([RULES_TYPE], [world.rules])), world.rules[-1])
    assert found.key == world.certificate
    domain = {"name": "vml", "version": "1", "chainId": 31337, "verifyingContract": world.proposals}
    for genuine in (False, True):
        expected = typed_digest(domain, DECISION, {"proposal": found.id, "genuine": genuine})
        assert world.ask("decisionDigest", found.id, genuine) == expected


def test_elsewhere_simulated_evidence_is_refused(artifacts: dict[str, Any]) -> None:
    world = World(artifacts, chain_id=10)
    with pytest.raises(ChainError) as caught:
        world.propose()
    assert caught.value.error == "SimulatedEvidence"
