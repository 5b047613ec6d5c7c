"""Attacks on deploying: files that were tampered with, nodes that lie, and what must never be said aloud."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chain.chain_world import (
    KEY,
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
from vml.chain import abi, artifacts, deployment
from vml.chain.client import Chain
from vml.chain.deploy import Deployer, Wishes
from vml.chain.deployment import Deployment, Placed
from vml.chain.embedded import EmbeddedChain
from vml.chain.generate import Generated
from vml.chain.keys import from_keystore, from_private_key
from vml.chain.rpc import Rpc
from vml.chain.transactions import Limits, NotTaken, Pending, created_at
from vml.claim import Claim, checksum_address
from vml.errors import ChainError
from vml.keccak import keccak256
from vml.proof import Proof

ROUTER, REGISTRY, ADAPTER = (artifacts.load(name) for name in ("VmlRouter", "ModelRegistry", "EzklAdapter"))
MALLORY = checksum_address(b"\x3a" * 20)
TRANSACTIONS = 7


@pytest.fixture
def generated(tmp_path: Path) -> Generated:
    return write_generated(tmp_path / "contract")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deployment.json"


def seen_through(node: Any, account: str | None = None) -> Chain:
    clock = Clock()
    rpc = Rpc(node, "a node", sleep=clock.sleep, attempts=2)
    by = None if account else signer()
    limits = Limits(timeout_s=20)
    return Chain(rpc, "test", signer=by, account=account, limits=limits, clock=clock, sleep=clock.sleep)


def sent(node: Any) -> int:
    return int(node.make_request("eth_getTransactionCount", [signer().address])["result"], 16)


def placed(chain: Chain, address: str) -> Placed:
    return Placed(address, chain.require_code(address), None)


def begun(chain: Chain, **contracts: Placed) -> Deployment:
    """A deployment file of the honest account's with these contracts in it."""
    model = {"model": "0x" + MODEL.hex(), "scheme": SCHEME}
    return Deployment(chain.chain_id, chain.genesis(), signer().address, dict(contracts), {}, model)


# ---- the deployment file ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("owner", ["mallory", "honest"])
def test_a_router_of_mallorys_in_the_file(owner: str, generated: Generated, file: Path) -> None:
    """It has the code that ships; its owner, guardian and routes are in its storage."""
    node = EmbeddedChain()
    chain, mallory = seen_through(node), seen_through(node, MALLORY)
    registry = mallory.deploy(REGISTRY.bytecode)
    whose = MALLORY if owner == "mallory" else signer().address
    router = mallory.deploy(ROUTER.bytecode, ROUTER.abi, (whose, MALLORY, registry))
    if owner == "mallory":
        mallory.transact(router, ROUTER.abi, "addRoute", mallory.deploy(ADAPTER.bytecode, ADAPTER.abi, (SCHEME,)))
    begun(chain, registry=placed(chain, registry), router=placed(chain, router)).save(file)
    with pytest.raises(ChainError, match="was not created by"):
        Deployer(seen_through(node), file).run(generated)
    assert sent(node) == 0, "nothing was sent"
    if owner == "mallory":
        state = Deployer(seen_through(node), file).run(generated, Wishes(router=router))
        assert state.contracts["router"].address == router, "asked for by name it is used"


def test_an_adapter_of_mallorys_in_the_file(generated: Generated, file: Path) -> None:
    """One that likes every proof, routed by a router that was asked for by name."""
    node = EmbeddedChain()
    chain = seen_through(node)
    registry = chain.deploy(REGISTRY.bytecode)
    # What addRoute asks: supportsInterface and scheme. Answers true to the former but for 0xffffffff, then anything.
    word = abi.encode(["string"], [SCHEME])
    runtime = _liar(word)
    liar = chain.deploy(creation_of(runtime))
    router = chain.deploy(ROUTER.bytecode, ROUTER.abi, (signer().address, MALLORY, registry))
    chain.transact(router, ROUTER.abi, "addRoute", liar)
    contracts = {"registry": registry, "router": router, "adapter": liar}
    begun(chain, **{name: placed(chain, at) for name, at in contracts.items()}).save(file)
    before = sent(node)
    with pytest.raises(ChainError, match="another adapter than the one to deploy"):
        Deployer(seen_through(node), file).run(generated, Wishes(router=router))
    assert sent(node) == before


