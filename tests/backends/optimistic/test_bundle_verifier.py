"""Each step of the verifier refuses what it is there for; what nothing decides is not final."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.backends.optimistic.bundles import (
    ALICE,
    CHAIN,
    CLOSES,
    CONTEXT,
    GAME,
    INPUTS,
    MALLORY,
    OTHER_INPUTS,
    PINS,
    TERMS,
    FakeChain,
    altered,
    bundle,
    check,
    decoded,
    model,
    record,
    restated,
    row_of,
    says,
    signed_by,
    word,
)
from vml.backends.optimistic.chain_record import RECORD_OF, Standing
from vml.backends.optimistic.scheme import TRUSTS, TRUSTS_RECOMPUTED
from vml.backends.types import DISPUTE_GAMES, DISPUTE_TERMS
from vml.claim import ZERO_CONTEXT, checksum_address
from vml.errors import (
    ChainError,
    ClaimMismatch,
    MalformedProof,
    NotFinal,
    PolicyRejected,
    ProofRejected,
)
from vml.keccak import keccak256
from vml.model.graph import encode_specs
from vml.policy import Policy
from vml.proof import Proof

KINDS = ["signed", "unsigned", "nowhere"]
LENIENT = Policy(min_security_bits=96, require_final=False)


# ---- what decides


@pytest.mark.parametrize("kind", KINDS)
def test_run_again(kind: str) -> None:
    verdict = check(Proof.from_bytes(bundle(kind).to_bytes()), held=model())
    assert (verdict.backend, verdict.scheme, verdict.assurance) == ("optimistic", "optimistic/1", "recomputed")
    assert (verdict.final, verdict.security_bits, verdict.semantics) == (True, 128, "vml-int/1")
    assert verdict.trusted == TRUSTS_RECOMPUTED
    assert "nobody but this machine" in verdict.trusted[0]
    assert verdict.claims == bundle(kind).claims
    signed, asserted = verdict.remarks
    assert signed == f"signed by: {ALICE.address if kind == 'signed' else 'nobody'}"
    assert ("nowhere" in asserted) == (kind == "nowhere")
    assert ("bundle's own word" in asserted) == (kind != "nowhere")


@pytest.mark.parametrize("kind", ["signed", "unsigned"])
def test_a_final_record(kind: str) -> None:
    chain = says(Standing.FINAL)
    verdict = check(bundle(kind), chain=chain)
    assert (verdict.assurance, verdict.final, verdict.trusted) == ("economic", True, TRUSTS)
    assert chain.asked == [(checksum_address(GAME), RECORD_OF + decoded(bundle()).id)]
    assert "final" in verdict.remarks[1]
    assert "0x" + TERMS.hex() in verdict.remarks[1]


@pytest.mark.parametrize("kind", KINDS)
def test_neither(kind: str) -> None:
    with pytest.raises(NotFinal, match="--model") as caught:
        check(bundle(kind))
    assert caught.value.until is None
    assert caught.value.exit_code == 7
    assert ("--rpc" in str(caught.value)) == (kind != "nowhere")
    # What is accepted before it is final: not what nothing vouches for.
    with pytest.raises(NotFinal):
        check(bundle(kind), policy=LENIENT)


def test_inside_the_window() -> None:
    with pytest.raises(NotFinal, match="settle") as caught:
        check(bundle(), chain=says(Standing.OPEN))
    assert caught.value.until == CLOSES
    with pytest.raises(NotFinal, match="2 disputes are open"):
        check(bundle(), chain=says(Standing.OPEN, open_disputes=2))
    verdict = check(bundle(), chain=says(Standing.OPEN), policy=LENIENT)
    assert (verdict.final, verdict.assurance) == (False, "economic")


@pytest.mark.parametrize("standing", [Standing.NONE, Standing.SLASHED, Standing.VOID])
def test_what_a_game_decided_against(standing: Standing) -> None:
    with pytest.raises(ProofRejected, match=f"9: the assertion.*{standing.name.lower()}"):
        check(bundle(), chain=says(standing))
    with pytest.raises(ProofRejected, match="9: the assertion"):
        check(bundle(), chain=says(standing), policy=LENIENT)


@pytest.mark.parametrize("standing", [Standing.NONE, Standing.OPEN, Standing.FINAL, Standing.VOID])
def test_both_run_again_and_a_chain(standing: Standing) -> None:
    """Running it decides what is true; the game's word is told."""
    verdict = check(bundle(), held=model(), chain=says(standing))
    assert (verdict.assurance, verdict.final) == ("recomputed", True)
    words = {Standing.NONE: "does not know it", Standing.OPEN: f"not final before unix time {CLOSES}"}
    words |= {Standing.FINAL: "final;", Standing.VOID: "void"}
    assert words[standing] in verdict.remarks[1]


