"""Laws of the relations of any graph: the executor's values satisfy every statement, and no other result does."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from tests.laws.random_graphs import random_graph, random_inputs
from tests.laws.relation_checker import element, violated
from vml.backends.sumcheck.system import build_system
from vml.backends.sumcheck.witness import build_columns
from vml.errors import UnsupportedModel
from vml.model.executor import Executor
from vml.model.graph import Graph
from vml.model.relation import MODULUS, Column, Read, System

SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MANY = settings(max_examples=3000, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def columns_of(graph: Graph, seed: int, batch: int) -> tuple[System, list[list[int]]]:
    """A graph's system and its columns for random inputs, flat."""
    try:
        system = build_system(graph.nodes, graph.names, batch)
    except UnsupportedModel:
        # A divide by numbers near the end of the range is refused; `test_refusals_are_rare` counts them.
        reject()
    executor = Executor(graph)
    runs = [executor.run_all(random_inputs(graph, seed + k)) for k in range(batch)]
    values = [
        runs[0][i] if node.primitive == "constant" else np.stack([run[i] for run in runs])
        for i, node in enumerate(graph.nodes)
    ]
    return system, [column.ravel().tolist() for column in build_columns(system, values)]


def check_honest(seed: int, batch: int) -> None:
    system, columns = columns_of(random_graph(seed), seed, batch)
    assert violated(system, columns) == []


@pytest.mark.parametrize("batch", [1, 3])
@FEW
@given(seed=SEEDS)
def test_true_values_satisfy_every_statement(batch: int, seed: int) -> None:
    check_honest(seed, batch)


@pytest.mark.slow
@MANY
@given(SEEDS, st.integers(1, 4))
def test_true_values_satisfy_every_statement_at_length(seed: int, batch: int) -> None:
    check_honest(seed, batch)


def check_altered(seed: int, draws: random.Random) -> None:
    """Any other number in any column is noticed, but for the sources' (the claim and the model bind them)."""
    graph = random_graph(seed)
    system, columns = columns_of(graph, seed, draws.choice([1, 2]))
    computed = [i for i, node in enumerate(graph.nodes) if node.primitive not in ("input", "constant")]
    witness = [i for i, c in enumerate(system.columns) if c.compute is not None]
    for column in draws.sample(computed, min(3, len(computed))) + draws.sample(witness, min(6, len(witness))):
        place = draws.randrange(len(columns[column]))
        true = columns[column][place]
        wrong = draws.choice(
            [true - 1, true + 1, 0, 1, max(columns[column]), 65535, MODULUS // 2, draws.getrandbits(63)]
        )
        free = true == 0 and system.columns[column].name.endswith("inverse")  # nothing pins down an inverse of 0
        if free or (wrong - true) % MODULUS == 0:
            continue
        columns[column][place] = wrong
        assert violated(system, columns, multiplicities=False), (seed, system.columns[column].name, place, true, wrong)
        columns[column][place] = true


@FEW
@given(SEEDS, st.randoms(use_true_random=False))
def test_no_other_number_is_accepted(seed: int, draws: random.Random) -> None:
    check_altered(seed, draws)


@pytest.mark.slow
@MANY
@given(SEEDS, st.randoms(use_true_random=False))
def test_no_other_number_is_accepted_at_length(seed: int, draws: random.Random) -> None:
    check_altered(seed, draws)


def test_multiplicities_are_counted() -> None:
    """The checker compares them: one count too many is a violation."""
    system, columns = columns_of(random_graph(5), 5, 1)
    for identifier, table in system.tables.items():
        columns[table.multiplicity][0] += 1
        assert violated(system, columns) == [f"multiplicities of table {identifier}"]
        columns[table.multiplicity][0] -= 1


def test_columns_of_outputs_come_first() -> None:
    graph = random_graph(7)
    system = build_system(graph.nodes, graph.names, 3)
    for index, (node, column) in enumerate(zip(graph.nodes, system.columns, strict=False)):
        constant = node.primitive == "constant"
        shape = node.header.shape if constant else (3, *node.header.shape)
        assert column == Column(graph.names[index], index, shape, constant)
    tables = {table.multiplicity for table in system.tables.values()}
    assert {i for i, c in enumerate(system.columns) if c.compute is None} == {*range(len(graph.nodes)), *tables}


def test_views_stay_inside_their_columns() -> None:
    """No read, at any position, leaves its column: the checker would read another element from the end."""
    for seed in range(30):
        graph = random_graph(seed)
        system, columns = columns_of(graph, seed, 2)
        reads_of = [
            (term, (*c.loops, *(c.contract if expression is not c.linear else ())))
            for c in system.constraints
            for expression in (c.linear, *(f for p in c.products for f in (p.a, p.b)))
            for _, term in expression.terms
            if isinstance(term, Read)
        ]
        reads_of += [
            (term, lookup.loops)
            for lookup in system.lookups
            for expression in (lookup.key, lookup.value)
            if expression is not None
            for _, term in expression.terms
            if isinstance(term, Read)
        ]
        for read, loops in reads_of:
            for corner in np.ndindex(*(min(n, 2) for n in loops)):
                element(read, columns, tuple((n - 1) * int(c) for n, c in zip(loops, corner, strict=True)))


@pytest.mark.slow
def test_refusals_are_rare() -> None:
    """The laws above say nothing of a graph that is refused, so hardly any may be."""
    refused = []
    for seed in range(2000):
        graph = random_graph(seed)
        try:
            build_system(graph.nodes, graph.names, 1)
        except UnsupportedModel:
            refused.append(seed)
    assert len(refused) <= 4, refused
