"""Weighted inner products: honest proofs end in true claims, and no wrong value is accepted with one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest

from tests.backends.sumcheck import plain_provers
from tests.backends.sumcheck.plain_provers import Tamper, drawn, honest, known, packed
from vml.backends.sumcheck.products.prover import prove_products
from vml.backends.sumcheck.products.types import ProductClaim, ProductInstance, ProductProof
from vml.backends.sumcheck.products.verifier import verify_products
from vml.errors import MalformedProof, ProofRejected
from vml.field.goldilocks import ONE, ZERO, Ext, P, add, evaluate, inv, mul, neg, sub
from vml.transcript import Transcript

Instance = tuple[list[Ext], list[Ext], list[Ext]]
MIXED = (3, 1, 0, 2, 2, 0, 4)


def start() -> Transcript:
    return Transcript("test of products")


def some(seed: int, sizes: Sequence[int]) -> list[Instance]:
    random = Random(seed)
    return [tuple(drawn(random, 1 << n) for _ in range(3)) for n in sizes]  # type: ignore[misc]


def arrays(instances: Sequence[Instance]) -> list[Any]:
    return [tuple(packed(table) for table in tables) for tables in instances]


def sums(instances: Sequence[Instance]) -> tuple[Ext, ...]:
    return tuple(
        plain_provers.total([mul(w, mul(a, b)) for w, a, b in zip(*tables, strict=True)]) for tables in instances
    )


def are_true(claims: Sequence[ProductClaim], instances: Sequence[Instance]) -> list[bool]:
    return [
        (evaluate(a, claim.point), evaluate(b, claim.point)) == (claim.a, claim.b)
        for claim, (_, a, b) in zip(claims, instances, strict=True)
    ]


def lie(instances: Sequence[Instance], tamper: Tamper) -> ProductProof:
    return plain_provers.prove_products(instances, start(), tamper)[0]


def refused(proof: ProductProof, instances: Sequence[Instance]) -> None:
    with pytest.raises(ProofRejected) as error:
        verify_products(proof, known(instances), start())
    assert error.value.step == "products 4: the factors"


@pytest.mark.parametrize(
    "sizes", [(), (0,), (1,), (2,), (0, 0, 0), (1, 0), (5, 5, 5), MIXED, (2, 9, 1), (8,) * 20, (13, 0, 12, 13, 6)]
)
def test_honest_proofs_end_in_true_claims(sizes: tuple[int, ...]) -> None:
    instances = some(len(sizes), sizes)
    prover, verifier = start(), start()
    stages: list[float] = []
    proof, points = prove_products(arrays(instances), prover, lambda stage, part: stages.append(part))
    claims = verify_products(proof, known(instances), verifier)
    assert proof.values == sums(instances)
    assert tuple(claim.point for claim in claims) == points
    assert [len(claim.point) for claim in claims] == list(sizes)
    assert all(are_true(claims, instances))
    assert prover.sample_ext("after") == verifier.sample_ext("after")
    assert stages == [(i + 1) / len(proof.rounds) for i in range(len(proof.rounds))]


def test_shorter_instances_use_the_last_coordinates() -> None:
    instances = some(1, (4, 2))
    _, (longer, shorter) = prove_products(arrays(instances), start())
    assert longer[2:] == shorter


def test_the_prover_leaves_its_input_alone() -> None:
    given = arrays(some(2, (5, 3, 5)))
    before = [[table.copy() for table in tables] for tables in given]
    prove_products(given, start())
    for tables, copies in zip(given, before, strict=True):
        assert all(np.array_equal(table, copy) for table, copy in zip(tables, copies, strict=True))


@pytest.mark.parametrize("sizes", [(0,), (3,), MIXED])
def test_a_value_off_by_one_is_refused(sizes: tuple[int, ...]) -> None:
    """All that follows is honest."""
    instances = some(3, sizes)
    for j in range(len(sizes)):

        def tamper(where: tuple[Any, ...], message: Any, j: int = j) -> Any:
            if where != ("values",):
                return message
            return (*message[:j], add(message[j], ONE), *message[j + 1 :])

        refused(lie(instances, tamper), instances)


@pytest.mark.parametrize(("i", "j"), [(0, 1), (0, 4), (3, 4), (2, 5)])
def test_errors_that_cancel_are_refused(i: int, j: int) -> None:
    instances = some(4, MIXED)

    def tamper(where: tuple[Any, ...], message: Any) -> Any:
        if where != ("values",):
            return message
        values = list(message)
        values[i], values[j] = add(values[i], ONE), sub(values[j], ONE)
        return tuple(values)

    refused(lie(instances, tamper), instances)


def test_values_that_change_places_are_refused() -> None:
    instances = some(5, (3, 3))
    refused(lie(instances, lambda where, message: message[::-1] if where == ("values",) else message), instances)


@pytest.mark.parametrize("index", range(4))
def test_an_adaptive_liar_ends_in_a_false_claim(index: int) -> None:
    """Every round's g(0) + g(1) is the claim by construction; factors that repair the end are not those committed."""
    instances = some(6, MIXED)

    def tamper(where: tuple[Any, ...], message: Any) -> Any:
        if where == ("values",):
            return (add(message[0], ONE), *message[1:])
        if where == (index,):  # the same lie moved on: g(0) takes what the claim is too large by
            return (add(message[0], ONE), *message[1:])
        return message

    proof = lie(instances, tamper)
    with pytest.raises(ProofRejected) as error:
        verify_products(proof, known(instances), start())
    missing = sub(error.value.expected, error.value.got)

    # Instance 2 has no variables: its share of the last check is mix^2 2^-4 weight a b.
    transcript = start()
    transcript.observe_ext("products/values", proof.values)
    mix = transcript.sample_ext("products/mix")
    a, b = proof.factors[2]
    b = b if b != ZERO else ONE
    share = mul(mul(mul(mix, mix), inv((16, 0))), mul(instances[2][0][0], b))
    repaired = (add(a, mul(missing, inv(share))), b)
    proof = replace(proof, factors=(*proof.factors[:2], repaired, *proof.factors[3:]))
    claims = verify_products(proof, known(instances), start())
    assert are_true(claims, instances) == [True, True, False, True, True, True, True]


