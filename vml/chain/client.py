"""A chain to read from and to send to, embedded or over JSON-RPC.

Whatever fails is a `ChainError` that says what happened and what to do.

Sending is three acts, so that a caller can write down what was signed before anybody else sees it:

    pending = chain.prepare(to, data)      estimate, size and gas checks, nonce, signature
    chain.broadcast(pending)               harmless to repeat
    receipt = chain.wait(pending)          mined, as deep as asked for, still there, and about this transaction
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vml.canonical import MAX_INTEGER
from vml.chain import abi, artifacts
from vml.chain.rpc import Provider, Refused, Rpc, http, node_name, octets, quantity, record, reverted
from vml.chain.transactions import (
    TRANSACTION_BYTES,
    TRANSACTION_GAS,
    Failed,
    Limits,
    NotTaken,
    Pending,
    Receipt,
    Replaced,
    floor_gas,
    read_receipt,
    require_sendable,
)
from vml.claim import checksum_address, parse_address
from vml.errors import BackendUnavailable, ChainError
from vml.keccak import keccak256

if TYPE_CHECKING:
    from vml.chain.keys import Signer

GWEI = 10**9
FIRST_POLL_S, LAST_POLL_S = 0.05, 4.0
MISSING_POLLS = 3
"""How often a node may miss a transaction whose nonce is used before that means replacement."""

_HARMLESS = ("already known", "already imported", "alreadyknown", "known transaction", "nonce too low")


class Chain:
    """One chain, seen through one node.

    Args:
        rpc: the node.
        rules: which rules it executes, in words.
        signer: who sends; None reads only, unless `account` is given.
        account: an account that the node itself sends for, as the embedded EVM does.
        limits: patience.
        clock, sleep: seconds, and waiting.

    Raises:
        ChainError: the node does not answer.
    """

    def __init__(
        self,
        rpc: Rpc,
        rules: str,
        *,
        signer: Signer | None = None,
        account: str | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.rpc, self.rules, self.limits = rpc, rules, limits or Limits()
        self.signer, self._clock, self._sleep = signer, clock, sleep
        self.sender = account if signer is None else signer.address
        self.chain_id = rpc.number("eth_chainId")

    # ---- reading ---------------------------------------------------------------------------------------------------

    def call(self, to: str, contract: abi.Abi, name: str, *arguments: Any, sender: str | None = None) -> Any:
        """What a function answers, without a transaction.

        Args:
            to: address of the contract.
            contract: its ABI.
            name: of the function.
            arguments: of it.
            sender: msg.sender; None is the sending account, or nobody.

        Returns:
            One value bare, several as a tuple.

        Raises:
            ChainError: it reverted, with the custom error by name; or there is no such contract.
        """
        data = abi.encode_call(contract, name, arguments)
        require_sendable(data, creates=False)
        request = {"to": to, "data": "0x" + data.hex()}
        if sender or self.sender:
            request["from"] = sender or self.sender or ""
        try:
            answer = self.rpc.data("eth_call", request, "latest")
        except Refused as refused:
            raise reverted(refused, f"{name} at {to}", self._errors(contract)) from None
        try:
            return abi.decode_result(contract, name, answer)
        except ValueError:
            what = "has no code" if not self.code(to) else "is another contract"
            raise ChainError(f"{to} does not answer {name}: it {what} on chain {self.chain_id}") from None

    def code(self, address: str) -> bytes:
        """The code at an address; empty where there is none."""
        return self.rpc.data("eth_getCode", address, "latest")

    def require_code(self, address: str, code_hash: bytes | None = None) -> bytes:
        """The digest of the code at an address.

        Raises:
            ChainError: there is none, or another than `code_hash` names.
        """
        code = self.code(address)
        found = keccak256(code)
        if not code:
            raise ChainError(
                f"there is no contract at {address} on chain {self.chain_id}: it was never deployed there, the chain "
                "was reorganised, or the node is behind or lies"
            )
        if code_hash is not None and found != code_hash:
            raise ChainError(
                f"the code at {address} has the digest 0x{found.hex()}, expected 0x{code_hash.hex()}: it is another "
                "contract, or the node lies"
            )
        return found

    def genesis(self) -> str:
        """The hash of block 0: two chains may share an id, as test nodes do."""
        block = record(self.rpc.ask("eth_getBlockByNumber", "0x0", False), "block 0")
        return "0x" + octets(block.get("hash"), "block 0's hash", 32).hex()

    def estimate(self, to: str | None, data: bytes, *, value: int = 0, errors: abi.Abi = ()) -> int:
        """Gas that a transaction would use.

        Raises:
            ChainError: it would revert, with the custom error by name.
        """
        request = {"data": "0x" + data.hex(), "value": hex(value)}
        request |= {"to": to} if to else {}
        request |= {"from": self.sender} if self.sender else {}
        try:
            return self.rpc.number("eth_estimateGas", request)
        except Refused as refused:
            raise reverted(refused, "the transaction would fail", self._errors(errors)) from None

    # ---- sending ---------------------------------------------------------------------------------------------------

    def prepare(self, to: str | None, data: bytes, *, value: int = 0, errors: abi.Abi = ()) -> Pending:
        """A transaction that would succeed now, signed and not sent.

        Args:
            to: address, None creates a contract.
            data: calldata, or creation code with constructor arguments.
            value: in the smallest unit.
            errors: ABI whose errors may come.

        Raises:
            ChainError: it would fail, is too large, costs too much, or nobody can sign.
        """
        if self.sender is None:
            raise ChainError(
                "nobody can sign: give --keystore FILE, or a key in VML_PRIVATE_KEY (never on the command line)"
            )
        require_sendable(data, creates=to is None)
        needed = max(self.estimate(to, data, value=value, errors=errors), floor_gas(data, creates=to is None))
        if needed > TRANSACTION_GAS:
            raise ChainError(f"it needs {needed} gas, a transaction may use {TRANSACTION_GAS} (EIP-7825)")
        # State may change before it is mined, and what is not used is not paid.
        gas = min(needed + needed // 5, TRANSACTION_GAS)
        nonce = self.rpc.number("eth_getTransactionCount", self.sender, "pending")
        if nonce > MAX_INTEGER:
            raise ChainError(f"the node says that {self.sender} has sent {nonce} transactions; do not trust this node")
        if self.signer is None:
            return Pending("", self.sender, nonce, to, data, gas, b"", value)
        fields: dict[str, Any] = {
            "type": 2,
            "chainId": self.chain_id,
            "nonce": nonce,
            "gas": gas,
            "data": data,
            "value": value,
            **self._fees(),
        }
        raw = self.signer.sign(fields | ({"to": to} if to else {}))
        if len(raw) > TRANSACTION_BYTES:
            raise ChainError(f"the transaction has {len(raw)} bytes, nodes pass on {TRANSACTION_BYTES}")
        return Pending("0x" + keccak256(raw).hex(), self.sender, nonce, to, data, gas, raw, value)

    def broadcast(self, pending: Pending) -> Pending:
        """Give a transaction to the node; giving it again is harmless.

        Returns:
            The same, with its hash.

        Raises:
            ChainError: the node refuses it.
        """
        try:
            if not pending.raw:
                sent = self.rpc.ask("eth_sendTransaction", pending.request())
                return replace(pending, hash="0x" + octets(sent, "a transaction", 32).hex())
            answer = self.rpc.ask("eth_sendRawTransaction", "0x" + pending.raw.hex())
        except Refused as refused:
            # A nonce that is too low may be this transaction's own, already mined: waiting tells.
            if any(word in refused.reason.lower() for word in _HARMLESS) or self._receipt(pending) is not None:
                return pending
            why = reverted(refused, "the node did not take the transaction", self._errors())
            raise NotTaken(str(why), error=why.error, arguments=why.arguments) from None
        got = "0x" + octets(answer, "a transaction", 32).hex()
        if got != pending.hash:
            raise ChainError(f"the node says it sent {got}, not {pending.hash}: do not trust this node")
        return pending

    def wait(self, pending: Pending, errors: abi.Abi = ()) -> Receipt:
        """Wait until a transaction is mined, as deep as asked for, and check that it is still the same there.

        Raises:
            ChainError: it reverted, ran out of gas, was replaced, is not mined in time, or the node contradicts
                itself.
        """
        deadline, pause = self._clock() + self.limits.timeout_s, FIRST_POLL_S
        missing, moved, seen = 0, 0, ""  # polls without it after its nonce was used; reorganisations; its block
        refusal = ""
        while True:
            receipt = self._receipt(pending)
            if receipt is None:
                if seen:
                    moved, seen = moved + 1, ""
                missing = missing + 1 if self._nonce_used(pending) else 0
                if missing >= MISSING_POLLS:
                    raise Replaced(
                        f"transaction {pending.hash} was replaced: the account's nonce {pending.nonce} went to another "
                        "one; if that was not you, somebody else has the key. Run the command again to continue"
                    )
                if not missing:
                    # A node forgets what it did not mine, and a reorganisation may drop it. If it does not take it
                    # again, others may have it still: signing another one would do its work twice.
                    try:
                        self.broadcast(pending)
                    except NotTaken as error:
                        refusal = f" ({error})"
            else:
                moved += seen not in ("", receipt.block_hash)
                seen, missing = receipt.block_hash, 0
                settled = self._settled(receipt)
                moved += settled is None
                if settled:
                    return self._require_success(receipt, pending, errors)
            if self._clock() >= deadline:
                raise ChainError(self._late(pending, moved, bool(seen)) + refusal)
            self._sleep(pause)
            pause = min(pause * 1.5, LAST_POLL_S)

    def send(self, to: str | None, data: bytes, *, value: int = 0, errors: abi.Abi = ()) -> Receipt:
        """Prepare, broadcast and wait, where nothing has to be remembered in between."""
        return self.wait(self.broadcast(self.prepare(to, data, value=value, errors=errors)), errors)

    def transact(self, to: str, contract: abi.Abi, name: str, *arguments: Any, value: int = 0) -> Receipt:
        """Call a function in a transaction and wait for it."""
        return self.send(to, abi.encode_call(contract, name, arguments), value=value, errors=contract)

    def deploy(self, creation: bytes, contract: abi.Abi = (), arguments: Sequence[Any] = ()) -> str:
        """Create a contract, wait for it and see its code.

        Returns:
            Its address.
        """
        data = creation + abi.encode_constructor(contract, arguments)
        receipt = self.send(None, data, errors=contract)
        address = receipt.contract or ""
        self.require_code(address)
        return address

    # ---- within ----------------------------------------------------------------------------------------------------

    @staticmethod
    def _errors(contract: abi.Abi = ()) -> list[Mapping[str, Any]]:
        return [*(entry for entry in contract if entry["type"] == "error"), *artifacts.errors()]

    def _fees(self) -> dict[str, int]:
        """What to offer for gas: twice the base fee and the tip, as most wallets do."""
        block = record(self.rpc.ask("eth_getBlockByNumber", "latest", False), "the latest block")
        if block.get("baseFeePerGas") is None:
            raise ChainError("this chain has no base fee (EIP-1559); its transactions are of a kind vml does not send")
        base = quantity(block["baseFeePerGas"], "the base fee")
        try:
            tip = self.rpc.number("eth_maxPriorityFeePerGas")
        except Refused:
            tip = GWEI
        most = 2 * base + tip
        if most > self.limits.max_fee_gwei * GWEI:
            raise ChainError(
                f"the node asks for {most / GWEI:.0f} gwei a unit of gas, more than {self.limits.max_fee_gwei}: wait, "
                "or allow it with --max-fee"
            )
        return {"maxFeePerGas": most, "maxPriorityFeePerGas": tip}

    def _receipt(self, pending: Pending) -> Receipt | None:
        found = self.rpc.ask("eth_getTransactionReceipt", pending.hash)
        # Some nodes have receipts without a block for what is not mined yet.
        if found is None or record(found, "a receipt").get("blockHash") is None:
            return None
        return read_receipt(found, pending)

    def _nonce_used(self, pending: Pending) -> bool:
        return self.rpc.number("eth_getTransactionCount", pending.sender, "latest") > pending.nonce

    def _settled(self, receipt: Receipt) -> bool | None:
        """Whether a receipt's block is deep enough; None where the chain has another one at its height."""
        if self.rpc.number("eth_blockNumber") < receipt.block + self.limits.confirmations - 1:
            return False
        block = self.rpc.ask("eth_getBlockByNumber", hex(receipt.block), False)
        if block is None:
            return None
        held = record(block, "a block")
        same = "0x" + octets(held.get("hash"), "a block's hash", 32).hex() == receipt.block_hash
        return True if same and receipt.hash in (held.get("transactions") or ()) else None

    def _require_success(self, receipt: Receipt, pending: Pending, errors: abi.Abi) -> Receipt:
        if receipt.succeeded:
            return receipt
        what = f"transaction {receipt.hash} failed in block {receipt.block}"
        if receipt.gas_used >= pending.gas:
            raise Failed(f"{what}: it ran out of gas (limit {pending.gas}); nothing changed, run the command again")
        try:
            # A failed transaction's receipt has no reason; the same call there has.
            self.rpc.ask("eth_call", pending.request(), hex(receipt.block))
        except Refused as refused:
            why = reverted(refused, what, self._errors(errors))
            raise Failed(str(why), error=why.error, arguments=why.arguments) from None
        raise Failed(f"{what}; the same call would succeed now: run the command again")

    def _late(self, pending: Pending, moved: int, seen: bool) -> str:
        head = f"transaction {pending.hash} is not final after {self.limits.timeout_s:.0f} s"
        rest = "Run the same command again: it goes on where it stopped and sends nothing twice"
        if moved:
            return f"{head}: the chain was reorganised under it, or the node contradicts itself. {rest}"
        if seen:
            return f"{head}: it waits for {self.limits.confirmations} confirmations. {rest}"
        expected = self.rpc.number("eth_getTransactionCount", pending.sender, "latest")
        if expected < pending.nonce:
            return (
                f"{head}: nonce gap: it has nonce {pending.nonce}, the chain expects {expected} from {pending.sender}; "
                f"an earlier transaction of the account is missing. {rest}"
            )
        return f"{head}: nobody mined it. {rest}"


