"""Asking contracts about a proof: those on a chain, or all of them put up in this process for the purpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vml.backends.optimistic.payload import Bundle
from vml.chain import abi, artifacts
from vml.chain.client import Chain, connect
from vml.chain.deploy import ADAPTER, Deployer
from vml.chain.ezkl_adapter import encode_proof
from vml.chain.generate import Generated
from vml.chain.rpc import Refused
from vml.chain.steps import REGISTRY, ROUTER, abi_address, code_of
from vml.chain.tee_receipt import encode_admitted, encode_receipt
from vml.errors import ChainError, ProofRejected
from vml.keccak import keccak256
from vml.proof import Proof

REFUSALS = ("InvalidProof", "ProofTooShort", "ModelMismatch")
"""Errors of the router that mean: the proof does not prove the claim. All others are about what is deployed."""

KEY_ERRORS = (
    *("KeyUnknown", "KeyIsRevoked", "KeyIsExpired", "EpochRotated", "IssuedOutOfTime"),
    *("ModeRefused", "ModeUnsupported", "SimulatedEvidence", "MetadataMalformed"),
)
"""Errors of TeeVerifier behind the router's InvalidProof that are about what was admitted, not about the proof."""


def encode_bundle(proof: Proof) -> bytes:
    """An assertion bundle as a router takes it: which of the claim's assertions it is.

    Raises:
        MalformedProof: the payload is not one of its scheme.
        ChainError: the claim is asserted nowhere.
    """
    bundle = Bundle.decode(proof.payload)
    if not bundle.asserted:
        raise ChainError("the bundle is asserted in no game: `vml dispute assert` does that")
    words = ("0x" + bundle.asserter.hex(), bundle.terms, bundle.trace, bundle.nonce)
    return proof.selector + abi.encode(["address", "bytes32", "bytes32", "uint256"], words)


ENCODERS: dict[str, Callable[[Proof], bytes]] = {
    "ezkl": encode_proof,
    "optimistic": encode_bundle,
    "tee": encode_receipt,
}
"""How each backend's proofs reach a contract."""

PLACED: dict[str, Callable[[Chain, str, bytes, Proof], bytes]] = {"tee": encode_admitted}
"""Likewise, of backends whose encoding has a part that only router and entry tell."""


@dataclass(frozen=True)
class Accepted:
    """A router's yes.

    Args:
        router, key: who was asked, under which entry.
        selector: of the route that accepted.
        digest: of the claim.
        chain_id: of the chain.
        rules: that it executes, in words.
        gas: limit that a transaction doing the same needs, under those rules.
        calldata_bytes: of that transaction.
        ours: the router's code is the one that this version of vml ships.
    """

    router: str
    key: bytes
    selector: bytes
    digest: bytes
    chain_id: int
    rules: str
    gas: int
    calldata_bytes: int
    ours: bool


def verify_on(chain: Chain, router: str, key: bytes, proof: Proof) -> Accepted:
    """Have a router check a proof under an entry of its registry.

    Args:
        chain: where.
        router: address of a VmlRouter.
        key: of the entry: keccak-256 of owner and model. Whose entry it is, is what the caller believes.
        proof: with one claim.

    Raises:
        ProofRejected: the router refused the proof; with the adapter's reason where it gives one.
        ChainError: the router cannot say: no route, an unknown or deprecated model, no such contract; or the key that
            signed is not admitted (any more), with the registry's error by name.
        EvidenceRejected: a receipt that its key did not sign.
        MalformedProof: the payload is not one of its scheme.
    """
    encoding = encode(proof)
    claim = proof.claims[0]
    words = (claim.model, claim.input, claim.output, claim.context)
    contract = artifacts.load(ROUTER).abi
    chain.require_code(router)
    if proof.backend in PLACED:
        encoding = PLACED[proof.backend](chain, router, key, proof)
    try:
        selector = chain.call(router, contract, "verifyEntry", key, words, encoding)
    except ChainError as error:
        if error.error not in REFUSALS:
            raise
        why = _adapters_word(chain, router, key, words, encoding) if error.error == "InvalidProof" else None
        if isinstance(why, ChainError):
            raise why from None
        raise ProofRejected(f"on chain: the router answers {error.error}{why or ''}") from None
    if selector != encoding[:4]:
        raise ChainError(f"the router at {router} answers for another scheme: it is no VmlRouter")
    data = abi.encode_call(contract, "verifyEntry", (key, words, encoding))
    return Accepted(
        router=router,
        key=key,
        selector=selector,
        digest=claim.digest(),
        chain_id=chain.chain_id,
        rules=chain.rules,
        gas=chain.estimate(router, data),
        calldata_bytes=len(data),
        ours=_is_ours(chain, router),
    )


