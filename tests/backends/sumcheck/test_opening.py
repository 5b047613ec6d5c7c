"""The opening: honest proofs pass, and every way to lie that the verifier's steps name is refused at its step."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.backends.sumcheck.opening_reference import Case, Lies, Matrix, Opened, PlainTree, orthogonal
from vml.backends.sumcheck.opening import prover
from vml.backends.sumcheck.opening.columns import cap_bytes, cap_height, column_leaf, parent, verify_path
from vml.backends.sumcheck.opening.types import MAX_LOG_ROWS, OpeningProof, OpeningShape
from vml.errors import MalformedProof, ProofRejected, VerificationError
from vml.field.goldilocks import ONE, ZERO, Ext, P, add, evaluate
from vml.keccak import keccak256
from vml.transcript import Transcript

# No rows to combine, one level-2 row, all sizes of rows uneven, a selector of unequal sides, a deeper second level.
SHAPES = [(1, 1, 4), (1, 1, 6), (3, 5, 4), (5, 3, 5), (1, 9, 6), (8, 8, 7), (17, 1, 5), (2, 5, 8)]


def array(values: Any) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def fast(case: Case, claim: Ext | None = None, told: list[tuple[str, float]] | None = None) -> Opened:
    fixed = prover.commit(array(case.fixed), case.parameters.log_blowup1)
    witness = prover.commit(array(case.witness), case.parameters.log_blowup1)
    functionals = array(case.functional_fixed), array(case.functional_witness)
    tell = None if told is None else lambda stage, share: told.append((stage, share))
    proof = prover.prove_opening(
        fixed, witness, *functionals, claim or case.value, case.parameters, Transcript("test"), tell
    )
    return Opened(proof, fixed.cap, witness.cap)


@cache
def honest() -> tuple[Case, Opened]:
    """Three fixed rows, one of them zero, and five of witness; the second level has two rows."""
    case = Case.random(3, 5, 6, seed=1)
    case = dataclasses.replace(case, fixed=[*case.fixed[:2], [0] * 64])
    return case, case.prove()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_honest_proofs_pass_and_both_provers_agree(shape: tuple[int, int, int]) -> None:
    case = Case.random(*shape)
    opened = fast(case)
    case.verify(opened)
    assert opened == case.prove()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_codeword_that_was_forgotten_is_computed_again(
    shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case.random(*shape)
    kept = fast(case)
    monkeypatch.setattr(prover, "KEEP_WORDS", 0)
    monkeypatch.setattr(prover, "CHUNK_WORDS", 3 << shape[2] + 3)
    assert fast(case) == kept


@pytest.mark.parametrize("blocks", [1, 5])
def test_threads_do_not_matter(blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case.random(7, 37, 6)
    kept = fast(case)
    monkeypatch.setattr(prover, "_SMALL", 16)
    monkeypatch.setattr("vml.threads.BLOCKS", blocks)
    assert fast(case) == kept


def test_functionals_that_look_at_little_or_nothing() -> None:
    case = Case.random(3, 5, 5)
    nothing = dataclasses.replace(case, functional_fixed=[ZERO] * 96, functional_witness=[ZERO] * 160)
    one = dataclasses.replace(nothing, functional_witness=[*[ZERO] * 159, ONE])
    assert nothing.value == ZERO
    assert one.value == (case.witness[4][31], 0)
    for sparse in (nothing, one):
        sparse.verify(fast(sparse))


def test_progress_is_told_to_the_end() -> None:
    told: list[tuple[str, float]] = []
    fast(Case.random(3, 5, 5), told=told)
    shares = [share for _, share in told]
    assert {stage for stage, _ in told} == {"opening"}
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


# Lies


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_wrong_claim(shape: tuple[int, int, int]) -> None:
    case = Case.random(*shape)
    wrong = add(case.value, (0, 1))
    with pytest.raises(ProofRejected, match="opening 13"):
        case.verify(fast(case, wrong), wrong)


@pytest.mark.parametrize("part", ["fixed", "witness"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_entry_altered_after_the_commitment(part: str, shape: tuple[int, int, int]) -> None:
    """The columns opened are the ones committed to, the sumcheck is about others."""
    case = Case.random(*shape)
    rows = [list(row) for row in getattr(case, part)]
    rows[-1][-1] = (rows[-1][-1] + 1) % P
    altered = dataclasses.replace(case, **{part: rows})
    assert altered.value != case.value
    with pytest.raises(ProofRejected, match="opening 13"):
        altered.verify(altered.prove(trees=case.trees()))


@pytest.mark.parametrize("part", ["fixed", "witness"])
def test_an_entry_altered_where_the_functional_does_not_look(part: str) -> None:
    """The claim is true of both: what is proved is still about the matrix committed to."""
    case, _ = honest()
    name = f"functional_{part}"
    case = dataclasses.replace(case, **{name: [ZERO, *getattr(case, name)[1:]]})
    rows = [list(row) for row in getattr(case, part)]
    rows[0][0] = (rows[0][0] + 1) % P
    altered = dataclasses.replace(case, **{part: rows})
    assert altered.value == case.value
    with pytest.raises(ProofRejected, match="opening 13"):
        altered.verify(altered.prove(trees=case.trees()))


@pytest.mark.parametrize("part", ["fixed", "witness"])
def test_another_functional(part: str) -> None:
    case, _ = honest()
    name = f"functional_{part}"
    other = dataclasses.replace(case, **{name: [add(getattr(case, name)[0], ONE), *getattr(case, name)[1:]]})
    opened = other.prove(case.value)
    with pytest.raises(ProofRejected, match="opening 13"):
        case.verify(opened)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_second_level_that_is_not_the_combination(shape: tuple[int, int, int]) -> None:
    """It has the same inner product with the functional, so that only the opened columns can tell."""
    case = Case.random(*shape)
    with pytest.raises(ProofRejected, match="opening 13"):
        case.verify(case.prove(lies=Lies(combination=orthogonal)))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_message_that_is_not_the_combination(shape: tuple[int, int, int]) -> None:
    case = Case.random(*shape)
    with pytest.raises(ProofRejected, match="opening 13"):
        case.verify(case.prove(lies=Lies(message=orthogonal)))


def far(codeword: Matrix) -> Matrix:
    """Half of the columns are anything."""
    draw = random.Random(5)
    chosen = set(draw.sample(range(len(codeword[0])), len(codeword[0]) // 2))
    return [[draw.randrange(P) if j in chosen else a for j, a in enumerate(row)] for row in codeword]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_matrix_far_from_codewords(shape: tuple[int, int, int]) -> None:
    case = Case.random(*shape)
    with pytest.raises(ProofRejected, match="opening 13"):
        case.verify(case.prove(lies=Lies(codewords=far)))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_second_level_far_from_codewords(shape: tuple[int, int, int]) -> None:
    case = Case.random(*shape)
    with pytest.raises(ProofRejected, match="opening 13"):
        case.verify(case.prove(lies=Lies(level2=far)))


def test_one_row_far_from_codewords() -> None:
    """Interleaving: rows that are fine do not hide one that is not."""

    def last_row(codeword: Matrix) -> Matrix:
        return [*codeword[:-1], far(codeword)[-1]]

    case, _ = honest()
    with pytest.raises(ProofRejected, match="opening 13"):
        case.verify(case.prove(lies=Lies(codewords=last_row)))


def test_the_caps_are_those_of_the_matrices() -> None:
    """A proof about one fixed matrix, shown to a verifier that holds another's cap; and the two parts exchanged."""
    case, opened = honest()
    other = Case.random(3, 5, 6, seed=2)
    swapped = dataclasses.replace(case, fixed=other.fixed)
    with pytest.raises(VerificationError):
        case.verify(dataclasses.replace(swapped.prove(), fixed_cap=opened.fixed_cap))
    with pytest.raises(VerificationError):
        case.verify(Opened(opened.proof, opened.witness_cap, opened.fixed_cap))
    # The liar names the verifier's cap in the transcript, and opens its own matrix.
    mine, trees = swapped.trees()[0], case.trees()
    mine.levels[-1] = trees[0].levels[-1]
    with pytest.raises(ProofRejected, match="fixed"):
        swapped.verify(swapped.prove(trees=(mine, trees[1])))


