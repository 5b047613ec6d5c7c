"""Solidity = Python for everything that attested keys and attestors sign, and a receipt made here is accepted there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from eth_abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vml import merkle
from vml.claim import Claim
from vml.keccak import keccak256
from vml.tee.binding import Algorithm, KeyCertificate, Receipt, key_id, public_key_of, recoverable, sign_receipt

Call = Callable[..., Any]
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
bytes32 = st.binary(min_size=32, max_size=32)
# All the lengths that a number has in CBOR.
uint64 = st.one_of(*(st.integers(0, 2**bits - 1) for bits in (4, 8, 16, 32, 64)))
CURVES = {Algorithm.SECP256K1: ec.SECP256K1(), Algorithm.P256: ec.SECP256R1()}
OWNER = "0x" + "a1" * 20
MODEL, POLICY = bytes([1]) * 32, bytes([2]) * 32
SINGLE, BATCH, QUORUM = 1, 2, 1

ADMISSION = {
    "Admission": [
        {"name": "owner", "type": "address"},
        {"name": "rules", "type": "bytes32"},
        {"name": "certificate", "type": "bytes32"},
        {"name": "evidence", "type": "bytes32"},
        {"name": "collateralEnd", "type": "uint64"},
        {"name": "simulated", "type": "bool"},
        {"name": "deadline", "type": "uint64"},
    ]
}
REVOCATION = {"Revocation": [{"name": "record", "type": "bytes32"}]}
RECEIPT = {
    "Receipt": [
        {"name": "claim", "type": "bytes32"},
        {"name": "keyId", "type": "bytes32"},
        {"name": "epoch", "type": "uint64"},
        {"name": "sequence", "type": "uint64"},
        {"name": "issuedAt", "type": "uint64"},
    ]
}
RECEIPT_BATCH = {
    "ReceiptBatch": [
        {"name": "keyId", "type": "bytes32"},
        {"name": "epoch", "type": "uint64"},
        {"name": "count", "type": "uint32"},
        {"name": "root", "type": "bytes32"},
    ]
}
CLAIMS_DOMAIN = {"name": "vml", "version": "1"}
RULES_TYPE = "(bytes32,uint32,uint8,address[],address,uint16,uint8,bytes32[],bytes32)"


@pytest.fixture(scope="module")
def digests(deploy: Callable[[str], Any]) -> Call:
    bound: Call = deploy("TeeDigests.sol:TeeDigests").call
    return bound


@pytest.fixture(scope="module")
def tee(deploy: Callable[[str], Any]) -> Call:
    bound: Call = deploy("TeeVerifier.sol:TeeVerifier").call
    return bound


def account(number: int) -> Any:
    """A secp256k1 key of a library that knows nothing of ours."""
    return Account.from_key(number.to_bytes(32, "big"))


def typed_digest(domain: dict[str, Any], types: dict[str, Any], message: dict[str, Any]) -> bytes:
    """The EIP-712 digest, by a library that knows nothing of ours."""
    signable = encode_typed_data(domain, types, message)
    return keccak256(b"\x19" + signable.version + signable.header + signable.body)


def words(certificate: KeyCertificate) -> tuple[object, ...]:
    """A certificate as ISignerRegistry.Certificate."""
    return (
        int(certificate.algorithm),
        certificate.public_key[:32],
        certificate.public_key[32:],
        certificate.model,
        certificate.policy_id,
        certificate.epoch,
        certificate.not_after,
        certificate.gpus or bytes(32),
    )


# ---- digests


@quick
@given(
    algorithm=st.sampled_from(Algorithm),
    public_key=st.binary(min_size=64, max_size=64),
    model=bytes32,
    policy=bytes32,
    epoch=uint64,
    not_after=uint64,
    gpus=st.none() | bytes32.filter(any),
)
def test_any_certificate(
    digests: Call, algorithm: Algorithm, public_key: bytes, gpus: bytes | None, **rest: Any
) -> None:
    fields = (rest["model"], rest["policy"], rest["epoch"], rest["not_after"])
    certificate = KeyCertificate(algorithm, public_key, *fields, gpus)
    assert digests("certificateDigest", words(certificate)) == certificate.digest()
    assert digests("keyId", int(algorithm), public_key[:32], public_key[32:]) == certificate.key_id


@pytest.mark.parametrize("number", [0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1])
def test_every_length_of_a_number(digests: Call, number: int) -> None:
    certificate = KeyCertificate(Algorithm.P256, bytes(64), MODEL, POLICY, number, number)
    assert digests("certificateDigest", words(certificate)) == certificate.digest()


@quick
@given(claim=bytes32, key=bytes32, epoch=uint64, sequence=uint64, issued_at=uint64)
def test_any_receipt(digests: Call, claim: bytes, key: bytes, epoch: int, sequence: int, issued_at: int) -> None:
    receipt = Receipt(claim, key, epoch, sequence, issued_at)
    message = {"claim": claim, "keyId": key, "epoch": epoch, "sequence": sequence, "issuedAt": issued_at}
    expected = typed_digest(CLAIMS_DOMAIN, RECEIPT, message)
    assert digests("receiptDigest", claim, key, epoch, sequence, issued_at) == receipt.digest() == expected


@quick
@given(key=bytes32, epoch=uint64, count=st.integers(1, 2**32 - 1), root=bytes32)
def test_any_batch(digests: Call, key: bytes, epoch: int, count: int, root: bytes) -> None:
    message = {"keyId": key, "epoch": epoch, "count": count, "root": root}
    assert digests("batchDigest", key, epoch, count, root) == typed_digest(CLAIMS_DOMAIN, RECEIPT_BATCH, message)


@quick
@given(fields=st.tuples(bytes32, bytes32, bytes32, bytes32))
def test_any_claim(digests: Call, fields: tuple[bytes, bytes, bytes, bytes]) -> None:
    assert digests("claimDigest", fields) == Claim(*fields).digest()


def domain_of(tee: Call) -> dict[str, Any]:
    _, name, version, chain_id, contract, _, _ = tee("eip712Domain")
    return {"name": name, "version": version, "chainId": chain_id, "verifyingContract": contract}


def test_the_domain_names_chain_and_contract(tee: Call) -> None:
    domain = domain_of(tee)
    assert (domain["name"], domain["version"]) == ("vml", "1")
    assert domain["chainId"] > 0
    assert int(domain["verifyingContract"], 16) > 0


@quick
@given(
    rules=st.tuples(
        bytes32,
        st.integers(0, 2**32 - 1),
        st.integers(0, 255),
        st.lists(st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex()), max_size=5),
        st.just("0x" + "d0" * 20),
        st.integers(0, 2**16 - 1),
        st.integers(0, 255),
        st.lists(bytes32, max_size=3),
        bytes32,
    ),
    evidence=bytes32,
    end=uint64,
    simulated=st.booleans(),
    deadline=uint64,
)
def test_any_admission(
    tee: Call, rules: tuple[Any, ...], evidence: bytes, end: int, simulated: bool, deadline: int
) -> None:
    certificate = KeyCertificate(Algorithm.SECP256K1, bytes(range(64)), MODEL, POLICY, 3, 99)
    identity = keccak256(encode([RULES_TYPE], [rules]))
    assert tee("rulesId", rules) == identity
    message = {
        "owner": OWNER,
        "rules": identity,
        "certificate": certificate.digest(),
        "evidence": evidence,
        "collateralEnd": end,
        "simulated": simulated,
        "deadline": deadline,
    }
    got = tee("admissionDigest", OWNER, rules, words(certificate), (evidence, end, simulated, deadline))
    assert got == typed_digest(domain_of(tee), ADMISSION, message)


@quick
@given(entry=bytes32, rules=bytes32, key=bytes32, epoch=uint64, mode=st.integers(0, 4))
def test_any_record(tee: Call, entry: bytes, rules: bytes, key: bytes, epoch: int, mode: int) -> None:
    numbers = epoch.to_bytes(32, "big") + mode.to_bytes(32, "big")
    record = keccak256(entry + rules + key + numbers)
    assert tee("recordOf", entry, rules, key, epoch, mode) == record
    assert tee("revocationDigest", record) == typed_digest(domain_of(tee), REVOCATION, {"record": record})


# ---- signatures


@pytest.mark.parametrize("seed", range(8))
def test_a_signature_recovers_to_its_key(digests: Call, seed: int) -> None:
    key = ec.derive_private_key(7919 + seed, ec.SECP256K1())
    public = public_key_of(key)
    receipt = Receipt(bytes([seed]) * 32, key_id(Algorithm.SECP256K1, public), 1, seed, 2)
    signature = recoverable(receipt, sign_receipt(receipt, Algorithm.SECP256K1, key), public)
    address = account(7919 + seed).address.lower()
    assert digests("recover", receipt.digest(), signature).lower() == address
    assert digests("signer", public[:32], public[32:]).lower() == address


@pytest.mark.parametrize("seed", range(4))
def test_a_p256_signature_is_the_keys(digests: Call, seed: int) -> None:
    key = ec.derive_private_key(7919 + seed, ec.SECP256R1())
    public = public_key_of(key)
    receipt = Receipt(bytes([seed]) * 32, key_id(Algorithm.P256, public), 1, seed, 2)
    signature = sign_receipt(receipt, Algorithm.P256, key)
    point = (public[:32], public[32:])
    assert digests("isP256", receipt.digest(), signature[:32], signature[32:], *point) is True
    assert digests("isP256", bytes(32), signature[:32], signature[32:], *point) is False
    high = (Algorithm.P256.order - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
    assert digests("isP256", receipt.digest(), signature[:32], high, *point) is False


# ---- from the certificate to the verdict


class Admitted:
    """A key that two of three attestors admitted, and the metadata under which its receipts count."""

    def __init__(self, tee: Call, algorithm: Algorithm) -> None:
        self.tee, self.algorithm = tee, algorithm
        self.key = ec.derive_private_key(424242, CURVES[algorithm])
        self.public = public_key_of(self.key)
        self.certificate = KeyCertificate(algorithm, self.public, MODEL, POLICY, 3, 2**40)
        attestors = sorted((account(seed + 1) for seed in range(3)), key=lambda attestor: int(attestor.address, 16))
        addresses = [attestor.address for attestor in attestors]
        rules: tuple[object, ...] = (POLICY, 2**32 - 1, 2, addresses, "0x" + "00" * 20, 0, 0, [], bytes(32))
        finding = (b"\x0e" * 32, 2**41, False, 2**42)
        digest = tee("admissionDigest", OWNER, rules, words(self.certificate), finding)
        signatures = b"".join(attestor.unsafe_sign_hash(digest).signature for attestor in attestors[1:])
        self.record = tee("admitByQuorum", OWNER, rules, words(self.certificate), finding, signatures)
        self.metadata = encode(["address", "bytes32", "uint256", "uint64"], [OWNER, tee("rulesId", rules), 2, 3])

    def head(self, form: int, receipt: Receipt) -> bytes:
        numbers = (receipt.epoch, receipt.sequence, receipt.issued_at)
        return bytes([form, QUORUM]) + receipt.key_id + b"".join(number.to_bytes(8, "big") for number in numbers)

    def receipt(self, claim: Claim, sequence: int) -> Receipt:
        return Receipt(claim.digest(), self.certificate.key_id, 3, sequence, 1)

    def sign(self, receipt: Receipt) -> bytes:
        signature = sign_receipt(receipt, self.algorithm, self.key)
        if self.algorithm == Algorithm.P256:
            return self.public + signature
        return recoverable(receipt, signature, self.public)

    def is_proved(self, claim: Claim, proof: bytes) -> bool:
        fields = (claim.model, claim.input, claim.output, claim.context)
        return bool(self.tee("verify", fields, self.metadata, proof))


CLAIM = Claim(MODEL, b"\x0a" * 32, b"\x0b" * 32, b"\x0c" * 32)
OTHERS = [
    Claim(MODEL, b"\xff" * 32, CLAIM.output, CLAIM.context),
    Claim(MODEL, CLAIM.input, b"\xff" * 32, CLAIM.context),
    Claim(MODEL, CLAIM.input, CLAIM.output, b"\xff" * 32),
]


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_receipt_made_here_is_accepted_there(deploy: Callable[[str], Any], algorithm: Algorithm) -> None:
    admitted = Admitted(deploy("TeeVerifier.sol:TeeVerifier").call, algorithm)
    receipt = admitted.receipt(CLAIM, 7)
    proof = admitted.head(SINGLE, receipt) + admitted.sign(receipt)
    assert admitted.is_proved(CLAIM, proof)
    assert not any(admitted.is_proved(other, proof) for other in OTHERS)
    mode, simulated, *_, record, evidence = admitted.tee(
        "verdict", (CLAIM.model, CLAIM.input, CLAIM.output, CLAIM.context), admitted.metadata, proof
    )
    assert (mode, simulated, record, evidence) == (QUORUM, False, admitted.record, b"\x0e" * 32)


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_a_batch_made_here_is_accepted_there(deploy: Callable[[str], Any], count: int) -> None:
    admitted = Admitted(deploy("TeeVerifier.sol:TeeVerifier").call, Algorithm.SECP256K1)
    claims = [Claim(MODEL, bytes([number]) * 32, CLAIM.output, CLAIM.context) for number in range(count)]
    receipts = [admitted.receipt(claim, number) for number, claim in enumerate(claims)]
    tree = merkle.Tree([receipt.digest() for receipt in receipts], bytes(32))
    message = {"keyId": admitted.certificate.key_id, "epoch": 3, "count": count, "root": tree.root}
    digest = typed_digest(CLAIMS_DOMAIN, RECEIPT_BATCH, message)
    signature = account(424242).unsafe_sign_hash(digest).signature
    for number, (claim, receipt) in enumerate(zip(claims, receipts, strict=True)):
        place = count.to_bytes(4, "big") + number.to_bytes(4, "big") + b"".join(tree.open(number))
        proof = admitted.head(BATCH, receipt) + signature + place
        assert admitted.is_proved(claim, proof)
        assert not any(admitted.is_proved(other, proof) for other in OTHERS)
