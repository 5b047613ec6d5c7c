"""Who watches proposals of keys: quotes, evidence of GPUs, what cannot be judged, and nodes that lie about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.chain import tee_world as world
from tests.chain.chain_world import creation_of
from tests.chain.test_tee_endorsement import GPU_POLICY, ROOTS, with_gpus
from tests.chain.test_tee_on_chain import attestation_of, output_of
from tests.tee import forge_nvidia
from vml.chain import abi, artifacts, tee_proposals
from vml.chain.client import Chain
from vml.chain.tee_endorsement import Admission
from vml.chain.tee_evidence import KeyEvidence, finding_of, judge
from vml.chain.tee_keys import block_nonce
from vml.chain.tee_proposals import MAX_UNREAD, Proposed, Status, TeeProposer, contract_of, proposals
from vml.chain.tee_rules import Mode, Rules, Terms
from vml.chain.tee_watch import Verdict, judge_proposal, published, watch
from vml.chain.transactions import created_at
from vml.errors import ChainError
from vml.keccak import keccak256
from vml.tee.evidence import Evidence, Kind
from vml.tee_sim import anchors

TERMS = Terms(600, 600, 10**15, 10**15, 10**14, 10**13)
NOWHERE = "0x0000000000000000000000000000000000000aBc"
THIEF = "0x" + "7e" * 20
KNOWN = artifacts.load("TeeProposals").abi
ROOTS_OF_THE_SIMULATOR = anchors(world.SEED)


class Scene:
    """A registry on a node, and keys whose evidence answers a block."""

    def __init__(self) -> None:
        self.node = world.node()
        self.rules = world.rules(terms=TERMS)
        self.place = world.place(world.deployed(self.node, under=self.rules, modes=(Mode.QUORUM, Mode.OPTIMISTIC)))
        self.chain = world.seen_through(self.node)
        self.block = self.chain.rpc.number("eth_blockNumber") - 1
        _, self.at = block_nonce(self.chain, self.place.contract, self.block)
        # The embedded chain shows another block hash than its code sees.
        self.nonce = self.chain.call(self.place.contract, artifacts.load("TeeVerifier").abi, "nonceAt", self.block)
        self.contract, self.keys = contract_of(self.chain, self.place.contract), 0

    def key(self) -> world.Enclave:
        self.keys += 1
        return world.enclave(self.keys, at=self.at, nonce=self.nonce)

    def propose(
        self, key: world.Enclave, under: Rules | None = None, shown: KeyEvidence | None = None, **more: Any
    ) -> Proposed:
        finding = replace(world.found(key, at=self.at), simulated=more.pop("simulated", True))
        admission = Admission(self.place, under or self.rules, key.certificate, finding)
        is_quote = more.pop("is_quote", False)
        return TeeProposer(self.chain).propose(admission, shown or key.shown, self.block, is_quote=is_quote)

    def attested_by(self, output: bytes) -> Rules:
        """Rules with a contract that says of every quote that it is genuine, and this of what is in it."""
        return world.rules(terms=TERMS, attestation=self.chain.deploy(creation_of(attestation_of(output))))

    def status(self, found: Proposed) -> Status:
        return Status(self.chain.call(self.contract, KNOWN, "stateOf", found.id)[2])

    def watch(self, found: Proposed, **changes: Any) -> Verdict:
        given: dict[str, Any] = {"policy": world.policy(), "anchors": ROOTS_OF_THE_SIMULATOR, **changes}
        return watch(self.chain, self.contract, found, given["policy"], given["anchors"])


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proposer who does not try a quote first."""
    monkeypatch.setattr(tee_proposals, "quote_fault", lambda *_: None)


# ---- quotes


def test_a_good_quote(scene: Scene) -> None:
    key = scene.key()
    under = scene.attested_by(output_of(key.shown.evidence.data))
    made = scene.propose(key, under, is_quote=True, simulated=False)
    assert scene.watch(made) == Verdict(True, None) == scene.watch(made, policy=None)
    TeeProposer(scene.chain).challenge(scene.place, made)
    (challenged,) = proposals(scene.chain, scene.place, world.MODEL, under.id)
    assert (challenged.status, scene.watch(challenged)) == (Status.CHALLENGED, Verdict(True, None))
    TeeProposer(scene.chain).prove(scene.place, challenged)
    (accepted,) = proposals(scene.chain, scene.place, world.MODEL, under.id)
    assert scene.watch(accepted) == Verdict(False, None)