# Altered fields

Change = Callable[[OpeningProof], OpeningProof]


def put(items: Any, at: int, item: Any) -> Any:
    """A sequence with one item exchanged."""
    at %= len(items)
    return (*items[:at], item, *items[at + 1 :])


def field(name: str, change: Callable[[Any], Any]) -> Change:
    return lambda proof: dataclasses.replace(proof, **{name: change(getattr(proof, name))})


def inside(change: Callable[[Any], Any], at: int = 0) -> Callable[[Any], Any]:
    return lambda items: put(items, at, change(items[at]))


def shorter(items: Any) -> Any:
    return items[:-1]


def longer(items: Any) -> Any:
    return items + items[-1:]


def swapped(items: Any) -> Any:
    return (items[1], items[0], *items[2:])


def ext_plus_one(value: Ext) -> Ext:
    return ((value[0] + 1) % P, value[1])


def plus_p(value: int) -> int:
    return value + P


COLUMNS = ["fixed_columns", "witness_columns", "level2_columns"]
PATHS = ["fixed_paths", "witness_paths", "level2_paths"]
LISTS = [*COLUMNS, *PATHS]

MALFORMED: dict[str, Change] = {
    "cap shorter": field("level2_cap", shorter),
    "cap longer": field("level2_cap", lambda cap: cap + bytes(32)),
    "cap of a smaller tree": field("level2_cap", lambda cap: cap[: len(cap) // 2]),
    "cap no bytes": field("level2_cap", bytearray),
    "a round fewer": field("rounds", shorter),
    "a round more": field("rounds", longer),
    "no rounds": field("rounds", lambda _: ()),
    "a round of one value": field("rounds", inside(shorter)),
    "a round of three values": field("rounds", inside(longer)),
    "a round not canonical": field("rounds", inside(inside(lambda x: (x[0] + P, x[1])))),
    "the last round not canonical": field("rounds", inside(inside(lambda x: (x[0], x[1] + P), -1), -1)),
    "message shorter": field("message", shorter),
    "message longer": field("message", longer),
    "message of half the length": field("message", lambda message: message[: len(message) // 2]),
    "message not canonical": field("message", inside(lambda x: (x[0] + P, x[1]))),
    "level 2 entry not canonical": field("level2_columns", inside(inside(lambda x: (x[0], x[1] + P)))),
    "level 2 entry of one coefficient": field("level2_columns", inside(inside(shorter))),
}
for _name in COLUMNS[:2]:
    MALFORMED |= {
        f"{_name} not canonical": field(_name, inside(inside(plus_p))),
        f"{_name} above a word": field(_name, inside(inside(lambda x: x + (P << 64)))),
        f"{_name} negative": field(_name, inside(inside(lambda x: x - P))),
        f"{_name} a list": field(_name, inside(list)),
    }
for _name in LISTS:
    MALFORMED |= {
        f"{_name} fewer": field(_name, shorter),
        f"{_name} more": field(_name, longer),
        f"{_name} none": field(_name, lambda _: ()),
        f"{_name} first shorter": field(_name, inside(shorter)),
        f"{_name} last longer": field(_name, inside(longer, -1)),
        f"{_name} empty": field(_name, inside(lambda _: ())),
    }
for _name in PATHS:
    MALFORMED |= {
        f"{_name} a list": field(_name, inside(list)),
        f"{_name} sibling shorter": field(_name, inside(inside(shorter))),
        f"{_name} sibling longer": field(_name, inside(inside(longer))),
        f"{_name} sibling no bytes": field(_name, inside(inside(bytearray))),
        f"{_name} siblings split elsewhere": field(
            _name, inside(lambda path: (path[0] + path[1][:1], path[1][1:], *path[2:]))
        ),
    }

REJECTED: dict[str, Change] = {
    "first round": field("rounds", inside(inside(ext_plus_one))),
    "selector round": field("rounds", inside(inside(ext_plus_one, 1), 3)),
    "last round": field("rounds", inside(inside(ext_plus_one, 1), -1)),
    "rounds swapped": field("rounds", swapped),
    "message": field("message", inside(ext_plus_one)),
    "message swapped": field("message", swapped),
    "cap": field("level2_cap", lambda cap: bytes([cap[0] ^ 1]) + cap[1:]),
    "level 2 entry": field("level2_columns", inside(inside(ext_plus_one))),
    "level 2 entries swapped": field("level2_columns", inside(swapped)),
    "fixed entry": field("fixed_columns", inside(inside(lambda x: (x + 1) % P))),
    "witness entry": field("witness_columns", inside(inside(lambda x: (x + 1) % P, -1), -1)),
}
for _name in LISTS:
    REJECTED[f"{_name} swapped"] = field(_name, swapped)
for _name in PATHS:
    REJECTED[f"{_name} sibling"] = field(_name, inside(inside(lambda digest: keccak256(digest), -1), -1))
    REJECTED[f"{_name} siblings swapped"] = field(_name, inside(swapped))


@pytest.mark.parametrize("name", MALFORMED)
def test_another_form(name: str) -> None:
    case, opened = honest()
    with pytest.raises(MalformedProof):
        case.verify(dataclasses.replace(opened, proof=MALFORMED[name](opened.proof)))


@pytest.mark.parametrize("name", REJECTED)
def test_another_value(name: str) -> None:
    """Where a challenge changes, so does the number of distinct indices now and then: either refusal is right."""
    case, opened = honest()
    with pytest.raises(VerificationError):
        case.verify(dataclasses.replace(opened, proof=REJECTED[name](opened.proof)))


def test_a_truth_value_is_no_number() -> None:
    """False is 0 in Python and hashes alike."""
    case, opened = honest()
    column = opened.proof.fixed_columns[0]
    assert column[2] == 0
    named = field("fixed_columns", inside(inside(lambda _: False, 2)))(opened.proof)
    assert named == opened.proof
    with pytest.raises(MalformedProof):
        case.verify(dataclasses.replace(opened, proof=named))


@pytest.mark.parametrize("change", [shorter, longer, bytearray, lambda cap: cap[:1024], lambda cap: b""])
@pytest.mark.parametrize("name", ["fixed_cap", "witness_cap"])
def test_caps_of_another_form(name: str, change: Callable[[bytes], Any]) -> None:
    case, opened = honest()
    with pytest.raises(MalformedProof):
        case.verify(dataclasses.replace(opened, **{name: change(getattr(opened, name))}))


def test_columns_need_their_own_tree() -> None:
    """Step 6 and 10, each tree alone: columns whose weighted sum is the same, which only the path refuses."""
    case, opened = honest()
    proof = opened.proof
    for name in PATHS:
        forged = field(name, inside(inside(lambda digest: bytes(32))))(proof)
        with pytest.raises(ProofRejected, match="not the one committed to"):
            case.verify(dataclasses.replace(opened, proof=forged))


# Trees and shapes


@pytest.mark.parametrize("depth", [0, 1, 5, 6, 7, 9])
def test_paths(depth: int) -> None:
    tree = PlainTree([list(range(1 << depth)), [7] * (1 << depth)])
    assert tree.depth == depth
    assert len(tree.cap) == cap_bytes(depth) == 32 << cap_height(depth)
    for index, column in enumerate(tree.columns):
        verify_path("test", tree.cap, depth, index, column_leaf(column), tree.path(index))
        if depth:
            with pytest.raises(ProofRejected):
                verify_path("test", tree.cap, depth, index ^ 1, column_leaf(column), tree.path(index))
        with pytest.raises(MalformedProof):
            verify_path("test", tree.cap, depth, index, column_leaf(column), (*tree.path(index), bytes(32)))


def test_leaves_and_nodes_by_hand() -> None:
    assert column_leaf([1, P - 1]) == keccak256(b"vml:leaf" + bytes([1, *[0] * 7]) + (P - 1).to_bytes(8, "little"))
    assert parent(bytes(32), b"\1" * 32) == keccak256(b"vml:node" + bytes(32) + b"\1" * 32)


@pytest.mark.parametrize(
    ("shape", "row_vars", "log_final", "level2_vars"),
    [
        ((1, 1, 4), 0, 4, 0),
        ((1, 1, 5), 0, 5, 0),
        ((1, 2, 6), 1, 5, 1),
        ((3, 1, 7), 2, 6, 1),
        ((4, 5, 12), 3, 8, 4),
        ((1 << 12, 64, 13), 12, 9, 4),
    ],
)
def test_shapes(shape: tuple[int, int, int], row_vars: int, log_final: int, level2_vars: int) -> None:
    known = OpeningShape(*shape)
    assert (known.row_vars, known.log_final, known.level2_vars) == (row_vars, log_final, level2_vars)
    assert known.rounds == row_vars + 1 + shape[2]
    assert known.to_bytes() == b"".join(n.to_bytes(w, "big") for n, w in zip(shape, (8, 8, 4), strict=True))


@pytest.mark.parametrize(
    "shape", [(0, 1, 4), (1, 0, 4), (1, 1, 3), (1, 1, 33), ((1 << MAX_LOG_ROWS) + 1, 1, 4), (1, 1 << 40, 4)]
)
def test_no_such_shape(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError):
        OpeningShape(*shape)


def test_the_functional_is_asked_once_a_part() -> None:
    case, opened = honest()
    asked = []

    def functional(part: str, point: Any) -> Ext:
        asked.append((part, tuple(point)))
        values = {"fixed": case.functional_fixed, "witness": case.functional_witness}[part]
        return evaluate(values + [ZERO] * ((1 << len(point)) - len(values)), point)

    watched = dataclasses.replace(case)
    object.__setattr__(watched, "functional", functional)
    watched.verify(opened)
    assert [part for part, _ in asked] == ["fixed", "witness"]
    assert {len(point) for _, point in asked} == {case.shape.row_vars + case.shape.log_cols}


# A caller's mistakes


@pytest.mark.parametrize(
    ("rows", "log_blowup"),
    [
        (np.zeros((0, 16), np.uint64), 3),
        (np.zeros((1, 8), np.uint64), 3),
        (np.zeros((1, 24), np.uint64), 3),
        (np.zeros((1, 16), np.int64), 3),
        (np.zeros(16, np.uint64), 3),
        (np.zeros((16, 16), np.uint64).T[::-1], 3),
        (np.zeros((1, 16), np.uint64), 0),
        (np.zeros((1, 16), np.uint64), 30),
    ],
)
def test_what_cannot_be_committed_to(rows: np.ndarray, log_blowup: int) -> None:
    with pytest.raises(ValueError):
        prover.commit(rows, log_blowup)


def test_arguments_that_do_not_fit() -> None:
    case, _ = honest()
    fixed, witness = prover.commit(array(case.fixed), 3), prover.commit(array(case.witness), 3)
    functionals = [array(case.functional_fixed), array(case.functional_witness)]
    for wrong in (
        [fixed, prover.commit(array(case.witness), 4), *functionals],
        [fixed, prover.commit(array([row[:32] for row in case.witness]), 3), functionals[0], functionals[1][:160]],
        [fixed, witness, functionals[0][:-1], functionals[1]],
        [fixed, witness, functionals[0], functionals[1][:, 0].copy()],
    ):
        with pytest.raises(ValueError):
            prover.prove_opening(*wrong, case.value, case.parameters, Transcript("test"))
