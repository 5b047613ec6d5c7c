"""Sums of fractions: honest proofs end in true claims, and no false sum is accepted with one."""

from __future__ import annotations

import itertools
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest

from tests.backends.sumcheck import plain_provers
from tests.backends.sumcheck.plain_provers import Tamper, honest, packed
from vml.backends.sumcheck.fractions.prover import prove_fractions
from vml.backends.sumcheck.fractions.types import FractionClaim, FractionLayer, FractionProof
from vml.backends.sumcheck.fractions.verifier import verify_fractions
from vml.errors import MalformedProof, ProofRejected, ProvingError
from vml.field.goldilocks import ONE, ZERO, Ext, P, add, evaluate, inv, mul, neg, scale, sub
from vml.transcript import Transcript

Fractions = tuple[list[Ext], list[Ext]]


def start() -> Transcript:
    return Transcript("test of fractions")


def lookups(random: Random, values: list[int], table: list[int], counts: list[int], log_size: int) -> Fractions:
    """1 / (alpha - value) for every lookup, less count / (alpha - entry) for every entry; 0 / 1 fills the rest."""
    alpha = (random.randrange(P), random.randrange(P))
    p = [ONE] * len(values) + [neg((count, 0)) for count in counts]
    q = [sub(alpha, (entry, 0)) for entry in values + table]
    rest = (1 << log_size) - len(p)
    return p + [ZERO] * rest, q + [ONE] * rest


def true_sum(random: Random, log_size: int) -> Fractions:
    """Any fractions, the last one chosen such that the sum is zero."""
    p, q = ([x if x != ZERO else ONE for x in plain_provers.drawn(random, 1 << log_size)] for _ in range(2))
    others = plain_provers.total([mul(a, inv(b)) for a, b in zip(p[:-1], q[:-1], strict=True)])
    p[-1] = neg(mul(others, q[-1]))
    return p, q


def is_true(claim: FractionClaim, fractions: Fractions) -> bool:
    found = tuple(evaluate(values, claim.point) for values in fractions)
    return found == (claim.numerator, claim.denominator)


def lie(fractions: Fractions, tamper: Tamper) -> tuple[FractionProof, int]:
    proof, _ = plain_provers.prove_fractions(*fractions, start(), tamper)
    return proof, len(proof.layers)


def step_of(proof: FractionProof, log_size: int) -> str:
    with pytest.raises(ProofRejected) as refused:
        verify_fractions(proof, log_size, start())
    return refused.value.step


@pytest.mark.parametrize("log_size", [*range(1, 8), 10, 13])
def test_honest_proofs_end_in_true_claims(log_size: int) -> None:
    fractions = true_sum(Random(log_size), log_size)
    prover, verifier = start(), start()
    stages: list[float] = []
    proof, expected = prove_fractions(
        packed(fractions[0]), packed(fractions[1]), prover, lambda stage, part: stages.append(part)
    )
    claim = verify_fractions(proof, log_size, verifier)
    assert claim == expected
    assert len(claim.point) == log_size
    assert is_true(claim, fractions)
    assert prover.sample_ext("after") == verifier.sample_ext("after")
    assert stages == sorted(stages)
    assert stages[-1] == 1.0


def test_lookups_with_padding() -> None:
    fractions = lookups(Random(1), [3, 5, 3, 3, 9], [3, 5, 7, 9], [3, 1, 0, 1], 4)
    proof, _ = prove_fractions(packed(fractions[0]), packed(fractions[1]), start())
    assert is_true(verify_fractions(proof, 4, start()), fractions)


def test_the_prover_leaves_its_input_alone() -> None:
    p, q = (packed(values) for values in true_sum(Random(2), 5))
    before = p.copy(), q.copy()
    prove_fractions(p, q, start())
    assert np.array_equal(p, before[0])
    assert np.array_equal(q, before[1])


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ([3, 5, 3, 3, 8], [3, 1, 0, 1]),  # 8 is not in the table
        ([3, 5, 3, 3, 9], [2, 1, 0, 1]),  # 3 occurs three times
        ([3, 5, 3, 3, 9], [3, 1, 1, 1]),  # 7 does not occur
        ([3, 5, 3, 3, 9], [3, 1, P - 1, 1]),
    ],
)
def test_a_false_sum_is_refused(values: list[int], counts: list[int]) -> None:
    fractions = lookups(Random(3), values, [3, 5, 7, 9], counts, 4)
    with pytest.raises(ProvingError, match="not zero"):
        prove_fractions(packed(fractions[0]), packed(fractions[1]), start())
    assert step_of(*lie(fractions, honest)) == "fractions 2: the sum's numerator"


