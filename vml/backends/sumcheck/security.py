"""How likely a false statement passes: the proved bound, from the sizes of one proof, in exact integers.

Every challenge is a uniform element of F, |F| = p^2, or a uniform set of columns. Before each, the statement left to
prove is true or false; a *term* bounds the chance that one kind of challenge turns a false one into a true one. The
error of the interactive protocol is at most the sum of all terms (docs/sumcheck.md, "Soundness", proves each):

* lookups: for N fractions in all, a tuple that is in no table leaves a polynomial of total degree at most 2 N in
  (alpha, beta), which is not zero because the number of lookups is below the characteristic: 2 N / |F|;
* fractions: layer k >= 1 of the tree mixes two claims, runs k rounds of degree 3, merges children: (3 k + 2) / |F|;
  layer 0 only merges;
* constraints: a violated one is a multilinear polynomial in its b index bits, not zero: b / |F| (one is enough, so
  nothing is multiplied by their number);
* products: m values mixed by powers, (m - 1) / |F|; n rounds of degree 3, 3 n / |F|;
* claims: c linear claims mixed by powers, (c - 1) / |F|;
* opening, rounds of degree 2 over all variables of P: 2 / |F| each;
* opening, proximity: rows that are not all within e errors of codewords *at the same positions* are combined, by a
  random tensor of v variables, to a word within e errors with a chance of at most v n / |F|, n the length and
  e = floor((n - k) / 2) the unique decoding radius (B. Diamond, A. Gruen, "Proximity Gaps in Interleaved Codes",
  2024/1351, corollary 3.7; from E. Ben-Sasson et al., "Proximity Gaps for Reed-Solomon Codes", 2020/654,
  theorem 4.1). Nothing is conjectured;
* opening, queries: two words that differ at more than e of n positions agree at Q random ones with a chance below
  (1 - e / n)^Q; and Q claims mixed by powers, Q / |F|.

There is no grinding. Hashes are apart: 128 bits against collisions of Keccak-256. As a hash makes the challenges,
whoever evaluates it t times succeeds with a chance of at most about t times this error, plus t^2 / 2^256.

All errors are integers in units of 2^-160, every division rounded up, so that prover and verifier choose the same
parameters on every machine. Floats are for display.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from vml.field.goldilocks import TWO_ADICITY, P

REQUIRED_BITS = 100
COLLISION_BITS = 128
GRINDING_BITS = 0
MAX_QUERIES = 255

_SCALE = 160
_BUDGET = 1 << (_SCALE - REQUIRED_BITS)


class Shape(Protocol):
    """What counts of an opening: the two matrices and 2^log_cols columns."""

    @property
    def fixed_rows(self) -> int: ...
    @property
    def witness_rows(self) -> int: ...
    @property
    def log_cols(self) -> int: ...


@dataclass(frozen=True)
class Parameters:
    """How many columns of each level's matrix are opened, and the rates of the codes, 2^-log_blowup."""

    queries1: int
    queries2: int
    log_blowup1: int = 3
    log_blowup2: int = 4


@dataclass(frozen=True)
class Sizes:
    """What the error depends on; prover and verifier derive it from the model and the batch.

    Attributes:
        log_fractions: variables of the tree of fractions; 0 where nothing is looked up.
        index_bits: the most index bits of any constraint or public tensor.
        products: how many products are proved. product_rounds: the most variables of any.
        claims: how many linear claims are mixed.
        opening: the shape of what is committed to.
    """

    log_fractions: int
    index_bits: int
    products: int
    product_rounds: int
    claims: int
    opening: Shape


@dataclass(frozen=True)
class Term:
    """One way for a false statement to pass; ``error`` in units of 2^-160, rounded up."""

    name: str
    error: int

    @property
    def bits(self) -> float:
        return _bits(self.error)


@dataclass(frozen=True)
class Soundness:
    """All terms, of which the error of the protocol is at most the sum."""

    terms: tuple[Term, ...]

    @property
    def error(self) -> int:
        """In units of 2^-160."""
        return sum(term.error for term in self.terms)

    @property
    def bits(self) -> float:
        """Rounded down to hundredths, for display."""
        return _bits(self.error)

    @property
    def largest(self) -> Term:
        return max(self.terms, key=lambda term: term.error)

    @property
    def sufficient(self) -> bool:
        """At least REQUIRED_BITS, decided in integers."""
        return self.error <= _BUDGET


