"""Lying provers, through the whole protocol: one for every way a primitive's relation could fail, and for every layer.

A liar commits to columns that do not satisfy the relation and goes on as honestly as can be. If a lookup asks for a
row that is not in its table, the sum of fractions is not zero (its step 2). Otherwise all that is left of the lie is a
false linear claim, which the opening refuses (its step 13): `violated` says beforehand which one it must be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import pytest

from tests.backends.sumcheck.runs import (
    Array,
    Stage,
    any_fractions,
    evaluate_exactly,
    recount,
    small,
    small_rows,
    violated,
)
from tests.tampering.sumcheck_liars import LIARS, Lie, lies, told
from vml.backends.exact.statement import Row
from vml.backends.sumcheck import linear, prover
from vml.errors import MalformedProof, ProofRejected, VerificationError
from vml.field.goldilocks import ONE, P, add, inv, mul, neg
from vml.model.primitives import PRIMITIVES
from vml.transcript import Transcript

PARTED = "columns and .* paths for|the column is not the one committed to"
"""What happens where prover and verifier have drawn different columns."""
LIES = [pytest.param(*row, id=f"{row[0]}{row[1] or ''}: {row[2].name}") for row in lies()]


def test_every_primitive_has_lying_provers() -> None:
    assert LIARS.keys() == PRIMITIVES.keys() - {"input", "constant"}
    for name, liars in LIARS.items():
        assert sum(len(liar.lies) for liar in liars) >= 4, name


@pytest.mark.parametrize(
    ("primitive", "index"), [(name, index) for name, liars in LIARS.items() for index in range(len(liars))]
)
def test_a_liar_who_tells_the_truth_is_believed(primitive: str, index: int) -> None:
    stage, columns = told(primitive, index, None)
    system = stage.circuit().arrangement.system
    assert violated(system, columns) == ([], [])
    assert all(any(c.node == n for c in system.constraints + system.lookups) for n in _computed(stage))
    stage.verify(stage.prove(columns))


def _computed(stage: Stage) -> list[int]:
    return [k for k, node in enumerate(stage.graph.nodes) if node.primitive not in ("input", "constant")]


@pytest.mark.parametrize(("primitive", "index", "lie"), LIES)
def test_a_liar_is_refused(primitive: str, index: int, lie: Lie) -> None:
    stage, columns = told(primitive, index, lie)
    constraints, lookups = violated(stage.circuit().arrangement.system, columns)
    assert constraints + lookups
    proof = stage.prove(columns)
    with pytest.raises(ProofRejected, match="fractions 2" if lookups else "opening 13"):
        stage.verify(proof)


# Layers: the columns are true, or the lie is told later.


def _honest() -> tuple[Stage, list[Array]]:
    stage = small()
    return stage, stage.columns(stage.values(small_rows()))


@contextmanager
def _instead(name: str, function: Callable[..., Any]) -> Iterator[None]:
    """The prover calls ``function(original, *arguments)``."""
    original = getattr(prover, name)
    with mock.patch.object(prover, name, lambda *args: function(original, *args)):
        yield


def _refused(step: str) -> None:
    stage, columns = _honest()
    proof = stage.prove(columns, exact=False, fractions=prover.prove_fractions)
    with pytest.raises(VerificationError, match=step):
        stage.verify(proof)


@pytest.mark.parametrize("side", ["inputs", "outputs"])
@pytest.mark.parametrize("tensor", [0, 1])
def test_a_claim_about_other_numbers_than_the_columns(side: str, tensor: int) -> None:
    stage, columns = _honest()
    row = stage.sides(columns, 1)[0]
    codes = [list(one) for one in getattr(row, side)]
    codes[tensor][0] += 1 if codes[tensor][0] < 0 else -1
    other: Row = replace(row, **{side: tuple(map(tuple, codes))})
    with pytest.raises(ProofRejected, match="opening 13"):
        stage.verify(stage.prove(columns, [other]))


def test_the_columns_of_one_input_for_another_of_the_batch() -> None:
    stage = small()
    columns = stage.columns(stage.values(small_rows(2)))
    stage.verify(stage.prove(columns, batch=2))
    with pytest.raises(ProofRejected, match="opening 13"):
        stage.verify(stage.prove(columns, stage.sides(columns, 2)[::-1]))


def test_other_weights_than_the_key_has() -> None:
    """The prover runs with other weights, and opens its own matrix of them or the committed one."""
    stage = small()
    (k,) = [k for k, node in enumerate(stage.graph.nodes) if k in stage.graph.constants and node.header.shape == (2, 3)]
    values = stage.values(small_rows(), {k: lambda flat: [v + 1 for v in flat]})
    columns = stage.columns(values)
    with pytest.raises(ProofRejected, match="opening 13"):
        stage.verify(stage.prove(columns))
    matrix = prover.lay_out(stage.circuit().arrangement, prover.FIXED, columns, stage.circuit().log_cols)
    other = prover.commit(matrix, prover.LOG_BLOWUPS[0])
    with (
        mock.patch.object(Stage, "fixed", property(lambda _: other)),
        # Which of the two first: the transcript asks for other columns, perhaps for another number of them.
        pytest.raises((ProofRejected, MalformedProof), match="fixed: "),
    ):
        stage.verify(stage.prove(columns))


@pytest.mark.parametrize("by", [1, -1, P - 1 >> 1])
@pytest.mark.parametrize("table", [0, 1])
def test_a_multiplicity(table: int, by: int) -> None:
    stage, columns = _honest()
    tables = stage.circuit().arrangement.system.tables
    place = tables[table].multiplicity
    columns[place] = columns[place].copy()
    columns[place].reshape(-1)[3] += by
    with pytest.raises(ProofRejected, match="fractions 2"):
        stage.verify(stage.prove(columns))


def test_multiplicities_that_cancel() -> None:
    """One row more, another one less: right in number, not in place."""
    stage, columns = _honest()
    place = stage.circuit().arrangement.system.tables[0].multiplicity
    columns[place] = columns[place].copy()
    counts = columns[place].reshape(-1)
    counts[int(np.flatnonzero(counts)[0])] -= 1
    counts[int(np.flatnonzero(counts == 0)[-1])] += 1
    with pytest.raises(ProofRejected, match="fractions 2"):
        stage.verify(stage.prove(columns))


def test_a_row_of_another_table() -> None:
    """Fingerprints tell tables apart: the multiplicities of two tables exchanged, where both hold the key."""
    stage, columns = _honest()
    tables = stage.circuit().arrangement.system.tables
    first, second = (columns[tables[k].multiplicity].copy() for k in (0, 1))
    one = first.reshape(-1)
    other = second.reshape(-1)
    asked = int(np.flatnonzero(other)[0])
    other[asked] -= 1
    one[asked] += 1
    columns[tables[0].multiplicity], columns[tables[1].multiplicity] = first, second
    with pytest.raises(ProofRejected, match="fractions 2"):
        stage.verify(stage.prove(columns))


def test_a_numerator_that_is_not_committed_to_makes_the_sum_zero() -> None:
    """The lookup asks for a row that is not there; the liar's leaves say that it is, and the columns do not."""
    stage = small()
    values = stage.values(small_rows(), {stage.graph.outputs[1].node: lambda flat: [flat[0] + 1, *flat[1:]]})
    columns = stage.columns(values)
    assert violated(stage.circuit().arrangement.system, columns)[1]

    def leaves(original: Callable[..., Any], *args: Any) -> Any:
        above, below = original(*args)
        total = (0, 0)
        for p, q in zip(above.tolist(), below.tolist(), strict=True):
            if p != [0, 0]:
                total = add(total, mul((p[0], p[1]), inv((q[0], q[1]))))
        free = int(np.flatnonzero((above == 0).all(axis=1))[0])
        above[free] = neg(mul(total, (int(below[free][0]), int(below[free][1]))))
        return above, below

    with _instead("leaves", leaves):
        proof = stage.prove(columns)
    with pytest.raises(ProofRejected, match="opening 13"):
        stage.verify(proof)