@pytest.mark.usefixtures("careless")
def test_bytes_that_are_no_quote(scene: Scene) -> None:
    """Nobody can have these accepted, so a watcher has to be told."""
    key, under = scene.key(), world.rules(terms=TERMS, attestation=NOWHERE)
    garbage = replace(key.shown, evidence=Evidence(Kind.TDX, b"garbage, not a quote", None))
    made = scene.propose(key, under, garbage, is_quote=True)
    found = scene.watch(made)
    assert (found.judged, (found.fault or "")[:11]) == (False, "not judged:")
    assert scene.watch(made, policy=None).fault is not None


OUTPUTS: dict[str, Callable[[bytes], bytes]] = {
    "OutputMalformed": lambda output: output[:-1],
    "TcbStatusRefused": lambda output: output[:4] + b"\x04" + output[5:],
    "DebugEnabled": lambda output: output[: 11 + 120] + b"\x01" + output[11 + 121 :],
    "MeasurementRefused": lambda output: output[: 11 + 136] + bytes(48) + output[11 + 184 :],
    "CertificateMismatch": lambda output: output[: 11 + 520] + bytes(32) + output[11 + 552 :],
    "NonceMismatch": lambda output: output[: 11 + 552] + bytes(32) + output[11 + 584 :],
    "SimulatedMismatch": lambda output: output[:5] + b"\xffSIMUL" + output[11:],
}


@pytest.mark.parametrize("error", OUTPUTS)
def test_a_quote_that_the_contract_would_not_accept(scene: Scene, error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = scene.key()
    under = scene.attested_by(OUTPUTS[error](output_of(key.shown.evidence.data)))
    before = world.sent(scene.node)
    with pytest.raises(ChainError, match=rf"the bond would be lost.*{error}"):
        scene.propose(key, under, is_quote=True, simulated=False)
    assert world.sent(scene.node) == before
    monkeypatch.setattr(tee_proposals, "quote_fault", lambda *_: None)
    found = scene.watch(scene.propose(key, under, is_quote=True, simulated=False))
    assert found.judged
    assert error in (found.fault or "")


def test_a_proposal_that_cannot_be_judged_is_a_fault(scene: Scene) -> None:
    made = scene.propose(scene.key())
    assert scene.watch(made) == Verdict(True, None)
    assert scene.watch(made, policy=None) == Verdict(False, None)
    aged = world.policy().model_copy(update={"max_age_s": 5})
    of_another = replace(made, rules=(aged.policy_id, *made.rules[1:]))
    for verdict in (scene.watch(made, policy=aged), scene.watch(of_another, policy=aged), scene.watch(of_another)):
        assert not verdict.judged
        assert (verdict.fault or "").startswith("not judged: ")


# ---- GPUs


def proposed(shown: KeyEvidence, evidence: bytes) -> Proposed:
    found = finding_of(judge(shown, GPU_POLICY, ROOTS, forge_nvidia.NOW, world.NONCE), 0)
    said = {"nonce": world.NONCE, "proposedAt": forge_nvidia.NOW, "collateralEnd": found.collateral_end}
    said |= {"simulated": found.simulated, "isQuote": False}
    rules = (GPU_POLICY.policy_id,)
    return Proposed(bytes(32), said, rules, (), shown.certificate, evidence, Status.OPEN, 0, "0x" + "00" * 20)


def test_an_honest_bundle_with_gpus() -> None:
    shown = with_gpus(world.NONCE)
    assert published(shown, is_quote=False) == shown.to_bytes()
    found = proposed(shown, published(shown, is_quote=False))
    assert judge_proposal(found, GPU_POLICY, ROOTS) is None
    # An answer for another key, or to another nonce, shows nothing of this one.
    other = replace(shown, certificate=replace(shown.certificate, epoch=9))
    for wrong in (other, replace(shown, nonce=bytes(32))):
        fault = judge_proposal(replace(found, evidence=wrong.to_bytes()), GPU_POLICY, ROOTS)
        assert "another key" in (fault or "")
    for data in (replace(shown, gpus=()).to_bytes(), shown.evidence.data):
        assert judge_proposal(replace(found, evidence=data), GPU_POLICY, ROOTS) is not None


# ---- nodes that lie, or do not give everything


class Liar:
    """A node that answers as it likes, and the real one otherwise."""

    def __init__(self, node: Any, lie: Callable[[str, Any], Any]) -> None:
        self.node, self.lie = node, lie

    def make_request(self, method: str, params: Any) -> Any:
        told = self.lie(method, params)
        return self.node.make_request(method, params) if told is None else told


def result(value: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "result": value}


def refusal() -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "query returned more than 10 MB"}}


