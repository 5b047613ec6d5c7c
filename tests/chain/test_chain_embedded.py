"""The embedded EVM as a node: what web3.py and our client see of it."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from tests.chain.chain_world import KEY, creation_of, signer
from vml.chain import abi, artifacts
from vml.chain.embedded import ACCOUNT, FORK, RULES, EmbeddedChain
from vml.keccak import keccak256

REGISTRY = artifacts.load("ModelRegistry")
ENTRY = (b"\1" * 32, b"\2" * 32, b"\3" * 32, b"\4" * 4, "a uri")
CLOCK = bytes.fromhex("4260005246602052436040525f545f1a60605260806000f3")  # TIMESTAMP, CHAINID, NUMBER
SPENDS = bytes.fromhex("5b5f56")  # a loop without an end


@pytest.fixture
def chain() -> EmbeddedChain:
    return EmbeddedChain()


def ask(chain: EmbeddedChain, method: str, *params: Any) -> Any:
    answer = chain.make_request(method, list(params))
    assert "error" not in answer, answer
    return answer["result"]


def refusal(chain: EmbeddedChain, method: str, *params: Any) -> dict[str, Any]:
    error: dict[str, Any] = chain.make_request(method, list(params))["error"]
    return error


def create(chain: EmbeddedChain, creation: bytes) -> dict[str, Any]:
    digest = ask(chain, "eth_sendTransaction", {"data": "0x" + creation.hex()})
    receipt: dict[str, Any] = ask(chain, "eth_getTransactionReceipt", digest)
    return receipt


def test_it_says_which_rules_it_executes(chain: EmbeddedChain) -> None:
    assert RULES == f"{FORK}, embedded" == "cancun, embedded"
    assert RULES in ask(chain, "web3_clientVersion")


def test_it_executes_cancun_and_nothing_later(chain: EmbeddedChain) -> None:
    """Transient storage is there; CLZ (Osaka) and P-256 are not."""
    stores = create(chain, creation_of(bytes.fromhex("602a5f5d5f5c5f5260205ff3")))["contractAddress"]
    assert int(ask(chain, "eth_call", {"to": stores}), 16) == 42
    counts = create(chain, creation_of(bytes.fromhex("60011e5f5260205ff3")))["contractAddress"]
    assert "OpcodeNotFound" in refusal(chain, "eth_call", {"to": counts})["message"]
    p256 = "0x0000000000000000000000000000000000000100"
    assert ask(chain, "eth_call", {"to": p256, "data": "0x" + "00" * 160}) == "0x"


def test_a_contract_through_web3(chain: EmbeddedChain) -> None:
    web3 = pytest.importorskip("web3")
    from vml.chain.provider import EmbeddedProvider

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        w3 = web3.Web3(EmbeddedProvider())
        assert w3.is_connected()
        factory = w3.eth.contract(abi=list(REGISTRY.abi), bytecode=REGISTRY.bytecode)
        created = w3.eth.wait_for_transaction_receipt(factory.constructor().transact({"from": ACCOUNT}))
        contract = w3.eth.contract(address=created.contractAddress, abi=list(REGISTRY.abi))
        receipt = w3.eth.wait_for_transaction_receipt(
            contract.functions.registerModel(ENTRY).transact({"from": ACCOUNT})
        )
        (event,) = contract.events.ModelRegistered().process_receipt(receipt)
        assert event.args.owner == ACCOUNT
        assert contract.functions.keyOf(ACCOUNT, ENTRY[0]).call() == event.args.modelId.to_bytes(32, "big")
        with pytest.raises(web3.exceptions.ContractCustomError):
            contract.functions.registerModel(ENTRY).call({"from": ACCOUNT})
        assert w3.eth.get_block("latest").number == 2


def test_code_is_what_was_deployed(chain: EmbeddedChain) -> None:
    """pyrevm pads the code it analyses; what ends in zeros of its own is not cut."""
    for runtime in (b"\0", b"\0" * 40, bytes.fromhex("60015f5260205ff3"), b"\x60" + b"\0" * 33):
        address = create(chain, creation_of(runtime))["contractAddress"]
        assert ask(chain, "eth_getCode", address) == "0x" + runtime.hex()
    assert ask(chain, "eth_getCode", "0x" + "77" * 20) == "0x"


def test_calls_change_nothing(chain: EmbeddedChain) -> None:
    address = create(chain, REGISTRY.bytecode)["contractAddress"]
    data = "0x" + abi.encode_call(REGISTRY.abi, "registerModel", [ENTRY]).hex()
    first = ask(chain, "eth_call", {"to": address, "data": data})
    assert ask(chain, "eth_call", {"to": address, "data": data}) == first
    assert int(ask(chain, "eth_estimateGas", {"to": address, "data": data}), 16) > 21_000
    before = ask(chain, "eth_blockNumber")
    ask(chain, "eth_sendTransaction", {"to": address, "data": data})
    assert int(ask(chain, "eth_blockNumber"), 16) == int(before, 16) + 1
    error = refusal(chain, "eth_call", {"to": address, "data": data})
    assert error["code"] == 3
    assert (
        abi.decode_revert(bytes.fromhex(error["data"][2:]), REGISTRY.abi and artifacts.errors()).name == "ModelExists"
    )


def test_the_estimate_suffices_and_less_does_not(chain: EmbeddedChain) -> None:
    gas = int(ask(chain, "eth_estimateGas", {"data": "0x" + REGISTRY.bytecode.hex()}), 16)
    digest = ask(chain, "eth_sendTransaction", {"data": "0x" + REGISTRY.bytecode.hex(), "gas": hex(gas)})
    receipt = ask(chain, "eth_getTransactionReceipt", digest)
    assert receipt["status"] == "0x1"
    assert int(receipt["gasUsed"], 16) <= gas <= int(receipt["gasUsed"], 16) * 1.01
    short = hex(int(receipt["gasUsed"], 16) - 1000)
    digest = ask(chain, "eth_sendTransaction", {"data": "0x" + REGISTRY.bytecode.hex(), "gas": short})
    assert ask(chain, "eth_getTransactionReceipt", digest)["status"] == "0x0"
    assert refusal(chain, "eth_call", {"to": "0x" + "00" * 20, "gas": "0x10"})["message"] == "out of gas"


def test_endless_work_ends(chain: EmbeddedChain) -> None:
    address = create(chain, creation_of(SPENDS))["contractAddress"]
    assert refusal(chain, "eth_call", {"to": address, "gas": hex(1_000_000)})["message"] == "out of gas"


def test_code_over_the_limit_is_refused(chain: EmbeddedChain) -> None:
    large = creation_of(b"\0" * 24_577)
    assert refusal(chain, "eth_estimateGas", {"data": "0x" + large.hex()})["message"] == "max code size exceeded"
    create(chain, creation_of(b"\0" * 24_576))


def test_time_numbers_and_value(chain: EmbeddedChain) -> None:
    address = create(chain, creation_of(CLOCK))["contractAddress"]

    def now() -> list[int]:
        words = bytes.fromhex(ask(chain, "eth_call", {"to": address})[2:])
        return [int.from_bytes(words[at : at + 32], "big") for at in (0, 32, 64)]

    first = now()
    assert first[1:] == [31337, 1]
    ask(chain, "evm_increaseTime", 1000)
    ask(chain, "evm_mine")
    assert now()[0] >= first[0] + 1000
    assert now()[2] == 2
    digest = ask(chain, "eth_sendTransaction", {"to": "0x" + "99" * 20, "value": hex(5)})
    assert ask(chain, "eth_getTransactionReceipt", digest)["status"] == "0x1"
    assert ask(chain, "eth_getBalance", "0x" + "99" * 20) == "0x5"
    block = ask(chain, "eth_getBlockByNumber", "latest", False)
    assert block["transactions"] == [digest]
    assert ask(chain, "eth_getBlockByHash", block["hash"], False) == block


def test_signed_transactions_have_one_chain_and_one_nonce(chain: EmbeddedChain) -> None:
    account = signer()
    fields = {"type": 2, "gas": 100_000, "maxFeePerGas": 0, "maxPriorityFeePerGas": 0, "to": ACCOUNT, "value": 1}

    def send(**changes: int) -> dict[str, Any]:
        raw = account.sign(fields | {"chainId": 31337, "nonce": 0} | changes)
        return chain.make_request("eth_sendRawTransaction", ["0x" + raw.hex()])

    assert "chain id" in send(chainId=1)["error"]["message"]
    assert "nonce too high" in send(nonce=1)["error"]["message"]
    digest = send()["result"]
    assert ask(chain, "eth_getTransactionByHash", digest)["from"] == account.address
    assert send()["error"]["message"] == "already known"
    assert "nonce too low" in send(value=2)["error"]["message"]
    assert ask(chain, "eth_getTransactionCount", account.address) == "0x1"


def test_logs_are_found_by_address_topic_and_block(chain: EmbeddedChain) -> None:
    address = create(chain, REGISTRY.bytecode)["contractAddress"]
    data = "0x" + abi.encode_call(REGISTRY.abi, "registerModel", [ENTRY]).hex()
    ask(chain, "eth_sendTransaction", {"to": address, "data": data})
    (log,) = ask(chain, "eth_getLogs", {"fromBlock": "0x0", "address": address})
    ((name, values),) = abi.decode_logs(REGISTRY.abi, [log])
    assert (name, values["commitment"][4]) == ("ModelRegistered", "a uri")
    assert ask(chain, "eth_getLogs", {"fromBlock": "0x0", "topics": [None, log["topics"][1]]}) == [log]
    assert ask(chain, "eth_getLogs", {"fromBlock": "0x0", "topics": ["0x" + "00" * 32]}) == []
    assert ask(chain, "eth_getLogs", {"fromBlock": "0x0", "toBlock": "0x1"}) == []
    assert ask(chain, "eth_getLogs", {"fromBlock": "0x0", "address": ACCOUNT}) == []


def test_what_it_does_not_know_is_an_error(chain: EmbeddedChain) -> None:
    assert refusal(chain, "debug_traceTransaction", "0x00")["code"] == -32601
    assert refusal(chain, "eth_getCode", "0x12")["code"] == -32602
    assert refusal(chain, "eth_getCode")["code"] == -32602
    assert refusal(chain, "eth_sendRawTransaction", "0xf800")["code"] == -32000
    assert ask(chain, "eth_getTransactionReceipt", "0x" + "00" * 32) is None
    assert ask(chain, "eth_getBlockByNumber", "0xffff", False) is None


def test_where_a_contract_will_be(chain: EmbeddedChain) -> None:
    from vml.chain.transactions import created_at

    for nonce in (0, 1, 2):
        assert create(chain, creation_of(b"\1"))["contractAddress"] == created_at(ACCOUNT, nonce)
    # The example of EIP-161's time: a sender, nonces on both sides of one byte.
    sender = "0x6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0"
    assert created_at(sender, 0).lower() == "0xcd234a471b72ba2f1ccf0a70fcaba648a5eecd8d"
    assert created_at(sender, 1).lower() == "0x343c43a37d37dff08ae8c4a11544c718abb4fcf8"
    assert len({created_at(sender, n) for n in (127, 128, 255, 256, 65536)}) == 5
    assert keccak256(b"vml embedded account")[12:].hex() == ACCOUNT[2:].lower()
    assert signer().address != KEY