def test_denominators_of_other_numbers_than_the_columns_hold() -> None:
    """The output is no row of the table, and the leaves are about the true one: only they are looked at by the sum."""
    stage, columns = told("lookup", 0, LIARS["lookup"][0].lies[0])
    _, true = told("lookup", 0, None)
    assert violated(stage.circuit().arrangement.system, columns) == ([], ["row of the table"])
    for table in stage.circuit().arrangement.system.tables.values():
        columns[table.multiplicity] = true[table.multiplicity]

    def leaves(original: Callable[..., Any], arrangement: Any, _: Any, __: Any, *args: Any) -> Any:
        def evaluate(expression: Any, loops: Any) -> Any:
            return evaluate_exactly(expression, true, loops)

        return original(arrangement, true, evaluate, *args)

    with _instead("leaves", leaves):
        proof = stage.prove(columns, fractions=prover.prove_fractions)
    with pytest.raises(ProofRejected, match="opening 13"):
        stage.verify(proof)


def test_leaves_that_divide_by_zero() -> None:
    def leaves(original: Callable[..., Any], *args: Any) -> Any:
        above, below = original(*args)
        below[0] = 0
        above[0] = 0
        return above, below

    stage, columns = _honest()
    with _instead("leaves", leaves):
        proof = stage.prove(columns)
    with pytest.raises(ProofRejected, match=r"fractions [23]"):
        stage.verify(proof)


