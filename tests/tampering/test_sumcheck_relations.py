"""Forging a result: in small fields, with every witness tried, only the right result satisfies a relation."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.tampering.tiny_fields import facts, search, shrunk
from vml.backends.sumcheck.system import build_system
from vml.errors import UnsupportedModel
from vml.model.codec import Part, Run, View
from vml.model.graph import Node
from vml.model.primitives import PRIMITIVES, rescale
from vml.model.tensor import Header, Operand

SCALAR = View(0, ())
Values = list[list[int]]
Case = tuple[str, tuple[int, ...], list[Header], dict[str, Any], list[Values]]
"""Primitive, output's shape, operands, attributes, and values of the operands."""

FIELDS = ((23, 1), (31, 2), (37, 1), (41, 2), (67, 3))


def _range(rng: random.Random, width: int) -> tuple[int, int]:
    lo = rng.randint(-width, width)
    return lo, rng.randint(lo, width)


def _scalars(rng: random.Random, name: str, ranges: Sequence[tuple[int, int]], attributes: dict[str, Any]) -> Case:
    values = [[[x] for x in row] for row in itertools.product(*(range(lo, hi + 1) for lo, hi in ranges))]
    headers = [Header("int64", (), lo, hi) for lo, hi in ranges]
    return name, (), headers, attributes, rng.sample(values, min(4, len(values)))


def _row(rng: random.Random, name: str, out: tuple[int, ...], n: int, attributes: dict[str, Any]) -> Case:
    lo, hi = _range(rng, rng.choice([1, 2, 4]))
    values = [[[rng.randint(lo, hi) for _ in range(n)]] for _ in range(3)]
    return name, out, [Header("int64", (n,), lo, hi)], {**attributes, "x": View(0, (1,))}, values


def case(rng: random.Random, name: str, bits: int) -> Case:
    """One node over numbers of a few bits."""
    width = rng.choice([1, 2, 3, 5, 9, 15, 25])
    some, divisors = _range(rng, width), _range(rng, rng.choice([1, 3, 9]))
    if name in ("less", "equal"):
        return _scalars(rng, name, [some, _range(rng, width)], {"a": SCALAR, "b": SCALAR})
    if name == "divide":
        return _scalars(rng, name, [some, divisors], {"a": SCALAR, "b": SCALAR})
    if name == "select":
        views = {"condition": SCALAR, "a": SCALAR, "b": SCALAR}
        return _scalars(rng, name, [_range(rng, 3), some, _range(rng, width)], views)
    if name == "isqrt":
        return _scalars(rng, name, [some], {"x": SCALAR})
    if name == "rescale":
        lo, hi = _range(rng, rng.choice([1, 3, 6, 10]))
        numbers = {"shift": rng.choice(rescale.SHIFTS), "multiplier": rng.randint(1, 6), "lo": lo, "hi": hi}
        return _scalars(rng, name, [some], {"x": SCALAR, "multipliers": SCALAR, **numbers})
    if name == "gather":
        n = rng.randint(1, 3)
        runs = (Run(1, -1, 0), Run(n, n - 1, -1), Run(1, -1, 0))
        parts = {"axis": 0, "fill": rng.randint(-3, 3), "parts": (Part(n + 2, 0, (runs,)),)}
        chosen = [[[rng.randint(-2, 2) for _ in range(n)]] for _ in range(1)]
        return name, (n + 2,), [Header("int64", (n,), -2, 2)], parts, chosen
    if name == "take":
        n, stride, (lo, hi) = rng.randint(1, 4), rng.choice([1, -1]), _range(rng, rng.choice([1, 3, 6]))
        view = {"x": View(0 if stride == 1 else n - 1, ()), "index": SCALAR, "size": n, "stride": stride}
        rows = [[[rng.randint(-3, 3) for _ in range(n + 2)], [rng.randint(lo, hi)]] for _ in range(4)]
        return name, (), [Header("int64", (n + 2,), -3, 3), Header("int64", (), lo, hi)], view, rows
    n = rng.randint(1, 3)
    if name == "reduce_max":
        return _row(rng, name, (), n, {"reduced": (n,)})
    return _row(rng, name, (), n, {"length": n})


def results(shape: tuple[int, ...], exact: Sequence[int], p: int) -> Iterator[tuple[int, ...]]:
    """Every result, or, where those are too many, every result that differs in one place."""
    if len(exact) < 3:
        yield from itertools.product(range(p), repeat=len(exact))
        return
    yield tuple(x % p for x in exact)
    for k, wrong in itertools.product(range(len(exact)), range(p)):
        yield tuple(wrong if j == k else x % p for j, x in enumerate(exact))


def check(p: int, one: Case) -> int:
    """How many results were tried; 0 where the relation is refused."""
    name, out, headers, attributes, values = one
    try:
        header = PRIMITIVES[name].shape(attributes, out, [Operand(h) for h in headers])
        sources = [Node("input", h, (), {"index": k}) for k, h in enumerate(headers)]
        nodes = [*sources, Node(name, header, tuple(range(len(headers))), attributes)]
        system = build_system(nodes, [str(k) for k in range(len(nodes))], 1)
    except (UnsupportedModel, ValueError):
        return 0
    tried = 0
    for operands in values:
        known = {(k, i): x % p for k, flat in enumerate(operands) for i, x in enumerate(flat)}
        exact = PRIMITIVES[name].exact(attributes, header, operands, headers)
        stated = facts(system, known, p)
        for result in results(out, exact, p):
            found = search(stated, {(len(headers), i): x for i, x in enumerate(result)}, p)
            right = result == tuple(x % p for x in exact)
            assert (found is not None) == right, (one, operands, result, exact, found)
            tried += 1
    return tried


# topk is argmax, rank by rank; its witnesses are too many to try.
NAMES = ("less", "equal", "select", "divide", "isqrt", "rescale", "gather", "take", "reduce_max", "argmax")


@pytest.mark.parametrize("name", NAMES)
def test_no_witness_makes_another_result(name: str) -> None:
    tried = 0
    for seed, (p, bits) in enumerate(FIELDS):
        with shrunk(p, bits):
            tried += check(p, case(random.Random(f"{name} {seed}"), name, bits))
    assert tried > 100


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_no_witness_makes_another_result_of_many(name: str) -> None:
    for seed in range(100, 160):
        p, bits = FIELDS[seed % len(FIELDS)]
        with shrunk(p, bits):
            check(p, case(random.Random(f"{name} {seed}"), name, bits))
