"""Nodes with their true results, and lies about them: see ``test_relations``.

A lie is a false result, with whatever further witnesses make it fit best. The rest is computed as an honest prover
would from what is already false. Each names the statements that notice it, mostly a single one: without that
statement the lie would pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vml.backends.sumcheck.system import build_system
from vml.backends.sumcheck.witness import evaluate
from vml.model.codec import Part, Run, View
from vml.model.graph import Node
from vml.model.primitives import PRIMITIVES
from vml.model.relation import MODULUS
from vml.model.tensor import Operand, header_for

FLAT = View(0, (1,))
NONE = View(0, ())
CONSTANT = {"lookup": {1}, "rescale": {1}}


def over(numerator: int, denominator: int) -> int:
    """A fraction modulo p, from -p/2 to p/2 as columns hold it."""
    return (numerator * pow(denominator, -1, MODULUS) + MODULUS // 2) % MODULUS - MODULUS // 2


@dataclass
class Stage:
    """One node between its operands and its true result."""

    primitive: str
    out: tuple[int, ...]
    inputs: list[list[int]]
    attributes: dict[str, Any]

    def __post_init__(self) -> None:
        headers = [header_for((len(flat),), min(flat), max(flat)) for flat in self.inputs]
        constant = CONSTANT.get(self.primitive, set())
        arrays = [np.array(flat, dtype=np.int64) for flat in self.inputs]
        operands = [
            Operand(h, a if k in constant else None) for k, (h, a) in enumerate(zip(headers, arrays, strict=True))
        ]
        row = PRIMITIVES[self.primitive]
        self.header = row.shape(self.attributes, self.out, operands)
        self.result = row.exact(self.attributes, self.header, self.inputs, headers)
        nodes = [Node("constant" if k in constant else "input", h, (), {}) for k, h in enumerate(headers)]
        nodes.append(Node(self.primitive, self.header, tuple(range(len(nodes))), self.attributes))
        self.system = build_system(nodes, ["operand"] * len(headers) + ["t"], 1)
        self.operands = [a if k in constant else a[None] for k, a in enumerate(arrays)]

    def columns(self, result: Mapping[int, int], witness: Mapping[str, Mapping[int, int]]) -> list[list[int]]:
        """Columns where some elements of the result and of named witness columns are replaced."""
        values = [*self.operands, replaced(np.array(self.result, dtype=np.int64), result).reshape(1, *self.out)]
        used = set()
        for column in self.system.columns[len(values) :]:
            label = column.name.removeprefix("t: ")
            array = np.zeros(column.shape, dtype=np.int64)
            if column.compute is not None:
                computed = np.asarray(column.compute(lambda e, loops: evaluate(e, values, loops)), dtype=np.int64)
                array = computed if column.limb is None else computed >> 16 * column.limb & 0xFFFF
            used |= {label} & set(witness)
            values.append(replaced(array.copy(), witness.get(label, {})))
        assert used == set(witness), [column.name for column in self.system.columns]
        return [array.ravel().tolist() for array in values]


def replaced(array: np.ndarray, elements: Mapping[int, int]) -> np.ndarray:
    for place, value in elements.items():
        array.reshape(-1)[place] = value
    return array


def rescale(x: list[int], shift: int, multiplier: int, lo: int, hi: int) -> Stage:
    attributes = {"x": FLAT, "shift": shift, "multiplier": multiplier, "multipliers": NONE, "lo": lo, "hi": hi}
    return Stage("rescale", (len(x),), [x], attributes)


PAIR = {"a": FLAT, "b": FLAT}
WIDE_A, WIDE_B = (1 << 50) + 12345, (1 << 30) - 35

STAGES = {
    "dot": Stage(
        "dot",
        (2,),
        [[1, 2, 3, 4], [5, 6], [7, 8]],
        {"contract": (2,), "a": View(0, (2, 1)), "b": View(0, (0, 1)), "bias": FLAT},
    ),
    "affine": Stage("affine", (2,), [[1, 2], [3, 4]], {"a": FLAT, "b": FLAT, "alpha": 2, "beta": -3, "gamma": 5}),
    "multiply": Stage("multiply", (2,), [[3, -4], [5, 6]], PAIR),
    "reduce_sum": Stage("reduce_sum", (2,), [[1, 2, 3, 4]], {"reduced": (2,), "x": View(0, (2, 1))}),
    "lookup": Stage("lookup", (3,), [[-2, 0, 1], [7, 8, 9, 10]], {"x": FLAT, "base": -2}),
    "gather": Stage(
        "gather",
        (5,),
        [[5, 6], [8]],
        {
            "axis": 0,
            "fill": -9,
            "parts": (
                Part(4, 0, ((Run(1, -1, 0), Run(2, 1, -1), Run(1, -1, 0)),)),
                Part(1, 0, ((Run(1, 0, 0),),)),
            ),
        },
    ),
    # Rows 3..5 of seven are reached: 2 and 6 lie beside them.
    "take": Stage(
        "take",
        (5,),
        [[10, 20, 30, 40, 50, 60, 70], [-7, -1, 0, 3, 99]],
        {"x": View(3, (0,)), "index": FLAT, "size": 3, "stride": 1},
    ),
    "rescale": rescale([-3, 300, -300, 10], 16, 1 << 15, -100, 50),
    "rescale, far beyond its limits": rescale([-5, 32770, 7, -300000, 300000], 16, 1 << 16, 0, 32767),
    "rescale, never beyond": rescale([-5, 5], 32, 1 << 32, -10, 10),
    "rescale, above only": rescale([-5, 500], 16, 1 << 16, -10, 10),
    "rescale, below only": rescale([-500, 5], 48, 1 << 48, -10, 10),
    "rescale, one result": rescale([-5, 5], 16, 1 << 16, 7, 7),
    "rescale by channel": Stage(
        "rescale",
        (2,),
        [[100, 100], [1 << 15, 1 << 16]],
        {"x": FLAT, "shift": 16, "multiplier": 0, "multipliers": FLAT, "lo": -1000, "hi": 1000},
    ),
    "reduce_max": Stage("reduce_max", (2,), [[3, 9, 5, 5]], {"reduced": (2,), "x": View(0, (2, 1))}),
    "less": Stage("less", (3,), [[1, 5, 3], [2, 2, 3]], PAIR),
    "less, known": Stage("less", (2,), [[1, 2], [5, 6]], PAIR),
    "equal": Stage("equal", (3,), [[1, 5, 3], [2, 2, 3]], PAIR),
    "equal, known": Stage("equal", (2,), [[1, 2], [5, 6]], PAIR),
    "equal to one bit": Stage("equal", (2,), [[0, 1], [0, 0]], PAIR),
    "select": Stage("select", (2,), [[0, 5], [10, 20], [30, 40]], {"condition": FLAT, "a": FLAT, "b": FLAT}),
    "select by bit": Stage("select", (2,), [[0, 1], [10, 20], [30, 40]], {"condition": FLAT, "a": FLAT, "b": FLAT}),
    "argmax": Stage("argmax", (1,), [[3, 9, 9, 1]], {"length": 4, "x": View(0, (4, 1))}),
    "topk": Stage("topk", (3,), [[3, 9, 9, 1, 7]], {"length": 5, "x": FLAT}),
    "topk, all": Stage("topk", (2,), [[3, 9]], {"length": 2, "x": FLAT}),
    "divide": Stage("divide", (3,), [[7, -7, 5], [2, 0, -3]], PAIR),
    "divide by what is positive": Stage("divide", (2,), [[7, -7], [2, 2]], PAIR),
    "divide by nothing": Stage("divide", (2,), [[7, -7], [-2, 0]], PAIR),
    "divide, wide": Stage("divide", (2,), [[WIDE_A, WIDE_A], [1, WIDE_B]], PAIR),
    "isqrt": Stage("isqrt", (5,), [[24, 25, -4, 0, 256]], {"x": FLAT}),
    "isqrt of nothing": Stage("isqrt", (1,), [[-4]], {"x": FLAT}),
}


def limbs(name: str, place: int, number: int, count: int) -> dict[str, dict[int, int]]:
    return {f"{name}, limb {k}": {place: number >> 16 * k & 0xFFFF} for k in range(count)}


WIDE_C = "divisor times high part"


def wrapped_quotient() -> tuple[dict[int, int], dict[str, dict[int, int]]]:
    """For the wide division: another quotient within the range, which fits modulo p."""
    quotient, rest = divmod(2 * WIDE_A + WIDE_B + MODULUS, 2 * WIDE_B)
    return {1: quotient}, limbs("remainder", 1, rest, 2)


def broken_quotient() -> tuple[dict[int, int], dict[str, dict[int, int]]]:
    """For the wide division: a high part that is a fraction, though its product with the divisor is whole."""
    numerator = 2 * WIDE_A + WIDE_B - 2 * WIDE_B  # the low part is 1
    rest, c = numerator % (1 << 17), numerator >> 17
    shift = (2 * WIDE_A + WIDE_B + 2 * WIDE_B + (2 * WIDE_B << 16) >> 17) + 1  # c is stored with this added
    high = {
        "high part, limb 0": {1: over(c - 16 * WIDE_B, WIDE_B)},
        "high part, limb 1": {1: 0},
        "high part, limb 2": {1: 0},
    }
    witness = {**high, **limbs(WIDE_C, 1, c + shift, 3), **limbs("remainder", 1, rest, 2)}
    return {1: over((c << 16) + WIDE_B, WIDE_B)}, witness


ABOVE, BELOW = "cut off above", "cut off below"
PLACES, KEYS = "places of the largest", "keys of the largest"

Lie = tuple[str, Mapping[int, int], Mapping[str, Mapping[int, int]], set[str]]
"""What it is; false elements of the result; of witness columns; the statements that notice."""

LIES: dict[str, list[Lie]] = {
    "dot": [
        ("bias dropped", {0: 17}, {}, {"sum of products"}),
    ],
    "affine": [
        ("constant dropped", {0: -7}, {}, {"affine"}),
    ],
    "multiply": [
        ("sign lost", {1: 24}, {}, {"product"}),
    ],
    "reduce_sum": [
        ("off by one", {1: 8}, {}, {"sum"}),
    ],
    "lookup": [
        ("value of a neighbour", {0: 8}, {}, {"row of the table"}),
    ],
    "gather": [
        ("zero instead of fill", {0: 0}, {}, {"part 0"}),
        ("fill instead of an element", {1: -9}, {}, {"part 0"}),
        ("an element of the other input", {4: 5}, {}, {"part 1"}),
    ],
    "take": [
        ("value of a neighbour", {2: 50}, {}, {"row of the tensor"}),
        ("one row too far", {3: 70}, {ABOVE: {3: 0}}, {"upper limit"}),
        ("one row too early", {1: 30}, {BELOW: {1: 0}}, {"lower limit"}),
        ("cut off above, one row too far", {4: 70}, {ABOVE: {4: 96}}, {"cut off above only at the limit"}),
        ("counted from the end", {0: 60}, {BELOW: {0: 9}}, {"cut off below only at the limit"}),
    ],
    "rescale": [
        ("one more and a negative remainder", {3: 6}, {}, {"remainder"}),
        ("one less and a large remainder", {3: 4}, {}, {"remainder"}),
        ("not cut off above", {1: 150}, {ABOVE: {1: 0}}, {"upper limit"}),
        ("not cut off below", {2: -150}, {BELOW: {2: 0}}, {"lower limit"}),
        ("upper limit without need", {3: 50}, {ABOVE: {3: -45}}, {"upper limit"}),
        ("lower limit without need", {3: -100}, {BELOW: {3: -105}}, {"lower limit"}),
        ("cut off above, below the limit", {3: 4}, {ABOVE: {3: 1}}, {"cut off above only at the limit"}),
        ("cut off below, above the limit", {3: 6}, {BELOW: {3: 1}}, {"cut off below only at the limit"}),
        (
            "another remainder modulo p",
            {3: over(10 * (1 << 15) + (1 << 15) - 1, 1 << 16)},
            {},
            {"upper limit", "lower limit"},
        ),
    ],
    "rescale, far beyond its limits": [
        ("upper limit without need", {2: 32767}, {ABOVE: {2: 7 - 32767}}, {"what is cut off"}),
        ("lower limit without need", {2: 0}, {BELOW: {2: -7}}, {"what is cut off"}),
        ("not cut off below", {0: -5}, {BELOW: {0: 0}}, {"result: not too low"}),
        ("not cut off above", {1: 32770}, {ABOVE: {1: 0}}, {"result: not too high"}),
    ],
    "rescale, never beyond": [
        ("another remainder modulo p", {0: over(-5 * (1 << 32) - 1, 1 << 32)}, {}, {"lower limit"}),
    ],
    "rescale, above only": [
        ("not cut off", {1: 500}, {ABOVE: {1: 0}}, {"upper limit"}),
        ("another remainder modulo p", {0: over(-5 * (1 << 16) - 1, 1 << 16)}, {}, {"upper limit"}),
    ],
    "rescale, below only": [
        ("not cut off", {0: -500}, {BELOW: {0: 0}}, {"lower limit"}),
        ("another remainder modulo p", {1: over(5 * (1 << 48) - 1, 1 << 48)}, {}, {"lower limit"}),
    ],
    "rescale, one result": [
        ("another", {0: 8}, {}, {"the only result"}),
    ],
    "rescale by channel": [
        ("multiplier of the neighbour", {0: 100}, {}, {"remainder"}),
        (
            "another remainder modulo p",
            {0: over(101 * (1 << 15) - 1, 1 << 16)},
            {"remainder, limb 0": {0: 1}},
            {"lower limit"},
        ),
        ("a negative remainder", {0: 51}, {"remainder, limb 0": {0: -(1 << 15)}}, {"remainder"}),
    ],
    "reduce_max": [
        ("below an element", {0: 3}, {"which is largest": {0: 1, 1: 0}}, {"none is larger"}),
        ("above all, one chosen", {0: 10}, {}, {"the result is the chosen one"}),
        ("above all, none chosen", {0: 10}, {"which is largest": {1: 0}}, {"one is chosen"}),
    ],
    "less": [
        ("not less", {0: 0}, {}, {"less"}),
        ("less", {1: 1}, {}, {"less"}),
        ("less, of equal numbers", {2: 1}, {}, {"less"}),
        ("half", {0: over((1 << 16) - 1, 1 << 16)}, {}, {"less is 0 or 1"}),
    ],
    "less, known": [
        ("not less", {0: 0}, {}, {"less"}),
    ],
    "equal": [
        ("equal, of different numbers", {0: 1}, {"different: inverse": {0: 0}}, {"different, or it is zero"}),
        ("half equal", {0: over(1, 2)}, {"different: inverse": {0: over(-1, 2)}}, {"different, or it is zero"}),
        ("different, of equal numbers", {2: 0}, {}, {"different"}),
    ],
    "equal, known": [
        ("equal", {0: 1}, {}, {"different"}),
    ],
    "equal to one bit": [
        ("equal", {1: 1}, {}, {"different"}),
    ],
    "select": [
        (
            "the other, condition 0",
            {1: 40},
            {"condition holds": {1: 0}, "condition holds: inverse": {1: 0}},
            {"condition holds, or it is zero"},
        ),
        ("the other, condition 1", {0: 10}, {"condition holds": {0: 1}}, {"condition holds"}),
        ("the other, nothing adapted", {0: 10}, {}, {"the chosen one"}),
    ],
    "select by bit": [
        ("the other", {0: 10}, {}, {"the chosen one"}),
    ],
    "argmax": [
        ("a later tie", {0: 2}, {KEYS: {0: 30}, PLACES: {1: 0, 2: 1}}, {"no key is larger"}),
        ("a smaller element", {0: 0}, {KEYS: {0: 8}, PLACES: {1: 0, 0: 1}}, {"no key is larger"}),
        ("another place", {0: 2}, {}, {"the result is the place"}),
        ("another place, chosen", {0: 3}, {PLACES: {1: 0, 3: 1}}, {"the key is that of the place"}),
        ("twice the place", {0: 2}, {PLACES: {1: 2}}, {"each rank has one place"}),
        ("no place", {0: 0}, {PLACES: {1: 0}}, {"each rank has one place"}),
    ],
    "topk": [
        ("permuted", {0: 2, 1: 1}, {KEYS: {0: 38, 1: 39}, PLACES: {1: 0, 2: 1, 6: 1, 7: 0}}, {"keys fall"}),
        ("one twice", {1: 1, 2: 2}, {KEYS: {1: 39, 2: 38}, PLACES: {7: 0, 6: 1, 14: 0, 12: 1}}, {"keys fall"}),
        ("one left out", {2: 0}, {KEYS: {2: 10}, PLACES: {14: 0, 10: 1}}, {"no other key is larger"}),
    ],
    "topk, all": [
        ("permuted", {0: 0, 1: 1}, {KEYS: {0: 0, 1: 11}, PLACES: {0: 1, 1: 0, 2: 0, 3: 1}}, {"keys fall"}),
    ],
    "divide": [
        ("one less", {0: 3}, {"remainder, limb 0": {0: 4}}, {"remainder is below the divisor"}),
        ("one more", {0: 5}, {"remainder, limb 0": {0: -4}}, {"remainder"}),
        ("one less, nothing adapted", {0: 3}, {}, {"division"}),
        ("by zero", {1: 1}, {}, {"without a divisor the result is 0"}),
        (
            "the divisor is said not to be positive",
            {0: 0},
            {"divisor is positive": {0: 0}, "remainder, limb 0": {0: 0}},
            {"divisor is positive"},
        ),
        ("another remainder modulo p", {0: over(15, 4)}, {"remainder, limb 0": {0: 1}}, {"range of the result"}),
    ],
    "divide by what is positive": [
        ("one less", {0: 3}, {"remainder, limb 0": {0: 4}}, {"remainder is below the divisor"}),
        ("one more", {1: -2}, {"remainder, limb 0": {1: -4}}, {"remainder"}),
        ("one more, nothing adapted", {1: -2}, {}, {"division"}),
    ],
    "divide by nothing": [
        ("something", {0: 1}, {}, {"nothing to divide by"}),
    ],
    "divide, wide": [
        ("high part raised", {}, {"high part, limb 0": {1: 17}}, {"low part"}),
        ("around the field", *wrapped_quotient(), {WIDE_C}),
        ("a fraction as high part", *broken_quotient(), {"high part"}),
    ],
    "isqrt": [
        ("one more", {0: 5}, {"remainder, limb 0": {0: -1}}, {"remainder"}),
        ("one less", {1: 4}, {"remainder, limb 0": {1: 9}}, {"remainder is below the next square"}),
        ("a larger remainder only", {}, {"remainder, limb 0": {0: 1}}, {"square"}),
        (
            "the argument is said to be negative",
            {1: 0},
            {"argument is natural": {1: 0}, "remainder, limb 0": {1: 0}},
            {"argument is natural"},
        ),
        (
            "part of the argument",
            {4: 15},
            {"argument is natural": {4: over(225, 256)}, "remainder, limb 0": {4: 0}},
            {"argument is natural is 0 or 1"},
        ),
    ],
    "isqrt of nothing": [
        ("something", {0: 1}, {}, {"the only result"}),
    ],
}