def verify_embedded(generated: Generated, proof: Proof) -> Accepted:
    """Put up router, registry, adapter and a generated verifier in this process, and have the router check a proof.

    Raises:
        ProofRejected, MalformedProof: as `verify_on`.
        ChainError: the contracts cannot be put up, or are another model's.
        BackendUnavailable: the extra ``chain`` is not installed.
    """
    encode(proof)
    if proof.scheme != generated.scheme:
        raise ChainError(f"the contract checks {generated.scheme}, the proof's scheme is {proof.scheme}")
    if "0x" + proof.claims[0].model.hex() != generated.manifest["model"]:
        raise ChainError(
            f"the contract is for model {generated.manifest['model']}, the proof is about 0x"
            f"{proof.claims[0].model.hex()}: generate that model's (vml contract generate)"
        )
    chain = connect(None)
    state = Deployer(chain).run(generated)
    return verify_on(chain, state.contracts["router"].address, bytes.fromhex(state.model["key"][2:]), proof)


def encode(proof: Proof) -> bytes:
    """A proof as a router takes it.

    Raises:
        ChainError: no contract checks such proofs.
        MalformedProof: the payload is not one of its scheme.
    """
    if proof.backend not in ENCODERS:
        raise ChainError(
            f"no contract checks proofs of {proof.backend} yet; those of {', '.join(ENCODERS)} can be checked on chain"
        )
    if len(proof.claims) != 1:
        raise ChainError(f"a contract checks one claim at a time, the proof has {len(proof.claims)}")
    return ENCODERS[proof.backend](proof)


def _adapters_word(
    chain: Chain, router: str, key: bytes, words: tuple[bytes, ...], encoding: bytes
) -> str | ChainError:
    """Why the adapter refused: the router does not repeat it, the adapter says it again when asked itself.

    Returns:
        Words about the proof; or the adapter's error, where that is one of `KEY_ERRORS`.
    """
    try:
        adapter, _ = chain.call(router, artifacts.load(ROUTER).abi, "routes", encoding[:4])
        registry = abi_address(chain.call(router, artifacts.load(ROUTER).abi, "registry"))
        metadata, _ = chain.call(registry, artifacts.load(REGISTRY).abi, "backend", key, encoding[:4])
        contract: Any = artifacts.load(ADAPTER).abi
        chain.call(abi_address(adapter), contract, "verify", words, metadata, encoding[4:])
    except Refused:
        return ""
    except ChainError as error:
        if error.error in KEY_ERRORS:
            return error
        return f", because the adapter says {error.error}" if error.error else ""
    return ", because the proof system refuses the proof"


def _is_ours(chain: Chain, router: str) -> bool:
    """Whether a router's code is what this version of vml ships, over whatever registry."""
    shipped = artifacts.load(ROUTER)
    try:
        registry = abi_address(chain.call(router, shipped.abi, "registry"))
        creation = shipped.bytecode + abi.encode_constructor(shipped.abi, [router, router, registry])
        expected = code_of(chain.chain_id, router, creation, {registry: chain.code(registry)})
    except ChainError:
        return False
    return keccak256(expected) == keccak256(chain.code(router))