def test_slashed_is_refused_whatever_is_true() -> None:
    with pytest.raises(ProofRejected, match="slashed"):
        check(bundle(), held=model(), chain=says(Standing.SLASHED))


def test_asserted_nowhere_asks_no_chain() -> None:
    chain = FakeChain()
    check(bundle("nowhere"), held=model(), chain=chain)
    with pytest.raises(ProofRejected, match=r"9: the chain.*nowhere"):
        check(bundle("nowhere"), chain=chain)
    assert not chain.asked


# ---- steps 1 to 7


@pytest.mark.parametrize("scheme", ["optimistic/2", "optimistic/1/more", "sumcheck/1"])
def test_step_1_the_scheme(scheme: str) -> None:
    with pytest.raises(MalformedProof, match="scheme"):
        check(replace(bundle(), scheme=scheme), held=model())


def test_step_2_one_claim() -> None:
    with pytest.raises(MalformedProof, match="one claim, not 2"):
        check(replace(bundle(), claims=bundle().claims * 2), held=model())


def test_step_3_another_claim() -> None:
    with pytest.raises(ProofRejected, match="3: the claim"):
        check(altered(bundle("unsigned"), claim=bytes(32)), held=model())
    other = replace(bundle(), claims=(replace(bundle().claims[0], context=ZERO_CONTEXT),))
    with pytest.raises(ProofRejected, match="3: the claim"):
        check(other, held=model(), context=ZERO_CONTEXT)


def test_step_4_another_model() -> None:
    with pytest.raises(ClaimMismatch, match="model"):
        check(altered(bundle("unsigned"), graph=bytes(32)), held=model())
    with pytest.raises(ClaimMismatch, match="'model': expected none"):
        check(bundle(), held=model(), model=frozenset[bytes]())
    # A claim that agrees with its payload, about a model that nobody asked for: its specs are never believed.
    x = model().inputs[0]
    empty = encode_specs((replace(x, header=replace(x.header, shape=(0,))),))
    odd = replace(decoded(bundle("unsigned")), inputs=empty)
    claim = replace(bundle().claims[0], model=odd.model)
    forged = Proof(bundle().scheme, (claim,), bundle().public, replace(odd, claim=claim.digest()).encode())
    with pytest.raises(ClaimMismatch, match="model"):
        check(forged, chain=FakeChain())


def test_step_5_the_public_section() -> None:
    with pytest.raises(MalformedProof, match="public"):
        check(replace(bundle(), public={}), held=model())
    other = restated(bundle("unsigned"), replace(row_of(bundle()), outputs=((1, 2, 3)[:2], (0,) * 6)))
    with pytest.raises(ClaimMismatch, match="output"):
        check(replace(bundle("unsigned"), public=other.public), chain=says(Standing.FINAL))


def test_step_6_what_is_expected() -> None:
    assert check(bundle(), held=model(), public_input=INPUTS).final
    with pytest.raises(ClaimMismatch, match="input"):
        check(bundle(), held=model(), public_input=OTHER_INPUTS)
    with pytest.raises(ClaimMismatch, match="context"):
        check(bundle(), held=model(), context=ZERO_CONTEXT)
    shown = model().dequantize(model().run(model().quantize(INPUTS)))
    assert check(bundle(), chain=says(Standing.FINAL), public_output=shown).final
    with pytest.raises(ClaimMismatch, match="output"):
        check(bundle(), held=model(), public_output={**shown, "sum": shown["sum"] + 1})


def test_step_7_signed_by_another() -> None:
    with pytest.raises(ProofRejected, match="7: the signature"):
        check(signed_by(MALLORY, bundle()), held=model())
    with pytest.raises(ProofRejected, match="7: the signature"):
        check(altered(bundle(), nonce=8), held=model())


# ---- step 8


@pytest.mark.parametrize(("side", "place", "name"), [("sum", 1, r"sum\[1\]"), ("rest", 5, r"rest\[1, 2\]")])
def test_step_8_a_false_output(side: str, place: int, name: str) -> None:
    row = row_of(bundle())
    tensor = 0 if side == "sum" else 1
    wrong = list(row.outputs[tensor])
    wrong[place] += 1
    outputs = tuple(tuple(wrong) if k == tensor else codes for k, codes in enumerate(row.outputs))
    lie = restated(bundle(), replace(row, outputs=outputs), signer=ALICE)
    with pytest.raises(ProofRejected, match=f"8: the output {name}") as caught:
        check(lie, held=model())
    assert (caught.value.expected, caught.value.got) == (wrong[place] - 1, wrong[place])
    # The same lie, where nobody ran the model and nobody disputed it: that is what the window is for.
    assert check(lie, chain=FakeChain()).assurance == "economic"