def _liar(scheme: bytes) -> bytes:
    """A contract that says what a router wants to hear.

    supportsInterface(0xffffffff) is false, scheme() is the given one, everything else is true.
    """
    # PUSH0 CALLDATALOAD PUSH1 224 SHR DUP1 PUSH4 scheme() EQ PUSH1 at JUMPI
    head = bytes.fromhex("5f3560e01c80637c9fcba2".replace("7c9fcba2", keccak256(b"scheme()")[:4].hex()) + "14")
    # PUSH1 4 CALLDATALOAD PUSH1 224 SHR PUSH4 ffffffff EQ ISZERO PUSH0 MSTORE PUSH1 32 PUSH0 RETURN
    answer = bytes.fromhex("60043560e01c63ffffffff14155f5260205ff3")
    target = len(head) + 3 + len(answer)
    # JUMPDEST PUSH1 size PUSH1 from PUSH0 CODECOPY PUSH1 size PUSH0 RETURN
    copy_size = 1 + 2 + 2 + 1 + 1 + 2 + 1 + 1
    copy = bytes([0x5B, 0x60, len(scheme), 0x60, target + copy_size, 0x5F, 0x39, 0x60, len(scheme), 0x5F, 0xF3])
    return head + bytes([0x60, target, 0x57]) + answer + copy + scheme


def test_a_verifier_of_mallorys_in_the_file(generated: Generated, file: Path) -> None:
    """Named with --verifier and in the file, it still has to have the generated code."""
    node = EmbeddedChain()
    chain = seen_through(node)
    liar = chain.deploy(creation_of(YES + b"\0"))
    begun(chain, verifier=placed(chain, liar)).save(file)
    with pytest.raises(ChainError, match="another verifier than the one to deploy"):
        Deployer(seen_through(node), file).run(generated, Wishes(verifier=liar))


