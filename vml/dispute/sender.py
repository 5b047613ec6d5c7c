"""Sending moves: one transaction a move and nonce, within a budget, again for a higher fee when nobody mines it.

::

    signed and written down ── sent ── mined ── deep enough: done
                                 │       └ reorganised away: sent again as it is
                                 └ stuck: the same move for a higher fee at the same nonce; or, where the move would
                                   fail by now, nothing at all at that nonce, so that later ones are not held up
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vml.chain.client import GWEI, Chain
from vml.chain.rpc import Refused, octets, quantity, record, reverted
from vml.chain.transactions import (
    TRANSACTION_BYTES,
    TRANSACTION_GAS,
    NotTaken,
    Pending,
    floor_gas,
    require_sendable,
)
from vml.dispute.calls import Call, contract_abi, move_id
from vml.dispute.store import CANCEL, FAILED, MINED, OUT, REFUSED, REPLACED, Sent, Store
from vml.errors import ChainError
from vml.keccak import keccak256

TRIES = 4
"""How often a move that failed on the chain is sent anew."""
MISSING_LOOKS = 3
"""How often a transaction may be missing after its nonce was used before it counts as replaced."""
CANCEL_GAS = 21_000


@dataclass(frozen=True)
class Budget:
    """What may be spent. Nothing beyond is sent.

    Args:
        max_stake: wei in bonds at the same time; None is no limit.
        max_fee: wei for a unit of gas.
        max_gas: gas of all transactions together, as long as the player's file exists; None is no limit.
    """

    max_stake: int | None = None
    max_fee: int = 500 * GWEI
    max_gas: int | None = None

    def __post_init__(self) -> None:
        if min(self.max_fee, 1 if self.max_stake is None else self.max_stake + 1, self.max_gas or 1) < 1:
            raise ValueError("budgets are positive")


class OverBudget(ChainError):
    """A move was not made because it would cost more than is allowed."""


class Unwanted(ChainError):
    """The chain would refuse the move as things stand: somebody else was faster, or it is too early or too late."""


@dataclass(frozen=True)
class News:
    """What became of a transaction since the last look."""

    sent: Sent
    state: str


class Sender:
    """Sends for one account to one contract.

    Args:
        chain: with a signer, or without one for a player that only says what it would do.
        game: the contract's address.
        store: remembers.
        budget: bounds.
        stuck_s: after so many seconds without a block a transaction is sent again for a higher fee.
        settled: blocks that hold a transaction before it is no longer looked after.
        clock: seconds since any fixed moment that outlives the process.
    """

    def __init__(
        self,
        chain: Chain,
        game: str,
        store: Store,
        budget: Budget,
        *,
        stuck_s: float = 90.0,
        settled: int = 64,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.chain, self.game, self.store, self.budget = chain, game, store, budget
        self._stuck_s, self._settled, self._clock = stuck_s, settled, clock
        self._missing: dict[int, int] = {}

    # ---- a move ----------------------------------------------------------------------------------------------------

    def under_way(self, move: bytes) -> bool:
        """Whether a move is sent and may still happen, has just happened, or failed too often."""
        states = [sent.state for sent in self.store.sent(move=move) if sent.kind != CANCEL]
        return OUT in states or MINED in states or states.count(FAILED) >= TRIES

    def gas(self, call: Call) -> int:
        """Gas that a move needs now, a fifth added.

        Raises:
            Unwanted: the contract would refuse it.
            ChainError: too large, or the node does not answer.
        """
        data = call.data()
        require_sendable(data, creates=False)
        request = {"to": self.game, "data": "0x" + data.hex(), "value": hex(call.value)}
        if self.chain.sender:
            request["from"] = self.chain.sender
        needed = max(self._estimate(request, call.name), floor_gas(data, creates=False))
        if needed > TRANSACTION_GAS:
            raise ChainError(f"{call.name} needs {needed} gas, a transaction may use {TRANSACTION_GAS} (EIP-7825)")
        return min(needed + needed // 5, TRANSACTION_GAS)

    def send(self, call: Call, kind: str, about: str, *, stake: int, epoch: bytes = b"") -> Sent:
        """Sign a move, write it down, send it.

        Args:
            kind, about: for people.
            stake: wei that are at stake already.
            epoch: as `move_id`.

        Raises:
            OverBudget: it would cost too much; nothing was signed.
            Unwanted: it would fail; nothing was signed.
            ChainError: the node does not answer; what was signed is sent later.
        """
        if self.chain.signer is None:
            raise ChainError(
                "nobody can sign: give --keystore FILE, or a key in VML_PRIVATE_KEY (never on the command line)"
            )
        if self.budget.max_stake is not None and call.value and stake + call.value > self.budget.max_stake:
            raise OverBudget(
                f"{kind} takes {call.value} wei, {stake} wei are at stake, {self.budget.max_stake} wei are allowed"
            )
        gas = self.gas(call)
        self._require_gas(gas, kind)
        fee, tip = self._fees(kind)
        return self._sign(move_id(call, epoch), kind, about, self._nonce(), call.data(), call.value, gas, fee, tip)

    def stake_under_way(self, after: int) -> int:
        """Wei that transactions take along which blocks up to `after` do not show."""
        out = sum(sent.value for sent in _latest(self.store.sent(state=OUT)))
        return out + sum(sent.value for sent in self.store.sent(state=MINED) if (sent.block or 0) > after)

    # ---- what is out -----------------------------------------------------------------------------------------------

    def look_after(self) -> list[News]:
        """See what became of everything that is out, and send again what has to be.

        Raises:
            ChainError: the node does not answer.
        """
        news: list[News] = []
        out = self.store.sent(state=OUT)
        recent = self._recent()
        if not out and not recent:
            return news
        used = self.chain.rpc.number("eth_getTransactionCount", self._sender(), "latest")
        for sent in recent:
            if self._receipt(sent) is None:
                # Its block is gone. The transaction may come back by itself, and is sent again if it does not.
                self.store.mark([sent.hash], OUT)
                news.append(News(sent, OUT))
        for nonce in sorted({sent.nonce for sent in out}):
            group = [sent for sent in out if sent.nonce == nonce]
            news += self._look(group, used)
        return news

    def _look(self, group: list[Sent], used: int) -> list[News]:
        """All transactions of one nonce: at most one of them happens."""
        for sent in group:
            receipt = self._receipt(sent)
            if receipt is not None:
                state = MINED if quantity(receipt.get("status"), "a receipt's status") == 1 else FAILED
                block = quantity(receipt.get("blockNumber"), "a receipt's block")
                self.store.mark([sent.hash], state, block, quantity(receipt.get("gasUsed"), "a receipt's gas"))
                self.store.mark([other.hash for other in group if other.hash != sent.hash], REPLACED)
                self._missing.pop(sent.nonce, None)
                return [News(sent, state)]
        newest = group[-1]
        if used > newest.nonce:
            looks = self._missing[newest.nonce] = self._missing.get(newest.nonce, 0) + 1
            if looks < MISSING_LOOKS:
                return []
            self.store.mark([sent.hash for sent in group], REPLACED)
            return [News(newest, REPLACED)]
        if self._clock() - newest.at >= self._stuck_s:
            return self._raise_fee(newest)
        if self.chain.rpc.ask("eth_getTransactionByHash", newest.hash) is None:
            self._broadcast(newest)
        return []

    def _raise_fee(self, stuck: Sent) -> list[News]:
        """The same again for more, or nothing for more where the move would fail by now."""
        market, tip = self._fees(stuck.kind, bounded=False)
        # Nodes ask for a tenth more before they let one transaction replace another.
        fee, tip = max(market, stuck.fee + stuck.fee // 8 + 1), max(tip, stuck.tip + stuck.tip // 8 + 1)
        if fee > self.budget.max_fee:
            self._broadcast(stuck)
            raise OverBudget(
                f"{stuck.kind} waits with nonce {stuck.nonce}: to replace it costs {fee / GWEI:.2f} gwei a unit of "
                f"gas, {self.budget.max_fee / GWEI:.2f} are allowed"
            )
        request = {
            "to": stuck.receiver,
            "from": self._sender(),
            "data": "0x" + stuck.data.hex(),
            "value": hex(stuck.value),
        }
        try:
            if stuck.kind != CANCEL:
                self._estimate(request, stuck.kind)
            again = stuck.kind, stuck.data, stuck.value, stuck.gas, stuck.receiver
        except Unwanted:
            again = CANCEL, b"", 0, CANCEL_GAS, self._sender()
        kind, data, value, gas, receiver = again
        sent = self._sign(stuck.move, kind, stuck.about, stuck.nonce, data, value, gas, fee, tip, receiver)
        return [News(sent, OUT)]

    # ---- within ----------------------------------------------------------------------------------------------------

    def _sign(
        self,
        move: bytes,
        kind: str,
        about: str,
        nonce: int,
        data: bytes,
        value: int,
        gas: int,
        fee: int,
        tip: int,
        receiver: str | None = None,
    ) -> Sent:
        signer = self.chain.signer
        assert signer is not None  # `send` saw to it, and nothing is out without one
        receiver = receiver or self.game
        raw = signer.sign(
            {
                "type": 2,
                "chainId": self.chain.chain_id,
                "nonce": nonce,
                "gas": gas,
                "to": receiver,
                "data": data,
                "value": value,
                "maxFeePerGas": fee,
                "maxPriorityFeePerGas": tip,
            }
        )
        if len(raw) > TRANSACTION_BYTES:
            raise ChainError(f"{kind} makes a transaction of {len(raw)} bytes, nodes pass on {TRANSACTION_BYTES}")
        digest = "0x" + keccak256(raw).hex()
        sent = Sent(digest, move, kind, about, nonce, receiver, data, value, gas, raw, fee, tip, self._clock())
        self.store.add_sent(sent)
        self._broadcast(sent)
        return sent

    def _broadcast(self, sent: Sent) -> None:
        pending = Pending(
            sent.hash, self._sender(), sent.nonce, sent.receiver, sent.data, sent.gas, sent.raw, sent.value
        )
        try:
            self.chain.broadcast(pending)
        except NotTaken as error:
            others = [other for other in self.store.sent(state=OUT) if other.nonce >= sent.nonce]
            if [other.hash for other in others] == [sent.hash]:
                # Nobody has it and nothing waits behind it: as if it had never been signed.
                self.store.mark([sent.hash], REFUSED)
            raise ChainError(f"{sent.kind} was not taken: {error}", error=error.error) from None

    def _nonce(self) -> int:
        known = self.chain.rpc.number("eth_getTransactionCount", self._sender(), "pending")
        return max([known, *(sent.nonce + 1 for sent in self.store.sent(state=OUT))])

    def _fees(self, kind: str, *, bounded: bool = True) -> tuple[int, int]:
        """Most for a unit of gas, and the tip in it: twice the base fee and the tip."""
        block = record(self.chain.rpc.ask("eth_getBlockByNumber", "latest", False), "the latest block")
        base = quantity(block.get("baseFeePerGas"), "the base fee")
        try:
            tip = self.chain.rpc.number("eth_maxPriorityFeePerGas")
        except Refused:
            tip = GWEI
        fee = 2 * base + tip
        if bounded and base + tip > self.budget.max_fee:
            raise OverBudget(
                f"{kind} waits: gas costs {(base + tip) / GWEI:.2f} gwei, {self.budget.max_fee / GWEI:.2f} are allowed"
            )
        return (min(fee, self.budget.max_fee), min(tip, self.budget.max_fee)) if bounded else (fee, tip)

    def _require_gas(self, gas: int, kind: str) -> None:
        if self.budget.max_gas is None:
            return
        out = sum(sent.gas for sent in _latest(self.store.sent(state=OUT)))
        spent = self.store.gas_used() + out
        if spent + gas > self.budget.max_gas:
            raise OverBudget(f"{kind} takes {gas} gas, {spent} are spent, {self.budget.max_gas} are allowed")

    def _estimate(self, request: Mapping[str, str], kind: str) -> int:
        try:
            return self.chain.rpc.number("eth_estimateGas", request)
        except Refused as refused:
            errors = [entry for entry in contract_abi() if entry["type"] == "error"]
            why = reverted(refused, f"{kind} would fail", errors)
            if refused.data is None:
                raise why from None
            raise Unwanted(str(why), error=why.error, arguments=why.arguments) from None

    def _recent(self) -> list[Sent]:
        """Mined, and not deep enough to be forgotten."""
        mined = self.store.sent(state=MINED)
        if not mined:
            return []
        head = self.chain.rpc.number("eth_blockNumber")
        return [sent for sent in mined if (sent.block or 0) > head - self._settled]

    def _receipt(self, sent: Sent) -> Mapping[str, Any] | None:
        found = self.chain.rpc.ask("eth_getTransactionReceipt", sent.hash)
        if found is None:
            return None
        receipt = record(found, "a receipt")
        if receipt.get("blockHash") is None:
            return None
        if "0x" + octets(receipt.get("transactionHash"), "a receipt's hash", 32).hex() != sent.hash:
            raise ChainError("the node's receipt is about another transaction; do not trust this node")
        return receipt

    def _sender(self) -> str:
        assert self.chain.sender is not None
        return self.chain.sender


def _latest(sent: list[Sent]) -> list[Sent]:
    """The last transaction of every nonce."""
    return list({each.nonce: each for each in sent}.values())