def test_a_node_that_shows_another_proposal_than_was_asked_for(scene: Scene) -> None:
    good, bad = scene.propose(scene.key()), scene.propose(scene.key())

    def lie(method: str, params: Any) -> Any:
        if method == "eth_getLogs":
            topics = [params[0]["topics"][0], "0x" + good.id.hex(), *params[0]["topics"][2:]]
            return scene.node.make_request(method, [{**params[0], "topics": topics}])
        return None

    chain = world.seen_through(Liar(scene.node, lie))
    with pytest.raises(ChainError, match="do not trust this node"):
        list(proposals(chain, scene.place, world.MODEL, scene.rules.id, only=bad.id))
    (found,) = proposals(scene.chain, scene.place, world.MODEL, scene.rules.id, only=bad.id)
    assert found == bad


def test_a_node_that_names_its_own_contract(scene: Scene) -> None:
    """Who challenges would pay the bond to the node: the address follows from the registry's."""
    made = scene.propose(scene.key())
    assert scene.contract == created_at(scene.place.contract, 1)
    selector = abi.selector(abi.function(artifacts.load("TeeVerifier").abi, "proposals")).hex()
    (event,) = [item for item in KNOWN if item.get("name") == "KeyProposed"]
    types = {item["name"]: abi.type_of(item) for item in event["inputs"]}
    renamed = "0x" + keccak256(abi.encode(["address", types["proposal"]], [THIEF, made.words])).hex()

    def lie(method: str, params: Any) -> Any:
        if method == "eth_call" and params[0].get("data", "").startswith("0x" + selector):
            return result("0x" + bytes(12).hex() + THIEF[2:])
        if method == "eth_getLogs":
            told = scene.node.make_request(method, [{**params[0], "address": scene.contract}])
            logs = [{**log, "topics": [log["topics"][0], renamed, *log["topics"][2:]]} for log in told["result"]]
            return result([log for log, was in zip(logs, told["result"], strict=True) if made.id.hex() in str(was)])
        if method == "eth_call" and params[0].get("to", "").lower() == THIEF:
            return result("0x" + bytes(32).hex() + f"{1 << 40:064x}" + f"{1:064x}")
        return None

    chain = world.seen_through(Liar(scene.node, lie))
    before = world.sent(scene.node)
    for act in (
        lambda: list(proposals(chain, scene.place, world.MODEL, scene.rules.id)),
        lambda: TeeProposer(chain).challenge(scene.place, replace(made, id=bytes.fromhex(renamed[2:]))),
        lambda: TeeProposer(chain).withdraw(scene.place),
    ):
        with pytest.raises(ChainError, match="do not trust this node"):
            act()
    assert world.sent(scene.node) == before


def narrow(scene: Scene, most: int, asked: list[int], never: int = -1) -> Chain:
    """A node that gives the events of so many blocks at once, and of one block never."""

    def lie(method: str, params: Any) -> Any:
        if method != "eth_getLogs":
            return None
        first, last = (int(params[0][name], 16) for name in ("fromBlock", "toBlock"))
        asked.append(last - first + 1)
        return refusal() if last - first >= most or first <= never <= last else None

    return world.seen_through(Liar(scene.node, lie))


def listed(found: Iterator[Proposed]) -> list[bytes]:
    return [item.id for item in found]


def test_a_node_that_gives_a_few_blocks_at_once(scene: Scene) -> None:
    made, asked = scene.propose(scene.key()), list[int]()
    question = (scene.place, world.MODEL, scene.rules.id)
    everything = listed(proposals(scene.chain, *question))
    unread = list[int]()
    assert listed(proposals(narrow(scene, 3, asked), *question, unread=unread)) == everything
    assert (unread, max(asked) > 3, made.id in everything) == ([], True, True)
    last = scene.chain.rpc.number("eth_blockNumber")
    rest = listed(proposals(narrow(scene, 3, asked, never=last), *question, unread=unread))
    assert (rest, unread) == (everything[:-1], [last])
    with pytest.raises(ChainError, match="10 MB"):
        listed(proposals(narrow(scene, 3, asked, never=last), *question))


def test_a_node_that_gives_no_events_at_all(scene: Scene) -> None:
    unread, asked = list(range(MAX_UNREAD)), list[int]()
    with pytest.raises(ChainError, match="10 MB"):
        listed(proposals(narrow(scene, 0, asked), scene.place, world.MODEL, scene.rules.id, unread=unread))
    assert len(asked) < 20


def test_evidence_that_was_proposed_in_vain_is_not_proposed_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = scene.key()
    made = scene.propose(key)
    assert scene.propose(key) == made
    for status in (Status.REFUSED, Status.LAPSED):
        monkeypatch.setattr(
            tee_proposals, "proposals", lambda *_, ended=status, **__: iter([replace(made, status=ended)])
        )
        with pytest.raises(ChainError, match=f"which is {status.name.lower()}: propose fresh evidence"):
            scene.propose(key)
