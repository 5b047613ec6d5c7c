"""What a node can do wrong: each is a `ChainError` in words, nothing is believed that can be checked, nothing hangs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.chain.chain_world import YES, Clock, Liar, creation_of, signed, signer
from vml.chain import abi, artifacts
from vml.chain.client import Chain, address, connect
from vml.chain.embedded import ACCOUNT, EmbeddedChain
from vml.chain.rpc import ATTEMPTS, Rpc, explain, http, node_name
from vml.chain.transactions import Failed, Limits, NotTaken, Replaced
from vml.errors import ChainError
from vml.keccak import keccak256

REGISTRY, ROUTER = artifacts.load("ModelRegistry"), artifacts.load("VmlRouter")
ENTRY = (b"\1" * 32, b"\2" * 32, b"\3" * 32, b"\4" * 4, "")
OTHER = "0x" + "ee" * 32


class Setting:
    """A chain behind a liar, seen by a client with a clock of its own."""

    def __init__(self, **limits: Any) -> None:
        self.liar, self.clock = Liar(), Clock()
        self.chain = Chain(
            Rpc(self.liar, "a node", sleep=self.clock.sleep),
            "test",
            signer=signer(),
            limits=Limits(**{"timeout_s": 60.0, "max_fee_gwei": 500} | limits),
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    def lie(self, method: str, lie: Any) -> None:
        self.liar.lies[method] = lie


@pytest.fixture
def setting() -> Setting:
    return Setting()


def test_the_embedded_chain_is_the_default() -> None:
    chain = connect(None)
    assert (chain.rules, chain.sender) == ("cancun, embedded", ACCOUNT)
    registry = chain.deploy(REGISTRY.bytecode)
    chain.transact(registry, REGISTRY.abi, "registerModel", ENTRY)
    key = chain.call(registry, REGISTRY.abi, "keyOf", ACCOUNT, ENTRY[0])
    assert chain.call(registry, REGISTRY.abi, "modelOf", key) == ENTRY[0]


def test_custom_errors_come_with_name_and_arguments(setting: Setting) -> None:
    registry = setting.chain.deploy(REGISTRY.bytecode)
    setting.chain.transact(registry, REGISTRY.abi, "registerModel", ENTRY)
    with pytest.raises(ChainError, match="ModelExists") as caught:
        setting.chain.transact(registry, REGISTRY.abi, "registerModel", ENTRY)
    key = int.from_bytes(setting.chain.call(registry, REGISTRY.abi, "keyOf", setting.chain.sender, ENTRY[0]), "big")
    assert (caught.value.error, caught.value.arguments) == ("ModelExists", {"modelId": key})
    router = setting.chain.deploy(ROUTER.bytecode, ROUTER.abi, (setting.chain.sender, setting.chain.sender, registry))
    with pytest.raises(ChainError, match="no route for this scheme") as caught:
        setting.chain.call(router, ROUTER.abi, "verifyEntry", bytes(32), (bytes(32),) * 4, b"\1\2\3\4")
    assert (caught.value.error, caught.value.arguments) == ("RouteUnknown", {"selector": "0x01020304"})


def test_another_chain_is_refused() -> None:
    with pytest.raises(ChainError, match="chain 31337, not 1"):
        connect(EmbeddedChain(), chain_id=1)
    assert connect(EmbeddedChain(chain_id=5), chain_id=5).chain_id == 5


def test_nobody_can_sign() -> None:
    with pytest.raises(ChainError, match="VML_PRIVATE_KEY"):
        connect(EmbeddedChain()).deploy(REGISTRY.bytecode)


def test_a_call_to_nothing_says_so(setting: Setting) -> None:
    with pytest.raises(ChainError, match="has no code on chain 31337"):
        setting.chain.call("0x" + "12" * 20, REGISTRY.abi, "modelOf", bytes(32))
    stub = setting.chain.deploy(creation_of(b"\0"))
    with pytest.raises(ChainError, match="is another contract"):
        setting.chain.call(stub, REGISTRY.abi, "modelOf", bytes(32))


# ---- before anything is sent -----------------------------------------------------------------------------------------


def test_oversized_calldata_is_refused_before_sending(setting: Setting) -> None:
    asked = len(setting.liar.requests)
    with pytest.raises(ChainError, match="nodes do not pass on"):
        setting.chain.prepare(ACCOUNT, b"\1" * (128 << 10))
    with pytest.raises(ChainError, match="EIP-3860"):
        setting.chain.prepare(None, b"\0" * 49_153)
    router_call = (bytes(32), (bytes(32),) * 4, bytes(1 << 18))
    with pytest.raises(ChainError, match="nodes do not pass on"):
        setting.chain.call(ACCOUNT, ROUTER.abi, "verifyEntry", *router_call)
    assert len(setting.liar.requests) == asked


def test_work_over_the_gas_of_a_transaction_is_refused_before_sending(setting: Setting) -> None:
    setting.lie("eth_estimateGas", lambda true, _: hex(2**24 + 1))
    with pytest.raises(ChainError, match="EIP-7825"):
        setting.chain.deploy(REGISTRY.bytecode)
    assert "eth_sendRawTransaction" not in setting.liar.requests


def test_a_price_out_of_proportion_is_not_paid(setting: Setting) -> None:
    setting.lie("eth_maxPriorityFeePerGas", lambda true, _: hex(10**12))
    with pytest.raises(ChainError, match="1000 gwei"):
        setting.chain.deploy(REGISTRY.bytecode)
    setting.liar.lies.clear()
    setting.lie("eth_getBlockByNumber", lambda true, _: {k: v for k, v in true.items() if k != "baseFeePerGas"})
    with pytest.raises(ChainError, match="EIP-1559"):
        setting.chain.deploy(REGISTRY.bytecode)


# ---- a node that lies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("transactionHash", OTHER, "another transaction"),
        ("from", ACCOUNT, "another sender"),
        ("to", ACCOUNT, "another receiver"),
        ("contractAddress", ACCOUNT, "another contract"),
        ("contractAddress", None, "another contract"),
        ("status", "0x2", "neither success nor failure"),
        ("status", None, "no number"),
        ("gasUsed", "12", "no number"),
        ("logs", "none", "logs"),
        ("transactionHash", "0x12", "32 bytes"),
    ],
)
def test_a_receipt_about_something_else(setting: Setting, field: str, value: Any, words: str) -> None:
    setting.lie("eth_getTransactionReceipt", lambda true, _: true and {**true, field: value})
    with pytest.raises(ChainError, match=words):
        setting.chain.deploy(REGISTRY.bytecode)


def test_a_receipt_that_is_none(setting: Setting) -> None:
    setting.lie("eth_getTransactionReceipt", lambda true, _: [1, 2])
    with pytest.raises(ChainError, match="no object"):
        setting.chain.deploy(REGISTRY.bytecode)


def test_success_without_code(setting: Setting) -> None:
    setting.lie("eth_getCode", lambda true, _: "0x")
    with pytest.raises(ChainError, match="there is no contract at"):
        setting.chain.deploy(REGISTRY.bytecode)


def test_other_code_than_was_sent(setting: Setting) -> None:
    place = setting.chain.deploy(creation_of(YES))
    setting.chain.require_code(place, keccak256(YES))
    setting.lie("eth_getCode", lambda true, _: "0x6001")
    with pytest.raises(ChainError, match=keccak256(b"\x60\1").hex()):
        setting.chain.require_code(place, keccak256(YES))


def test_another_hash_than_was_signed(setting: Setting) -> None:
    setting.lie("eth_sendRawTransaction", lambda true, _: OTHER)
    with pytest.raises(ChainError, match="do not trust this node"):
        setting.chain.deploy(REGISTRY.bytecode)


def test_failure_called_success_leaves_no_code(setting: Setting) -> None:
    """The contract's creation fails, and the receipt says it did not."""
    setting.lie("eth_estimateGas", lambda true, _: hex(100_000))
    setting.lie(
        "eth_getTransactionReceipt",
        lambda true, _: true and {**true, "status": "0x1", "contractAddress": pending.creates},
    )
    pending = setting.chain.prepare(None, REGISTRY.bytecode)
    receipt = setting.chain.wait(setting.chain.broadcast(pending))
    with pytest.raises(ChainError, match="there is no contract at"):
        setting.chain.require_code(receipt.contract or "")


