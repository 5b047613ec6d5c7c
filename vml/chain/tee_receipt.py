"""Signed runs as a router takes them: the receipt alone (docs/contracts-tee.md).

    form u8 || mode u8 || keyId (32) || epoch u64 || sequence u64 || issuedAt u64 || signature

after the router's selector. How the key came in is not the signer's to say: the chain is asked.
"""

from __future__ import annotations

from vml.backends.tee.payload import SignedRun
from vml.chain.client import Chain
from vml.chain.deploy_tee import SCHEME
from vml.chain.tee_keys import acceptance_of, mode_of
from vml.chain.tee_rules import Mode
from vml.errors import ChainError
from vml.proof import Proof
from vml.tee.binding import Algorithm, recoverable

SINGLE = 1


def encode_receipt(proof: Proof, mode: Mode = Mode.QUORUM) -> bytes:
    """A signed run's receipt.

    Args:
        proof: with one claim.
        mode: how the key came in.

    Raises:
        MalformedProof: the payload is no signed run.
        ChainError: the scheme is one that no contract checks.
        EvidenceRejected: RECEIPT_SIGNATURE where it is known here already that the key did not sign this claim.
        BackendUnavailable: the extra ``tee`` is not installed.
    """
    if proof.scheme != SCHEME:
        raise ChainError(f"contracts check receipts of {SCHEME}, about the exact model, not of {proof.scheme}")
    run = SignedRun.decode(proof.payload)
    receipt, public_key = run.receipt(proof.claims[0].digest()), run.certificate.public_key
    numbers = b"".join(number.to_bytes(8, "big") for number in (receipt.epoch, receipt.sequence, receipt.issued_at))
    if run.certificate.algorithm is Algorithm.SECP256K1:
        signature = recoverable(receipt, run.signature, public_key)
    else:
        signature = public_key + run.signature
    return proof.selector + bytes([SINGLE, mode]) + receipt.key_id + numbers + signature


def encode_admitted(chain: Chain, router: str, key: bytes, proof: Proof) -> bytes:
    """A signed run's receipt, of a key as it came in under an entry; the plain one where the entry accepts no receipts,
    so that the router says why.

    Raises:
        MalformedProof, EvidenceRejected: as `encode_receipt`.
        ChainError: the node does not answer.
    """
    plain = encode_receipt(proof)
    certificate = SignedRun.decode(proof.payload).certificate
    try:
        contract, acceptance = acceptance_of(chain, router, key)
    except ChainError as error:
        if error.error is None:
            raise
        return plain
    return encode_receipt(proof, mode_of(chain, contract, acceptance, proof.claims[0].model, certificate))
