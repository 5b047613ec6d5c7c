"""How much a proof takes, counted before it is made: operations by stage, bytes of the proof, bytes held at once.

All counts follow from the circuit, which is built without looking at a weight. The size of a proof is exact but for
the number of different columns that are opened: of Q samples among n columns, n (1 - (1 - 1/n)^Q) differ on average.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vml.backends.exact.statement import Row, public_section
from vml.backends.sumcheck.arrange import Arrangement, Placed, Sum
from vml.backends.sumcheck.circuit import Circuit
from vml.backends.sumcheck.key import TAG
from vml.backends.sumcheck.linear import moving
from vml.backends.sumcheck.opening.columns import cap_bytes, cap_height
from vml.backends.sumcheck.opening.prover import KEEP_WORDS
from vml.backends.sumcheck.payload import encode_graph
from vml.backends.sumcheck.scheme import LOG_BLOWUPS, SCHEME
from vml.claim import Claim
from vml.keccak import HASH_BYTES
from vml.model.relation import Public
from vml.proof import Proof

EXT, WORD = 16, 8
"""Bytes of an extension element and of a base element."""
RATE_WORDS = 17
"""Words that one Keccak permutation takes in."""

Counts = Mapping[str, int]


@dataclass(frozen=True)
class Work:
    """What one proof takes.

    Attributes:
        sizes: of the circuit, for readers.
        setup: counts of the set-up by name.
        prove: counts by stage, and in it by name.
        setup_bytes, prove_bytes: arrays held at the worst moment.
        proof_bytes: of the envelope.
    """

    sizes: Counts
    setup: Counts
    prove: Mapping[str, Counts]
    setup_bytes: int
    prove_bytes: int
    proof_bytes: int


def work_of(circuit: Circuit) -> Work:
    """Count a circuit's set-up and proof."""
    arrangement, shape, columns = circuit.arrangement, circuit.shape, circuit.arrangement.system.columns
    cells = (shape.fixed_rows + shape.witness_rows) << shape.log_cols
    products = list(_products(arrangement))
    reads = list(_reads(arrangement))
    elements = sum(column.size for column in columns)
    leaves = 1 << arrangement.log_fractions if arrangement.lookups else 0
    opened = distinct_columns(circuit)
    evaluated = sum(
        rows << shape.log_cols for rows in (shape.fixed_rows, shape.witness_rows) if not _kept(circuit, rows)
    )
    arranged = (len(arrangement.constraints) + len(arrangement.lookups)) * (1 if circuit.batch == 1 else 2)
    proof_bytes = envelope_bytes(circuit, payload_bytes(circuit, *opened))
    prove = {
        "run": {
            "arranged": arranged,
            "nodes": len(circuit.nodes) * circuit.batch,
            "multiplied": circuit.batch * _multiplied(circuit),
            "elements": elements,
            "terms": sum(math.prod(k.loops) * _terms(k.key, k.value) for k in arrangement.lookups),
        },
        "commit": {"laid": shape.witness_rows << shape.log_cols, **_commit(shape.witness_rows, shape.log_cols, 0)},
        "lookups": {"lookups": len(arrangement.lookups), "leaves": leaves},
        "products": {
            "products": len(products),
            "entries": sum(1 << product.num_vars for product in products),
            "contracted": sum(product.contracted for product in products),
        },
        "open": {
            "reads": len(reads),
            "functional": sum(1 << arrangement.blocks[read.column].log_size for read in reads),
            "folded": cells,
            "evaluated": evaluated * opened[0],
            **_commit(2 << shape.level2_vars, shape.log_final, 1),
        },
        "encode": {"proof": proof_bytes},
    }
    return Work(
        sizes={
            "columns": len(columns),
            "elements": elements,
            "constraints": len(arrangement.constraints),
            "products": len(products),
            "lookups": sum(math.prod(k.loops) for k in arrangement.lookups),
            "fractions": leaves,
            "fixed_rows": shape.fixed_rows,
            "witness_rows": shape.witness_rows,
            "log_cols": shape.log_cols,
            "queries_level1": circuit.parameters.queries1,
            "queries_level2": circuit.parameters.queries2,
        },
        setup={
            "arranged": arranged,
            "laid": shape.fixed_rows << shape.log_cols,
            **_commit(shape.fixed_rows, shape.log_cols, 0),
        },
        prove=prove,
        setup_bytes=_setup_bytes(circuit),
        prove_bytes=_prove_bytes(circuit, elements, leaves, sum(1 << product.num_vars for product in products), cells),
        proof_bytes=proof_bytes,
    )


# Operations.