def connect(
    rpc: str | Provider | None,
    *,
    signer: Signer | None = None,
    chain_id: int | None = None,
    limits: Limits | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Chain:
    """A chain: embedded in this process, or behind an address.

    Args:
        rpc: http:// or https:// address, a provider of web3.py, or None for an EVM of its own in this process.
        signer: who sends.
        chain_id: which chain it must be; None takes what the node says.
        limits: patience.
        sleep: waits so many seconds.

    Raises:
        BackendUnavailable: the extra is not installed.
        ChainError: nobody answers, or it is another chain.
        ValueError: the address is none.
    """
    try:
        if rpc is None:
            from vml.chain.embedded import ACCOUNT, RULES, EmbeddedChain

            node = Rpc(EmbeddedChain(), "the embedded EVM", sleep=sleep)
            chain = Chain(node, RULES, signer=signer, account=ACCOUNT, limits=limits, sleep=sleep)
        else:
            provider = http(rpc) if isinstance(rpc, str) else rpc
            node = Rpc(provider, node_name(rpc) if isinstance(rpc, str) else type(rpc).__name__, sleep=sleep)
            rules = f"those of the node, {str(node.ask('web3_clientVersion'))[:80]}"
            chain = Chain(node, rules, signer=signer, limits=limits, sleep=sleep)
    except ImportError as error:
        raise BackendUnavailable(f"{error.name or error} is missing: pip install 'vml[chain]'") from error
    if chain_id is not None and chain.chain_id != chain_id:
        raise ChainError(f"the node is on chain {chain.chain_id}, not {chain_id}: give the address of the right one")
    return chain


def address(text: str, what: str = "address") -> str:
    """An address that a person wrote, with its checksum.

    Raises:
        ValueError: it is none; the message names `what`.
    """
    try:
        return checksum_address(parse_address(text))
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None
