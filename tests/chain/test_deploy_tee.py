"""Deploying the registry of attested keys: interrupted it goes on, and the code is foretold at its own address."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chain import tee_world as world
from tests.chain.chain_world import Liar, signer
from vml.chain import artifacts, deployment
from vml.chain.client import connect
from vml.chain.deploy_tee import Acceptance, TeeDeployer, has_p256, require_tee
from vml.chain.embedded import EmbeddedChain
from vml.chain.steps import Wishes
from vml.chain.tee_rules import Mode
from vml.claim import parse_address
from vml.errors import ChainError
from vml.keccak import keccak256

CONTRACTS = {"registry", "router", "adapter", "ledger"}
TRANSACTIONS = 7
RULES = world.rules()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deployment.json"


def test_everything_is_put_up_and_accepts_the_keys(file: Path) -> None:
    node = world.node()
    state = world.deployed(node, file, minimum_epoch=3)
    assert (set(state.contracts), set(state.steps)) == (CONTRACTS, {"route", "model", "backend"})
    assert world.sent(node) == TRANSACTIONS
    chain, at = world.seen_through(node), {name: placed.address for name, placed in state.contracts.items()}
    selector = keccak256(b"tee/1")[:4]
    assert chain.call(at["router"], artifacts.load("VmlRouter").abi, "routes", selector) == (at["adapter"].lower(), 1)
    assert chain.call(at["ledger"], artifacts.load("ReceiptLedger").abi, "router") == at["router"].lower()
    key = bytes.fromhex(state.model["key"][2:])
    metadata, enabled = chain.call(at["registry"], artifacts.load("ModelRegistry").abi, "backend", key, selector)
    expected = Acceptance(parse_address(signer().address), RULES.id, (Mode.QUORUM,), 3)
    assert (Acceptance.from_bytes(metadata), enabled) == (expected, True)
    assert state.model["rules"] == "0x" + RULES.id.hex()
    assert require_tee(state, "it") == state.model
    # Again: nothing is sent.
    assert world.deployed(node, file, minimum_epoch=3) == state == deployment.load(file)
    assert world.sent(node) == TRANSACTIONS
    # Another epoch is other metadata, and no other contract.
    world.deployed(node, file, minimum_epoch=4)
    assert world.sent(node) == TRANSACTIONS + 1


def requests_of(folder: Path) -> int:
    whole = Liar()
    world.deployed(whole, folder / "whole.json")
    return len(whole.requests)


def interrupted(file: Path, at: int, after: bool) -> None:
    node = world.node()
    with pytest.raises(ChainError, match=r"did not answer.*run the same command again"):
        world.deployed(Liar(node, dies_at=at, after=after), file)
    state = world.deployed(node, file)
    assert (world.sent(node), set(state.contracts)) == (TRANSACTIONS, CONTRACTS)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("part", range(5))
def test_an_interrupted_deployment_goes_on(part: int, after: bool, tmp_path: Path) -> None:
    requests = requests_of(tmp_path)
    interrupted(tmp_path / "deployment.json", 1 + part * (requests - 1) // 5, after)


@pytest.mark.slow
def test_a_deployment_interrupted_at_any_request_goes_on(tmp_path: Path) -> None:
    for at in range(1, requests_of(tmp_path) + 1):
        for after in (False, True):
            interrupted(tmp_path / f"{at}-{after}.json", at, after)


def test_under_a_router_that_is_there(tmp_path: Path) -> None:
    node = world.node()
    first = world.deployed(node, tmp_path / "a.json")
    wishes = Wishes(router=first.contracts["router"].address)
    other = world.rules(threshold=2)
    second = world.deployed(node, tmp_path / "b.json", other, wishes=wishes)
    assert second.contracts["adapter"].address == first.contracts["adapter"].address
    # A ledger of its own, and the metadata.
    assert world.sent(node) == TRANSACTIONS + 2
    with pytest.raises(ChainError, match="is about rules"):
        world.deployed(node, tmp_path / "a.json", other)


def test_somebody_elses_verifier_is_refused(tmp_path: Path) -> None:
    """One for the same scheme whose code is not ours: here of another chain id."""
    node = world.node()
    first = world.deployed(node)
    chain = world.seen_through(node)
    router, registry = artifacts.load("VmlRouter"), first.contracts["registry"].address
    at = chain.deploy(router.bytecode, router.abi, (chain.sender, chain.sender, registry))
    elsewhere = EmbeddedChain(chain_id=1)
    shipped = artifacts.load("TeeVerifier")
    foreign = elsewhere.creates(signer().address, shipped.bytecode, {}, first.contracts["adapter"].address)
    creation = b"\x61" + len(foreign).to_bytes(2, "big") + bytes.fromhex("80600a5f395ff3") + foreign
    chain.transact(at, router.abi, "addRoute", chain.deploy(creation))
    with pytest.raises(ChainError, match="it is another contract, or the node lies"):
        world.deployed(node, tmp_path / "b.json", wishes=Wishes(router=at))


def test_what_does_not_go_together() -> None:
    with pytest.raises(ValueError, match="no generated verifier"):
        world.deployed(world.node(), wishes=Wishes(verifier="0x" + "55" * 20))
    with pytest.raises(ValueError, match="no key comes in by on-chain"):
        world.deployed(world.node(), modes=(Mode.QUORUM, Mode.ON_CHAIN))
    with pytest.raises(ValueError, match="at least one mode"):
        world.deployed(world.node(), modes=())
    far = world.node()
    chain = world.seen_through(far)
    chain.chain_id = 1 << 64
    with pytest.raises(ChainError, match="not supported"):
        TeeDeployer(chain).run(world.MODEL, RULES, (Mode.QUORUM,))


def test_metadata_is_read_strictly() -> None:
    made = Acceptance(b"\x11" * 20, bytes(32), (Mode.QUORUM, Mode.ZK), 7).to_bytes()
    assert Acceptance.from_bytes(made).modes == (Mode.QUORUM, Mode.ZK)
    for other in (made[:-1], made + bytes(32), made[:95] + b"\xff" + made[96:], b"\x01" + made[1:]):
        with pytest.raises(ValueError):
            Acceptance.from_bytes(other)


def test_a_chain_with_p256_has_other_code(anvil: str) -> None:
    """A real node of a fork that has the precompile; the embedded EVM's has none."""
    chain = connect(anvil, signer=signer())
    chain.rpc.ask("anvil_setBalance", signer().address, hex(10**20))
    assert has_p256(chain)
    assert not has_p256(world.seen_through(world.node()))
    state = TeeDeployer(chain).run(world.MODEL, RULES, (Mode.QUORUM,))
    contract, shipped = state.contracts["adapter"].address, artifacts.load("TeeVerifier").abi
    assert chain.call(contract, shipped, "hasP256Precompile") is True
    other = TeeDeployer(chain).run(
        bytes(32), RULES, (Mode.QUORUM,), wishes=Wishes(router=state.contracts["router"].address)
    )
    assert other.contracts["adapter"].address == contract