def _commit(rows: int, log_cols: int, level: int) -> dict[str, int]:
    """Words that come out of the encoder, times radix-4 passes; and permutations of Keccak for leaves and nodes."""
    depth = log_cols + LOG_BLOWUPS[level]
    leaf = (rows + 1) // RATE_WORDS + 1
    return {"encoded": (rows << depth) * depth // 2, "hashed": (leaf + 1) << depth}


def _multiplied(circuit: Circuit) -> int:
    """Products of numbers when the model runs once."""
    dots = (node for node in circuit.nodes if node.primitive == "dot")
    return sum(node.header.size * math.prod(node.attributes["contract"]) for node in dots)


def _terms(*expressions: Sum | None) -> int:
    return max(1, sum(len(expression.terms) for expression in expressions if expression is not None))


@dataclass(frozen=True)
class _Product:
    """Variables of its sumcheck, and multiplications to sum the loops that are folded into its factors."""

    num_vars: int
    contracted: int


def _products(arrangement: Arrangement) -> Iterator[_Product]:
    for constraint in arrangement.constraints:
        loops = constraint.loops
        for _, a, b in constraint.products:
            shared = moving(a) & moving(b)
            num_vars = sum((loops[k] - 1).bit_length() for k in shared)
            contracted = sum(
                _contracted(arrangement, term, loops, shared)
                for factor in (a, b)
                for _, term in factor.terms
                if not isinstance(term, Public)
            )
            yield _Product(num_vars, contracted)


def _contracted(arrangement: Arrangement, read: Placed, loops: Sequence[int], shared: frozenset[int]) -> int:
    """As `factors` does it: axis by axis, those that lose the most first."""
    sizes = list(arrangement.blocks[read.column].sizes)
    counts = [math.prod(loops[loop] for loop, _ in moves if loop in shared) for _, moves in read.axes]
    folding = [k for k, (_, moves) in enumerate(read.axes) if any(loop not in shared for loop, _ in moves)]
    total = 0
    for k in sorted(folding, key=lambda k: counts[k] / sizes[k]):
        total += math.prod(sizes) * counts[k]
        sizes[k] = counts[k]
    return total


def _reads(arrangement: Arrangement) -> Iterator[Placed]:
    """Every read that becomes a term of the functional."""
    sums: list[Sum | None] = []
    for lookup in arrangement.lookups:
        sums += [lookup.key, lookup.value]
        if lookup.multiplicity is not None:
            yield lookup.multiplicity
    for constraint in arrangement.constraints:
        sums += [constraint.linear, *(factor for _, *pair in constraint.products for factor in pair)]
    for expression in sums:
        if expression is not None:
            yield from (term for _, term in expression.terms if not isinstance(term, Public))
    yield from (read for _, read in arrangement.boundary)


# Bytes of the proof.


def distinct_columns(circuit: Circuit) -> tuple[int, int]:
    """Different columns opened at either level, on average."""
    shape, parameters = circuit.shape, circuit.parameters
    first = _distinct(parameters.queries1, shape.log_cols + parameters.log_blowup1)
    return first, _distinct(parameters.queries2, shape.log_final + parameters.log_blowup2)


def _distinct(samples: int, log_count: int) -> int:
    count = 1 << log_count
    return round(count * (1 - (1 - 1 / count) ** samples))


def payload_bytes(circuit: Circuit, opened1: int, opened2: int) -> int:
    """Bytes of a payload with so many different columns of either level: exact."""
    shape, parameters = circuit.shape, circuit.parameters
    depth1, depth2 = shape.log_cols + parameters.log_blowup1, shape.log_final + parameters.log_blowup2
    layers, products = circuit.arrangement.log_fractions, len(circuit.product_vars)
    key = len(TAG) + HASH_BYTES + 5 + cap_bytes(depth1)
    head = 4 + key + 4 + len(encode_graph(circuit.nodes, circuit.inputs, circuit.outputs))
    elements = sum(3 * k + 4 for k in range(layers))
    elements += 3 * products + 3 * max(circuit.product_vars, default=0)
    elements += 2 * shape.rounds + (1 << shape.log_final)
    path1, path2 = ((depth - cap_height(depth)) * HASH_BYTES for depth in (depth1, depth2))
    columns1 = opened1 * (WORD * (shape.fixed_rows + shape.witness_rows) + 2 * path1)
    columns2 = opened2 * ((EXT << shape.level2_vars) + path2)
    return head + cap_bytes(depth1) + EXT * elements + cap_bytes(depth2) + 2 + columns1 + 2 + columns2


def envelope_bytes(circuit: Circuit, payload: int) -> int:
    """Bytes of the envelope around a payload: exact."""
    zeros = [tuple((0,) * spec.header.size for spec in specs) for specs in (circuit.inputs, circuit.outputs)]
    rows = [Row(zeros[0], zeros[1])] * circuit.batch
    claim = Claim(bytes(32), bytes(32), bytes(32), bytes(32))
    public = public_section(circuit.inputs, circuit.outputs, rows)
    empty = Proof(scheme=SCHEME, claims=(claim,) * circuit.batch, public=public, payload=b"")
    return len(empty.to_bytes()) + 4 * -(-payload // 3)


# Bytes held.


def _kept(circuit: Circuit, rows: int) -> bool:
    """Whether a codeword stays in memory."""
    return rows << (circuit.log_cols + LOG_BLOWUPS[0]) <= KEEP_WORDS


def _committed(circuit: Circuit, rows: int) -> int:
    """A matrix, its tree, and its codeword or the part of one that is worked on."""
    positions = 1 << (circuit.log_cols + LOG_BLOWUPS[0])
    codeword = min(rows * positions, KEEP_WORDS)
    return WORD * (rows << circuit.log_cols) + 2 * HASH_BYTES * positions + WORD * codeword


def _setup_bytes(circuit: Circuit) -> int:
    constants = [column.size for column in circuit.arrangement.system.columns if column.constant]
    return WORD * max(constants, default=0) + _committed(circuit, circuit.shape.fixed_rows)


def _prove_bytes(circuit: Circuit, elements: int, leaves: int, entries: int, cells: int) -> int:
    """Columns and both committed matrices, and the largest of what the three arguments hold."""
    shape = circuit.shape
    held = WORD * elements + sum(_committed(circuit, rows) for rows in (shape.fixed_rows, shape.witness_rows))
    return held + max(6 * EXT * leaves, 6 * EXT * entries, 3 * EXT * entries + 5 * EXT * cells // 2)