def test_division_by_zero_is_refused() -> None:
    p, q = true_sum(Random(4), 3)
    q[1] = q[6] = ZERO  # two of them make the numerator zero as well
    with pytest.raises(ProvingError, match="denominator"):
        prove_fractions(packed(p), packed(q), start())
    assert step_of(*lie((p, q), honest)) == "fractions 3: the sum's denominator"


@pytest.mark.parametrize("log_size", [2, 3, 5])
def test_a_root_that_hides_the_sum_contradicts_the_next_layer(log_size: int) -> None:
    p, q = true_sum(Random(5), log_size)
    p[2] = add(p[2], ONE)

    def tamper(where: tuple[Any, ...], message: Any) -> Any:
        if where != (0, "values"):
            return message
        _, p1, q0, q1 = message
        return neg(mul(mul(p1, q0), inv(q1))), p1, q0, q1

    assert step_of(*lie((p, q), tamper)) == "fractions 5: the children of layer 1"


@pytest.mark.parametrize("log_size", [2, 3, 5])
def test_an_adaptive_liar_ends_in_a_false_claim(log_size: int) -> None:
    """It repairs every layer by sending a p0 that satisfies the check, which only moves the lie to the leaves."""
    p, q = true_sum(Random(6), log_size)
    p[2] = add(p[2], ONE)
    proof = FractionProof(())
    for k in range(log_size):
        fixed = [layer.values for layer in proof.layers[:k]]

        def tamper(where: tuple[Any, ...], message: Any, fixed: list[Any] = fixed) -> Any:
            return fixed[where[0]] if where[1] == "values" and where[0] < len(fixed) else message

        proof, _ = lie((p, q), tamper)
        layer = proof.layers[k]
        p0, p1, q0, q1 = layer.values
        # How far p0 q1 is from what the check asks for, found where the verifier refuses.
        try:
            verify_fractions(FractionProof(proof.layers[: k + 1]), k + 1, start())
            continue
        except ProofRejected as refused:
            expected, got = refused.expected, refused.got
        shift = sub(expected, got)
        if k:
            point, bound = _points(proof, k)
            shift = mul(shift, inv(plain_provers.evaluate(plain_provers.eq_table(point), bound)))
        values = add(p0, mul(shift, inv(q1))), p1, q0, q1
        repaired = (*proof.layers[:k], FractionLayer(layer.rounds, values), *proof.layers[k + 1 :])
        proof = FractionProof(repaired)
    claim = verify_fractions(proof, log_size, start())
    assert not is_true(claim, (p, q))


def _points(proof: FractionProof, k: int) -> tuple[list[Ext], list[Ext]]:
    """The point of the claim about layer k, and the one its rounds end in."""
    transcript = start()
    point: list[Ext] = []
    for index, layer in enumerate(proof.layers[: k + 1]):
        bound = []
        if index:
            transcript.sample_ext("fractions/fold")
        for sent in layer.rounds:
            transcript.observe_ext("fractions/round", sent)
            bound.append(transcript.sample_ext("fractions/bind"))
        if index == k:
            break
        transcript.observe_ext("fractions/values", layer.values)
        point = [transcript.sample_ext("fractions/child"), *bound]
    return point, bound


def test_every_altered_element_is_refused() -> None:
    fractions = true_sum(Random(7), 4)
    proof, _ = prove_fractions(packed(fractions[0]), packed(fractions[1]), start())
    altered = 0
    for k, layer in enumerate(proof.layers):
        for index, part in itertools.product(range(4), range(2)):
            values = _altered(layer.values, index, part)
            assert step_of(_with(proof, k, replace(layer, values=values)), 4)
            altered += 1
        for number, sent in enumerate(layer.rounds):
            for index, part in itertools.product(range(3), range(2)):
                rounds = (*layer.rounds[:number], _altered(sent, index, part), *layer.rounds[number + 1 :])
                expected = f"fractions 5: the children of layer {k}"
                assert step_of(_with(proof, k, replace(layer, rounds=rounds)), 4) == expected
                altered += 1
    assert altered == 4 * 8 + 6 * 6