def test_leaves_all_zero() -> None:
    def leaves(original: Callable[..., Any], *args: Any) -> Any:
        above, below = original(*args)
        return np.zeros_like(above), below

    with _instead("leaves", leaves):
        _refused("opening 13")


@pytest.mark.parametrize("layer", [0, 1, 7, -1])
def test_values_of_a_layer_of_fractions(layer: int) -> None:
    """Altered after the fact: the transcript of the prover still has the true ones."""

    def prove(original: Callable[..., Any], *args: Any) -> Any:
        proof, claim = original(*args)
        layers = list(proof.layers)
        p0, p1, q0, q1 = layers[layer].values
        layers[layer] = replace(layers[layer], values=(p1, p0, q1, q0))  # the same sum
        return replace(proof, layers=tuple(layers)), claim

    with _instead("prove_fractions", prove):
        _refused("fractions 5" if layer != -1 else "fractions 5|opening 13|products 4")


def test_a_root_that_makes_the_sum_zero() -> None:
    """A lookup asks for a row that is not there, and the root says that the sum is zero all the same."""
    stage, columns = _honest()
    columns[stage.graph.outputs[1].node].reshape(-1)[0] += 1
    recount(stage.circuit().arrangement.system, columns)
    proof = stage.prove(columns, fractions=partial(any_fractions, mend=True))
    with pytest.raises(ProofRejected, match="fractions 5: the children of layer 1"):
        stage.verify(proof)


@pytest.mark.parametrize("of", ["numerator", "denominator"])
def test_a_fraction_claim(of: str) -> None:
    """The prover goes on from another value of the leaves, and so to another claim: the challenges part there."""

    def prove(original: Callable[..., Any], *args: Any) -> Any:
        proof, claim = original(*args)
        return proof, replace(claim, **{of: add(getattr(claim, of), ONE)})

    with _instead("prove_fractions", prove):
        _refused(PARTED)


@pytest.mark.parametrize("factor", [0, 1, 2])
def test_tables_of_other_factors(factor: int) -> None:
    """The products are proved of other numbers than the columns hold; weights are the verifier's own."""

    def prove(original: Callable[..., Any], tables: Any, *args: Any) -> Any:
        tables = [list(table) for table in tables]
        tables[0][factor] = tables[0][factor].copy()
        tables[0][factor][0, 0] = (int(tables[0][factor][0, 0]) + 1) % P
        return original([tuple(table) for table in tables], *args)

    with _instead("prove_products", prove):
        _refused("products 4" if factor == 0 else "opening 13")


