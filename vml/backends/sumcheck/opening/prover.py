"""Commits to matrices and proves what a functional of them is: the prover of `vml.backends.sumcheck.opening.verifier`.

A codeword has 2^log_blowup times the size of its matrix. `commit` encodes a few rows at a time and keeps only the
Keccak states of the columns between them. A codeword of more than KEEP_WORDS is then forgotten, and the columns asked
for are evaluated again from the rows. No matrix is padded to a power of two of rows. Beside the matrices and their
functionals, proving takes memory for 3/4 of a functional at most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from vml import threads
from vml.backends.sumcheck.opening import kernels
from vml.backends.sumcheck.opening.columns import cap_height
from vml.backends.sumcheck.opening.types import MIN_LOG_COLS, OpeningProof, OpeningShape, Path, Round
from vml.field import ntt
from vml.field.goldilocks import TWO_ADICITY, Ext, P, add, mul, root_of_unity
from vml.kernels_keccak import DIGEST_WORDS, WIDTH

if TYPE_CHECKING:
    from vml.backends.sumcheck.security import Parameters
    from vml.backends.types import Progress
    from vml.transcript import Transcript

Words: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]

KEEP_WORDS = 1 << 23
CHUNK_WORDS = 1 << 22
_SMALL = 1 << 12  # below this many entries, waking threads costs more than it gives


@dataclass(frozen=True)
class Committed:
    """A matrix, and the tree over its encoded columns.

    Args:
        rows: uint64[R, 2^c], canonical base elements.
        log_blowup: codewords have 2^(c + log_blowup) positions.
        tree: uint64[2^(c + log_blowup + 1), 4], heap order: root at 1, leaf j at 2^(c + log_blowup) + j. Nodes above
            the cap are left zero.
        codeword: uint64[R, 2^(c + log_blowup)] if kept.
    """

    rows: Words
    log_blowup: int
    tree: Words
    codeword: Words | None = None

    @property
    def depth(self) -> int:
        """Logarithm of the number of leaves."""
        return len(self.tree).bit_length() - 2

    @property
    def cap(self) -> bytes:
        """The commitment."""
        width = 1 << cap_height(self.depth)
        return self.tree[width : 2 * width].astype("<u8", copy=False).tobytes()

    def columns(self, indices: Sequence[int]) -> Words:
        """Columns of the codeword, uint64[len(indices), R]."""
        if self.codeword is not None:
            return np.ascontiguousarray(self.codeword[:, list(indices)].T)
        generator = root_of_unity(self.depth)
        points = np.array([pow(generator, index, P) for index in indices], dtype=np.uint64)
        return ntt.evaluate_columns(self.rows, points)

    def paths(self, indices: Sequence[int]) -> tuple[Path, ...]:
        """The siblings of leaves, each leaf's own first."""
        width = 1 << cap_height(self.depth)
        found = []
        for index in indices:
            node, path = len(self.tree) // 2 + index, []
            while node >= 2 * width:
                path.append(self.tree[node ^ 1].astype("<u8", copy=False).tobytes())
                node >>= 1
            found.append(tuple(path))
        return tuple(found)


