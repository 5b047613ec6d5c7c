"""Verifies that a functional of two committed matrices has a value: <F, P> = claim.

P stacks the fixed matrix and the witness, entries in the base field, 2^c columns. Its variables, most significant
first and in this order: rho row variables, the selector (0 fixed, 1 witness), c column variables. A matrix with
fewer than 2^rho rows is zero below them. Each row is the coefficients of a polynomial; position j of its
Reed-Solomon codeword is the value at w^j, w = root_of_unity(c + log_blowup1). A cap commits to the columns of the
codewords, so to all rows at once. pow(x) is the vector 1, x, x^2, ..; <pow(x), u> is the value at x of the
polynomial with coefficients u.

 1. The caps have the size of the verifier's trees; there is one round a variable; the message has its length. All
    elements are canonical.
 2. The transcript takes in what is to be shown.
 3. rho + 1 rounds bind rows and selector, to z: the claim is now <F(z, .), u> with u the rows of P combined by
    eq(z, .).
 4. The second level: the prover commits to u, cut in 2^(c - c2) rows of 2^c2, each encoded.
 5. Columns of both matrices are drawn, and exactly those are opened.
 6. Each opened column has its matrix's height and stands in its cap. Combined by eq(z, .) it says what u is at x_j.
 7. These values join the claim, pow(x_j) joins the functional, with powers of a challenge.
 8. c - c2 rounds bind the second level's rows. Their combination is the message, sent in the clear.
 9. Columns of the second level are drawn, and exactly those are opened.
10. Each has its height and stands in the cap. Combined, it says what the message is at x_j.
11. These values join the claim, pow(x_j) joins the functional, with powers of a challenge.
12. c2 rounds bind the rest.
13. The functional at the point, times the message there, is the claim.

Why it is sound. A matrix whose codewords are within the unique decoding radius (1 - rate)/2 of codewords, column by
column, has one decoded P; then u is the combination of its rows, or the columns drawn in step 5 miss every place
where the two codewords differ, at least a share (1 - rate)/2 of them. A matrix farther than that from all codewords
stays so when its rows are combined by eq(z, .), but for a share of the z of about (rho + 1) * 2^(c+3) / |F|
(proximity gaps), and then the same columns would have to miss as large a share again. The second level is the same
argument with u in the place of P and the message in the place of u. In steps 6 and 10 no value is compared, but all
equations are summed with powers of a challenge, drawn after everything in them is fixed. One row (rho = 0, or
c2 = c) is the case where nothing is combined: decoding and drawing remain.

What is observed. Rounds, the second level's cap and the message are, before the next challenge. Opened columns and
paths are not: the caps, which are, and the indices, which are drawn, leave but one value for each of them unless H
collides. The caller has observed what fixes the functional and both caps before it drew anything that the functional
depends on; step 2 repeats the caps so that this file alone shows that they come first.

Sources: S. Ames et al., "Ligero", 2022/1608 (interleaved codes); A. Novakovic, G. Angeris, "Ligerito", 2025/1187
(levels, partial sumcheck); H. Zeilberger, B. Chen, B. Fisch, "BaseFold", 2023/1705 and B. Diamond, J. Posen,
"Succinct arguments over towers of binary fields", 2023/1784, section 4 (interleaving with eq, query by query);
E. Ben-Sasson et al., "Proximity gaps for Reed-Solomon codes", 2020/654, theorem 1.4, and B. Diamond, A. Gruen,
"Proximity gaps in interleaved codes", 2024/1351 (tensor combinations).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from vml.backends.sumcheck.opening.columns import check_cap, check_column, column_leaf, verify_path
from vml.backends.sumcheck.opening.types import OpeningProof, OpeningShape, Path, Round
from vml.backends.sumcheck.rounds import check_elements, next_claim
from vml.errors import MalformedProof, ProofRejected
from vml.field.goldilocks import (
    ONE,
    ZERO,
    Ext,
    P,
    add,
    dot,
    dot_base,
    eq_table,
    evaluate,
    mul,
    root_of_unity,
    sub,
)

if TYPE_CHECKING:
    from vml.backends.sumcheck.security import Parameters
    from vml.transcript import Transcript

Functional = Callable[[str, Sequence[Ext]], Ext]
"""F of one part, "fixed" or "witness", extended to a point: row variables, then column variables. Rows that the part
does not have count as zero."""


def verify_opening(
    proof: OpeningProof,
    shape: OpeningShape,
    fixed_cap: bytes,
    witness_cap: bytes,
    claim: Ext,
    functional: Functional,
    parameters: Parameters,
    transcript: Transcript,
) -> None:
    """Check everything, or raise.

    Args:
        proof: from anyone; its fields have the declared types, whatever they hold.
        shape: the verifier's own, from the verifying key and what it knows of the model.
        fixed_cap: from the verifying key.
        witness_cap: from the prover.
        claim: what <F, P> is said to be; canonical, the transcript already fixes it.
        functional: F, which the transcript already fixes; called once for each part.
        parameters: numbers of queries, rates of the codes.
        transcript: all that was said before.

    Raises:
        MalformedProof, ProofRejected: which step failed and how.
    """
    row_vars, log_final = shape.row_vars, shape.log_final
    depth1, depth2 = shape.log_cols + parameters.log_blowup1, log_final + parameters.log_blowup2

    # step 1: the form
    check_cap("fixed", fixed_cap, depth1)
    check_cap("witness", witness_cap, depth1)
    check_cap("level 2", proof.level2_cap, depth2)
    if len(proof.rounds) != shape.rounds:
        raise MalformedProof(f"opening: {len(proof.rounds)} rounds for {shape.rounds} variables")
    for sent in proof.rounds:
        check_elements("opening: a round", sent, 2)
    check_elements("opening: the message", proof.message, 1 << log_final)

    # step 2: what is to be shown
    transcript.observe("opening/shape", shape.to_bytes())
    transcript.observe("opening/fixed", fixed_cap)
    transcript.observe("opening/witness", witness_cap)
    transcript.observe_ext("opening/claim", [claim])

    # step 3: rows and selector
    after_rows, after_level2 = row_vars + 1, row_vars + 1 + shape.level2_vars
    claim, z_rows = _bind(proof.rounds[:after_rows], claim, transcript)
    selector = z_rows.pop()
    rows = eq_table(z_rows)
    of_fixed = [mul(sub(ONE, selector), x) for x in rows[: shape.fixed_rows]]
    of_witness = [mul(selector, x) for x in rows[: shape.witness_rows]]

    # step 4: the second level
    transcript.observe("opening/level 2", proof.level2_cap)

    # step 5: columns of the first level
    indices = sorted(set(transcript.sample_indices("opening/columns", parameters.queries1, depth1)))
    _check_count("fixed", len(indices), proof.fixed_columns, proof.fixed_paths)
    _check_count("witness", len(indices), proof.witness_columns, proof.witness_paths)

    # step 6: the columns are the committed ones
    for index, column, path in zip(indices, proof.fixed_columns, proof.fixed_paths, strict=True):
        check_column("fixed", column, shape.fixed_rows)
        verify_path("fixed", fixed_cap, depth1, index, column_leaf(column), path)
    for index, column, path in zip(indices, proof.witness_columns, proof.witness_paths, strict=True):
        check_column("witness", column, shape.witness_rows)
        verify_path("witness", witness_cap, depth1, index, column_leaf(column), path)

    # step 7: u's values join
    level1 = _Queries(indices, depth1, transcript.sample_ext("opening/batch columns"))
    values = [
        add(dot_base(of_fixed, fixed), dot_base(of_witness, witness))
        for fixed, witness in zip(proof.fixed_columns, proof.witness_columns, strict=True)
    ]
    claim = add(claim, dot(level1.weights, values))

    # step 8: the second level's rows
    claim, z_level2 = _bind(proof.rounds[after_rows:after_level2], claim, transcript)
    transcript.observe_ext("opening/message", proof.message)

    # step 9: columns of the second level
    indices = sorted(set(transcript.sample_indices("opening/level 2 columns", parameters.queries2, depth2)))
    _check_count("level 2", len(indices), proof.level2_columns, proof.level2_paths)

    # step 10: the columns are the committed ones
    for index, entries, path in zip(indices, proof.level2_columns, proof.level2_paths, strict=True):
        check_elements("level 2: a column", entries, 1 << shape.level2_vars)
        flat = [coefficient for entry in entries for coefficient in entry]
        verify_path("level 2", proof.level2_cap, depth2, index, column_leaf(flat), path)

    # step 11: the message's values join
    level2 = _Queries(indices, depth2, transcript.sample_ext("opening/batch level 2 columns"))
    combination = eq_table(z_level2)
    claim = add(claim, dot(level2.weights, [dot(combination, entries) for entries in proof.level2_columns]))

    # step 12: the rest
    claim, z_final = _bind(proof.rounds[after_level2:], claim, transcript)

    # step 13: the functional times the message
    z_columns = z_level2 + z_final
    fixed_value = mul(sub(ONE, selector), functional("fixed", z_rows + z_columns))
    witness_value = mul(selector, functional("witness", z_rows + z_columns))
    value = add(fixed_value, witness_value)
    value = add(value, add(level1.at(z_columns), level2.at(z_final)))
    product = mul(value, evaluate(proof.message, z_final))
    if product != claim:
        raise ProofRejected("opening 13: the claim", claim, product)


def _bind(rounds: Iterable[Round], claim: Ext, transcript: Transcript) -> tuple[Ext, list[Ext]]:
    """The claim after some rounds, and their challenges."""
    point = []
    for sent in rounds:
        transcript.observe_ext("opening/round", sent)
        point.append(transcript.sample_ext("opening/bind"))
        claim = next_claim(claim, sent, point[-1])
    return claim, point


def _check_count(what: str, count: int, columns: Sequence[object], paths: Sequence[Path]) -> None:
    """One column and one path an index.

    Raises:
        MalformedProof: more or fewer.
    """
    if len(columns) != count or len(paths) != count:
        raise MalformedProof(f"{what}: {len(columns)} columns and {len(paths)} paths for {count} indices")


class _Queries:
    """The functional sum_j tau^(j+1) pow(x_j) over the indices drawn.

    Args:
        indices: positions in the codeword.
        depth: the codeword has 2^depth positions.
        tau: the challenge.
    """

    def __init__(self, indices: Sequence[int], depth: int, tau: Ext) -> None:
        generator = root_of_unity(depth)
        self.points = [pow(generator, index, P) for index in indices]
        self.weights = []
        weight = ONE
        for _ in indices:
            weight = mul(weight, tau)
            self.weights.append(weight)

    def at(self, point: Sequence[Ext]) -> Ext:
        """Its extension: pow(x) is the product over k of 1 + z_k (x^(2^k) - 1), k the weight of z_k's bit."""
        total = ZERO
        for x, weight in zip(self.points, self.weights, strict=True):
            for z in reversed(point):
                less = x - 1
                weight = mul(weight, (1 + z[0] * less, z[1] * less))
                x = x * x % P
            total = add(total, weight)
        return total
