"""Keys that a contract lets in itself, and keys that come in because nobody objects: on a real node."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chain import tee_world as world
from tests.chain.chain_world import creation_of, signer
from vml.chain import abi, artifacts
from vml.chain.client import connect
from vml.chain.deploy_tee import TeeDeployer
from vml.chain.tee_decision import Decision, decide
from vml.chain.tee_endorsement import Admission
from vml.chain.tee_keys import Quote, TeeKeys, block_nonce, time_of
from vml.chain.tee_proposals import Proposed, Status, TeeProposer, contract_of, proposals
from vml.chain.tee_rules import Mode, Rules, Terms
from vml.chain.tee_watch import judge_proposal
from vml.chain.verify import verify_on
from vml.errors import ChainError
from vml.tee_sim import anchors, matching_policy

HEAD, TD_BODY = 48, 584
TERMS = Terms(60, 120, 10**15, 10**15, 10**14, 10**13)
ALL = (Mode.QUORUM, Mode.ON_CHAIN, Mode.ZK, Mode.OPTIMISTIC)
TEE = artifacts.load("TeeVerifier").abi


def attestation_of(answer: bytes) -> bytes:
    """Code of an attestation contract that says of every quote that it is genuine, and this of what is in it."""
    data = abi.encode(["bool", "bytes"], [True, answer])
    size = len(data).to_bytes(2, "big")
    return (
        bytes.fromhex("61")
        + size
        + bytes.fromhex("600f5f39")
        + b"\x61"
        + size
        + bytes.fromhex("5ff3")
        + b"\0\0\0"
        + data
    )


def output_of(quote: bytes) -> bytes:
    """What automata-dcap-attestation puts out for a TDX quote of a platform that is up to date."""
    return (4).to_bytes(2, "big") + (2).to_bytes(2, "big") + b"\0" + bytes(6) + quote[HEAD : HEAD + TD_BODY]


class Scene:
    """A registry on a node, a key whose evidence answers a block, and a contract that takes its quote."""

    def __init__(self, url: str, genuine: bool = True, bundle: bool = False) -> None:
        self.chain = connect(url, signer=signer())
        self.chain.rpc.ask("anvil_setBalance", signer().address, hex(10**21))
        # The quote has to repeat a nonce of the registry, which the rules do not know: two deployments, one router.
        first = TeeDeployer(self.chain).run(bytes(32), world.rules(), (Mode.QUORUM,))
        self.contract = first.contracts["adapter"].address
        self.block = self.chain.rpc.number("eth_blockNumber")
        nonce, self.at = block_nonce(self.chain, self.contract, self.block)
        self.inside = world.enclave(at=self.at, nonce=nonce)
        output = output_of(self.inside.shown.evidence.data)
        self.attestation = self.chain.deploy(creation_of(attestation_of(output if genuine else output[:-1])))
        checked = None if bundle else self.attestation
        self.rules: Rules = world.rules(attestation=checked, terms=TERMS)
        modes = tuple(mode for mode in ALL if mode in self.rules.modes)
        from vml.chain.steps import Wishes

        self.state = TeeDeployer(self.chain).run(
            world.MODEL, self.rules, modes, wishes=Wishes(router=first.contracts["router"].address)
        )
        self.place = world.place(self.state)
        finding = world.found(self.inside, at=self.at)
        self.admission = Admission(self.place, self.rules, self.inside.certificate, finding)

    def keys(self, file: Path | None = None) -> TeeKeys:
        return TeeKeys(self.chain, file)

    def proposer(self, file: Path | None = None) -> TeeProposer:
        return TeeProposer(self.chain, file)

    def propose(self, *, is_quote: bool = False, file: Path | None = None, **changes: Any) -> Proposed:
        finding = replace(self.admission.finding, **changes)
        admission = replace(self.admission, finding=finding)
        return self.proposer(file).propose(admission, self.inside.shown, self.block, is_quote=is_quote)

    def again(self, found: Proposed) -> Proposed:
        (now,) = proposals(self.chain, self.place, world.MODEL, self.rules.id, only=found.id)
        return now

    def later(self, seconds: int) -> None:
        self.chain.rpc.ask("evm_increaseTime", seconds)
        self.chain.rpc.ask("evm_mine")

    def proves(self) -> bool:
        key = bytes.fromhex(self.state.model["key"][2:])
        proof = self.inside.sign(issued_at=self.at)
        return verify_on(self.chain, self.state.contracts["router"].address, key, proof).ours


@pytest.fixture
def scene(anvil: str) -> Scene:
    return Scene(anvil)


@pytest.fixture
def bundled(anvil: str) -> Scene:
    return Scene(anvil, bundle=True)


def test_the_nonce_is_the_contracts(scene: Scene) -> None:
    assert scene.chain.call(scene.contract, TEE, "nonceAt", scene.block) == scene.inside.shown.nonce
    with pytest.raises(ChainError, match="has no block"):
        block_nonce(scene.chain, scene.contract, 10**9)


@pytest.mark.parametrize("mode", [Mode.ON_CHAIN, Mode.ZK])
def test_a_contract_checks_the_quote(scene: Scene, mode: Mode, tmp_path: Path) -> None:
    words: Any = scene.inside.shown.evidence.data if mode is Mode.ON_CHAIN else (b"journal", 1, b"proof")
    quote = Quote(mode, scene.block, words)
    name, key = scene.keys(tmp_path / "a.json").admit_by_quote(scene.admission, quote)
    assert (key.mode, key.state_at(scene.at)) == (mode, "admitted")
    assert scene.proves()
    assert scene.keys().admit_by_quote(scene.admission, quote) == (name, key)


def test_a_quote_that_a_contract_refuses(anvil: str, scene: Scene) -> None:
    bad = Scene(anvil, genuine=False)
    quote = Quote(Mode.ON_CHAIN, bad.block, bad.inside.shown.evidence.data)
    with pytest.raises(ChainError) as caught:
        bad.keys().admit_by_quote(bad.admission, quote)
    assert caught.value.error == "OutputMalformed"
    other = Quote(Mode.ON_CHAIN, scene.block - 1, scene.inside.shown.evidence.data)
    with pytest.raises(ChainError) as caught:
        scene.keys().admit_by_quote(scene.admission, other)
    assert caught.value.error == "NonceMismatch"
    with pytest.raises(ValueError, match="name no contract"):
        scene.keys().admit_by_quote(replace(scene.admission, rules=world.rules()), quote)


def test_a_quote_that_is_not_genuine_any_more(scene: Scene) -> None:
    data = scene.inside.shown.evidence.data
    scene.keys().admit_by_quote(scene.admission, Quote(Mode.ON_CHAIN, scene.block, data))
    again = (scene.place, scene.rules, scene.inside.certificate)
    with pytest.raises(ChainError) as caught:
        scene.keys().end_by_recheck(*again, data)
    assert caught.value.error == "EvidenceStillGood"
    with pytest.raises(ChainError) as caught:
        scene.keys().end_by_recheck(*again, data + b"x")
    assert caught.value.error == "EvidenceMismatch"
    revoked = output_of(data)[:4] + b"\x06" + output_of(data)[5:]
    scene.chain.rpc.ask("anvil_setCode", scene.attestation, "0x" + attestation_of(revoked).hex())
    name = scene.keys().end_by_recheck(*again, data)
    assert scene.keys().end_by_recheck(*again, data) == name
    with pytest.raises(ChainError) as caught:
        scene.proves()
    assert caught.value.error == "KeyIsExpired"


# ---- proposals


def test_nobody_objects(bundled: Scene, tmp_path: Path) -> None:
    scene, file = bundled, tmp_path / "a.json"
    made = scene.propose(file=file)
    assert (made.status, made.certificate) == (Status.OPEN, scene.inside.certificate)
    assert scene.propose(file=file) == made == scene.propose()  # once
    assert judge_proposal(made, world.policy(), anchors(world.SEED)) is None
    with pytest.raises(ChainError) as caught:
        scene.proposer().activate(scene.place, made)
    assert caught.value.error == "TooEarly"
    scene.later(61)
    name, key = scene.proposer().activate(scene.place, made)
    assert (key.mode, key.simulated) == (Mode.OPTIMISTIC, True)
    assert scene.proposer().activate(scene.place, made) == (name, key)
    assert scene.again(made).status is Status.ACCEPTED
    assert scene.proves()
    assert scene.proposer().withdraw(scene.place) >= TERMS.proposer_bond_wei
    assert scene.proposer().withdraw(scene.place) == 0
    with pytest.raises(ChainError) as caught:
        scene.proposer().challenge(scene.place, made)
    assert caught.value.error == "WrongStatus"


def decisions(scene: Scene, made: Proposed, genuine: bool, *numbers: int) -> list[Decision]:
    contract = contract_of(scene.chain, scene.place.contract)
    return [
        decide(scene.place.chain_id, contract, made.id, genuine, made.rules[3], world.attestor(number))
        for number in numbers
    ]


@pytest.mark.parametrize("genuine", [True, False])
def test_attestors_decide(bundled: Scene, genuine: bool) -> None:
    scene = bundled
    made = scene.propose() if genuine else scene.propose(collateral_end=scene.admission.finding.collateral_end + 1)
    fault = judge_proposal(made, world.policy(), anchors(world.SEED))
    assert (fault is None) is genuine
    assert scene.proposer().challenge(scene.place, made) is Status.CHALLENGED
    assert scene.proposer().challenge(scene.place, made) is Status.CHALLENGED  # once
    with pytest.raises(ValueError, match="2 attestors decided, the rules want 3"):
        scene.proposer().decide(scene.place, made, decisions(scene, made, genuine, 0, 1))
    three = decisions(scene, made, genuine, 4, 0, 2)
    with pytest.raises(ValueError, match="in one direction"):
        scene.proposer().decide(scene.place, made, [*three, *decisions(scene, made, not genuine, 3)])
    after = scene.proposer().decide(scene.place, made, three)
    assert after is (Status.ACCEPTED if genuine else Status.REFUSED)
    if genuine:
        scene.proposer().activate(scene.place, made)
        assert scene.proves()
    else:
        with pytest.raises(ChainError) as caught:
            scene.proposer().activate(scene.place, made)
        assert caught.value.error == "WrongStatus"
        with pytest.raises(ChainError) as caught:
            scene.proves()
        assert caught.value.error == "KeyUnknown"


def test_a_contract_decides_on_a_quote(scene: Scene) -> None:
    made = scene.propose(is_quote=True, simulated=False)
    assert made.evidence == scene.inside.shown.evidence.data
    with pytest.raises(ValueError, match="attestation contract"):
        judge_proposal(made, world.policy(), anchors(world.SEED))
    scene.proposer().challenge(scene.place, made)
    assert scene.proposer().prove(scene.place, made) is Status.ACCEPTED
    scene.proposer().activate(scene.place, made)
    assert scene.proves()


def test_nobody_decides(bundled: Scene) -> None:
    scene = bundled
    made = scene.propose()
    scene.proposer().challenge(scene.place, made)
    with pytest.raises(ChainError) as caught:
        scene.proposer().expire(scene.place, made)
    assert caught.value.error == "TooEarly"
    scene.later(121)
    assert scene.proposer().expire(scene.place, made) is Status.LAPSED


def test_what_is_not_proposed(bundled: Scene) -> None:
    scene = bundled
    with pytest.raises(ValueError, match="take no proposals"):
        TeeProposer(scene.chain).propose(
            replace(scene.admission, rules=world.rules()), scene.inside.shown, scene.block, is_quote=False
        )
    for chain_id, words in ((1337, "for chain 1337"), (1, "for chain 1,")):
        elsewhere = replace(scene.admission, place=replace(scene.place, chain_id=chain_id))
        with pytest.raises(ChainError, match=words):
            TeeProposer(scene.chain).propose(elsewhere, scene.inside.shown, scene.block, is_quote=False)
    far = TeeProposer(scene.chain)
    far.chain.chain_id = 1
    elsewhere = replace(scene.admission, place=replace(scene.place, chain_id=1))
    with pytest.raises(ChainError) as caught:
        far.propose(elsewhere, scene.inside.shown, scene.block, is_quote=False)
    assert caught.value.error == "SimulatedEvidence"


def test_what_a_watcher_sees(bundled: Scene) -> None:
    scene = bundled
    made = scene.propose()
    assert judge_proposal(made, world.policy(), anchors("another")) is not None
    for name, value in (("nonce", bytes(32)), ("simulated", False), ("collateralEnd", 2**63)):
        assert judge_proposal(replace(made, said={**made.said, name: value}), world.policy(), anchors(world.SEED))
    with pytest.raises(ValueError, match="the rules are of the policy"):
        judge_proposal(made, matching_policy("tdx"), anchors(world.SEED))
    aged = world.policy().model_copy(update={"max_age_s": 5})
    with pytest.raises(ValueError, match="max_age_s"):
        judge_proposal(replace(made, rules=(aged.policy_id, *made.rules[1:])), aged, anchors(world.SEED))
    assert time_of(scene.chain) >= made.said["proposedAt"]


def test_a_node_that_shows_another_proposal(bundled: Scene) -> None:
    """Who signs an id signs what it names: a good bundle under a bad one's id is noticed."""
    scene = bundled
    made = scene.propose()
    contract = contract_of(scene.chain, scene.place.contract)
    made.require_consistent(contract)
    other = world.enclave(2, at=scene.at).certificate
    changed = [
        (name, {"said": {**made.said, name: value}}) for name, value in (("nonce", bytes(32)), ("proposedAt", 5))
    ]
    changed += [("id", {"id": bytes(32)}), ("evidence", {"evidence": made.evidence + b" "})]
    changed += [("certificate", {"certificate": other}), ("terms", {"terms": (1, *made.terms[1:])})]
    changed += [("rules", {"rules": (bytes(32), *made.rules[1:])})]
    for _, fields in changed:
        with pytest.raises(ChainError, match="do not trust this node"):
            replace(made, **fields).require_consistent(contract)
    with pytest.raises(ChainError, match="another id"):
        made.require_consistent(scene.place.contract)


def test_a_decision_has_one_encoding(bundled: Scene) -> None:
    scene = bundled
    made = scene.propose()
    (one,) = decisions(scene, made, True, 0)
    contract, attestors = contract_of(scene.chain, scene.place.contract), made.rules[3]
    assert Decision.from_bytes(one.to_bytes()) == one
    one.require_signed(scene.place.chain_id, contract, attestors)
    for data in (b"[]", b"{}", one.to_bytes() + b" ", one.to_bytes().replace(b'"genuine":true', b'"genuine":1')):
        with pytest.raises(ValueError, match="no decision"):
            Decision.from_bytes(data)
    for changes in ({"genuine": False}, {"proposal": bytes(32)}, {"attestor": world.attestor(1).address}):
        with pytest.raises(ValueError, match="not signed by"):
            replace(one, **changes).require_signed(scene.place.chain_id, contract, attestors)
    with pytest.raises(ValueError, match="is for"):
        one.require_signed(1, contract, attestors)
    with pytest.raises(ValueError, match="no attestor"):
        one.require_signed(scene.place.chain_id, contract, attestors[:0])
    with pytest.raises(ValueError, match="no attestor"):
        decisions(scene, made, True, 9)