def test_a_root_scaled_as_a_whole_is_refused() -> None:
    """Steps 2 and 3 hold for it."""
    fractions = true_sum(Random(8), 3)
    proof, _ = prove_fractions(packed(fractions[0]), packed(fractions[1]), start())
    p0, p1, q0, q1 = proof.layers[0].values
    values = scale(p0, 2), scale(p1, 2), q0, q1
    assert step_of(_with(proof, 0, FractionLayer((), values)), 3) == "fractions 5: the children of layer 1"


def test_a_proof_does_not_hold_in_another_conversation() -> None:
    fractions = true_sum(Random(9), 3)
    proof, _ = prove_fractions(packed(fractions[0]), packed(fractions[1]), start())
    with pytest.raises(ProofRejected):
        verify_fractions(proof, 3, Transcript("another test"))


def _altered(values: tuple[Ext, ...], index: int, part: int) -> Any:
    changed = list(values[index])
    changed[part] = (changed[part] + 1) % P
    return (*values[:index], tuple(changed), *values[index + 1 :])


def _with(proof: FractionProof, k: int, layer: FractionLayer) -> FractionProof:
    return FractionProof((*proof.layers[:k], layer, *proof.layers[k + 1 :]))


def _malformed() -> dict[str, Any]:
    fractions = true_sum(Random(10), 3)
    proof, _ = prove_fractions(packed(fractions[0]), packed(fractions[1]), start())
    layers, last = proof.layers, proof.layers[2]
    cases = {
        "no layers": FractionProof(()),
        "a layer less": FractionProof(layers[:2]),
        "a layer more": FractionProof((*layers, last)),
        "a list of layers": FractionProof(list(layers)),  # type: ignore[arg-type]
        "a round less": _with(proof, 2, replace(last, rounds=last.rounds[:1])),
        "a round more": _with(proof, 2, replace(last, rounds=(*last.rounds, last.rounds[0]))),
        "a round at the root": _with(proof, 0, replace(layers[0], rounds=last.rounds[:1])),
        "a list of rounds": _with(proof, 2, replace(last, rounds=list(last.rounds))),  # type: ignore[arg-type]
    }
    for name, values in _malformed_elements(last.values).items():
        cases[f"values: {name}"] = _with(proof, 2, replace(last, values=values))
    for name, sent in _malformed_elements(last.rounds[1]).items():
        cases[f"a round: {name}"] = _with(proof, 2, replace(last, rounds=(last.rounds[0], sent)))
    return cases


def _malformed_elements(values: tuple[Ext, ...]) -> dict[str, Any]:
    first, *rest = values
    low, high = first
    return {
        "one less": tuple(rest),
        "one more": (*values, first),
        "a list": list(values),
        "nothing": None,
        "an element of one part": ((low,), *rest),
        "an element of three parts": ((low, high, 0), *rest),
        "an element that is a list": ([low, high], *rest),
        "an element that is an int": (low, *rest),
        "the modulus": ((P, high), *rest),
        "above the modulus": ((low, high + P), *rest),
        "negative": ((-1, high), *rest),
        "a boolean": ((True, high), *rest),
        "a float": ((1.0, high), *rest),
    }


@pytest.mark.parametrize("case", _malformed())
def test_another_form_is_malformed(case: str) -> None:
    with pytest.raises(MalformedProof):
        verify_fractions(_malformed()[case], 3, start())


def test_callers_mistakes() -> None:
    p, q = (packed(values) for values in true_sum(Random(11), 2))
    for pair in ((p[:1], q[:1]), (p[:3], q[:3]), (p, q[:2]), (p[:0], q[:0]), (p[:, :1], q)):
        with pytest.raises(ValueError, match="fractions"):
            prove_fractions(*pair, start())
    with pytest.raises(ValueError, match="two leaves"):
        verify_fractions(FractionProof(()), 0, start())
