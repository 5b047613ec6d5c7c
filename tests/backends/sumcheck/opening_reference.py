"""The opening's prover in plain integers: the twin of the fast one, and what lies are told with.

Both matrices are padded and stacked into one vector, which the fast prover never does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vml.backends.sumcheck.opening.columns import cap_height, column_leaf, parent
from vml.backends.sumcheck.opening.types import OpeningProof, OpeningShape, Path
from vml.backends.sumcheck.opening.verifier import verify_opening
from vml.backends.sumcheck.security import Parameters
from vml.field.goldilocks import ONE, ZERO, Ext, P, add, dot, evaluate, mul, root_of_unity, scale, sub
from vml.transcript import Transcript

Matrix = list[list[int]]
Vector = list[Ext]
Lie = Callable[[Vector, Vector], Vector]

PARAMETERS = Parameters(40, 40)


def transform(coefficients: Sequence[int], root: int) -> list[int]:
    """Values at root^0, root^1, .., one for each coefficient."""
    if len(coefficients) == 1:
        return list(coefficients)
    even = transform(coefficients[::2], root * root % P)
    odd = transform(coefficients[1::2], root * root % P)
    low, high, power = [], [], 1
    for a, b in zip(even, odd, strict=True):
        turned = b * power
        low.append((a + turned) % P)
        high.append((a - turned) % P)
        power = power * root % P
    return low + high


def encode(rows: Matrix, log_blowup: int) -> Matrix:
    size = len(rows[0]) << log_blowup
    return [transform([*row, *[0] * (size - len(row))], root_of_unity(size.bit_length() - 1)) for row in rows]


class PlainTree:
    """The tree over the columns of a codeword matrix."""

    def __init__(self, codeword: Matrix) -> None:
        self.columns = [tuple(column) for column in zip(*codeword, strict=True)]
        self.levels = [[column_leaf(column) for column in self.columns]]
        self.depth = len(self.columns).bit_length() - 1
        for _ in range(self.depth - cap_height(self.depth)):
            last = self.levels[-1]
            self.levels.append([parent(last[i], last[i + 1]) for i in range(0, len(last), 2)])

    @property
    def cap(self) -> bytes:
        return b"".join(self.levels[-1])

    def path(self, index: int) -> Path:
        return tuple(level[(index >> k) ^ 1] for k, level in enumerate(self.levels[:-1]))


@dataclass(frozen=True)
class Lies:
    """What a dishonest prover does otherwise; it goes on as well as it can."""

    codewords: Callable[[Matrix], Matrix] = lambda codeword: codeword
    combination: Lie = lambda values, functional: values
    level2: Callable[[Matrix], Matrix] = lambda codeword: codeword
    message: Lie = lambda values, functional: values


HONEST = Lies()


def orthogonal(values: Vector, functional: Vector) -> Vector:
    """Other values of the same inner product with the functional."""
    changed = list(values)
    changed[1] = add(values[1], functional[2])
    changed[2] = sub(values[2], functional[1])
    assert changed != values
    assert dot(changed, functional) == dot(values, functional)
    return changed


@dataclass(frozen=True)
class Opened:
    """A proof, and the caps it speaks of."""

    proof: OpeningProof
    fixed_cap: bytes
    witness_cap: bytes


@dataclass(frozen=True)
class Case:
    """Two matrices, a functional of them, and the true value."""

    fixed: Matrix
    witness: Matrix
    functional_fixed: Vector
    functional_witness: Vector
    parameters: Parameters = PARAMETERS

    @classmethod
    def random(cls, fixed_rows: int, witness_rows: int, log_cols: int, seed: int = 0) -> Case:
        draw = random.Random(f"{fixed_rows} {witness_rows} {log_cols} {seed}").randrange
        cols = 1 << log_cols
        matrices = [[[draw(P) for _ in range(cols)] for _ in range(rows)] for rows in (fixed_rows, witness_rows)]
        functionals = [[(draw(P), draw(P)) for _ in range(rows * cols)] for rows in (fixed_rows, witness_rows)]
        return cls(*matrices, *functionals)

    @property
    def shape(self) -> OpeningShape:
        return OpeningShape(len(self.fixed), len(self.witness), len(self.fixed[0]).bit_length() - 1)

    @property
    def value(self) -> Ext:
        entries = [(a, 0) for row in [*self.fixed, *self.witness] for a in row]
        return dot(self.functional_fixed + self.functional_witness, entries)

    def functional(self, part: str, point: Sequence[Ext]) -> Ext:
        values = {"fixed": self.functional_fixed, "witness": self.functional_witness}[part]
        return evaluate(values + [ZERO] * ((1 << len(point)) - len(values)), point)

    def verify(self, opened: Opened, claim: Ext | None = None) -> None:
        verify_opening(
            opened.proof,
            self.shape,
            opened.fixed_cap,
            opened.witness_cap,
            claim or self.value,
            self.functional,
            self.parameters,
            Transcript("test"),
        )

    def trees(self, lies: Lies = HONEST) -> tuple[PlainTree, PlainTree]:
        blowup = self.parameters.log_blowup1
        return PlainTree(encode(self.fixed, blowup)), PlainTree(lies.codewords(encode(self.witness, blowup)))

    def prove(
        self, claim: Ext | None = None, trees: tuple[PlainTree, PlainTree] | None = None, lies: Lies = HONEST
    ) -> Opened:
        """The proof that <F, P> = claim, with the caps it speaks of."""
        shape, transcript = self.shape, Transcript("test")
        fixed, witness = trees or self.trees(lies)
        transcript.observe("opening/shape", shape.to_bytes())
        transcript.observe("opening/fixed", fixed.cap)
        transcript.observe("opening/witness", witness.cap)
        transcript.observe_ext("opening/claim", [claim or self.value])
        cols, values, functional = 1 << shape.log_cols, [], []
        for row in range(1 << shape.row_vars):
            for matrix, part in ((self.fixed, self.functional_fixed), (self.witness, self.functional_witness)):
                here = row < len(matrix)
                values += [(a, 0) for a in matrix[row]] if here else [ZERO] * cols
                functional += part[row * cols : (row + 1) * cols] if here else [ZERO] * cols
        rounds = []

        def bind(count: int) -> None:
            nonlocal values, functional
            for _ in range(count):
                sent = (dot(low(functional), low(values)), dot(line(functional, (2, 0)), line(values, (2, 0))))
                rounds.append(sent)
                transcript.observe_ext("opening/round", sent)
                challenge = transcript.sample_ext("opening/bind")
                values, functional = line(values, challenge), line(functional, challenge)

        def query(label: str, batch: str, count: int, depth: int) -> list[int]:
            nonlocal functional
            indices = sorted(set(transcript.sample_indices(label, count, depth)))
            tau = weight = transcript.sample_ext(batch)
            for index in indices:
                x = pow(root_of_unity(depth), index, P)
                functional = [add(f, scale(weight, pow(x, i, P))) for i, f in enumerate(functional)]
                weight = mul(weight, tau)
            return indices

        bind(shape.row_vars + 1)
        values = lies.combination(values, functional)
        size = 1 << shape.log_final
        parts = [[v[k] for v in values[at : at + size]] for at in range(0, cols, size) for k in (0, 1)]
        level2 = PlainTree(lies.level2(encode(parts, self.parameters.log_blowup2)))
        transcript.observe("opening/level 2", level2.cap)
        first = query("opening/columns", "opening/batch columns", self.parameters.queries1, fixed.depth)
        bind(shape.level2_vars)
        values = lies.message(values, functional)
        message = tuple(values)
        transcript.observe_ext("opening/message", message)
        second = query(
            "opening/level 2 columns", "opening/batch level 2 columns", self.parameters.queries2, level2.depth
        )
        bind(shape.log_final)
        pairs = [level2.columns[i] for i in second]
        proof = OpeningProof(
            level2.cap,
            tuple(rounds),
            message,
            tuple(fixed.columns[i] for i in first),
            tuple(map(fixed.path, first)),
            tuple(witness.columns[i] for i in first),
            tuple(map(witness.path, first)),
            tuple(tuple(zip(column[::2], column[1::2], strict=True)) for column in pairs),
            tuple(map(level2.path, second)),
        )
        return Opened(proof, fixed.cap, witness.cap)


def low(values: Vector) -> Vector:
    return values[: len(values) // 2]


def line(values: Vector, at: Ext) -> Vector:
    """The most significant variable becomes `at`."""
    half = len(values) // 2
    rest = sub(ONE, at)
    return [add(mul(rest, a), mul(at, b)) for a, b in zip(values[:half], values[half:], strict=True)]
