"""Placing, weights and linear claims against their definitions, on random graphs with random views."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest

from tests.laws.random_graphs import random_graph, random_inputs
from vml.backends.sumcheck import linear
from vml.backends.sumcheck.arrange import FIXED, WITNESS, Placed, arrange, bits_of
from vml.backends.sumcheck.circuit import Circuit, build_circuit
from vml.backends.sumcheck.factors import Factors
from vml.backends.sumcheck.leaves import leaves
from vml.backends.sumcheck.matrices import functional, lay_out
from vml.backends.sumcheck.weights import Point, Weight, along_axis, axis_value, sum_below
from vml.backends.sumcheck.witness import build_columns, evaluate
from vml.errors import UnsupportedModel
from vml.field import kernels
from vml.field.goldilocks import ONE, ZERO, Ext, P, add, dot, eq_table, from_int, mul, scale
from vml.field.goldilocks import evaluate as extend
from vml.model.executor import Executor
from vml.model.graph import Graph
from vml.model.relation import Column, Expression, Lookup, Public, Read, System

SEEDS = range(16)


def random_point(rng: np.random.Generator, count: int) -> list[Ext]:
    return [(int(rng.integers(P, dtype=np.uint64)), int(rng.integers(P, dtype=np.uint64))) for _ in range(count)]


def read_naively(read: Read, loops: Sequence[int]) -> list[int | None]:
    """The element that a read sees at every position; None where it sees nothing."""
    seen: list[int | None] = []
    for index in itertools.product(*(range(n) for n in loops)):
        place, there = read.offset, True
        for i, step in zip(index, read.steps, strict=True):
            moved = step[i] if isinstance(step, tuple) else step * i
            there &= not (isinstance(step, tuple) and moved < 0)
            place += max(moved, 0) if isinstance(step, tuple) else moved
        seen.append(place if there else None)
    return seen


def placed_naively(placed: Placed, sizes: Sequence[int], loops: Sequence[int]) -> list[int | None]:
    """The same of a placed read, in row-major order of the column."""
    seen: list[int | None] = []
    for index in itertools.product(*(range(n) for n in loops)):
        place, there = 0, True
        for size, (offset, moves) in zip(sizes, placed.axes, strict=True):
            position = offset
            for loop, step in moves:
                moved = step[index[loop]] if isinstance(step, tuple) else step * index[loop]
                there &= not (isinstance(step, tuple) and moved < 0)
                position += max(moved, 0) if isinstance(step, tuple) else moved
            assert not there or 0 <= position < size
            place = place * size + position
        for loop, step in placed.weighed:
            there &= not (isinstance(step, tuple) and step[index[loop]] < 0)
        seen.append(place if there else None)
    return seen


def circuit_of(seed: int, batch: int) -> tuple[Graph, Circuit, list[np.ndarray], np.random.Generator]:
    """A random graph with the columns of random runs."""
    for attempt in range(seed * 100, seed * 100 + 100):
        rng = np.random.default_rng(attempt)
        graph = random_graph(attempt)
        try:
            circuit = build_circuit(graph.nodes, graph.inputs, graph.outputs, batch)
        except UnsupportedModel:
            continue
        runs = [Executor(graph).run_all(random_inputs(graph, rng)) for _ in range(batch)]
        values = [
            graph.constants[k] if node.primitive == "constant" else np.stack([run[k] for run in runs])
            for k, node in enumerate(graph.nodes)
        ]
        return graph, circuit, build_columns(circuit.arrangement.system, values), rng
    raise AssertionError("every random graph was refused")


def statements(system: System, circuit: Circuit) -> list[tuple[Expression, tuple[int, ...], object, tuple[int, ...]]]:
    """Every expression as written, with its loops, and as placed, with its own."""
    pairs = []
    for written, placed in zip(system.constraints, circuit.arrangement.constraints, strict=True):
        loops = (*written.loops, *written.contract)
        for product, (_, a, b) in zip(written.products, placed.products, strict=True):
            pairs += [(product.a, loops, a, placed.loops), (product.b, loops, b, placed.loops)]
    for lookup, found in zip(system.lookups, circuit.arrangement.lookups, strict=False):
        pairs.append((lookup.key, lookup.loops, found.key, found.loops))
        if lookup.value is not None:
            pairs.append((lookup.value, lookup.loops, found.value, found.loops))
    return pairs


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_placed_read_sees_what_the_view_sees(seed: int, batch: int) -> None:
    _, circuit, _, _ = circuit_of(seed, batch)
    blocks = circuit.arrangement.blocks
    for written, loops, placed, own in statements(circuit.arrangement.system, circuit):
        reads = [term for _, term in written.terms if isinstance(term, Read)]
        places = [term for _, term in placed.terms if isinstance(term, Placed)]
        for read, place in zip(reads, places, strict=True):
            assert math.prod(own) == math.prod(loops)
            assert placed_naively(place, blocks[place.column].sizes, own) == read_naively(read, loops)


@pytest.mark.parametrize("seed", SEEDS)
def test_blocks_lie_beside_each_other_at_multiples_of_their_size(seed: int) -> None:
    _, circuit, _, _ = circuit_of(seed, 2)
    for part in (FIXED, WITNESS):
        end = 0
        for block in sorted((b for b in circuit.arrangement.blocks if b.part == part), key=lambda b: b.start):
            assert block.start >= end
            assert block.start % (1 << block.log_size) == 0
            end = block.start + (1 << block.log_size)
    for block, column in zip(circuit.arrangement.blocks, circuit.arrangement.system.columns, strict=True):
        assert math.prod(block.sizes) == column.size
        assert block.part == (FIXED if column.constant else WITNESS)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("batch", [1, 2])
def test_every_claim_of_an_honest_run_holds_and_the_verifier_evaluates_the_prover_s_functional(
    seed: int, batch: int
) -> None:
    _, circuit, columns, rng = circuit_of(seed, batch)
    arrangement, log_cols = circuit.arrangement, circuit.log_cols
    alpha, beta, gamma = random_point(rng, 3)
    matrices = {part: lay_out(arrangement, part, columns, log_cols) for part in (FIXED, WITNESS)}

    def holds(claim: linear.LinearClaim) -> bool:
        total = ZERO
        for part, matrix in matrices.items():
            weights = functional(arrangement, claim.terms, part, log_cols)
            total = add(total, inner(weights, extended(matrix)))
        return total == claim.value

    claims: list[linear.LinearClaim] = []
    if arrangement.lookups:
        above, below = leaves(
            arrangement, columns, lambda expression, loops: evaluate(expression, columns, loops), alpha, beta
        )
        at = random_point(rng, arrangement.log_fractions)
        top, bottom = inner(expanded(at), above), inner(expanded(at), below)
        claims += linear.fraction_claims(arrangement, alpha, beta, at, top, bottom)
    point = Point(random_point(rng, circuit.index_bits))
    shapes = linear.product_shapes(arrangement, point)
    factors, values = Factors(arrangement, columns), []
    for shape, variables in zip(shapes, circuit.product_vars, strict=True):
        assert shape.num_vars == variables
        weights, a, b = ([tuple(x) for x in table.tolist()] for table in factors.tables(shape))
        values.append(dot(weights, [mul(x, y) for x, y in zip(a, b, strict=True)]))
        at = random_point(rng, variables)
        assert extend(weights, at) == shape.weight(at)
        claims += shape.claims(at, extend(a, at), extend(b, at))
    claims += linear.constraint_claims(arrangement, point, shapes, values)
    tensors = [columns[spec.node].reshape(-1).tolist() for spec in (*circuit.inputs, *circuit.outputs)]
    claims += linear.boundary_claims(arrangement, point, tensors)
    assert len(claims) == circuit.sizes.claims
    for claim in claims:
        assert holds(claim), claim.name
    terms, _ = linear.combine(claims, gamma)
    for part, matrix in matrices.items():
        at = [ZERO, *random_point(rng, bits_of(len(matrix)) + log_cols)]  # one variable more than it has rows for
        table = functional(arrangement, terms, part, log_cols)
        assert inner(expanded(at)[: len(table)], table) == linear.evaluate(arrangement, terms, part, at)


def inner(left: np.ndarray, right: np.ndarray) -> Ext:
    low, high = kernels.dot_ext(np.ascontiguousarray(left), np.ascontiguousarray(right))
    return int(low), int(high)


def extended(matrix: np.ndarray) -> np.ndarray:
    return np.stack([matrix.reshape(-1), np.zeros(matrix.size, dtype=np.uint64)], axis=1)


def expanded(point: Sequence[Ext]) -> np.ndarray:
    table = np.empty((1 << len(point), 2), dtype=np.uint64)
    kernels.eq_expand(np.array(point, dtype=np.uint64).reshape(-1, 2), table)
    return table


def test_the_claims_of_a_lie_do_not_all_hold() -> None:
    """The test above can fail: an element that is off by one breaks a claim."""
    for seed in SEEDS:
        graph, circuit, columns, rng = circuit_of(seed, 1)
        node = next((s.node for s in graph.outputs if graph.nodes[s.node].primitive == "dot"), None)
        if node is None:
            continue
        columns[node] = columns[node] + 1
        point = Point(random_point(rng, circuit.index_bits))
        shapes = linear.product_shapes(circuit.arrangement, point)
        factors = Factors(circuit.arrangement, columns)
        values = []
        for shape in shapes:
            weights, a, b = ([tuple(x) for x in table.tolist()] for table in factors.tables(shape))
            values.append(dot(weights, [mul(x, y) for x, y in zip(a, b, strict=True)]))
        broken = 0
        for claim in linear.constraint_claims(circuit.arrangement, point, shapes, values):
            total = ZERO
            for part in (FIXED, WITNESS):
                matrix = lay_out(circuit.arrangement, part, columns, circuit.log_cols).reshape(-1).tolist()
                weights = functional(circuit.arrangement, claim.terms, part, circuit.log_cols).tolist()
                used = [(tuple(w), (x, 0)) for w, x in zip(weights, matrix, strict=True) if x and w != [0, 0]]
                total = add(total, dot([w for w, _ in used], [x for _, x in used]))
            broken += total != claim.value
        assert broken
        return
    pytest.fail("no random graph ends in a dot")


# Weights.


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 8, 13, 16])
def test_sums_of_products_over_bits_are_what_they_say(n: int) -> None:
    rng = np.random.default_rng(n)
    for spare in (0, 2):
        count = bits_of(n) + spare
        bits = list(zip(random_point(rng, count), random_point(rng, count), strict=True))
        total, indexed = ZERO, ZERO
        for i in range(n):
            term = ONE
            for k, (one, zero) in enumerate(bits):
                term = mul(term, one if i >> (count - 1 - k) & 1 else zero)
            total, indexed = add(total, term), add(indexed, scale(term, i))
        assert sum_below(n, bits) == (total, indexed)


@pytest.mark.parametrize("n", [1, 2, 3, 6, 8, 11])
def test_weights_agree_with_their_values(n: int) -> None:
    rng = np.random.default_rng(n)
    for weight in (Weight(n), Weight(n, tuple(random_point(rng, bits_of(n))))):
        values = weight.values
        assert len(values) == n
        numbers = tuple(int(x) for x in rng.integers(-9, 9, n))
        mask = tuple(int(x) for x in rng.integers(-1, 3, n))
        ones = [(1, 0)] * n
        assert weight.times(None) == dot(values, ones)
        assert weight.times("index") == dot(values, [(i, 0) for i in range(n)])
        assert weight.times(numbers) == dot(values, [(from_int(x), 0) for x in numbers])
        assert weight.total(0) == dot(values, ones)
        assert weight.total(mask) == dot(values, [(int(x >= 0), 0) for x in mask])
        for spare in (0, 1, 3):
            z = random_point(rng, bits_of(n) + spare)
            assert weight.against(z) == dot(values, eq_table(z)[:n])


def test_the_value_of_an_axis_is_its_vector_against_eq() -> None:
    rng = np.random.default_rng(0)
    weights = [Weight(n, tuple(random_point(rng, bits_of(n)))) for n in (3, 4, 5)]
    for size, offset, moves in (
        (11, 5, ()),
        (5, 0, ((2, 1),)),
        (9, 0, ((2, 1),)),
        (13, 2, ((0, 2), (1, 1))),
        (13, 12, ((0, -3), (1, -2))),
        (7, 1, ((2, (4, -1, 0, 2, 4)),)),
    ):
        vector = along_axis(offset, moves, weights, size)
        z = random_point(rng, bits_of(size))
        assert axis_value(offset, moves, weights, size, z, []) == dot(vector, eq_table(z)[:size])


def test_a_point_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="the point 2"):
        Point(random_point(np.random.default_rng(0), 2)).weights((3, 3))


def test_a_reshape_that_no_split_expresses_merges_axes() -> None:
    system = System(1)
    system.add_column(Column("x", 0, (1, 6, 4), constant=False))
    read = Expression(((1, Read(0, 0, (24, 3))),))
    system.range_table()
    system.lookups.append(Lookup(0, "thirds", (1, 8), 0, read, None))
    block = arrange(system, [0]).blocks[0]
    assert block.sizes == (24,)


def test_public_numbers_survive_a_split() -> None:
    system = System(1)
    system.add_column(Column("x", 0, (1, 4, 6), constant=False))
    system.range_table()
    key = Expression(((1, Read(0, 0, (24, 1))), (5, Public((None, "index")))))
    system.lookups.append(Lookup(0, "flat", (1, 24), 0, key, None))
    placed = arrange(system, [0]).lookups[0]
    assert placed.loops == (1, 4, 6)
    publics = [(c, term) for c, term in placed.key.terms if isinstance(term, Public)]
    assert publics == [(30, Public((None, "index", None))), (5, Public((None, None, "index")))]
