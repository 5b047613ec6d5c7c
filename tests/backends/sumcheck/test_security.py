"""The bound on the error: each term again in rational numbers, and the choice of queries by trying all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vml.backends.sumcheck.security import (
    GRINDING_BITS,
    MAX_QUERIES,
    REQUIRED_BITS,
    Parameters,
    Sizes,
    log_final,
    parameters_for,
    radius,
    row_variables,
    soundness,
)
from vml.field.goldilocks import P


@dataclass(frozen=True)
class Shape:
    fixed_rows: int
    witness_rows: int
    log_cols: int


shapes = st.builds(Shape, st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 19))
sizes = st.builds(
    Sizes,
    log_fractions=st.integers(0, 24),
    index_bits=st.integers(0, 40),
    products=st.integers(0, 3000),
    product_rounds=st.integers(0, 40),
    claims=st.integers(0, 10000),
    opening=shapes,
)
LENET = Sizes(18, 13, 19, 13, 63, Shape(23, 38, 12))  # circuits/lenet5, one input
KNOWN = Parameters(121, 112)


def exact(s: Sizes, q: Parameters) -> Fraction:
    """The sum of docs/sumcheck.md, term by term."""
    field = P**2
    n = 2**s.log_fractions
    c, rho = s.opening.log_cols, 0
    while 2**rho < max(s.opening.fixed_rows, s.opening.witness_rows):
        rho += 1
    c2 = min(c, -(-c // 2) + 2)
    total = Fraction(0)
    if n > 1:
        total += Fraction(2 * n, field)
        total += Fraction(1 + sum(1 + 3 * k + 1 for k in range(1, s.log_fractions)), field)
    total += Fraction(s.index_bits + max(s.products - 1, 0) + 3 * s.product_rounds + max(s.claims - 1, 0), field)
    total += Fraction(2 * (rho + 1 + c), field)
    for variables, k, blowup, queries in ((rho + 1, 2**c, 8, q.queries1), (c - c2, 2**c2, 16, q.queries2)):
        length = blowup * k
        distance = length - k + 1
        total += Fraction(variables * length + queries, field)
        total += (1 - Fraction((distance - 1) // 2, length)) ** queries
    return total


@given(s=sizes, q1=st.integers(0, MAX_QUERIES), q2=st.integers(0, MAX_QUERIES))
def test_the_sum_is_the_papers_and_rounded_up(s: Sizes, q1: int, q2: int) -> None:
    parameters = Parameters(q1, q2)
    difference = Fraction(soundness(s, parameters).error, 2**160) - exact(s, parameters)
    assert 0 <= difference <= Fraction(1000, 2**160)


@given(s=sizes)
def test_chosen_queries_suffice(s: Sizes) -> None:
    chosen = parameters_for(s)
    assert soundness(s, chosen).sufficient
    assert exact(s, chosen) <= Fraction(1, 2**REQUIRED_BITS)
    assert soundness(s, chosen).bits >= REQUIRED_BITS
    for fewer in (
        replace(chosen, queries1=chosen.queries1 - 1),
        replace(chosen, queries2=chosen.queries2 - 1),
    ):
        assert not soundness(s, fewer).sufficient


def test_chosen_queries_open_the_fewest_bytes() -> None:
    shape = LENET.opening
    column1 = 8 * (shape.fixed_rows + shape.witness_rows) + 64 * (shape.log_cols + 3 - 6)
    column2 = 16 * 2 ** (shape.log_cols - log_final(shape.log_cols)) + 32 * (log_final(shape.log_cols) + 4 - 6)
    everything = [
        (q1 * column1 + q2 * column2, q1, q2)
        for q1 in range(110, 140)
        for q2 in range(100, 130)
        if soundness(LENET, Parameters(q1, q2)).sufficient
    ]
    _, q1, q2 = min(everything)
    assert parameters_for(LENET) == Parameters(q1, q2)


def test_what_the_field_cannot_carry_is_refused() -> None:
    for too_large in (
        replace(LENET, log_fractions=27),
        replace(LENET, opening=Shape(1000, 1000, 22)),
        replace(LENET, claims=2**28),
    ):
        with pytest.raises(ValueError, match="required"):
            parameters_for(too_large)


def test_two_to_the_minus_100_is_enough_and_one_unit_more_is_not() -> None:
    """At the edge the decision is made in integers, where a float shows no difference."""
    edge = replace(LENET, claims=0)
    without = soundness(edge, Parameters(MAX_QUERIES, MAX_QUERIES)).error
    left = 2**60 - without
    claims = left * P * P >> 160
    inside, outside = replace(edge, claims=claims), replace(edge, claims=claims + 3)
    assert soundness(inside, Parameters(MAX_QUERIES, MAX_QUERIES)).sufficient
    assert not soundness(outside, Parameters(MAX_QUERIES, MAX_QUERIES)).sufficient


@pytest.mark.parametrize(
    "wrong",
    [
        (replace(LENET, claims=-1), Parameters(1, 1)),
        (replace(LENET, log_fractions=-1), Parameters(1, 1)),
        (replace(LENET, index_bits=-1), Parameters(1, 1)),
        (replace(LENET, products=-1), Parameters(1, 1)),
        (replace(LENET, product_rounds=-1), Parameters(1, 1)),
        (replace(LENET, opening=Shape(0, 1, 4)), Parameters(1, 1)),
        (replace(LENET, opening=Shape(1, 0, 4)), Parameters(1, 1)),
        (replace(LENET, opening=Shape(1, 1, -1)), Parameters(1, 1)),
        (replace(LENET, opening=Shape(1, 1, 30)), Parameters(1, 1)),
        (LENET, Parameters(-1, 1)),
        (LENET, Parameters(1, -1)),
        (LENET, Parameters(MAX_QUERIES + 1, 1)),
        (LENET, Parameters(1, MAX_QUERIES + 1)),
        (LENET, Parameters(1, 1, log_blowup1=0)),
        (LENET, Parameters(1, 1, log_blowup2=0)),
    ],
)
def test_nonsense_is_refused(wrong: tuple[Sizes, Parameters]) -> None:
    with pytest.raises(ValueError):
        soundness(*wrong)


def test_known_values() -> None:
    """Pinned, since prover and verifier on different machines must agree on them."""
    assert parameters_for(LENET) == KNOWN
    assert soundness(LENET, KNOWN).largest.name == "opening: queries, level 1"
    assert GRINDING_BITS == 0


def test_the_paper_shows_these_values() -> None:
    page = (Path(__file__).parents[3] / "docs" / "sumcheck.md").read_text(encoding="utf-8")
    found = soundness(LENET, KNOWN)
    for name, bits in [*((term.name, term.bits) for term in found.terms), ("**sum**", found.bits)]:
        (line,) = [line for line in page.splitlines() if line.startswith(f"| {name} |")]
        assert line.rsplit("|", 2)[1].strip().strip("*") == str(bits), name


def test_the_larger_every_size_the_larger_the_error() -> None:
    for grown in (
        replace(LENET, log_fractions=19),
        replace(LENET, index_bits=14),
        replace(LENET, products=20),
        replace(LENET, product_rounds=14),
        replace(LENET, claims=64),
        replace(LENET, opening=Shape(23, 65, 12)),
        replace(LENET, opening=Shape(65, 38, 12)),
    ):
        assert soundness(grown, KNOWN).error > soundness(LENET, KNOWN).error


@given(log_length=st.integers(1, 24), log_blowup=st.integers(1, 5))
def test_radius_is_half_the_distance(log_length: int, log_blowup: int) -> None:
    n, k = 2 ** (log_length + log_blowup), 2**log_length
    assert radius(log_length + log_blowup, log_blowup) == (n - k + 1 - 1) // 2


def test_rows_and_selector() -> None:
    assert [row_variables(Shape(f, w, 3)) for f, w in ((1, 1), (2, 1), (1, 2), (3, 1), (4, 4), (5, 4), (1, 129))] == [
        1, 2, 2, 3, 3, 4, 9,
    ]  # fmt: skip
