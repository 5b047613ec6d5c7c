"""The embedded EVM and a real node are asked the same: same answers, same errors, same addresses, same code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chain.chain_world import YES, Liar, creation_of, encoded, honest, signer, write_generated
from vml.chain import artifacts, deployment
from vml.chain.client import Chain, connect
from vml.chain.deploy import Deployer
from vml.chain.deployment import Deployment
from vml.chain.embedded import EmbeddedChain
from vml.chain.keys import from_private_key
from vml.chain.rpc import Rpc, http
from vml.chain.steps import Wishes
from vml.chain.transactions import Limits
from vml.errors import ChainError
from vml.keccak import keccak256

ROUTER, REGISTRY, ADAPTER = (artifacts.load(name) for name in ("VmlRouter", "ModelRegistry", "EzklAdapter"))
FUNDED = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
"""The published key of anvil's first account."""

NO = bytes.fromhex("5f5f5260205ff3")
REVERTS = bytes.fromhex("5f5ffd")
EATS_GAS = bytes.fromhex("5b5f56")


@dataclass(frozen=True)
class Side:
    """One chain with everything deployed on it."""

    chain: Chain
    state: Deployment

    def answer(self, name: str, *arguments: Any) -> Any:
        """What the router answers, or the error it reverts with."""
        try:
            return self.chain.call(self.state.contracts["router"].address, ROUTER.abi, name, *arguments)
        except ChainError as error:
            return error.error, error.arguments

    def reason(self, claim: tuple[bytes, ...], proof: bytes) -> Any:
        """What the adapter answers, or the error it reverts with."""
        registry = self.state.contracts["registry"].address
        metadata, _ = self.chain.call(registry, REGISTRY.abi, "backend", self.key, self.selector)
        try:
            return self.chain.call(
                self.state.contracts["adapter"].address, ADAPTER.abi, "verify", claim, metadata, proof[4:]
            )
        except ChainError as error:
            return error.error, error.arguments

    @property
    def key(self) -> bytes:
        return bytes.fromhex(self.state.model["key"][2:])

    @property
    def selector(self) -> bytes:
        return bytes.fromhex(self.state.model["selector"][2:])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("generated")


@pytest.fixture(scope="module")
def sides(anvil: str, folders: Path) -> tuple[Side, Side]:
    """The same key deploys the same on both, from nonce 0."""
    key = "0x" + "3d" * 32
    generated = write_generated(folders / "yes")
    real = connect(anvil, signer=from_private_key(FUNDED))
    real.send(from_private_key(key).address, b"", value=10**18)
    chains = [connect(EmbeddedChain(), signer=from_private_key(key)), connect(anvil, signer=from_private_key(key))]
    both = [Side(chain, Deployer(chain).run(generated)) for chain in chains]
    return both[0], both[1]


def test_both_deploy_the_same(sides: tuple[Side, Side]) -> None:
    embedded, real = (side.state for side in sides)
    assert {n: (p.address, p.code_hash) for n, p in embedded.contracts.items()} == {
        n: (p.address, p.code_hash) for n, p in real.contracts.items()
    }
    assert embedded.model == real.model
    assert embedded.genesis != real.genesis


def mutations() -> list[tuple[str, tuple[bytes, ...], bytes, list[int]]]:
    """An honest proof, and it with every field changed: name, claim, transcript, instances."""
    claim, transcript, words = honest()
    cases: list[tuple[str, tuple[bytes, ...], bytes, list[int]]] = [("honest", claim, transcript, words)]
    for at, name in enumerate(("model", "input", "output", "context")):
        other = claim[at][:-1] + bytes([claim[at][-1] ^ 1])
        cases.append((name, (*claim[:at], other, *claim[at + 1 :]), transcript, words))
    for at in range(len(words)):
        for label, value in (("up", words[at] + 1), ("top", 2**256 - 1)):
            cases.append((f"word {at} {label}", claim, transcript, [*words[:at], value, *words[at + 1 :]]))
    cases.append(("one word less", claim, transcript, words[:-1]))
    cases.append(("one word more", claim, transcript, [*words, 0]))
    cases.append(("short transcript", claim, transcript[:-32], words))
    cases.append(("long transcript", claim, transcript + bytes(32), words))
    return cases


@pytest.mark.parametrize("case", mutations(), ids=lambda case: case[0])
def test_both_answer_the_same_to_every_changed_field(
    case: tuple[str, tuple[bytes, ...], bytes, list[int]], sides: tuple[Side, Side]
) -> None:
    name, claim, transcript, words = case
    proof = encoded(transcript, words)
    for function in ("verifyEntry", "tryVerify"):
        answers = [side.answer(function, side.key, claim, proof) for side in sides]
        assert answers[0] == answers[1]
    reasons = [side.reason(claim, proof) for side in sides]
    assert reasons[0] == reasons[1]
    # This verifier accepts everything, so the adapter alone refuses; the digest of the context is nobody's business
    # but the circuit's.
    assert (reasons[0] is True) == (name in ("honest", "word 1 up"))


