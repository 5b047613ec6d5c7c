"""The tamper manifest of an assertion bundle, and the standing attacks on it.

Every field of the envelope, the claim, the public section and the payload is listed with how it is altered and the
error that must follow, whatever decides otherwise: a second run, or a final record on chain. A field that is missing
here fails the suite. What a bundle cannot show by itself, because nothing signs it, is refused by what decides.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.backends.optimistic.bundles import (
    ALICE,
    CONTEXT,
    INPUTS,
    MALLORY,
    OTHER_INPUTS,
    PINS,
    FakeChain,
    address_of,
    altered,
    bundle,
    check,
    decoded,
    keys,
    model,
    restated,
    row_of,
    says,
    signed_by,
)
from tests.tampering.exact_envelope import Alterations, flipped
from vml.backends.optimistic import OptimisticBackend
from vml.backends.optimistic.chain_record import Standing
from vml.backends.optimistic.payload import Bundle
from vml.backends.types import DISPUTE_GAMES, DISPUTE_TERMS, Visibility
from vml.claim import ZERO_CONTEXT, Claim
from vml.errors import ClaimMismatch, MalformedProof, NotFinal, ProofRejected, VerificationError
from vml.model.graph import encode_specs
from vml.proof import Proof

MALFORMED, MISMATCH, REJECTED = MalformedProof, ClaimMismatch, ProofRejected
Case = tuple[str, Callable[[], Proof], Any]


# The payload. Signed bundles, whose signature stays: it covers what is said about the game.


def field(**change: Any) -> Callable[[], Proof]:
    return lambda: altered(bundle(), **change)


def turned(name: str) -> Case:
    return ("a bit", lambda: altered(bundle(), **{name: flipped(getattr(decoded(bundle()), name))}), REJECTED)


def specs(side: str, **change: Any) -> Callable[[], Proof]:
    def make() -> Proof:
        first, *rest = getattr(model(), side)
        return altered(bundle(), **{side: encode_specs((replace(first, **change), *rest))})

    return make


PAYLOAD: dict[str, tuple[Case, ...]] = {
    "claim": (
        turned("claim"),
        ("that of another run", lambda: altered(bundle(), claim=other_run().digest()), REJECTED),
    ),
    "chain_id": (("another chain", field(chain_id=1), REJECTED),),
    "game": (turned("game"), ("another contract", field(game=b"\x01" * 20), REJECTED)),
    "asserter": (
        turned("asserter"),
        ("somebody else", lambda: altered(bundle(), asserter=address_of(MALLORY)), REJECTED),
    ),
    "terms": (turned("terms"), ("others", field(terms=b"\x01" * 32), REJECTED)),
    "trace": (turned("trace"), ("none", field(trace=bytes(32)), REJECTED)),
    "nonce": (("another", field(nonce=8), REJECTED), ("zero", field(nonce=0), REJECTED)),
    "graph": (("a bit", lambda: altered(bundle(), graph=flipped(decoded(bundle()).graph)), MISMATCH),),
    "inputs": (
        ("another name", specs("inputs", name="z"), MISMATCH),
        ("another scale", specs("inputs", scale=2), MISMATCH),
        ("another type", specs("inputs", onnx_dtype="float64"), MISMATCH),
        ("saturating", specs("inputs", saturate=True), MISMATCH),
        ("nothing", field(inputs=b""), MISMATCH),
    ),
    "outputs": (
        ("another name", specs("outputs", name="z"), MISMATCH),
        ("another node", specs("outputs", node=0), MISMATCH),
        ("those of the inputs", lambda: altered(bundle(), outputs=decoded(bundle()).inputs), MISMATCH),
    ),
    "signature": (
        turned("signature"),
        ("by another key", lambda: signed_by(MALLORY, bundle()), REJECTED),
        ("that of another bundle", lambda: altered(bundle(), signature=another().signature), REJECTED),
        ("zeros", field(signature=bytes(65)), REJECTED),
    ),
}


def another() -> Bundle:
    return decoded(signed_by(ALICE, bundle(), nonce=9))


def other_run() -> Claim:
    made = OptimisticBackend().prove(keys(), OTHER_INPUTS, CONTEXT, visibility=Visibility())
    return made.claims[0]


# The envelope.


ALTERED = Alterations(bundle)
replaced, claimed, published, entry, code = (
    ALTERED.replaced,
    ALTERED.claimed,
    ALTERED.published,
    ALTERED.entry,
    ALTERED.code,
)

CLAIM: dict[str, tuple[Case, ...]] = {
    name: (
        ("a bit", claimed(name), VerificationError),
        ("another", claimed(name, bytes(range(32))), VerificationError),
    )
    for name in ("model", "input", "output", "context")
}
ENVELOPE: dict[str, tuple[Case, ...]] = {
    "scheme": (("another version", replaced(scheme="optimistic/2"), MALFORMED),),
    "claims": (
        ("twice", lambda: replace(bundle(), claims=bundle().claims * 2), MALFORMED),
        ("those of another run", lambda: replace(bundle(), claims=(other_run(),)), REJECTED),
    ),
    "public": (("nothing", replaced(public={}), MALFORMED),),
    "payload": (("nothing", replaced(payload=b""), MALFORMED), ("more", lambda: longer(), MALFORMED)),
}


def longer() -> Proof:
    return replace(bundle(), payload=bundle().payload + b"\0")


ENTRY: dict[str, tuple[Case, ...]] = {
    "name": (("another", entry("name", "rest"), MALFORMED),),
    "dtype": (("another", entry("dtype", "int64"), MALFORMED),),
    "shape": (("another", entry("shape", [2, 1]), MALFORMED),),
    "scale": (("another", entry("scale", ["2", "1"]), MALFORMED),),
    "codes": (
        ("another output", code("output"), MISMATCH),
        ("another input", code("input"), MISMATCH),
        ("none", entry("codes", []), MALFORMED),
    ),
}
PUBLIC: dict[str, tuple[Case, ...]] = {
    "hidden": (("something", published(lambda public: public.update(hidden=["input"])), MALFORMED),),
    "input": (("missing", published(lambda public: public.pop("input")), MALFORMED),),
    "output": (("missing", published(lambda public: public.pop("output")), MALFORMED),),
}
CASES = [
    (f"{group} {name}", *row)
    for group, table in (
        ("payload", PAYLOAD),
        ("claim", CLAIM),
        ("envelope", ENVELOPE),
        ("public", PUBLIC),
        ("entry", ENTRY),
    )
    for name, rows in table.items()
    for row in rows
]


@pytest.mark.parametrize(("name", "how", "make", "error"), CASES, ids=[f"{n}: {h}" for n, h, *_ in CASES])
@pytest.mark.parametrize("decides", ["run again", "final on chain", "both"])
def test_altered(name: str, how: str, make: Callable[[], Proof], error: Any, decides: str) -> None:
    forged = make()
    held = model() if decides != "final on chain" else None
    # A chain that vouches for whatever it is asked.
    chain = FakeChain() if decides != "run again" else None
    with pytest.raises(error) as caught:
        check(forged, held=held, chain=chain)
    assert not isinstance(caught.value, NotFinal)


def test_the_manifest_has_every_field() -> None:
    assert {item.name for item in dataclasses.fields(Bundle)} == PAYLOAD.keys()
    assert {item.name for item in dataclasses.fields(Proof)} == ENVELOPE.keys()
    assert {item.name for item in dataclasses.fields(Claim)} == CLAIM.keys()
    assert bundle().public.keys() == PUBLIC.keys()
    for side in ("input", "output"):
        assert all(item.keys() == ENTRY.keys() for item in bundle().public[side])


def test_what_is_not_altered_is_accepted() -> None:
    assert altered(bundle()) == bundle()
    assert published(lambda public: None)() == bundle()
    assert check(bundle(), held=model(), chain=says(Standing.FINAL)).final


# The unsigned bundle: what no signature covers is covered by the assertion's name in its game.

UNSIGNED = [name for name in PAYLOAD if name not in ("signature", "graph", "inputs", "outputs", "claim")]


@pytest.mark.parametrize("name", UNSIGNED)
def test_unsigned_the_game_knows_it_by_all_that_it_says(name: str) -> None:
    honest = bundle("unsigned")
    assert check(honest, chain=says(Standing.FINAL)).final
    old = getattr(decoded(honest), name)
    other = old + 1 if isinstance(old, int) else flipped(old)
    chain, pins = says(Standing.FINAL), PINS
    if name == "chain_id":
        chain = replace(chain, chain_id=other)
    # Also where the verifier accepts the altered game and terms.
    forged = altered(honest, **{name: other})
    pins = {
        DISPUTE_GAMES: frozenset({(decoded(forged).chain_id, decoded(forged).game)}),
        DISPUTE_TERMS: frozenset({decoded(forged).terms}),
    }
    with pytest.raises(ProofRejected, match=r"9: the assertion.*none"):
        check(forged, chain=chain, pins=pins)


# The four standing attacks: labels that agree with each other, over what was asserted for another claim.


@pytest.mark.parametrize("name", ["model", "input", "output", "context"])
@pytest.mark.parametrize("kind", ["signed", "unsigned", "nowhere"])
def test_a_claim_field_swapped_and_the_payload_kept(name: str, kind: str) -> None:
    (claim,) = bundle(kind).claims
    swapped = replace(claim, **{name: bytes(range(32))})
    expected = {"model": frozenset({swapped.model}), "context": swapped.context}
    for held, chain in ((model(), None), (None, FakeChain()), (model(), FakeChain())):
        with pytest.raises((ClaimMismatch, ProofRejected)):
            check(replace(bundle(kind), claims=(swapped,)), held=held, chain=chain, **expected)


def test_another_model() -> None:
    """The model's own specs, another graph root: a model of the forger's, where the verifier asks for its own."""
    odd = replace(decoded(bundle("unsigned")), graph=b"\1" * 32)
    claim = replace(bundle().claims[0], model=odd.model)
    forged = Proof(bundle().scheme, (claim,), bundle().public, replace(odd, claim=claim.digest()).encode())
    for held, chain in ((model(), None), (None, FakeChain())):
        with pytest.raises(ClaimMismatch, match="model"):
            check(forged, held=held, chain=chain)
    with pytest.raises(ClaimMismatch, match="model"):  # accepted by mistake, but not the one that is held
        check(forged, held=model(), model=frozenset({claim.model}))


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_another_input_or_output(side: str) -> None:
    row = row_of(bundle())
    first, *rest = getattr(row, side)
    other = replace(row, **{side: ((first[0] + 1, *first[1:]), *rest)})
    lie = restated(bundle(), other)
    with pytest.raises(ProofRejected, match="7: the signature"):
        check(lie, held=model())
    with pytest.raises(ProofRejected, match="8: the output"):
        check(restated(bundle("unsigned"), other), held=model())
    with pytest.raises(ProofRejected, match="9: the assertion"):
        check(restated(bundle("unsigned"), other), chain=says(Standing.FINAL))


def test_another_context() -> None:
    moved = restated(bundle(), row_of(bundle()), context=b"\x44" * 32)
    for held, chain in ((model(), None), (None, FakeChain())):
        with pytest.raises(ProofRejected, match="7: the signature"):
            check(moved, held=held, chain=chain, context=b"\x44" * 32)
        with pytest.raises(ClaimMismatch, match="context"):
            check(bundle(), held=held, chain=chain, context=ZERO_CONTEXT)
    unsigned = restated(bundle("unsigned"), row_of(bundle()), context=b"\x44" * 32)
    with pytest.raises(ProofRejected, match="9: the assertion"):
        check(unsigned, chain=says(Standing.FINAL), context=b"\x44" * 32)
    # True whoever says it, and of any use: an unsigned bundle that is run again says so.
    assert check(unsigned, held=model(), context=b"\x44" * 32).remarks[0] == "signed by: nobody"


def test_a_replay_on_another_chain_and_in_another_contract() -> None:
    pins = {**PINS, DISPUTE_GAMES: frozenset({(31337, b"\xaa" * 20), (1, b"\xaa" * 20), (31337, b"\xbb" * 20)})}
    for change in ({"chain_id": 1}, {"game": b"\xbb" * 20}):
        chain = FakeChain(chain_id=decoded(altered(bundle(), **change)).chain_id)
        with pytest.raises(ProofRejected, match="7: the signature"):
            check(altered(bundle(), **change), chain=chain, pins=pins)
        known = replace(chain, known=decoded(bundle()).id)
        with pytest.raises(ProofRejected, match="9: the assertion"):
            check(altered(bundle("unsigned"), **change), chain=known, pins=pins)


def test_the_inputs_are_not_what_the_forger_says() -> None:
    with pytest.raises(ClaimMismatch, match="input"):
        check(bundle(), chain=says(Standing.FINAL), public_input=OTHER_INPUTS)
    assert check(bundle(), chain=says(Standing.FINAL), public_input=INPUTS).final