def test_the_product_that_the_constraint_needs() -> None:
    """The output is false, and the sum of products is said to be what would make it true."""
    stage, _ = _honest()
    values = stage.values(small_rows(), {stage.graph.outputs[0].node: lambda flat: [flat[0] + 1, *flat[1:]]})
    columns = stage.columns(values)
    (broken,) = violated(stage.circuit().arrangement.system, columns)[0]

    seen: dict[str, Any] = {}

    def prove(original: Callable[..., Any], tables: Any, transcript: Any, progress: Any) -> Any:
        arrangement = stage.circuit().arrangement
        (which,) = [k for k, c in enumerate(arrangement.constraints) if c.source.name == broken]
        shapes = linear.product_shapes(arrangement, seen["point"])
        (product,) = [k for k, shape in enumerate(shapes) if shape.constraint == which]

        class Bent(Transcript):
            __slots__ = ()

            def observe_ext(self, label: str, said: Any) -> None:
                if label == "products/values":
                    said = list(said)
                    said[product] = add(said[product], seen["off"])
                    seen["values"] = tuple(said)
                super().observe_ext(label, said)

        transcript.__class__ = Bent
        proof, points = original(tables, transcript, progress)
        transcript.__class__ = Transcript
        return replace(proof, values=seen["values"]), points

    def weights(original: Callable[..., Any], *args: Any) -> Any:
        seen["point"] = original(*args)
        r = seen["point"].weights((1, 2))
        # The false output is one more at (0, 0): its constraint is off by eq(r, 0).
        seen["off"] = mul(r[0].values[0], r[1].values[0])
        return seen["point"]

    with _instead("Point", weights), _instead("prove_products", prove):
        proof = stage.prove(columns, exact=False)
    with pytest.raises(ProofRejected, match="products 4"):
        stage.verify(proof)


def test_the_value_of_the_opening() -> None:
    """Everything before is honest, and the opening proves another value."""

    def combine(original: Callable[..., Any], *args: Any) -> Any:
        terms, value = original(*args)
        return terms, add(value, ONE)

    with mock.patch.object(prover.linear, "combine", side_effect=lambda *a, f=linear.combine: combine(f, *a)):
        stage, columns = _honest()
        proof = stage.prove(columns)
    with pytest.raises(VerificationError, match=PARTED):
        stage.verify(proof)


@pytest.mark.parametrize("part", ["fixed", "witness"])
def test_the_functional_of_the_opening(part: str) -> None:
    def functional(original: Callable[..., Any], arrangement: Any, terms: Any, which: str, log_cols: int) -> Any:
        out = original(arrangement, terms, which, log_cols)
        if which == part:
            out[0, 0] = (int(out[0, 0]) + 1) % P
        return out

    with _instead("functional", functional):
        _refused("opening 13")


def test_a_witness_that_changes_after_the_commitment() -> None:
    """The columns that the fractions and products are about are not the committed ones."""
    stage, columns = _honest()
    false = stage.columns(stage.values(small_rows(), {stage.graph.outputs[1].node: lambda flat: [0 for _ in flat]}))

    def lay_out(original: Callable[..., Any], arrangement: Any, part: str, _: Any, log_cols: int) -> Any:
        return original(arrangement, part, false, log_cols)

    with _instead("lay_out", lay_out):
        proof = stage.prove(columns, exact=False)
    with pytest.raises(ProofRejected, match="opening 13"):
        stage.verify(proof)


def test_numbers_in_the_padding_of_the_witness_change_nothing_that_is_claimed() -> None:
    """Beside the columns a prover may commit to anything: no claim reads it."""

    def lay_out(original: Callable[..., Any], *args: Any) -> Any:
        matrix = original(*args)
        matrix[-1, -1] = 12345
        return matrix

    stage, columns = _honest()
    with _instead("lay_out", lay_out):
        proof = stage.prove(columns, exact=False)
    assert stage.verify(proof).claims == proof.claims
