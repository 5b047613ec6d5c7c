"""No RELATION section lets a lie pass, and each of its statements is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.laws.relation_checker import violated
from tests.model.relation_lies import FLAT, LIES, PAIR, STAGES, Stage, rescale
from vml.backends.sumcheck.system import build_system
from vml.backends.sumcheck.witness import build_columns, evaluate
from vml.errors import ProvingError, UnsupportedModel
from vml.model.codec import View
from vml.model.graph import Node
from vml.model.primitives import PRIMITIVES
from vml.model.relation import LIMB_BITS, ONE, Expression, Public, Relation, System, largest, limb_count
from vml.model.tensor import Header, Operand, header_for

NOT_ALONE = {
    # argmax is the same relation, and lies about it need these.
    "topk": {"each rank has one place", "the key is that of the place", "the result is the place"},
    # A flag that is neither 0 nor 1 would need y = 0 and p (2a + b) <= p (2b - 1), so that 0 is right.
    "divide": {"divisor is positive is 0 or 1"},
    # Without it, 2 y is still natural and bounded.
    "isqrt": {"range of the result"},
}
"""Statements that are kept for the argument's sake: no lie is known of this primitive that only they notice."""


@pytest.mark.parametrize("name", STAGES)
def test_the_truth_passes(name: str) -> None:
    stage = STAGES[name]
    values = [*stage.operands, np.array(stage.result, dtype=np.int64).reshape(1, *stage.out)]
    columns = build_columns(stage.system, values)
    assert violated(stage.system, [column.ravel().tolist() for column in columns]) == []


def noticing(name: str, lie: str) -> set[str]:
    """Names of the statements that a lie violates."""
    stage = STAGES[name]
    result, witness = next(rest[:2] for other, *rest in LIES[name] if other == lie)
    columns = stage.columns(result, witness)
    assert columns != stage.columns({}, {}), "this is no lie"
    return set(violated(stage.system, columns, multiplicities=False))


@pytest.mark.parametrize(("name", "lie"), [(name, lie[0]) for name, lies in LIES.items() for lie in lies])
def test_a_lie_is_noticed(name: str, lie: str) -> None:
    assert noticing(name, lie) == next(rest[-1] for other, *rest in LIES[name] if other == lie)


@pytest.mark.parametrize("name", STAGES)
def test_every_statement_is_all_that_notices_some_lie(name: str) -> None:
    """So none can be left out. A lie about another node of the same primitive counts."""
    primitive, system = STAGES[name].primitive, STAGES[name].system
    lies = [lie for other, lies in LIES.items() if STAGES[other].primitive == primitive for lie in lies]
    alone = {statement for *_, noticed in lies if len(noticed) == 1 for statement in noticed}
    said = {constraint.name for constraint in system.constraints} | {lookup.name for lookup in system.lookups}
    assert said - alone <= NOT_ALONE.get(primitive, set())


def test_every_primitive_has_a_lie() -> None:
    assert {STAGES[name].primitive for name in LIES} == set(PRIMITIVES) - {"input", "constant"}


# What cannot hold.


def header(lo: int, hi: int) -> Header:
    return header_for((1,), lo, hi)


@pytest.mark.parametrize(
    ("primitive", "headers", "attributes"),
    [
        ("less", [header(-(1 << 62) + 1, (1 << 62) - 1)] * 2, PAIR),
        ("argmax", [header(-(1 << 61), 1 << 61)], {"length": 8, "x": View(0, (1, 0))}),
        ("divide", [header(0, 1 << 60), header(1, 1 << 60)], PAIR),
    ],
)
def test_numbers_beyond_the_field_are_refused(
    primitive: str, headers: list[Header], attributes: dict[str, Any]
) -> None:
    out = PRIMITIVES[primitive].shape(attributes, (1,), [Operand(h) for h in headers])
    nodes = [*(Node("input", h, (), {}) for h in headers), Node(primitive, out, tuple(range(len(headers))), attributes)]
    with pytest.raises(UnsupportedModel, match=f"node {len(headers)} \\(t\\): .* may reach"):
        build_system(nodes, ["x"] * len(headers) + ["t"], 1)


def test_what_only_just_fits_is_not_refused() -> None:
    """Sign tests and clamps of numbers as large as the model has."""
    x = [-(1 << 61) + 1, (1 << 61) - 1]
    for stage in (
        Stage("less", (2,), [x, [5, 5]], PAIR),
        Stage("isqrt", (2,), [x], {"x": FLAT}),
        Stage("equal", (2,), [x, x[::-1]], PAIR),
        Stage("argmax", (), [[v // 2 for v in x]], {"length": 2, "x": FLAT}),
        rescale([v // (1 << 17) for v in x], 16, (1 << 17) - 1, -(1 << 20), 1 << 40),
    ):
        columns = build_columns(stage.system, [*stage.operands, np.array(stage.result).reshape(1, *stage.out)])
        assert violated(stage.system, [column.ravel().tolist() for column in columns]) == []


def test_a_key_outside_its_table_is_an_error_of_the_prover() -> None:
    stage = STAGES["rescale"]
    with pytest.raises(ProvingError, match="node 1: remainder: a key lies outside"):
        build_columns(stage.system, [*stage.operands, np.array([stage.result]) + 1])


def test_values_have_the_shapes_of_their_nodes() -> None:
    stage = STAGES["rescale"]
    with pytest.raises(ValueError, match="have shape"):
        build_columns(stage.system, [*stage.operands, np.array(stage.result)])
    with pytest.raises(ValueError, match="batch"):
        build_system([], [], 0)


# The vocabulary.


def test_expressions_add_up() -> None:
    x = Expression(((3, Public(("index",))),))
    columns: list[Any] = []
    assert evaluate(2 * (1 - x) + x - 5, columns, (3,)).tolist() == [-3, -6, -9]
    assert evaluate(ONE * 0, columns, (2,)).tolist() == [0, 0]
    assert (x * 0).terms == ()


@pytest.mark.parametrize("bound", [0, 1, 2, 7, 65535, 65536, (1 << 32) - 1, (1 << 40) + 5])
def test_ranges_are_what_they_are_said_to_be(bound: int) -> None:
    """Of a number that must be >= 0 the largest that passes is `largest`, loosely and exactly."""
    for exact in (False, True):
        system = System(1)
        y = header_for((1,), 0, 1 << 50)
        system.add_column(build_system([Node("input", y, (), {})], ["y"], 1).columns[0])
        relation = Relation(system, 0, "y", y, [], [0])
        assert relation.nonnegative("number", (1,), relation.result(), bound, 0, exact=exact) == largest(bound, exact)
        assert len(system.columns) - 1 == limb_count(bound) - (bound > 0) + bool(system.tables)
        assert largest(bound, exact) >= bound
        for number in (-1, 0, bound, largest(bound, exact), largest(bound, exact) + 1):
            columns = [[number]]
            for column in system.columns[1:]:
                limb = 0 if column.limb is None else number >> LIMB_BITS * column.limb
                last = column.limb == limb_count(bound) - 1
                columns.append([limb if last else limb % (1 << LIMB_BITS)] * column.size)
            passes = violated(system, columns, multiplicities=False) == []
            assert passes == (0 <= number <= largest(bound, exact)), number