def test_both_answer_the_same_to_every_cut_and_every_flipped_byte(sides: tuple[Side, Side]) -> None:
    claim, transcript, words = honest()
    proof = encoded(transcript, words)
    tries = [proof[:n] for n in (0, 3, 4, 5, 36, 68, len(proof) - 1)] + [proof + b"\0"]
    tries += [proof[:at] + bytes([proof[at] ^ 1]) + proof[at + 1 :] for at in (0, 3, 35, 67, 99, 200, len(proof) - 1)]
    for changed in tries:
        answers = [side.answer("verifyEntry", side.key, claim, changed) for side in sides]
        assert answers[0] == answers[1]


def test_both_name_the_same_custom_errors(sides: tuple[Side, Side]) -> None:
    claim, transcript, words = honest()
    proof = encoded(transcript, words)
    asked: list[tuple[str, tuple[Any, ...], str]] = [
        ("verifyEntry", (bytes(32), claim, proof), "ModelUnknown"),
        ("verify", (claim, proof), "NotPinned"),
        ("verifyWithPolicy", (bytes(32), claim, proof), "PolicyUnknown"),
        ("verifyEntry", (bytes(32), claim, b"\1\2"), "ProofTooShort"),
        ("verifyEntry", (bytes(32), claim, bytes(4)), "RouteUnknown"),
    ]
    for name, arguments, expected in asked:
        answers = [side.answer(name, *arguments) for side in sides]
        assert answers[0] == answers[1]
        assert answers[0][0] == expected


@pytest.mark.parametrize(
    "runtime", [NO, REVERTS, EATS_GAS, b"\xfe", b"\0"], ids=["no", "reverts", "eats", "fe", "stop"]
)
def test_both_refuse_what_the_verifier_does_not_accept(runtime: bytes, sides: tuple[Side, Side], folders: Path) -> None:
    claim, transcript, words = honest()
    model = keccak256(runtime)
    generated = write_generated(folders / model.hex(), runtime, model)
    proof = encoded(transcript, words)
    answers = []
    for side in sides:
        state = Deployer(side.chain).run(generated, Wishes(router=side.state.contracts["router"].address))
        other = Side(side.chain, state)
        answers.append(other.answer("tryVerify", other.key, (model, *claim[1:]), proof))
    assert answers[0] == answers[1] == (False, proof[:4])


def test_records_and_frozen_routes(sides: tuple[Side, Side]) -> None:
    """Last in the file: the route stays frozen."""
    claim, transcript, words = honest()
    proof = encoded(transcript, words)
    for side in sides:
        router = side.state.contracts["router"].address
        side.chain.transact(router, ROUTER.abi, "record", side.key, claim, proof)
        side.chain.transact(router, ROUTER.abi, "freezeRoute", side.selector, bytes(32))
    assert sides[0].answer("verifyEntry", sides[0].key, claim, proof) == ("RouteIsFrozen", {"selector": "0x52e29684"})
    assert sides[1].answer("verifyEntry", sides[1].key, claim, proof) == ("RouteIsFrozen", {"selector": "0x52e29684"})
    with pytest.raises(ChainError, match="no proof of this scheme is accepted") as caught:
        sides[1].chain.transact(router, ROUTER.abi, "record", sides[1].key, claim, proof)
    assert caught.value.error == "RouteIsFrozen"


@pytest.mark.parametrize("confirmations", [1, 2])
def test_a_real_reorganisation(confirmations: int, anvil: str) -> None:
    """The block that held the transaction is taken back; it is sent again, and what is reported is where it is now."""
    liar = Liar(http(anvil))
    chain = Chain(
        Rpc(liar, "anvil"),
        "anvil",
        signer=from_private_key(FUNDED),
        limits=Limits(confirmations=confirmations, timeout_s=30),
    )
    taken: list[str] = []

    def take_back(true: Any, params: Any) -> Any:
        if true is not None and not taken:
            taken.append(true["blockHash"])
            assert "error" not in liar.behind.make_request("anvil_rollback", [1])
        elif true is not None:
            liar.behind.make_request("anvil_mine", ["0x1"])
        return true

    liar.lies["eth_getTransactionReceipt"] = take_back
    receipt = chain.send(None, creation_of(YES))
    assert taken
    assert taken != [receipt.block_hash]
    assert chain.code(receipt.contract or "") == YES


def test_a_real_node_in_trouble(anvil: str, tmp_path: Path) -> None:
    """Interruptions, replacement and nonces against a node with a pool of its own."""
    generated, file = write_generated(tmp_path / "c"), tmp_path / "deployment.json"
    poor = connect(anvil, signer=signer())
    with pytest.raises(ChainError, match="cannot pay"):
        Deployer(poor, file).run(generated)
    connect(anvil, signer=from_private_key(FUNDED)).send(signer().address, b"", value=10**18)
    with pytest.raises(ChainError, match="not 1: give the address"):
        connect(anvil, chain_id=1)
    for at in (12, 22, 30):
        liar = Liar(http(anvil), dies_at=at, after=True)
        chain = Chain(Rpc(liar, "anvil", attempts=1), "anvil", signer=signer(), limits=Limits(timeout_s=30))
        with pytest.raises(ChainError, match="did not answer"):
            Deployer(chain, file).run(generated)
    Deployer(connect(anvil, signer=signer()), file).run(generated)
    assert poor.rpc.number("eth_getTransactionCount", signer().address, "latest") == 7
    kept = deployment.load(file)
    assert kept is not None
    assert kept.contracts["verifier"].code_hash == keccak256(YES)
