"""Who says so: the asserter's signature of an assertion, as a message of EIP-712.

    Assertion(bytes32 claim,address asserter,bytes32 terms,bytes32 trace,uint256 nonce)

under the domain ``{name: "vml dispute game", version: "1", chainId, verifyingContract}``. A signature makes nothing
final and no output true: it shows whose bond is meant, on one chain, in one contract.

A signature is r, s, v: 65 bytes, with s in the lower half of the order and v 27 or 28, so that nobody makes a second
one of it. Sources: EIP-712; EIP-2 (low s); SEC 2, curve secp256k1.
"""

from __future__ import annotations

from typing import Any

from vml.backends.optimistic.payload import Bundle
from vml.backends.optimistic.records import word
from vml.claim import parse_address
from vml.errors import BackendUnavailable, ProofRejected
from vml.keccak import keccak256

DOMAIN_TYPE = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
ASSERTION_TYPE = b"Assertion(bytes32 claim,address asserter,bytes32 terms,bytes32 trace,uint256 nonce)"
DOMAIN_NAME, DOMAIN_VERSION = b"vml dispute game", b"1"
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def domain_separator(bundle: Bundle) -> bytes:
    """The 32 bytes that stand for the domain: one chain, one contract."""
    return keccak256(
        keccak256(DOMAIN_TYPE)
        + keccak256(DOMAIN_NAME)
        + keccak256(DOMAIN_VERSION)
        + word(bundle.chain_id)
        + bundle.game.rjust(32, b"\0")
    )


def struct_hash(bundle: Bundle) -> bytes:
    """The 32 bytes that stand for the message."""
    return keccak256(
        keccak256(ASSERTION_TYPE)
        + bundle.claim
        + bundle.asserter.rjust(32, b"\0")
        + bundle.terms
        + bundle.trace
        + word(bundle.nonce)
    )


def require_asserters(bundle: Bundle) -> None:
    """Check that the signature is the asserter's. Returns nothing or raises.

    Args:
        bundle: with a signature.

    Raises:
        ProofRejected: it is another's, or a second spelling of one.
        BackendUnavailable: the software that recovers signers is not installed.
    """
    r, s = (int.from_bytes(bundle.signature[at : at + 32], "big") for at in (0, 32))
    v = bundle.signature[64]

    # step 1: one spelling
    if not 0 < r < ORDER:
        raise ProofRejected("7: the signature's r", "0 < r < the order", hex(r))
    if not 0 < s <= ORDER // 2:
        raise ProofRejected("7: the signature's s", "the lower half of the order", hex(s))
    if v not in (27, 28):
        raise ProofRejected("7: the signature's v", "27 or 28", v)

    # step 2: it is the asserter's
    signer = _recover(domain_separator(bundle), struct_hash(bundle), bundle.signature)
    if signer != bundle.asserter:
        raise ProofRejected("7: the signature", f"that of 0x{bundle.asserter.hex()}", f"one of 0x{signer.hex()}")


def _recover(domain: bytes, message: bytes, signature: bytes) -> bytes:
    """The address whose key made a signature."""
    try:
        from eth_account import Account
        from eth_account.messages import SignableMessage
    except ImportError as error:
        raise BackendUnavailable(
            f"{error.name or error} is missing, and this bundle is signed: pip install 'vml[chain]' to check by whom"
        ) from error
    account: Any = Account
    try:
        return parse_address(account.recover_message(SignableMessage(b"\x01", domain, message), signature=signature))
    except Exception as error:  # the library has several kinds for an r that is no point of the curve
        raise ProofRejected("7: the signature", "one that some key can make", type(error).__name__) from None
