"""The claim: that this model, on this input, gave this output, for this use.

A claim is four 32-byte fields. Its digest is the EIP-712 hash of::

    Claim(bytes32 model,bytes32 input,bytes32 output,bytes32 context)

under the domain ``{name: "vml", version: "1"}``, which holds no chain id on purpose: one claim is the same
statement everywhere. What binds a claim to one use is its ``context``: the EIP-712 ``hashStruct`` of::

    Context(address requester,uint256 chainId,address contract,bytes32 requestId,address payee,uint64 expiry)

or 32 zero bytes, which mean "replayable on purpose".

    hashStruct(s) = H(typeHash || encodeData(s))         every member is one 32-byte word here
    domain        = H(typeHash_domain || H("vml") || H("1"))
    digest        = H(0x19 0x01 || domain || hashStruct(claim))

with H = Keccak-256. ``verifier_contracts/src/libraries/VmlClaim.sol`` computes the same.

Source: EIP-712 (typed structured data hashing), EIP-55 (address checksums).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from vml.errors import MalformedProof
from vml.keccak import HASH_BYTES, keccak256

CLAIM_TYPE = b"Claim(bytes32 model,bytes32 input,bytes32 output,bytes32 context)"
CONTEXT_TYPE = (
    b"Context(address requester,uint256 chainId,address contract,"
    b"bytes32 requestId,address payee,uint64 expiry)"
)
DOMAIN_TYPE = b"EIP712Domain(string name,string version)"

CLAIM_TYPE_HASH = keccak256(CLAIM_TYPE)
CONTEXT_TYPE_HASH = keccak256(CONTEXT_TYPE)
DOMAIN_SEPARATOR = keccak256(keccak256(DOMAIN_TYPE) + keccak256(b"vml") + keccak256(b"1"))

ZERO_CONTEXT = bytes(HASH_BYTES)

_BYTES32 = re.compile(r"0x[0-9a-f]{64}")
_BYTES32_ANY_CASE = re.compile(r"0x[0-9a-fA-F]{64}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_LOWER_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,77}")  # 78 digits hold 2**256 - 1


def parse_bytes32(text: str) -> bytes:
    """Read 32 bytes a person or program wrote as hex.

    Args:
        text: exactly ``0x`` and 64 hex digits of either case; no blanks, no underscores.

    Returns:
        32 bytes.

    Raises:
        TypeError: not a string.
        ValueError: anything but that form.
    """
    if not isinstance(text, str):
        raise TypeError(f"expected 0x and 64 hex digits as a string, got {type(text).__name__}")
    if _BYTES32_ANY_CASE.fullmatch(text) is None:
        raise ValueError(f"expected 0x and 64 hex digits, got {text[:80]!r} ({len(text)} characters)")
    return bytes.fromhex(text[2:])


def parse_address(text: str) -> bytes:
    """Read an Ethereum address; digits of mixed case must carry the right EIP-55 checksum.

    Args:
        text: exactly ``0x`` and 40 hex digits. All digits of one case carry no checksum and are accepted.

    Returns:
        20 bytes.

    Raises:
        TypeError: not a string.
        ValueError: another form, or a wrong checksum.
    """
    if not isinstance(text, str):
        raise TypeError(f"expected 0x and 40 hex digits as a string, got {type(text).__name__}")
    if _ADDRESS.fullmatch(text) is None:
        raise ValueError(f"expected an address, 0x and 40 hex digits, got {text[:80]!r}")
    address = bytes.fromhex(text[2:])
    digits = text[2:]
    if digits not in (digits.lower(), digits.upper()) and text != checksum_address(address):
        raise ValueError(f"address {text} has a wrong EIP-55 checksum; {checksum_address(address)} is right")
    return address


def checksum_address(address: bytes) -> str:
    """Write an address with its EIP-55 checksum.

    Args:
        address: 20 bytes.

    Returns:
        ``0x`` and 40 hex digits of mixed case.

    Source: EIP-55.
    """
    _require_bytes("address", address, 20)
    digits = address.hex()
    nibbles = keccak256(digits.encode("ascii")).hex()
    return "0x" + "".join(d.upper() if int(n, 16) >= 8 else d for d, n in zip(digits, nibbles, strict=False))


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement: `model` on `input` gave `output`, for the use `context`. Each field is 32 bytes.

    Raises:
        TypeError: a field is not bytes.
        ValueError: a field is not 32 bytes long.
    """

    model: bytes
    input: bytes
    output: bytes
    context: bytes

    def __post_init__(self) -> None:
        for field in fields(self):
            _require_bytes(field.name, getattr(self, field.name), HASH_BYTES)

    def digest(self) -> bytes:
        """The 32-byte EIP-712 digest that every backend proves, signs, asserts or absorbs."""
        struct = keccak256(CLAIM_TYPE_HASH + self.model + self.input + self.output + self.context)
        return keccak256(b"\x19\x01" + DOMAIN_SEPARATOR + struct)

    def to_json(self) -> dict[str, str]:
        """The four fields as ``0x`` and 64 lower-case hex digits."""
        return {field.name: "0x" + getattr(self, field.name).hex() for field in fields(self)}

    @classmethod
    def from_json(cls, value: object) -> Claim:
        """Read what `to_json` wrote; nothing else is accepted.

        Args:
            value: parsed JSON from anyone.

        Raises:
            MalformedProof: not an object with exactly the four fields in canonical form.
        """
        record = _require_record("claim", value, {field.name for field in fields(cls)})
        return cls(**{name: _canonical_bytes32(f"claim.{name}", record[name]) for name in record})