def test_a_pending_transaction_of_mallorys(generated: Generated, file: Path) -> None:
    """A creation that she signed would leave the code that ships, with her as owner."""
    node = EmbeddedChain()
    chain = seen_through(node)
    other = from_private_key("0x" + "5d" * 32)
    fields = {"type": 2, "chainId": 31337, "nonce": 0, "gas": 3_000_000, "data": REGISTRY.bytecode, "value": 0}
    raw = other.sign(fields | {"maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**10})
    pending = Pending("0x" + keccak256(raw).hex(), other.address, 0, None, REGISTRY.bytecode, 3_000_000, raw)
    state = begun(chain)
    state.pending = "registry", pending
    state.save(file)
    with pytest.raises(ChainError, match="waits for a transaction of"):
        Deployer(seen_through(node), file).run(generated)
    assert not chain.code(created_at(other.address, 0)), "it was not sent"


@pytest.mark.parametrize(
    "change",
    [
        {"raw": "0x", "hash": "0x" + keccak256(b"").hex()},
        {"raw": "0x"},
        {"nonce": -1},
        {"nonce": 1 << 64},
        {"gas": -1},
        {"value": "-0x1"},
        {"hash": "0x" + "00" * 32},
    ],
)
def test_a_pending_transaction_that_nobody_signed(change: dict[str, Any]) -> None:
    """Without signed bytes a node with unlocked accounts would be asked to pay from one."""
    raw = signed(0, b"\x00")
    value = Pending("0x" + keccak256(raw).hex(), signer().address, 0, None, b"\x00", 3_000_000, raw).to_json()
    assert Pending.from_json(value).raw == raw
    with pytest.raises(ValueError, match="damaged"):
        Pending.from_json(value | change)


# ---- nodes -----------------------------------------------------------------------------------------------------------


class Forgetful(Liar):
    """Takes a transaction, does not mine it until asked, and refuses to hear of it again."""

    def __init__(self, behind: Any, refusals: int) -> None:
        super().__init__(behind)
        self.held: list[Any] = []
        self.refusals = refusals

    def make_request(self, method: str, params: Any) -> Any:
        if method == "eth_sendRawTransaction" and self.refusals >= 0:
            if not self.held:
                self.held = list(params)
                return {"result": "0x" + keccak256(bytes.fromhex(params[0][2:])).hex()}
            if self.refusals:
                self.refusals -= 1
                return {"error": {"code": -32000, "message": "txpool is full"}}
            self.refusals = -1
            self.behind.make_request(method, self.held)
            return {"error": {"code": -32000, "message": "txpool is full"}}
        return super().make_request(method, params)


def test_a_transaction_that_was_taken_is_not_forgotten_when_it_is_refused_again(
    generated: Generated, file: Path
) -> None:
    """Others have it, so that signing another one would deploy twice."""
    node = Forgetful(EmbeddedChain(), 2)
    state = Deployer(seen_through(node), file).run(generated)
    assert sent(node) == TRANSACTIONS
    assert state.contracts["registry"].address == created_at(signer().address, 0)


def test_a_transaction_that_is_refused_for_ever_stays_in_the_file(generated: Generated, file: Path) -> None:
    node = Forgetful(EmbeddedChain(), 10_000)
    with pytest.raises(ChainError, match=r"sends nothing twice .*txpool is full") as caught:
        Deployer(seen_through(node), file).run(generated)
    assert not isinstance(caught.value, NotTaken)
    kept = deployment.load(file)
    assert kept is not None
    assert kept.pending is not None
    node.refusals = -1
    Deployer(seen_through(node), file).run(generated)
    assert sent(node) == TRANSACTIONS


def test_a_creation_that_an_earlier_run_had_sent_counts(generated: Generated, file: Path) -> None:
    """Forgotten by us and mined after all: the contract is at the address that the nonce gives it."""
    node = EmbeddedChain()
    liar = Liar(node)
    earlier = signed(0, REGISTRY.bytecode)

    def first(true: Any, params: list[Any]) -> Any:
        del liar.lies["eth_estimateGas"]
        return true

    def swap(method: str, params: Any) -> Any:
        if method == "eth_sendRawTransaction" and sent(node) == 0:
            node.make_request(method, ["0x" + earlier.hex()])
        return original(method, params)

    original = liar.make_request
    liar.make_request = swap  # type: ignore[method-assign]
    liar.lies["eth_estimateGas"] = first
    state = Deployer(seen_through(liar), file).run(generated)
    assert state.contracts["registry"].transaction is None
    assert sent(node) == TRANSACTIONS


@pytest.mark.parametrize(
    ("method", "lie"),
    [
        ("eth_chainId", lambda true, params: "0x1"),
        ("eth_getCode", lambda true, params: "0x00"),
        ("eth_getTransactionCount", lambda true, params: hex(2**200)),
        ("eth_estimateGas", lambda true, params: hex(2**255)),
        ("eth_maxPriorityFeePerGas", lambda true, params: hex(2**255)),
        ("eth_getBlockByNumber", lambda true, params: {**true, "baseFeePerGas": hex(2**255)}),
        ("eth_sendRawTransaction", lambda true, params: "0x" + "00" * 32),
        ("eth_getTransactionReceipt", lambda true, params: true and {**true, "contractAddress": MALLORY}),
        ("eth_getTransactionReceipt", lambda true, params: true and {**true, "logs": [1]}),
        ("eth_getTransactionReceipt", lambda true, params: {"blockHash": 7}),
        ("eth_call", lambda true, params: "0x"),
        ("eth_call", lambda true, params: "0x" + "ff" * 31),
    ],
)
def test_no_lie_is_more_than_a_chain_error(
    method: str, lie: Callable[[Any, list[Any]], Any], generated: Generated, file: Path
) -> None:
    """And no lie has the deployer sign with a key that then shows up in what is said about it."""
    liar = Liar(EmbeddedChain())
    liar.lies[method] = lie
    try:
        Deployer(seen_through(liar), file).run(generated)
    except ChainError as error:
        said = "".join(traceback.format_exception(error))
        assert KEY[2:] not in said
        assert str(int(KEY, 16)) not in said
    else:
        assert method == "eth_chainId", "another id on both sides of the deployment is no contradiction"
    if file.exists():
        assert KEY[2:] not in file.read_text()


# ---- keys ------------------------------------------------------------------------------------------------------------


def test_keys_are_never_said(tmp_path: Path) -> None:
    secrets = ["0x" + "ff" * 32, "0x" + "00" * 32, KEY + "0", "0x" + "g1" * 32, "correct horse battery staple"]
    for secret in secrets:
        with pytest.raises(ValueError, match="private key") as caught:
            from_private_key(secret)
        assert secret.removeprefix("0x") not in "".join(traceback.format_exception(caught.value))
    account = signer()
    assert KEY[2:] not in repr(account) + str(account) + f"{account!r:s}"
    with pytest.raises(ChainError) as failed:
        account.sign({"type": 2, "chainId": "not a number"})
    assert KEY[2:] not in "".join(traceback.format_exception(failed.value))
    keystore, password = tmp_path / "keystore.json", "hunter" * 2
    for content in ('{"crypto": 1}', '{"crypto": {"kdf": "none"}, "version": 3}', '{"version": 3}', "[]", "\x00"):
        keystore.write_text(content)
        with pytest.raises(ValueError, match="keystore") as refused:
            from_keystore(keystore, password)
        assert password not in "".join(traceback.format_exception(refused.value))


# ---- a proof for another use -----------------------------------------------------------------------------------------


def test_a_router_that_answers_for_another_scheme_or_not_at_all(generated: Generated, file: Path) -> None:
    """The honest proof with every other selector, and with selectors whose routes were never added."""
    node = EmbeddedChain()
    chain = seen_through(node)
    state = Deployer(chain, file).run(generated)
    router, key = state.contracts["router"].address, bytes.fromhex(state.model["key"][2:])
    claim, transcript, words = honest()
    proof = encoded(transcript, words)
    assert chain.call(router, ROUTER.abi, "tryVerify", key, claim, proof) == (True, proof[:4])
    for selector in (bytes(4), b"\xff" * 4, proof[:3] + bytes([proof[3] ^ 1])):
        assert chain.call(router, ROUTER.abi, "tryVerify", key, claim, selector + proof[4:]) == (False, selector)
    for length in range(4):
        assert chain.call(router, ROUTER.abi, "tryVerify", key, claim, proof[:length]) == (False, bytes(4))
    other = replace(state.contracts["verifier"], address=MALLORY)
    replace(state, contracts={**state.contracts, "verifier": other}).save(file)
    with pytest.raises(ChainError, match="no contract at"):
        Deployer(chain, file).run(generated)


def test_a_contract_that_somebody_sent_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that likes every proof says that it is the model's; the command says that this is its maker's word."""
    from vml.chain import store
    from vml.cli.contract import _generated

    class Heard:
        def __init__(self) -> None:
            self.notes: list[str] = []

        def note(self, text: str) -> None:
            self.notes.append(text)

    monkeypatch.setenv("VML_CACHE_DIR", str(tmp_path / "cache"))
    claim, transcript, words = honest()
    envelope = Proof(SCHEME, (Claim(*claim),), {}, encoded(transcript, words))
    sent_by_mallory = write_generated(tmp_path / "sent")
    out: Any = Heard()
    assert _generated(out, envelope, sent_by_mallory.folder) == sent_by_mallory
    assert "worth what its maker is" in out.notes.pop()
    mine = write_generated(store.place(MODEL, False), YES + b"\0")
    assert not store.is_own(sent_by_mallory, MODEL)
    assert _generated(out, envelope, sent_by_mallory.folder) == sent_by_mallory
    assert out.notes.pop()
    copied = write_generated(tmp_path / "copy", YES + b"\0")
    assert store.is_own(copied, MODEL)
    assert _generated(out, envelope, copied.folder) == copied
    assert _generated(out, envelope, None) == mine
    assert not out.notes


@pytest.mark.slow
@pytest.mark.parametrize("reusable", [False, True], ids=["plain", "reusable"])
def test_words_of_a_proof_that_are_the_same_modulo_something(
    reusable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scalars and coordinates with a modulus added, points negated, zero: another transcript is another proof."""
    from tests.chain.ezkl_world import World, enter, on_chain_case, raw
    from vml.backends.ezkl.bn254 import P, R
    from vml.backends.types import Visibility
    from vml.chain.generate import generate

    monkeypatch.setenv("VML_CACHE_DIR", str(tmp_path / "cache"))
    case = on_chain_case(tmp_path / "cache", Visibility(input="hashed"))
    entry = enter(World(), case, generate(case.circuit, tmp_path / "generated", reusable=reusable))
    honest_proof = case.payload.proof
    assert entry.holds(case.claim, raw(case.proof))
    for at in range(0, len(honest_proof), 32):
        word = int.from_bytes(honest_proof[at : at + 32], "big")
        for value in (word + R, word + P, abs(P - word), (R - word) % 2**256, 0, 2**256 - 1):
            if value == word or value >= 2**256:
                continue
            changed = honest_proof[:at] + value.to_bytes(32, "big") + honest_proof[at + 32 :]
            assert not entry.holds(case.claim, raw(case.with_payload(proof=changed))), (at, value)
        infinity = honest_proof[:at] + bytes(64) + honest_proof[at + 64 :]
        if len(infinity) == len(honest_proof):
            assert not entry.holds(case.claim, raw(case.with_payload(proof=infinity))), at