def commit(rows: Words, log_blowup: int) -> Committed:
    """Encode every row and commit to the columns.

    Args:
        rows: uint64[R, 2^c], R >= 1, canonical base elements; kept, not copied.
        log_blowup: codewords have 2^(c + log_blowup) positions, at least 2 * WIDTH.

    Raises:
        ValueError: another form.
    """
    if rows.dtype != np.uint64 or rows.ndim != 2 or not rows.shape[0] or not rows.flags.c_contiguous:
        raise ValueError(f"a row-major uint64 matrix of one row or more, not {rows.dtype} {rows.shape}")
    log_cols = rows.shape[1].bit_length() - 1
    if rows.shape[1] != 1 << log_cols or not MIN_LOG_COLS <= log_cols <= TWO_ADICITY - log_blowup or log_blowup < 1:
        raise ValueError(f"{rows.shape[1]} columns cannot be encoded at rate 2^-{log_blowup}")
    positions = rows.shape[1] << log_blowup
    states = np.zeros((positions // WIDTH, kernels.STATE_WORDS), dtype=np.uint64)
    keep = rows.shape[0] * positions <= KEEP_WORDS
    step = rows.shape[0] if keep else max(1, CHUNK_WORDS // positions)
    for done in range(0, rows.shape[0], step):
        codeword = ntt.encode_rows(rows[done : done + step], log_blowup)
        _over(len(states), _SMALL // WIDTH, partial(kernels.absorb, states, codeword, done))
    tree = np.zeros((2 * positions, DIGEST_WORDS), dtype=np.uint64)
    _over(len(states), _SMALL // WIDTH, partial(kernels.finish, states, rows.shape[0], tree[positions:]))
    level, top = positions // 2, 1 << cap_height(log_cols + log_blowup)
    while level >= top:
        _over(level // WIDTH, _SMALL // WIDTH, partial(kernels.hash_nodes, tree, level))
        level //= 2
    return Committed(rows, log_blowup, tree, codeword if keep else None)


def prove_opening(
    fixed: Committed,
    witness: Committed,
    functional_fixed: Words,
    functional_witness: Words,
    claim: Ext,
    parameters: Parameters,
    transcript: Transcript,
    progress: Progress | None = None,
) -> OpeningProof:
    """Prove that <F, P> = claim. The claim is not checked: of a wrong one, the proof is refused.

    Args:
        fixed, witness: as committed to, both of 2^c columns at the first level's rate.
        functional_fixed, functional_witness: uint64[R * 2^c, 2], F over each matrix; not changed.
        claim: <F, P>.
        parameters: numbers of queries, rates of the codes.
        transcript: all that was said before.
        progress: called with "opening" and the fraction that is done.

    Raises:
        ValueError: arguments that do not fit each other.
    """
    tell = progress or (lambda stage, share: None)
    shape = _shape(fixed, witness, functional_fixed, functional_witness, parameters)
    transcript.observe("opening/shape", shape.to_bytes())
    transcript.observe("opening/fixed", fixed.cap)
    transcript.observe("opening/witness", witness.cap)
    transcript.observe_ext("opening/claim", [claim])
    rounds: list[Round] = []

    parts = [
        _Table(functional_fixed, fixed.rows.reshape(-1)),
        _Table(functional_witness, witness.rows.reshape(-1)),
    ]
    columns = 1 << shape.log_cols
    for variable in reversed(range(shape.row_vars)):
        _bind(parts, columns << variable, rounds, transcript)
        tell("opening", 0.5 - 0.5 * 4.0 ** -len(rounds))
    table = _Table(
        np.concatenate([part.functional for part in parts]),
        np.concatenate([_extension(part.values) for part in parts]),
    )
    del parts
    _bind([table], columns, rounds, transcript)

    size = 1 << shape.log_final
    matrix = table.values.reshape(columns // size, size, 2).transpose(0, 2, 1).reshape(-1, size)
    level2 = commit(np.ascontiguousarray(matrix), parameters.log_blowup2)
    transcript.observe("opening/level 2", level2.cap)
    depth1, depth2 = fixed.depth, level2.depth
    indices1 = sorted(set(transcript.sample_indices("opening/columns", parameters.queries1, depth1)))
    table.add_queries(indices1, depth1, transcript.sample_ext("opening/batch columns"))
    tell("opening", 0.6)

    for variable in reversed(range(shape.level2_vars)):
        _bind([table], size << variable, rounds, transcript)
    message = _exts(table.values)
    transcript.observe_ext("opening/message", message)
    indices2 = sorted(set(transcript.sample_indices("opening/level 2 columns", parameters.queries2, depth2)))
    table.add_queries(indices2, depth2, transcript.sample_ext("opening/batch level 2 columns"))
    for variable in reversed(range(shape.log_final)):
        _bind([table], 1 << variable, rounds, transcript)
    tell("opening", 0.7)

    opened = [tuple(map(tuple, part.columns(indices1).tolist())) for part in (fixed, witness)]
    opened2 = level2.columns(indices2)
    tell("opening", 1.0)
    return OpeningProof(
        level2_cap=level2.cap,
        rounds=tuple(rounds),
        message=message,
        fixed_columns=opened[0],
        fixed_paths=fixed.paths(indices1),
        witness_columns=opened[1],
        witness_paths=witness.paths(indices1),
        level2_columns=tuple(_exts(column.reshape(-1, 2)) for column in opened2),
        level2_paths=level2.paths(indices2),
    )


def _shape(
    fixed: Committed, witness: Committed, functional_fixed: Words, functional_witness: Words, parameters: Parameters
) -> OpeningShape:
    """The shape the arguments agree on.

    Raises:
        ValueError: they do not.
    """
    for part, functional in ((fixed, functional_fixed), (witness, functional_witness)):
        if part.log_blowup != parameters.log_blowup1 or part.rows.shape[1] != fixed.rows.shape[1]:
            raise ValueError("fixed and witness are encoded differently, or not at the rate of the parameters")
        if functional.dtype != np.uint64 or functional.shape != (part.rows.size, 2):
            raise ValueError(f"a functional of {part.rows.size} entries, not {functional.dtype} {functional.shape}")
    return OpeningShape(len(fixed.rows), len(witness.rows), fixed.rows.shape[1].bit_length() - 1)


class _Table:
    """A functional and the values it is taken of, with some variables bound.

    Args:
        functional: extension uint64[n, 2].
        values: base uint64[n] or extension uint64[n, 2].
    """

    def __init__(self, functional: Words, values: Words) -> None:
        self.functional, self.values = functional, values

    def round(self, half: int) -> list[Ext]:
        """g(0) and g(2) of the variable whose high half begins at `half`."""
        kernel = kernels.round_base if self.values.ndim == 1 else kernels.round_ext
        found: list[tuple[int, ...]] = []

        def work(first: int, last: int) -> None:
            found.append(tuple(map(int, kernel(self.functional, self.values, half, first, last))))

        _over(min(len(self.values), half), _SMALL, work)
        sums = [sum(column) % P for column in zip(*found, strict=True)]
        return [(sums[0], sums[1]), (sums[2], sums[3])]

    def fold(self, half: int, challenge: Ext) -> None:
        """Bind that variable."""
        self.values = _fold(self.values, half, challenge)
        self.functional = _fold(self.functional, half, challenge)

    def add_queries(self, indices: Sequence[int], depth: int, tau: Ext) -> None:
        """functional += sum_j tau^(j+1) pow(x_j)."""
        generator = root_of_unity(depth)
        points = [pow(generator, index, P) for index in indices]
        weights = [tau]
        while len(weights) < len(points):
            weights.append(mul(weights[-1], tau))
        bases, factors = np.array(points, dtype=np.uint64), np.array(weights, dtype=np.uint64)
        functional = self.functional

        def work(first: int, last: int) -> None:
            starts = np.array([pow(x, first, P) for x in points], dtype=np.uint64)
            kernels.add_powers(functional, bases, starts, factors, first, last)

        _over(len(functional), _SMALL // 16, work)


def _bind(tables: Sequence[_Table], half: int, rounds: list[Round], transcript: Transcript) -> None:
    """One round over the sum of some tables' products."""
    zeros, twos = zip(*(table.round(half) for table in tables), strict=True)
    sent = (_sum(zeros), _sum(twos))
    rounds.append(sent)
    transcript.observe_ext("opening/round", sent)
    challenge = transcript.sample_ext("opening/bind")
    for table in tables:
        table.fold(half, challenge)


def _sum(values: Sequence[Ext]) -> Ext:
    total = values[0]
    for value in values[1:]:
        total = add(total, value)
    return total


def _fold(values: Words, half: int, challenge: Ext) -> Words:
    kernel = kernels.fold_base if values.ndim == 1 else kernels.fold_ext
    r0, r1 = np.uint64(challenge[0]), np.uint64(challenge[1])
    out = np.empty((min(len(values), half), 2), dtype=np.uint64)
    _over(len(out), _SMALL, lambda first, last: kernel(values, half, r0, r1, out, first, last))
    return out


def _over(count: int, small: int, work: Callable[[int, int], object]) -> None:
    """work(first, last) over 0 .. count, on all threads unless there is little of it."""
    if count <= small:
        work(0, count)
    else:
        threads.over_blocks(count, lambda block: work(block.start, block.stop))


def _extension(values: Words) -> Words:
    return values if values.ndim == 2 else np.stack([values, np.zeros_like(values)], axis=1)


def _exts(values: Words) -> tuple[Ext, ...]:
    return tuple((low, high) for low, high in values.tolist())
