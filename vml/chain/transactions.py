"""A transaction before, while and after it is sent: limits, addresses, what is remembered, what is believed.

Source: EIP-170, EIP-3860 (code), EIP-7825 (gas of a transaction), EIP-7623 (price of calldata); the 128 KiB are what
go-ethereum's pool passes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vml.chain.rpc import octets, quantity, record
from vml.claim import checksum_address, parse_address
from vml.errors import ChainError
from vml.keccak import keccak256

CODE_LIMIT = 24_576
CREATION_LIMIT = 49_152
TRANSACTION_GAS = 1 << 24
TRANSACTION_BYTES = 128 << 10
BASE_GAS, CREATION_GAS, TOKEN_GAS = 21_000, 32_000, 10
ENVELOPE_BYTES = 256
"""More than everything around the data of a signed transaction takes."""


class Replaced(ChainError):
    """Another transaction took the nonce."""


class NotTaken(ChainError):
    """The node refused the transaction, so it is on its way to nowhere."""


class Failed(ChainError):
    """The transaction is on the chain and changed nothing."""


@dataclass(frozen=True)
class Limits:
    """How patient and how generous.

    Args:
        confirmations: blocks that must hold a transaction, its own counted.
        timeout_s: seconds to wait for one transaction.
        max_fee_gwei: most that a unit of gas may cost; a node that asks for more is not obeyed.
    """

    confirmations: int = 1
    timeout_s: float = 300.0
    max_fee_gwei: int = 500

    def __post_init__(self) -> None:
        if self.confirmations < 1 or self.timeout_s <= 0 or self.max_fee_gwei < 1:
            raise ValueError("confirmations, waiting time and fee are positive")


@dataclass(frozen=True)
class Pending:
    """A transaction that was signed, and perhaps sent.

    Args:
        hash: 0x hex; empty where an unlocked account of the embedded EVM sends.
        sender: address.
        nonce: of the sender.
        to: address, None for a creation.
        data: calldata or creation code.
        gas: limit.
        raw: signed bytes; sending them twice is sending them once.
        value: sent along, in the smallest unit.
    """

    hash: str
    sender: str
    nonce: int
    to: str | None
    data: bytes
    gas: int
    raw: bytes
    value: int = 0

    @property
    def creates(self) -> str | None:
        """Where the contract will be, if this creates one."""
        return None if self.to is not None else created_at(self.sender, self.nonce)

    def to_json(self) -> dict[str, Any]:
        """What a deployment file remembers: everything needed to send it again, no secret."""
        return {
            "hash": self.hash,
            "sender": self.sender,
            "nonce": self.nonce,
            "to": self.to,
            "data": "0x" + self.data.hex(),
            "gas": self.gas,
            "value": hex(self.value),
            "raw": "0x" + self.raw.hex(),
        }

    def request(self) -> dict[str, str]:
        """The same as an unsigned call, for a node to try or to send itself."""
        fields = {"from": self.sender, "data": "0x" + self.data.hex(), "gas": hex(self.gas), "value": hex(self.value)}
        return fields | ({"to": self.to} if self.to else {})

    @classmethod
    def from_json(cls, value: Any) -> Pending:
        """Read what `to_json` wrote.

        Raises:
            ValueError: something else, or its parts do not fit together.
        """
        try:
            raw = bytes.fromhex(value["raw"][2:])
            data = bytes.fromhex(value["data"][2:])
            to = None if value["to"] is None else checksum_address(parse_address(value["to"]))
            sender = checksum_address(parse_address(value["sender"]))
            amount = int(value["value"], 16)
            found = cls(str(value["hash"]), sender, int(value["nonce"]), to, data, int(value["gas"]), raw, amount)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"a pending transaction is damaged: {error}") from None
        if not raw or not 0 <= found.nonce < 1 << 64 or found.gas < 0 or found.value < 0:
            raise ValueError("a pending transaction is damaged: it is not signed, or a number is out of bounds")
        if "0x" + keccak256(raw).hex() != found.hash:
            raise ValueError("a pending transaction is damaged: its hash is another's")
        return found


@dataclass(frozen=True)
class Receipt:
    """What a node says became of a transaction.

    Args:
        hash: of the transaction.
        block, block_hash: where it is.
        succeeded: or reverted.
        gas_used: in all.
        contract: what it created, or None.
        logs: as JSON-RPC gives them.
    """

    hash: str
    block: int
    block_hash: str
    succeeded: bool
    gas_used: int
    contract: str | None
    logs: tuple[Mapping[str, Any], ...]


def read_receipt(value: Any, pending: Pending) -> Receipt:
    """Read a receipt, and refuse one that is about something else.

    Raises:
        ChainError: it contradicts the transaction, or is not a receipt.
    """
    found = record(value, "a receipt")
    what = "a receipt's"
    digest = "0x" + octets(found.get("transactionHash"), f"{what} hash", 32).hex()
    status = quantity(found.get("status"), f"{what} status")
    to = _address(found.get("to"), what)
    created = _address(found.get("contractAddress"), what)
    lies = {
        "transaction": (digest, pending.hash),
        "sender": (_address(found.get("from"), what), pending.sender),
        "receiver": (to, pending.to),
    }
    if status == 1:
        lies["contract"] = (created, pending.creates)
    for name, (got, expected) in lies.items():
        if got != expected:
            raise ChainError(
                f"the node's receipt is about another {name}: {got}, expected {expected}; do not trust this node"
            )
    if status not in (0, 1):
        raise ChainError(f"the node's receipt has status {status}, which is neither success nor failure")
    logs = found.get("logs", [])
    if not isinstance(logs, list | tuple) or not all(isinstance(log, Mapping) for log in logs):
        raise ChainError("the node's receipt has logs that are none")
    return Receipt(
        hash=digest,
        block=quantity(found.get("blockNumber"), f"{what} block"),
        block_hash="0x" + octets(found.get("blockHash"), f"{what} block", 32).hex(),
        succeeded=status == 1,
        gas_used=quantity(found.get("gasUsed"), f"{what} gas"),
        contract=created,
        logs=tuple(logs),
    )


def created_at(sender: str, nonce: int) -> str:
    """The address of the contract that a sender's transaction creates.

    Source: Yellow Paper, section 7: keccak-256 of RLP(sender, nonce), last 20 bytes.
    """
    number = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    item = number if len(number) == 1 and number[0] < 0x80 else bytes([0x80 + len(number)]) + number
    body = b"\x94" + parse_address(sender) + item
    return checksum_address(keccak256(bytes([0xC0 + len(body)]) + body)[12:])


def require_sendable(data: bytes, *, creates: bool) -> None:
    """Refuse, before anything is sent, what no node would pass on and no block could hold.

    Raises:
        ChainError: and by how much.
    """
    if creates and len(data) > CREATION_LIMIT:
        raise ChainError(f"{len(data)} bytes of creation code, a chain takes {CREATION_LIMIT} (EIP-3860)")
    if len(data) + ENVELOPE_BYTES > TRANSACTION_BYTES:
        raise ChainError(
            f"{len(data)} bytes of calldata make a transaction of more than {TRANSACTION_BYTES} bytes, which nodes "
            "do not pass on: hash or hide the input (vml setup --hash-input), or prove a smaller model"
        )
    floor = floor_gas(data, creates=creates)
    if floor > TRANSACTION_GAS:
        raise ChainError(f"its calldata alone costs {floor} gas, a transaction may use {TRANSACTION_GAS} (EIP-7825)")


def floor_gas(data: bytes, *, creates: bool) -> int:
    """The least that a transaction with this data costs.

    Source: EIP-7623: 21,000 and 10 gas a token, 1 token a zero byte, 4 any other.
    """
    zeros = data.count(0)
    return BASE_GAS + (CREATION_GAS if creates else 0) + TOKEN_GAS * (zeros + 4 * (len(data) - zeros))


def _address(value: Any, what: str) -> str | None:
    return None if value is None else checksum_address(octets(value, f"{what} address", 20))