def test_another_weight_is_refused() -> None:
    instances = some(7, MIXED)
    proof, _ = prove_products(arrays(instances), start())
    for j, (weight, a, b) in enumerate(instances):
        other = [add(weight[0], ONE), *weight[1:]]
        refused(proof, [*instances[:j], (other, a, b), *instances[j + 1 :]])


def test_every_altered_element_is_refused() -> None:
    instances = some(8, (2, 0, 3))
    proof, _ = prove_products(arrays(instances), start())
    altered = 0
    for field in ("values", "rounds", "factors"):
        rows = getattr(proof, field)
        rows = [rows] if field == "values" else list(rows)
        for number, row in enumerate(rows):
            for index, part in itertools.product(range(len(row)), range(2)):
                changed = list(row[index])
                changed[part] = (changed[part] + 1) % P
                new = (*row[:index], tuple(changed), *row[index + 1 :])
                new = new if field == "values" else (*rows[:number], new, *rows[number + 1 :])
                refused(replace(proof, **{field: new}), instances)
                altered += 1
    assert altered == 2 * (3 + 3 * 3 + 2 * 3)


def test_factors_that_change_places_are_other_claims() -> None:
    """a b = b a: the check cannot tell, but the claims say which factor has which value."""
    instances = some(9, (2,))
    proof, _ = prove_products(arrays(instances), start())
    exchanged = replace(proof, factors=(proof.factors[0][::-1],))
    assert are_true(verify_products(exchanged, known(instances), start()), instances) == [False]


def test_a_proof_does_not_hold_in_another_conversation() -> None:
    instances = some(10, (2, 3))
    proof, _ = prove_products(arrays(instances), start())
    with pytest.raises(ProofRejected):
        verify_products(proof, known(instances), Transcript("another test"))


def test_altered_factors_change_what_is_drawn_next() -> None:
    instances = some(11, (1, 1))
    proof, _ = prove_products(arrays(instances), start())
    after = []
    for sign in (lambda x: x, neg):  # (-a) (-b) = a b
        transcript = start()
        factors = tuple((sign(a), sign(b)) for a, b in proof.factors)
        verify_products(replace(proof, factors=factors), known(instances), transcript)
        after.append(transcript.sample_ext("after"))
    assert after[0] != after[1]


def _malformed() -> dict[str, ProductProof]:
    proof, _ = plain_provers.prove_products(some(12, (2, 0, 3)), start(), honest)
    low, high = proof.values[0]
    cases: dict[str, Any] = {}
    for field in ("values", "rounds", "factors"):
        whole = getattr(proof, field)
        cases[f"{field}: one less"] = {field: whole[1:]}
        cases[f"{field}: one more"] = {field: (*whole, whole[0])}
        cases[f"{field}: none"] = {field: ()}
        cases[f"{field}: nothing"] = {field: None}
        cases[f"{field}: a list"] = {field: list(whole)}
        if field != "values":
            for name, row in (("less", whole[0][1:]), ("more", (*whole[0], whole[0][0])), ("a list", list(whole[0]))):
                cases[f"{field}: a row with {name}"] = {field: (row, *whole[1:])}
        for name, element in {
            "the modulus": (P, high),
            "above the modulus": (low, high + P),
            "negative": (-1, high),
            "a boolean": (True, high),
            "one part": (low,),
            "three parts": (low, high, 0),
            "a list": [low, high],
        }.items():
            row = element if field == "values" else (element, *whole[0][1:])
            cases[f"{field}: an element that is {name}"] = {field: (row, *whole[1:])}
    return {name: replace(proof, **changes) for name, changes in cases.items()}


@pytest.mark.parametrize("case", _malformed())
def test_another_form_is_malformed(case: str) -> None:
    with pytest.raises(MalformedProof):
        verify_products(_malformed()[case], known(some(12, (2, 0, 3))), start())


def test_callers_mistakes() -> None:
    table = packed(drawn(Random(13), 4))
    for tables in ((table[:3],) * 3, (table, table, table[:2]), (table[:0],) * 3, (table[:, :1],) * 3):
        with pytest.raises(ValueError, match="three tables"):
            prove_products([tables], start())
    with pytest.raises(ValueError, match="variables"):
        verify_products(ProductProof((), (), ()), [ProductInstance(-1, lambda point: ONE)], start())
