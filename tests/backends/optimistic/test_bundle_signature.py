"""Who signed: the asserter, in one spelling, for one chain and one contract."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest
from eth_account import Account

from tests.backends.optimistic.bundles import ALICE, MALLORY, address_of, bundle, decoded
from vml.backends.optimistic.payload import Bundle
from vml.backends.optimistic.signature import ORDER, domain_separator, require_asserters, struct_hash
from vml.claim import checksum_address
from vml.errors import BackendUnavailable, ProofRejected


def typed(bundle_: Bundle) -> dict[str, Any]:
    """The message as a wallet is shown it."""
    return {
        "domain": {
            "name": "vml dispute game",
            "version": "1",
            "chainId": bundle_.chain_id,
            "verifyingContract": checksum_address(bundle_.game),
        },
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "Assertion": [
                {"name": "claim", "type": "bytes32"},
                {"name": "asserter", "type": "address"},
                {"name": "terms", "type": "bytes32"},
                {"name": "trace", "type": "bytes32"},
                {"name": "nonce", "type": "uint256"},
            ],
        },
        "primaryType": "Assertion",
        "message": {
            "claim": bundle_.claim,
            "asserter": checksum_address(bundle_.asserter),
            "terms": bundle_.terms,
            "trace": bundle_.trace,
            "nonce": bundle_.nonce,
        },
    }


def with_parts(r: int | None = None, s: int | None = None, v: int | None = None) -> Bundle:
    whole = decoded(bundle())
    old = (int.from_bytes(whole.signature[:32], "big"), int.from_bytes(whole.signature[32:64], "big"))
    parts = [(new if new is not None else had).to_bytes(32, "big") for new, had in zip((r, s), old, strict=True)]
    return replace(whole, signature=b"".join([*parts, bytes([whole.signature[64] if v is None else v])]))


def refused(bundle_: Bundle, match: str) -> None:
    with pytest.raises(ProofRejected, match=match):
        require_asserters(bundle_)


def test_a_wallet_signs_the_same_message() -> None:
    whole = decoded(bundle())
    require_asserters(whole)
    signed = Account.sign_typed_data("0x" + "11" * 32, full_message=typed(whole))
    assert bytes(signed.signature) == whole.signature
    require_asserters(replace(whole, signature=bytes(signed.signature)))


def test_another_key() -> None:
    whole = decoded(bundle())
    forged = MALLORY.sign_message(domain_separator(whole), struct_hash(whole))
    refused(replace(whole, signature=forged), MALLORY.address.lower())
    require_asserters(_by_mallory(whole))


def _by_mallory(whole: Bundle) -> Bundle:
    mine = replace(whole, asserter=address_of(MALLORY))
    return replace(mine, signature=MALLORY.sign_message(domain_separator(mine), struct_hash(mine)))


@pytest.mark.parametrize("field", ["claim", "chain_id", "game", "asserter", "terms", "trace", "nonce"])
def test_every_signed_field(field: str) -> None:
    """Also a replay on another chain, and in another contract."""
    whole = decoded(bundle())
    old = getattr(whole, field)
    other: Any = old + 1 if isinstance(old, int) else bytes([old[0] ^ 1]) + old[1:]
    refused(replace(whole, **{field: other}), "the signature")


def test_one_spelling() -> None:
    whole = decoded(bundle())
    s, v = int.from_bytes(whole.signature[32:64], "big"), whole.signature[64]
    assert s <= ORDER // 2
    # The other signature of the same message by the same key, which a lax verifier accepts as well.
    refused(with_parts(s=ORDER - s, v=55 - v), "signature's s")
    for other in (0, 1, 26, 29, 31, 255):
        refused(with_parts(v=other), "signature's v")
    refused(with_parts(v=55 - v), "the signature")
    refused(with_parts(s=0), "signature's s")
    refused(with_parts(s=ORDER // 2 + 1), "signature's s")
    refused(with_parts(s=ORDER), "signature's s")
    refused(with_parts(r=0), "signature's r")
    refused(with_parts(r=ORDER), "signature's r")
    refused(with_parts(r=(1 << 256) - 1), "signature's r")
    # Within the range by the rule that nothing else would refuse.
    refused(with_parts(s=ORDER // 2), "the signature: expected")


def test_an_r_that_is_no_point() -> None:
    kinds = set()
    for r in range(1, 40):
        with pytest.raises(ProofRejected, match="the signature") as caught:
            require_asserters(with_parts(r=r))
        kinds.add("that some key" in str(caught.value) or "some key can make" in str(caught.value))
    assert kinds == {True, False}


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "eth_account"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "eth_account", None)  # type: ignore[arg-type]
    with pytest.raises(BackendUnavailable, match=r"vml\[chain\]"):
        require_asserters(decoded(bundle()))


def test_a_signer_is_not_shown() -> None:
    assert "11" * 32 not in repr(ALICE)