def log_final(log_cols: int) -> int:
    """Variables of the message that the opening sends in the clear."""
    return min(log_cols, (log_cols + 1) // 2 + 2)


def row_variables(shape: Shape) -> int:
    """Variables that tell the rows of both matrices apart, the selector among them."""
    return max((shape.fixed_rows - 1).bit_length(), (shape.witness_rows - 1).bit_length()) + 1


def radius(log_length: int, log_blowup: int) -> int:
    """floor((d - 1) / 2) for the Reed-Solomon code of length 2^log_length and d = n - k + 1."""
    return ((1 << log_length) - (1 << (log_length - log_blowup))) // 2


@lru_cache(maxsize=64)
def soundness(sizes: Sizes, parameters: Parameters) -> Soundness:
    """Every term of the error.

    Raises:
        ValueError: a size or a parameter makes no sense, or a code is longer than the field has roots of unity for.
    """
    _check(sizes, parameters)
    cols, rows = sizes.opening.log_cols, row_variables(sizes.opening)
    final, layers = log_final(cols), sizes.log_fractions
    length1, length2 = cols + parameters.log_blowup1, final + parameters.log_blowup2
    counts = {
        "lookups: alpha and beta": 2 << layers if layers else 0,
        "fractions: layers of the tree": sum(3 * k + 2 for k in range(1, layers)) + 1 if layers else 0,
        "constraints: the point r": sizes.index_bits,
        "products: mix": max(sizes.products - 1, 0),
        "products: rounds": 3 * sizes.product_rounds,
        "claims: gamma": max(sizes.claims - 1, 0),
        "opening: rounds": 2 * (rows + cols),
        "opening: proximity, level 1": rows << length1,
        "opening: proximity, level 2": (cols - final) << length2,
        "opening: tau, level 1": parameters.queries1,
        "opening: tau, level 2": parameters.queries2,
    }
    terms = [Term(name, _ceil(count << _SCALE, P * P)) for name, count in counts.items()]
    missed1 = _missed(length1, parameters.log_blowup1)[parameters.queries1]
    missed2 = _missed(length2, parameters.log_blowup2)[parameters.queries2]
    terms += [Term("opening: queries, level 1", missed1), Term("opening: queries, level 2", missed2)]
    return Soundness(tuple(terms))


@lru_cache(maxsize=64)
def parameters_for(sizes: Sizes) -> Parameters:
    """The numbers of queries that reach REQUIRED_BITS with the fewest opened bytes.

    Raises:
        ValueError: no number of queries does, because the field is too small for such sizes.
    """
    cols, final = sizes.opening.log_cols, log_final(sizes.opening.log_cols)
    none = Parameters(0, 0)
    algebraic = soundness(sizes, none).error - 2 * (1 << _SCALE)
    unit = _ceil(1 << _SCALE, P * P)
    missed1 = _missed(cols + none.log_blowup1, none.log_blowup1)
    missed2 = _missed(final + none.log_blowup2, none.log_blowup2)
    # Bytes of a column with its paths below caps of 2^6 nodes.
    bytes1 = 8 * (sizes.opening.fixed_rows + sizes.opening.witness_rows) + 64 * max(cols - 3, 0)
    bytes2 = (16 << (cols - final)) + 32 * max(final - 2, 0)
    best: tuple[int, Parameters] | None = None
    queries2 = MAX_QUERIES
    for queries1 in range(1, MAX_QUERIES + 1):
        left = _BUDGET - algebraic - missed1[queries1] - queries1 * unit
        if missed2[queries2] + queries2 * unit > left:
            continue
        while queries2 > 1 and missed2[queries2 - 1] + (queries2 - 1) * unit <= left:
            queries2 -= 1
        cost = queries1 * bytes1 + queries2 * bytes2
        if best is None or cost < best[0]:
            best = (cost, Parameters(queries1, queries2))
    if best is None or not soundness(sizes, best[1]).sufficient:
        raise ValueError(
            f"a proof of this size has {_bits(algebraic)} bits of soundness before any column is queried, and "
            f"{REQUIRED_BITS} are required; prove fewer inputs at once, or use a smaller model"
        )
    return best[1]


def _check(sizes: Sizes, parameters: Parameters) -> None:
    shape = sizes.opening
    if min(sizes.log_fractions, sizes.index_bits, sizes.products, sizes.product_rounds, sizes.claims) < 0:
        raise ValueError(f"negative sizes: {sizes}")
    if min(shape.fixed_rows, shape.witness_rows) < 1 or shape.log_cols < 0:
        raise ValueError(f"an empty matrix: {sizes.opening}")
    if not (0 <= parameters.queries1 <= MAX_QUERIES and 0 <= parameters.queries2 <= MAX_QUERIES):
        raise ValueError(f"0 to {MAX_QUERIES} queries, not {parameters}")
    if min(parameters.log_blowup1, parameters.log_blowup2) < 1:
        raise ValueError(f"a code needs redundancy: {parameters}")
    longest = max(shape.log_cols + parameters.log_blowup1, log_final(shape.log_cols) + parameters.log_blowup2)
    if longest > TWO_ADICITY:
        raise ValueError(f"a code of length 2^{longest} needs more roots of unity than the field has, 2^{TWO_ADICITY}")


@lru_cache(maxsize=64)
def _missed(log_length: int, log_blowup: int) -> tuple[int, ...]:
    """(1 - e / n)^Q for Q = 0 .. MAX_QUERIES, each step rounded up."""
    agreeing = (1 << log_length) - radius(log_length, log_blowup)
    errors = [1 << _SCALE]
    for _ in range(MAX_QUERIES):
        errors.append(_ceil(errors[-1] * agreeing, 1 << log_length))
    return tuple(errors)


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def _bits(error: int) -> float:
    """-log2 of an error, rounded down to hundredths; for display only."""
    return math.floor(100 * (_SCALE - math.log2(error))) / 100 if error else math.inf