def test_step_8_another_input_s_output() -> None:
    row = row_of(bundle())
    codes = model().quantize(OTHER_INPUTS)
    inputs = tuple(tuple(codes[spec.name].reshape(-1).tolist()) for spec in model().inputs)
    with pytest.raises(ProofRejected, match="8: the output"):
        check(restated(bundle(), replace(row, inputs=inputs), signer=ALICE), held=model())


def test_step_8_the_model_that_is_held() -> None:
    class Another:
        commitment = bytes(32)

    with pytest.raises(ClaimMismatch, match="model"):
        check(bundle(), held=Another())


def test_step_8_the_trace() -> None:
    lie = signed_by(ALICE, bundle(), trace=b"\1" * 32)
    with pytest.raises(ProofRejected, match="8: the trace"):
        check(lie, held=model())
    assert check(signed_by(ALICE, bundle(), trace=bytes(32)), held=model()).final


# ---- step 9


@pytest.mark.parametrize(
    ("pins", "match"),
    [
        ({}, "9: the game.*--game"),
        ({DISPUTE_TERMS: frozenset({TERMS})}, "9: the game"),
        ({**PINS, DISPUTE_GAMES: frozenset({(CHAIN, b"\xab" * 20)})}, "9: the game"),
        ({**PINS, DISPUTE_GAMES: frozenset({(1, GAME)})}, "9: the game"),
        ({DISPUTE_GAMES: frozenset({(CHAIN, GAME)})}, "9: the terms.*--terms"),
        ({**PINS, DISPUTE_TERMS: frozenset({bytes(32)})}, "9: the terms"),
    ],
)
@pytest.mark.parametrize("held", [False, True])
def test_step_9_what_the_verifier_did_not_pin(pins: dict[str, Any], match: str, held: bool) -> None:
    chain = says(Standing.FINAL)
    with pytest.raises(ProofRejected, match=match):
        check(bundle(), chain=chain, pins=pins, held=model() if held else None)
    assert not chain.asked


def test_step_9_another_chain() -> None:
    with pytest.raises(ProofRejected, match="9: the chain"):
        check(bundle(), chain=FakeChain(chain_id=1))
    # A chain of the bundle's choice does not help either.
    moved = signed_by(ALICE, bundle(), chain_id=1)
    with pytest.raises(ProofRejected, match="9: the game"):
        check(moved, chain=FakeChain(chain_id=1))


@pytest.mark.parametrize(
    "answer",
    [
        record(Standing.FINAL)[:-1],
        record(Standing.FINAL) + bytes(32),
        record(Standing.FINAL)[:-32],
        bytes(9),
        record(5),
        record(255),
        record((1 << 256) - 1),
        record(Standing.FINAL, closes_at=1 << 40),
        word(2),
    ],
)
def test_step_9_an_answer_that_is_none(answer: bytes) -> None:
    with pytest.raises(ChainError, match="recordOf"):
        check(bundle(), chain=FakeChain(answer))
    with pytest.raises(ChainError, match="recordOf"):
        check(bundle(), chain=FakeChain(answer), held=model())


def test_step_9_a_node_that_does_not_answer() -> None:
    with pytest.raises(ChainError, match="nobody"):
        check(bundle(), chain=FakeChain(b""))


def test_the_selector() -> None:
    assert keccak256(b"recordOf(bytes32)")[:4] == RECORD_OF
    assert [(one.name, int(one)) for one in Standing] == [
        ("NONE", 0),
        ("OPEN", 1),
        ("FINAL", 2),
        ("SLASHED", 3),
        ("VOID", 4),
    ]


# ---- step 11


def test_step_11_the_policy() -> None:
    economic = Policy(assurance=frozenset({"economic"}))
    assert check(bundle(), chain=says(Standing.FINAL), policy=economic).final
    with pytest.raises(PolicyRejected, match="recomputed is not accepted"):
        check(bundle(), held=model(), policy=economic)
    recomputed = Policy(assurance=frozenset({"recomputed"}), backends=frozenset({"optimistic"}))
    assert check(bundle(), held=model(), policy=recomputed).final
    with pytest.raises(PolicyRejected, match="economic is not accepted"):
        check(bundle(), chain=says(Standing.FINAL), policy=recomputed)
    assert Policy.from_yaml("assurance: [recomputed, economic]\nbackends: [optimistic]\n").assurance == {
        "recomputed",
        "economic",
    }


def test_the_context_preimage_is_kept() -> None:
    with pytest.raises(MalformedProof, match="context"):
        check(replace(bundle(), public={**bundle().public, "context_preimage": {}}), held=model())
    assert bundle().claims[0].context == CONTEXT


def test_codes_are_those_of_the_input() -> None:
    codes = model().quantize(INPUTS)
    assert row_of(bundle()).inputs == tuple(tuple(codes[spec.name].reshape(-1).tolist()) for spec in model().inputs)
    assert np.array_equal(codes["x"], [[15, -20, 99]])