# ---- transactions that go astray -------------------------------------------------------------------------------------


def test_out_of_gas_is_called_so(setting: Setting) -> None:
    setting.lie("eth_estimateGas", lambda true, _: hex(int(true, 16) * 2 // 3))
    with pytest.raises(Failed, match="ran out of gas"):
        setting.chain.deploy(REGISTRY.bytecode)


def test_a_transaction_that_fails_on_the_chain_says_why(setting: Setting) -> None:
    registry = setting.chain.deploy(REGISTRY.bytecode)
    data = abi.encode_call(REGISTRY.abi, "registerModel", [ENTRY])
    first = setting.chain.prepare(registry, data)
    setting.chain.wait(setting.chain.broadcast(first))
    raw = signed(first.nonce + 1, data, registry)
    late = replace(first, nonce=first.nonce + 1, raw=raw, hash="0x" + keccak256(raw).hex(), gas=3_000_000)
    with pytest.raises(Failed, match="ModelExists") as caught:
        setting.chain.wait(setting.chain.broadcast(late), REGISTRY.abi)
    assert caught.value.error == "ModelExists"


def test_a_replaced_transaction_is_called_so(setting: Setting) -> None:
    mine = setting.chain.prepare(None, REGISTRY.bytecode)
    setting.chain.send(ACCOUNT, b"", value=1)  # from the same account, with the same nonce
    with pytest.raises(Replaced, match="nonce 0 went to another"):
        setting.chain.wait(setting.chain.broadcast(mine))


def test_a_receipt_that_vanishes_is_waited_for_again(setting: Setting) -> None:
    """A reorganisation drops the transaction once; the client sends it again and sees it again."""
    pending = setting.chain.prepare(None, creation_of(YES))
    answers = iter([True, False, True, True, True])
    setting.lie("eth_getTransactionReceipt", lambda true, _: true if next(answers, True) else None)
    setting.lie("eth_blockNumber", lambda true, _: true if setting.clock.now > 0.1 else "0x0")
    setting.lie("eth_getTransactionCount", lambda true, _: "0x0" if setting.clock.now < 0.2 else true)
    receipt = setting.chain.wait(setting.chain.broadcast(pending))
    assert receipt.contract == pending.creates
    assert setting.liar.requests.count("eth_sendRawTransaction") > 1


def test_a_block_that_is_not_the_chains_is_not_believed(setting: Setting) -> None:
    setting.lie("eth_getTransactionReceipt", lambda true, _: true and {**true, "blockHash": OTHER})
    with pytest.raises(ChainError, match="reorganised under it, or the node contradicts itself"):
        setting.chain.deploy(REGISTRY.bytecode)


def test_confirmations_are_waited_for() -> None:
    setting = Setting(confirmations=3)
    polls: list[int] = []

    def grow(true: str, _: Any) -> str:
        polls.append(1)
        return hex(int(true, 16) + len(polls) // 2)

    setting.lie("eth_blockNumber", grow)
    setting.chain.send(ACCOUNT, b"")
    assert len(polls) == 4
    setting.liar.lies.clear()
    with pytest.raises(ChainError, match="it waits for 3 confirmations"):
        setting.chain.send(ACCOUNT, b"")
    assert setting.clock.now < 120


def test_a_nonce_gap_is_named(setting: Setting) -> None:
    """The node counts a transaction that does not exist, so ours waits behind it."""
    setting.lie("eth_getTransactionCount", lambda true, params: "0x5" if params[1] == "pending" else true)
    setting.lie("eth_getTransactionReceipt", lambda true, _: None)
    pending = setting.chain.prepare(None, creation_of(YES))
    with pytest.raises(NotTaken, match="an earlier transaction of the account is missing"):
        setting.chain.broadcast(pending)
    # A node that queues it instead.
    setting.chain.broadcast = lambda p: p  # type: ignore[method-assign]
    with pytest.raises(ChainError, match="nonce gap: it has nonce 5, the chain expects 0"):
        setting.chain.wait(pending)


# ---- connections -----------------------------------------------------------------------------------------------------


def test_a_connection_that_drops_now_and_then_is_borne() -> None:
    class Flaky(Liar):
        def make_request(self, method: str, params: Any) -> Any:
            answer = super().make_request(method, params)
            if len(self.requests) % 3:
                raise TimeoutError("slow")
            return answer

    clock = Clock()
    chain = Chain(Rpc(Flaky(), "a node", sleep=clock.sleep), "test", signer=signer(), clock=clock, sleep=clock.sleep)
    chain.deploy(REGISTRY.bytecode)
    assert chain.rpc.number("eth_getTransactionCount", chain.sender, "latest") == 1


@pytest.mark.parametrize("answer", [None, "text", {}, {"result": 1, "error": {"code": 1}}, {"error": None}, []])
def test_what_is_not_json_rpc_is_asked_again_and_given_up(answer: Any) -> None:
    class Babble:
        asked = 0

        def make_request(self, method: str, params: Any) -> Any:
            self.asked += 1
            return answer

    babble, clock = Babble(), Clock()
    with pytest.raises(ChainError, match="asked 5 times"):
        Rpc(babble, "a node", sleep=clock.sleep).ask("eth_chainId")
    assert babble.asked == ATTEMPTS
    assert clock.now < 10


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("0x08c379a0", "Error"),
        ({"data": "0x08c379a0"}, "Error"),
        ({"originalError": {"data": "0x08c379a0"}}, "Error"),
        ("Reverted 0x08c379a0", "Error"),
        ("0xabcdef12", None),
        (None, None),
        ("0x1", None),
        (7, None),
    ],
)
def test_a_reverts_data_is_found_wherever_the_node_puts_it(data: Any, expected: str | None) -> None:
    class Node:
        def make_request(self, method: str, params: Any) -> Any:
            if method == "eth_chainId":
                return {"result": "0x1"}
            return {"error": {"code": 3, "message": "execution reverted", "data": data}}

    chain = Chain(Rpc(Node(), "a node"), "test")
    with pytest.raises(ChainError, match="the contract refused") as caught:
        chain.call(ACCOUNT, REGISTRY.abi, "modelOf", bytes(32))
    assert caught.value.error == expected


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("insufficient funds for gas * price + value", "cannot pay"),
        ("intrinsic gas too low: out of gas", "ran out of gas"),
        ("nonce too low", "another transaction"),
        ("invalid chain id for signer", "another chain"),
        ("max code size exceeded", "code is over"),
        ("oversized data", "larger than nodes pass on"),
        ("gobbledygook", "the node said: gobbledygook"),
    ],
)
def test_a_nodes_words_come_with_advice(said: str, meant: str) -> None:
    assert meant in explain(said)


def test_an_address_with_a_secret_is_not_repeated() -> None:
    assert node_name("https://user:pass@node.example:8545/v3/SECRET?key=SECRET") == "https://node.example:8545"
    with pytest.raises(ValueError, match="begins with http") as caught:
        http("wss://node.example/SECRET")
    assert "SECRET" not in str(caught.value)
    with pytest.raises(ChainError, match=r"http://127\.0\.0\.1:9 did not answer") as gone:
        connect("http://127.0.0.1:9/SECRET", sleep=lambda seconds: None)
    assert "SECRET" not in str(gone.value)


def test_addresses_and_limits_are_checked() -> None:
    assert address("0x" + "ab" * 20).lower() == "0x" + "ab" * 20
    with pytest.raises(ValueError, match="--router"):
        address("0x12", "--router")
    for wrong in ({"confirmations": 0}, {"timeout_s": 0.0}, {"max_fee_gwei": 0}):
        with pytest.raises(ValueError, match="positive"):
            Limits(**wrong)  # type: ignore[arg-type]
