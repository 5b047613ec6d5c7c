"""Deployments: interrupted anywhere they go on, and nothing happens twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chain.chain_world import (
    MODEL,
    SCHEME,
    YES,
    Clock,
    Liar,
    creation_of,
    encoded,
    honest,
    signed,
    signer,
    write_generated,
)
from vml import canonical
from vml.chain import abi, artifacts, deployment
from vml.chain.client import Chain, connect
from vml.chain.deploy import Deployer
from vml.chain.embedded import ACCOUNT, EmbeddedChain
from vml.chain.generate import Generated
from vml.chain.rpc import Rpc
from vml.chain.steps import Wishes, alone, code_of
from vml.chain.transactions import Limits, NotTaken, Pending, Replaced
from vml.errors import ChainError
from vml.keccak import keccak256

ROUTER, REGISTRY = artifacts.load("VmlRouter"), artifacts.load("ModelRegistry")
CONTRACTS = {"registry", "router", "adapter", "verifier"}
TRANSACTIONS = 7
"""Four creations, a route, a model, a backend."""


@pytest.fixture
def generated(tmp_path: Path) -> Generated:
    return write_generated(tmp_path / "contract")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deployment.json"


def seen_through(node: Any) -> Chain:
    clock = Clock()
    rpc = Rpc(node, "a node", sleep=clock.sleep, attempts=2)
    return Chain(rpc, "test", signer=signer(), limits=Limits(timeout_s=20), clock=clock, sleep=clock.sleep)


def sent(node: Any) -> int:
    return int(node.make_request("eth_getTransactionCount", [signer().address])["result"], 16)


def test_everything_is_put_up_and_accepts(generated: Generated) -> None:
    chain = connect(None)
    state = Deployer(chain).run(generated)
    assert set(state.contracts) == CONTRACTS
    router = state.contracts["router"].address
    claim, transcript, words = honest()
    key = bytes.fromhex(state.model["key"][2:])
    assert chain.call(router, ROUTER.abi, "verifyEntry", key, claim, encoded(transcript, words)).hex() == "52e29684"
    assert chain.call(router, ROUTER.abi, "owner") == chain.call(router, ROUTER.abi, "guardian") == ACCOUNT.lower()
    assert state.pending is None


def test_running_again_sends_nothing(generated: Generated, file: Path) -> None:
    node = EmbeddedChain()
    first = Deployer(seen_through(node), file).run(generated)
    before = file.read_bytes()
    assert sent(node) == TRANSACTIONS
    assert Deployer(seen_through(node), file).run(generated) == first
    assert (sent(node), file.read_bytes()) == (TRANSACTIONS, before)
    assert canonical.encode(canonical.decode(before, max_bytes=1 << 20)) == before
    assert deployment.load(file) == first


def requests_of(generated: Generated, folder: Path) -> int:
    whole = Liar()
    Deployer(seen_through(whole), folder / "whole.json").run(generated)
    return len(whole.requests)


def interrupted(generated: Generated, file: Path, at: int, after: bool) -> None:
    """Lose the connection at one request; run again, over a good one; nothing happened twice."""
    node = EmbeddedChain()
    lost = pytest.raises(ChainError, match=r"did not answer.*run the same command again")
    with lost:
        Deployer(seen_through(Liar(node, dies_at=at, after=after)), file).run(generated)
    state = Deployer(seen_through(node), file).run(generated)
    assert sent(node) == TRANSACTIONS
    assert set(state.contracts) == CONTRACTS
    for placed in state.contracts.values():
        code = bytes.fromhex(node.make_request("eth_getCode", [placed.address])["result"][2:])
        assert keccak256(code) == placed.code_hash


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("part", range(8))
def test_an_interrupted_deployment_goes_on(part: int, after: bool, generated: Generated, tmp_path: Path) -> None:
    requests = requests_of(generated, tmp_path)
    interrupted(generated, tmp_path / "deployment.json", 1 + part * (requests - 1) // 8, after)


@pytest.mark.slow
def test_a_deployment_interrupted_at_any_request_goes_on(generated: Generated, tmp_path: Path) -> None:
    for at in range(1, requests_of(generated, tmp_path) + 1):
        for after in (False, True):
            interrupted(generated, tmp_path / f"{at}-{after}.json", at, after)


def test_a_process_that_dies_while_waiting_goes_on(generated: Generated, file: Path) -> None:
    """Killed after the transaction was written down, whether or not it was sent."""

    class Killed(BaseException):
        pass

    for method in ("eth_sendRawTransaction", "eth_getTransactionReceipt"):
        node, path = EmbeddedChain(), file.with_name(f"{method}.json")

        def kill(true: Any, params: Any) -> Any:
            raise Killed

        liar = Liar(node)
        liar.lies[method] = kill
        with pytest.raises(Killed):
            Deployer(seen_through(liar), path).run(generated)
        waiting = deployment.load(path)
        assert waiting is not None
        assert waiting.pending is not None
        assert waiting.pending[0] == "registry"
        Deployer(seen_through(node), path).run(generated)
        assert sent(node) == TRANSACTIONS


def test_a_transaction_sent_again_for_a_higher_fee_counts(generated: Generated, file: Path) -> None:
    """The owner sped it up from a wallet: same nonce, same data, another hash; the contract is at the same address."""
    node = EmbeddedChain()
    deployer = Deployer(seen_through(node), file)
    pending = deployer.chain.prepare(None, REGISTRY.bytecode)
    deployer.state.pending = "registry", pending
    deployer.state.model |= {"model": "0x" + MODEL.hex(), "scheme": SCHEME}
    deployer.state.save(file)
    faster = signed(0, REGISTRY.bytecode)
    assert "result" in node.make_request("eth_sendRawTransaction", ["0x" + faster.hex()])
    state = Deployer(seen_through(node), file).run(generated)
    assert state.contracts["registry"].address == pending.creates
    assert state.contracts["registry"].transaction is None
    assert sent(node) == TRANSACTIONS


def test_a_replaced_transaction_is_forgotten_and_done_anew(generated: Generated, file: Path) -> None:
    node = EmbeddedChain()
    deployer = Deployer(seen_through(node), file)
    deployer.state.pending = "registry", deployer.chain.prepare(None, REGISTRY.bytecode)
    deployer.state.save(file)
    seen_through(node).send(signer().address, b"")
    with pytest.raises(Replaced):
        Deployer(seen_through(node), file).run(generated)
    Deployer(seen_through(node), file).run(generated)
    assert sent(node) == TRANSACTIONS + 1


def test_a_refused_transaction_is_forgotten(generated: Generated, file: Path) -> None:
    node = EmbeddedChain()

    class Poor(Liar):
        def make_request(self, method: str, params: Any) -> Any:
            if method == "eth_sendRawTransaction":
                return {"error": {"code": -32000, "message": "insufficient funds for gas * price + value"}}
            return super().make_request(method, params)

    with pytest.raises(NotTaken, match="cannot pay"):
        Deployer(seen_through(Poor(node)), file).run(generated)
    kept = deployment.load(file)
    assert kept is not None
    assert kept.pending is None
    Deployer(seen_through(node), file).run(generated)
    assert sent(node) == TRANSACTIONS


def test_a_second_model_joins_the_router(generated: Generated, file: Path, tmp_path: Path) -> None:
    node = EmbeddedChain()
    first = Deployer(seen_through(node), file).run(generated)
    other = write_generated(tmp_path / "other", model=keccak256(b"another"))
    wishes = Wishes(router=first.contracts["router"].address, verifier=first.contracts["verifier"].address)
    second = Deployer(seen_through(node), tmp_path / "other.json").run(other, wishes)
    assert sent(node) == TRANSACTIONS + 2
    assert {n: p.address for n, p in second.contracts.items()} == {n: p.address for n, p in first.contracts.items()}
    assert second.model["key"] != first.model["key"]


def test_a_shut_route_and_a_foreign_adapter_are_refused(generated: Generated, tmp_path: Path) -> None:
    node = EmbeddedChain()
    chain = seen_through(node)
    state = Deployer(chain, tmp_path / "a.json").run(generated)
    router = state.contracts["router"].address
    chain.transact(router, ROUTER.abi, "freezeRoute", bytes.fromhex(state.model["selector"][2:]), bytes(32))
    with pytest.raises(ChainError, match="for good"):
        Deployer(chain, tmp_path / "b.json").run(generated, Wishes(router=router))
    with pytest.raises(ChainError, match="there is no contract at"):
        Deployer(chain, tmp_path / "c.json").run(generated, Wishes(verifier="0x" + "55" * 20))
    with pytest.raises(ChainError, match="has the digest"):
        Deployer(chain, tmp_path / "d.json").run(generated, Wishes(verifier=router))


def test_somebody_elses_router_says_who_may(generated: Generated, tmp_path: Path) -> None:
    node = EmbeddedChain()
    chain = seen_through(node)
    other = "0x" + "0d" * 20
    registry = chain.deploy(REGISTRY.bytecode)
    router = chain.deploy(ROUTER.bytecode, ROUTER.abi, (other, other, registry))
    with pytest.raises(ChainError, match="only the router's owner may do that") as caught:
        Deployer(chain, tmp_path / "a.json").run(generated, Wishes(router=router))
    assert caught.value.error == "OwnableUnauthorizedAccount"


def test_a_deprecated_model_is_not_deployed_again(generated: Generated, file: Path) -> None:
    chain = seen_through(EmbeddedChain())
    state = Deployer(chain, file).run(generated)
    key = int(state.model["key"], 16)
    chain.transact(state.contracts["registry"].address, REGISTRY.abi, "deprecateModel", key)
    with pytest.raises(ChainError, match="deprecated"):
        Deployer(chain, file).run(generated)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: replace(s, chain_id=1), "about chain 1 and the node is on chain 31337"),
        (lambda s: replace(s, genesis="0x" + "00" * 32), "its first block differs"),
        (lambda s: replace(s, deployer="0x" + "0D" * 20), "begun by"),
        (lambda s: replace(s, model={**s.model, "model": "0x" + "00" * 32}), "is about model"),
        (
            lambda s: replace(
                s, contracts={**s.contracts, "verifier": replace(s.contracts["verifier"], code_hash=bytes(32))}
            ),
            "another verifier than the one to deploy",
        ),
    ],
)
def test_a_file_about_something_else(
    change: Callable[[deployment.Deployment], deployment.Deployment], words: str, generated: Generated, file: Path
) -> None:
    node = EmbeddedChain()
    state = Deployer(seen_through(node), file).run(generated)
    change(state).save(file)
    with pytest.raises(ChainError, match=words):
        Deployer(seen_through(node), file).run(generated)
    assert sent(node) == TRANSACTIONS


def test_a_chain_that_lost_a_contract_says_so(generated: Generated, file: Path) -> None:
    """A reorganisation below what was waited for, or a test node that was started anew with the same first block."""
    Deployer(seen_through(EmbeddedChain()), file).run(generated)
    with pytest.raises(ChainError, match="there is no contract at"):
        Deployer(seen_through(EmbeddedChain()), file).run(generated)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b'{"format":"vml-deployment/2"}',
        canonical.encode({**deployment.Deployment(1, "0x", "0x").to_json(), "chain_id": "x"}),
        canonical.encode(deployment.Deployment(1, "0x" + "00" * 32, "0x").to_json()),
        b"\xff" * 10,
    ],
)
def test_damaged_files_are_refused(data: bytes, file: Path) -> None:
    file.write_bytes(data)
    with pytest.raises(ValueError, match="no deployment file"):
        deployment.load(file)


def test_pending_transactions_are_read_as_written() -> None:
    chain = seen_through(EmbeddedChain())
    pending = chain.prepare(None, REGISTRY.bytecode)
    assert Pending.from_json(pending.to_json()) == pending
    for name, value in {"hash": "0x" + "00" * 32, "raw": "0x00", "nonce": "x", "sender": "0x12", "to": 5}.items():
        with pytest.raises(ValueError, match="damaged"):
            Pending.from_json({**pending.to_json(), name: value})
    assert signer()._account.key.hex().removeprefix("0x") not in str(pending.to_json())


def test_two_deployments_at_once_are_one_too_many(file: Path) -> None:
    with alone(file), pytest.raises(ChainError, match="another process"), alone(file):
        pass


def test_code_is_known_beforehand() -> None:
    sender, creation = signer().address, creation_of(YES)
    assert code_of(1, sender, creation, {}) == YES == code_of(2**70, sender, creation, {})
    with pytest.raises(ChainError, match="constructor fails"):
        code_of(1, sender, bytes.fromhex("5f5ffd"), {})
    with pytest.raises(ChainError, match="constructor fails"):
        code_of(1, sender, creation_of(bytes(24_577)), {})
    chain = connect(None)
    registry = chain.deploy(REGISTRY.bytecode)
    creation = ROUTER.bytecode + abi.encode_constructor(ROUTER.abi, (sender, sender, registry))
    router = chain.deploy(creation)
    assert chain.code(router) == code_of(31337, sender, creation, {registry: chain.code(registry)})
    with pytest.raises(ChainError, match="constructor fails"):
        code_of(31337, sender, creation, {})
