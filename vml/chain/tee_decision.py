"""What an attestor signs about a challenged proposal, as a file.

Under the EIP-712 domain ``{name: "vml", version: "1", chainId, verifyingContract}`` of the contract of proposals::

    Decision(bytes32 proposal,bool genuine)

A decision file is canonical JSON (RFC 8785)::

    {"attestor":"0x…","chain_id":"1","contract":"0x…","format":"vml-tee-decision/1","genuine":true,"proposal":"0x…",
     "signature":"0x…"}

Source: EIP-712; TeeProposals.sol.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vml import canonical
from vml.chain import abi
from vml.chain.keys import Signer, recover
from vml.chain.tee_endorsement import Place
from vml.claim import checksum_address, parse_address, parse_bytes32
from vml.keccak import keccak256

FORMAT = "vml-tee-decision/1"
MAX_BYTES = 1 << 14
_DECISION = keccak256(b"Decision(bytes32 proposal,bool genuine)")


@dataclass(frozen=True)
class Decision:
    """An attestor's word on a challenged bundle.

    Args:
        chain_id, contract: of proposals, where it counts.
        proposal: 32-byte id.
        genuine: the bundle shows what the proposal says.
        attestor: address with checksum.
        signature: 65 bytes r, s, v.
    """

    chain_id: int
    contract: str
    proposal: bytes
    genuine: bool
    attestor: str
    signature: bytes

    def to_bytes(self) -> bytes:
        """As a file holds it."""
        return canonical.encode(
            {
                "format": FORMAT,
                "chain_id": str(self.chain_id),
                "contract": self.contract,
                "proposal": "0x" + self.proposal.hex(),
                "genuine": self.genuine,
                "attestor": self.attestor,
                "signature": "0x" + self.signature.hex(),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Decision:
        """Read what `to_bytes` wrote; the signature is not checked.

        Args:
            data: bytes from anyone.

        Raises:
            ValueError: something else.
        """
        try:
            item = canonical.decode(data, max_bytes=MAX_BYTES)
            contract, attestor = (checksum_address(parse_address(item[name])) for name in ("contract", "attestor"))
            signature = bytes.fromhex(item["signature"][2:])
            place = int(item["chain_id"]), contract
            read = cls(*place, parse_bytes32(item["proposal"]), item["genuine"] is True, attestor, signature)
            if read.to_bytes() != data:
                raise ValueError("not in its one encoding")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"this is no decision of {FORMAT}: {error}") from None
        return read

    def require_signed(self, chain_id: int, contract: str, attestors: Sequence[str]) -> None:
        """Check that one of these attestors signed it, for this contract.

        Raises:
            ValueError: another place, another signer, or one who is no attestor.
        """
        if (self.chain_id, self.contract) != (chain_id, contract):
            raise ValueError(f"the decision is for {self.contract} on chain {self.chain_id}")
        if recover(_domain(chain_id, contract), _message(self.proposal, self.genuine), self.signature) != self.attestor:
            raise ValueError(f"the decision is not signed by {self.attestor}")
        _require_attestor(self.attestor, attestors)


def decide(
    chain_id: int, contract: str, proposal: bytes, genuine: bool, attestors: Sequence[str], signer: Signer
) -> Decision:
    """Sign a decision. Whoever calls this has judged the bundle (`vml.chain.tee_watch.judge_proposal`).

    Args:
        chain_id, contract: of proposals.
        proposal: 32-byte id.
        genuine: what the bundle shows.
        attestors: of the proposal's rules.
        signer: one of them.

    Raises:
        ValueError: the account is no attestor.
    """
    _require_attestor(signer.address, attestors)
    signature = signer.sign_message(_domain(chain_id, contract), _message(proposal, genuine))
    return Decision(chain_id, contract, proposal, genuine, signer.address, signature)


def _require_attestor(address: str, attestors: Sequence[str]) -> None:
    if address not in [checksum_address(parse_address(item)) for item in attestors]:
        raise ValueError(f"{address} is no attestor of the proposal's rules")


def _domain(chain_id: int, contract: str) -> bytes:
    return Place(chain_id, contract, contract).domain


def _message(proposal: bytes, genuine: bool) -> bytes:
    return keccak256(abi.encode(["bytes32", "bytes32", "bool"], [_DECISION, proposal, genuine]))