@dataclass(frozen=True, slots=True)
class Context:
    """The use a claim is bound to. Zero values mean "nobody in particular" and are hashed like others.

    Args:
        requester: address that asked, ``0x`` and 40 hex digits (EIP-55 checked if of mixed case).
        chain_id: EIP-155 chain id, 0 <= chain_id < 2**256.
        contract: address of the consuming contract.
        request_id: 32 bytes chosen by the requester.
        payee: address to be paid for the proof.
        expiry: unix time in seconds after which the claim is of no use, 0 <= expiry < 2**64; 0 is a time like
            any other, so "never" is written as 2**64 - 1.

    Raises:
        TypeError: a field of another type.
        ValueError: a field out of range, or an address with a wrong checksum.
    """

    requester: str
    chain_id: int
    contract: str
    request_id: bytes
    payee: str
    expiry: int

    def __post_init__(self) -> None:
        for name in ("requester", "contract", "payee"):
            # Stored in one form, so that equal contexts compare equal.
            object.__setattr__(self, name, checksum_address(parse_address(getattr(self, name))))
        _require_bytes("request_id", self.request_id, HASH_BYTES)
        _require_uint("chain_id", self.chain_id, 256)
        _require_uint("expiry", self.expiry, 64)

    def commitment(self) -> bytes:
        """The 32 bytes that go into `Claim.context`."""
        words = (
            CONTEXT_TYPE_HASH,
            parse_address(self.requester).rjust(32, b"\0"),
            self.chain_id.to_bytes(32, "big"),
            parse_address(self.contract).rjust(32, b"\0"),
            self.request_id,
            parse_address(self.payee).rjust(32, b"\0"),
            self.expiry.to_bytes(32, "big"),
        )
        return keccak256(b"".join(words))

    def to_json(self) -> dict[str, str]:
        """The preimage as it travels in an envelope: lower-case hex, integers as decimal strings."""
        return {
            "requester": self.requester.lower(),
            "chainId": str(self.chain_id),
            "contract": self.contract.lower(),
            "requestId": "0x" + self.request_id.hex(),
            "payee": self.payee.lower(),
            "expiry": str(self.expiry),
        }

    @classmethod
    def from_json(cls, value: object) -> Context:
        """Read what `to_json` wrote; nothing else is accepted.

        Args:
            value: parsed JSON from anyone.

        Raises:
            MalformedProof: not an object with exactly the six fields in canonical form and range.
        """
        names = {"requester", "chainId", "contract", "requestId", "payee", "expiry"}
        record = _require_record("context", value, names)
        return cls(
            requester=_canonical_address("context.requester", record["requester"]),
            chain_id=_canonical_uint("context.chainId", record["chainId"], 256),
            contract=_canonical_address("context.contract", record["contract"]),
            request_id=_canonical_bytes32("context.requestId", record["requestId"]),
            payee=_canonical_address("context.payee", record["payee"]),
            expiry=_canonical_uint("context.expiry", record["expiry"], 64),
        )


def _require_bytes(name: str, value: object, length: int) -> None:
    if not isinstance(value, bytes):
        raise TypeError(f"{name} must be bytes, got {type(value).__name__}")
    if len(value) != length:
        raise ValueError(f"{name} must be {length} bytes, got {len(value)}")


def _require_uint(name: str, value: object, bits: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, got {type(value).__name__}")
    if not 0 <= value < 1 << bits:
        raise ValueError(f"{name} must be in 0 .. 2**{bits} - 1")


def _require_record(name: str, value: object, names: set[str]) -> Mapping[str, object]:
    if not isinstance(value, dict) or set(value) != names:
        raise MalformedProof(f"{name} must be an object with exactly the fields {', '.join(sorted(names))}")
    return value


def _canonical_bytes32(name: str, value: object) -> bytes:
    if not isinstance(value, str) or _BYTES32.fullmatch(value) is None:
        raise MalformedProof(f"{name} must be 0x and 64 lower-case hex digits")
    return bytes.fromhex(value[2:])


def _canonical_address(name: str, value: object) -> str:
    if not isinstance(value, str) or _LOWER_ADDRESS.fullmatch(value) is None:
        raise MalformedProof(f"{name} must be 0x and 40 lower-case hex digits")
    return value


def _canonical_uint(name: str, value: object, bits: int) -> int:
    if not isinstance(value, str) or _DECIMAL.fullmatch(value) is None or int(value) >> bits:
        raise MalformedProof(f"{name} must be a decimal string below 2**{bits}, without leading zeros")
    return int(value)
