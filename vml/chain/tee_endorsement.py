"""What an attestor signs to let a key in, and how k of them make one admission.

An attestor signs, under the EIP-712 domain ``{name: "vml", version: "1", chainId, verifyingContract}``::

    Admission(address owner,bytes32 rules,bytes32 certificate,bytes32 evidence,uint64 collateralEnd,bool simulated,
              uint64 deadline)

What is signed is computed here and never asked of a node. An endorsement file (canonical JSON, RFC 8785) holds all that
the contract is told, so that whoever has enough of them needs nothing else::

    {"attestor":"0x…","certificate":{…},"chain_id":"1","contract":"0x…","finding":{"collateral_end":"…","deadline":"…",
     "evidence":"0x…","simulated":false},"format":"vml-tee-endorsement/1","owner":"0x…","rules":{…},"signature":"0x…"}

Source: EIP-712; SignerRegistry.sol.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vml import canonical
from vml.chain import abi
from vml.chain.keys import Signer, recover
from vml.chain.tee_evidence import Finding, certificate_json, read_certificate
from vml.chain.tee_rules import Rules
from vml.claim import checksum_address, parse_address, parse_bytes32
from vml.errors import ChainError
from vml.keccak import keccak256
from vml.tee.binding import KeyCertificate
from vml.tee.reasons import Reason, rejected

FORMAT = "vml-tee-endorsement/1"
MAX_BYTES = 1 << 19
LOCAL_CHAINS = (1337, 31337)
"""Where simulated evidence counts, as in SignerRegistry."""
_DOMAIN = keccak256(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
_ADMISSION = keccak256(
    b"Admission(address owner,bytes32 rules,bytes32 certificate,bytes32 evidence,uint64 collateralEnd,bool simulated,"
    b"uint64 deadline)"
)
_ADMISSION_TYPES = ("bytes32", "address", "bytes32", "bytes32", "bytes32", "uint64", "bool", "uint64")


@dataclass(frozen=True)
class Place:
    """Where a key is to be admitted, and for whom.

    Args:
        chain_id: of the chain.
        contract: address of the TeeVerifier, with checksum.
        owner: of the model's entry, with checksum.
    """

    chain_id: int
    contract: str
    owner: str

    @property
    def domain(self) -> bytes:
        """The domain separator of permissions there."""
        types = ("bytes32", "bytes32", "bytes32", "uint256", "address")
        return keccak256(abi.encode(types, [_DOMAIN, keccak256(b"vml"), keccak256(b"1"), self.chain_id, self.contract]))

    def require_simulated_allowed(self, simulated: bool) -> None:
        """Refuse simulated evidence anywhere but on the chain ids of test nodes, as the contract does.

        Raises:
            ChainError: naming the contract's error.
        """
        if simulated and self.chain_id not in LOCAL_CHAINS:
            raise ChainError(
                f"simulated evidence shows nothing, and chain {self.chain_id} is no test node's: the contract refuses "
                f"it (SimulatedEvidence) anywhere but on chain ids {' and '.join(map(str, LOCAL_CHAINS))}",
                error="SimulatedEvidence",
            )


@dataclass(frozen=True)
class Admission:
    """What attestors sign.

    Args:
        place: where and for whom.
        rules: under which.
        certificate: of the key.
        finding: what they found.
    """

    place: Place
    rules: Rules
    certificate: KeyCertificate
    finding: Finding

    @property
    def message(self) -> bytes:
        """The struct hash."""
        values = [_ADMISSION, self.place.owner, self.rules.id, self.certificate.digest(), *self.finding.words]
        return keccak256(abi.encode(_ADMISSION_TYPES, values))


@dataclass(frozen=True)
class Endorsement:
    """One attestor's signature of an admission; 65 bytes r, s, v."""

    admission: Admission
    attestor: str
    signature: bytes

    def to_bytes(self) -> bytes:
        """As a file holds it."""
        found, place = self.admission.finding, self.admission.place
        return canonical.encode(
            {
                "format": FORMAT,
                "chain_id": str(place.chain_id),
                "contract": place.contract,
                "owner": place.owner,
                "rules": self.admission.rules.to_json(),
                "certificate": certificate_json(self.admission.certificate),
                "finding": {
                    "evidence": "0x" + found.evidence.hex(),
                    "collateral_end": str(found.collateral_end),
                    "simulated": found.simulated,
                    "deadline": str(found.deadline),
                },
                "attestor": self.attestor,
                "signature": "0x" + self.signature.hex(),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Endorsement:
        """Read what `to_bytes` wrote, and check the signature.

        Args:
            data: bytes from anyone.

        Raises:
            ValueError: something else, or it is not signed by one of the attestors of its rules.
        """
        try:
            item = canonical.decode(data, max_bytes=MAX_BYTES)
            if not isinstance(item, dict) or item.get("format") != FORMAT:
                raise ValueError("another format")
            found = item["finding"]
            finding = Finding(
                parse_bytes32(found["evidence"]),
                int(found["collateral_end"]),
                found["simulated"] is True,
                int(found["deadline"]),
            )
            place = Place(int(item["chain_id"]), _address(item["contract"]), _address(item["owner"]))
            admission = Admission(place, Rules.from_json(item["rules"]), read_certificate(item["certificate"]), finding)
            read = cls(admission, _address(item["attestor"]), bytes.fromhex(item["signature"][2:]))
            if read.to_bytes() != data:
                raise ValueError("not in its one encoding")
            read.require_signed()
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"this is no endorsement of {FORMAT}: {error}") from None
        return read

    def require_signed(self) -> None:
        """Check that the attestor signed, and is one of the rules'.

        Raises:
            ValueError: it did not, or is none.
        """
        if recover(self.admission.place.domain, self.admission.message, self.signature) != self.attestor:
            raise ValueError(f"it is not signed by {self.attestor}")
        require_attestor(self.admission.rules, self.attestor)


def endorse(admission: Admission, signer: Signer) -> Endorsement:
    """Sign an admission. Whoever calls this has judged the evidence (`vml.chain.tee_evidence.judge`).

    Raises:
        ValueError: the account is no attestor of the rules.
        EvidenceRejected: KEY_BINDING where the rules are of another policy than the key.
        ChainError: simulated evidence for a chain that is no test node's.
    """
    require_attestor(admission.rules, signer.address)
    admission.place.require_simulated_allowed(admission.finding.simulated)
    require_policy(admission.rules, admission.certificate)
    return Endorsement(admission, signer.address, signer.sign_message(admission.place.domain, admission.message))


def require_attestor(rules: Rules, address: str) -> None:
    """Refuse who is no attestor.

    Raises:
        ValueError: the address is not in the rules.
    """
    if address not in rules.attestors:
        raise ValueError(f"{address} is no attestor of the rules 0x{rules.id.hex()}")


def require_policy(rules: Rules, certificate: KeyCertificate) -> None:
    """Refuse a key that was made for another appraisal policy than the rules name.

    Raises:
        EvidenceRejected: KEY_BINDING.
    """
    if rules.policy != certificate.policy_id:
        raise rejected(
            Reason.KEY_BINDING,
            f"the rules are of the policy 0x{rules.policy.hex()}, the key was made for 0x{certificate.policy_id.hex()}",
        )


def gather(endorsements: Sequence[Endorsement]) -> tuple[Admission, bytes]:
    """One admission and the signatures that it takes: exactly the threshold, signers ascending.

    Raises:
        ValueError: they are of different admissions, or too few.
    """
    if not endorsements:
        raise ValueError("no endorsement")
    admission = endorsements[0].admission
    for other in endorsements[1:]:
        for what, ours, theirs in (
            ("places", admission.place, other.admission.place),
            ("rules", admission.rules, other.admission.rules),
            ("keys", admission.certificate, other.admission.certificate),
            ("pieces of evidence", admission.finding.evidence, other.admission.finding.evidence),
            ("findings (give all attestors one --deadline)", admission.finding, other.admission.finding),
        ):
            if ours != theirs:
                raise ValueError(f"the endorsements are about different {what}")
    signed = {item.attestor: item.signature for item in endorsements}
    needed = admission.rules.threshold
    if len(signed) < needed:
        raise ValueError(f"{len(signed)} attestors signed, the rules want {needed} of {len(admission.rules.attestors)}")
    order = sorted(signed, key=lambda address: int(address, 16))
    return admission, b"".join(signed[address] for address in order[:needed])


def _address(text: str) -> str:
    return checksum_address(parse_address(text))
