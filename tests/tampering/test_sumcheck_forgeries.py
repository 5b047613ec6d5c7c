"""Attacks on the sumcheck backend: each once worked, or is tried by no other test."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tests.backends.sumcheck.runs import Stage, small, small_proof, small_rows, spec_of, stage_of
from vml.backends.exact.specs import MAX_SCALE_BYTES
from vml.backends.sumcheck import prover
from vml.backends.sumcheck.circuit import build_circuit
from vml.backends.sumcheck.key import VerifyingKey
from vml.backends.sumcheck.matrices import lay_out
from vml.backends.sumcheck.payload import decode_graph, decode_payload, encode_graph, encode_payload
from vml.backends.sumcheck.verifier import circuit_of, require_structure
from vml.errors import ClaimMismatch, MalformedProof, ProofRejected, UnsupportedModel, VerificationError
from vml.merkle import tensor_root
from vml.model.builder import Builder
from vml.model.codec import View
from vml.model.graph import Graph, Node, TensorSpec
from vml.model.tensor import Header
from vml.proof import Proof

NONE = View(0, ())
SMALL = Header("int8", (3,), -5, 5)


def source(index: int) -> Node:
    return Node("input", SMALL, (), {"index": index})


def plus(*refs: int) -> Node:
    view = View(0, (1,))
    attributes = {"a": view, "b": view, "alpha": 1, "beta": 1, "gamma": 0}
    return Node("affine", Header("int8", (3,), -10, 10), refs, attributes)


def spec(nodes: tuple[Node, ...], name: str, node: int, scale: Fraction = Fraction(1)) -> TensorSpec:
    return TensorSpec(name, "float32", node, nodes[node].header, scale)


# Graphs with two meanings, pinned by somebody who never loaded them.

UNSOURCED = {
    "an input that no claim mentions": ((source(0), source(1), plus(0, 1)), (0,)),
    "a number that is read before it is made": ((source(0), plus(0, 2), source(1)), (0, 2)),
    "a number made of itself": ((source(0), plus(0, 1)), (0,)),
    "two inputs of one number": ((source(0), source(0), plus(0, 1)), (0, 1)),
    "an input twice": ((source(0), plus(0, 0)), (0, 0)),
}


@pytest.mark.parametrize("name", UNSOURCED)
def test_a_graph_whose_numbers_have_no_source(name: str) -> None:
    nodes, declared = UNSOURCED[name]
    inputs = tuple(spec(nodes, f"x{k}", k) for k in declared)
    with pytest.raises(ProofRejected, match="4: the graph"):
        require_structure((nodes, inputs, (spec(nodes, "y", len(nodes) - 1),)))


def test_an_input_that_no_claim_mentions_was_free_to_choose() -> None:
    nodes = UNSOURCED["an input that no claim mentions"][0]
    graph = Graph(nodes, {}, (spec(nodes, "x", 0),), (spec(nodes, "y", 2),), ("n",) * 3)
    stage = stage_of(graph)
    values = [np.array([[1, 2, 3]]), np.array([[5, -5, 0]]), np.array([[6, -3, 3]])]
    with pytest.raises(ProofRejected, match="4: the graph"):
        stage.verify(stage.prove(stage.columns(values)))


def test_a_view_that_leaves_its_tensor_is_refused_and_does_not_crash() -> None:
    view = {"a": View(7, (1,)), "b": View(0, (-1,)), "alpha": 1, "beta": 1, "gamma": 0}
    for attributes in (view, {**view, "a": View(0, (2,))}, {**view, "a": View(0, (1, 1))}):
        nodes = (source(0), Node("affine", Header("int8", (3,), -10, 10), (0, 0), attributes))
        graph = encode_graph(nodes, (spec(nodes, "x", 0),), (spec(nodes, "y", 1),))
        with pytest.raises(ProofRejected, match="7: the circuit"):
            circuit_of(graph, 1)


# Time that a stranger's graph may take before it is tied to a model.


def test_a_fraction_that_takes_minutes_to_reduce() -> None:
    nodes = (source(0), plus(0, 0))
    number = (1 << (8 * 0xFFFF)) - 1
    graph = encode_graph(nodes, (spec(nodes, "x", 0),), ())[:-8]
    many = struct.pack(">I", 300) + spec(nodes, "y", 1, Fraction(number, number - 2)).encode() * 300
    with pytest.raises(MalformedProof, match="a scale of 65535 bytes"):  # refused by its length, before it is reduced
        decode_graph(graph + struct.pack(">I", len(many)) + many)


def test_such_a_scale_is_refused_at_set_up() -> None:
    nodes = (source(0), plus(0, 0))
    for bits, refused in ((8 * MAX_SCALE_BYTES - 1, False), (8 * MAX_SCALE_BYTES, True)):
        outputs = (spec(nodes, "y", 1, Fraction(1 << bits, 3)),)
        if refused:
            with pytest.raises(UnsupportedModel, match="scale"):
                build_circuit(nodes, (spec(nodes, "x", 0),), outputs, 1)
        else:
            build_circuit(nodes, (spec(nodes, "x", 0),), outputs, 1)
            decode_graph(encode_graph(nodes, (spec(nodes, "x", 0),), outputs))


# Outputs that are no column of their own.


@pytest.mark.parametrize("shape", [(3,), ()])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_constant_as_an_output(shape: tuple[int, ...], batch: int) -> None:
    values = np.array([4, 5, 6][: max(1, len(shape) * 3)], dtype=np.int8).reshape(shape)
    header = Header("int8", shape, int(values.min()), int(values.max()))
    nodes = (source(0), Node("constant", header, (), {"root": tensor_root(values)}), plus(0, 0))
    outputs = (spec(nodes, "c", 1), spec(nodes, "y", 2))
    stage = stage_of(Graph(nodes, {1: values}, (spec(nodes, "x", 0),), outputs, ("n",) * 3))
    rows = [{"x": np.array([k, 2, 3])} for k in range(batch)]
    assert len(stage.verify(stage.public_prove(rows)).claims) == batch
    columns = stage.columns(stage.values(rows))
    broadcast = [*columns]
    broadcast[1] = np.broadcast_to(values, (batch, *shape))
    sides = stage.sides(broadcast, batch)
    wrong = tuple(9 - code for code in sides[-1].outputs[0])
    if wrong == sides[-1].outputs[0]:
        return
    sides[-1] = replace(sides[-1], outputs=(wrong, sides[-1].outputs[1]))
    sides = [*sides[:-1], sides[-1]]
    clipped = all(header.lo <= code <= header.hi for code in wrong)
    if clipped:
        with pytest.raises(ProofRejected):
            stage.verify(stage.prove(columns, sides))


# Batches.


def test_claims_of_a_batch_in_another_order() -> None:
    stage, proof = small(), small_proof(2)
    first, second = proof.claims
    with pytest.raises(ClaimMismatch):
        stage.verify(replace(proof, claims=(second, first)))
    swapped = {
        side: [{**entry, "codes": entry["codes"][::-1]} for entry in proof.public[side]]  # type: ignore[index, union-attr, call-overload]
        for side in ("input", "output")
    }
    with pytest.raises(VerificationError):
        stage.verify(replace(proof, claims=(second, first), public={**proof.public, **swapped}))


def test_a_claim_twice_or_left_out() -> None:
    stage, proof = small(), small_proof(2)
    for chosen in ((0, 0), (1, 1), (0,), (0, 1, 1), (0, 1, 0)):
        public = {
            side: [{**entry, "codes": [entry["codes"][k] for k in chosen]} for entry in proof.public[side]]  # type: ignore[index, union-attr, call-overload]
            for side in ("input", "output")
        }
        forged = replace(proof, claims=tuple(proof.claims[k] for k in chosen), public={**proof.public, **public})
        with pytest.raises(VerificationError):
            stage.verify(forged)


def test_the_body_of_another_input() -> None:
    stage = small()
    one, other = (stage.honest(row) for row in small_rows(2))
    with pytest.raises(ProofRejected):
        stage.verify(replace(one, payload=other.payload))


def test_another_context() -> None:
    stage, proof = small(), small_proof()
    moved = tuple(replace(claim, context=bytes(31) + b"\1") for claim in proof.claims)
    with pytest.raises(VerificationError):
        stage.verify(replace(proof, claims=moved), context=bytes(31) + b"\1")


# Keys.


def altered_weights() -> Stage:
    """The small model, with other weights behind the same graph: what a false key would commit to."""
    stage = small()
    constants = {k: v.copy() for k, v in stage.graph.constants.items()}
    last = max(constants)
    constants[last] = constants[last][::-1].copy()
    return stage_of(replace(stage.graph, constants=constants))


def test_a_key_of_other_weights_under_the_same_model() -> None:
    stage, liar = small(), altered_weights()
    assert liar.key.model == stage.key.model
    assert liar.key.cap != stage.key.cap
    proof = liar.honest(*small_rows())
    with pytest.raises(ProofRejected, match="verifying key"):
        stage.verify(proof)
    parts = decode_payload(proof.payload)
    with pytest.raises(ProofRejected):  # the right key, and openings of the wrong matrix
        stage.verify(replace(proof, payload=encode_payload(stage.key.encode(), parts[1], parts[2])))


def test_a_pinned_key_of_another_shape() -> None:
    stage, proof = small(), small_proof()
    _, graph, body = decode_payload(proof.payload)
    taller = replace(stage.key, fixed_rows=stage.key.fixed_rows + 1)
    assert isinstance(taller, VerifyingKey)
    stranger = stage_of(stage.graph)
    stranger._made = (taller, stage.fixed)  # type: ignore[misc]  # a key that this verifier pins by mistake
    with pytest.raises(ProofRejected, match="7: the key's shape"):
        stranger.verify(replace(proof, payload=encode_payload(taller.encode(), graph, body)))


# Lookups that balance in some way other than one by one.

Alter = Callable[[list[np.ndarray]], None]


def tables_of(stage: Stage) -> dict[int, int]:
    """The multiplicity column of every table."""
    system = stage.circuit().arrangement.system
    return {identifier: table.multiplicity for identifier, table in system.tables.items()}


@pytest.mark.parametrize("shift", [(0, 1, 0, -1), (0, 1, 1, -1), (0, 0, 1, 0), (1, 0, 1, 1)])
def test_multiplicities_that_only_add_up(shift: tuple[int, int, int, int]) -> None:
    """Counts moved between rows and between tables: their sum is right, the fractions are not."""
    stage = small()
    columns = [np.array(c) for c in stage.columns(stage.values(small_rows()))]
    of = tables_of(stage)
    first, row, second, other = (of[shift[0]], shift[1], of[shift[2]], shift[3])
    columns[first].reshape(-1)[row] += 1
    columns[second].reshape(-1)[other] -= 1
    with pytest.raises(ProofRejected):
        stage.verify(stage.prove(columns))


def test_a_key_beyond_its_table_whose_fraction_is_put_elsewhere() -> None:
    """One lookup asks for a row that is not there, and another row is counted once more instead."""
    stage = small()
    node = next(k for k, n in enumerate(stage.graph.nodes) if n.primitive == "lookup")
    values = stage.values(small_rows(), {node: lambda flat: [flat[0] + 1, *flat[1:]]})
    columns = [np.array(c) for c in stage.columns(values)]
    for multiplicity in tables_of(stage).values():
        more = [c.copy() for c in columns]
        more[multiplicity].reshape(-1)[0] += 1
        with pytest.raises(ProofRejected):
            stage.verify(stage.prove(more))


def test_what_lies_in_padding_is_read_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prover who fills every unused entry of the witness proves the same claims, and no other."""
    stage, honest = small(), small_proof()
    rng = np.random.default_rng(7)

    def noisy(arrangement, part, columns, log_cols):  # type: ignore[no-untyped-def]
        words = lay_out(arrangement, part, columns, log_cols)
        used = lay_out(arrangement, part, [np.ones_like(c) for c in columns], log_cols)
        return np.where(used == 1, words, rng.integers(0, 1 << 62, words.shape, dtype=np.uint64))

    monkeypatch.setattr(prover, "lay_out", noisy)
    columns = stage.columns(stage.values(small_rows()))
    proof = stage.prove(columns)
    assert proof.payload != honest.payload
    assert stage.verify(proof).claims == honest.claims
    wrong = stage.values(small_rows(), {len(stage.graph.nodes) - 1: lambda flat: [flat[0] + 1, *flat[1:]]})
    with pytest.raises(ProofRejected):
        stage.verify(stage.prove(stage.columns(wrong)))


# Residues.


@pytest.mark.parametrize("by", [1, -1, 1 << 16, 1 << 32, (1 << 32) - 1])
def test_a_result_off_by_what_wraps_in_some_limb(by: int) -> None:
    """Whatever a node of a small model says instead, what is computed from it is wrong or out of range."""
    stage = small()
    for k, node in enumerate(stage.graph.nodes):
        if node.primitive in ("input", "constant") or k in (s.node for s in stage.graph.outputs):
            continue
        lied = stage.values(small_rows(), {k: lambda flat: [flat[0] + by, *flat[1:]]})
        true = stage.values(small_rows())
        mixed = [lied[j] if j == k else true[j] for j in range(len(true))]
        with pytest.raises(ProofRejected):
            stage.verify(stage.prove(stage.columns(mixed)))


# Bytes of strangers.


def test_noise_in_a_payload_is_an_error_of_verification() -> None:
    stage, proof, rng = small(), small_proof(), random.Random(11)
    key, graph, body = decode_payload(proof.payload)
    head = len(proof.payload) - len(body)
    for turn in range(300):
        noisy = bytearray(proof.payload)
        for _ in range(rng.choice([1, 1, 2, 8])):
            at = rng.randrange(head if turn % 2 else len(noisy))
            noisy[at] ^= 1 << rng.randrange(8)
        if turn % 5 == 0:
            del noisy[rng.randrange(len(noisy)) :]
        with pytest.raises(VerificationError):
            stage.verify(replace(proof, payload=bytes(noisy)))
    for _ in range(2000):
        noisy = bytearray(graph)
        for _ in range(rng.choice((1, 2, 4))):
            noisy[rng.randrange(len(noisy))] = rng.choice([0, 1, 2, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        if bytes(noisy) == graph:
            continue
        try:
            nodes, inputs, outputs = decode_graph(bytes(noisy))
            require_structure((nodes, inputs, outputs))
        except VerificationError:
            continue
        assert encode_graph(nodes, inputs, outputs) == bytes(noisy)
    assert encode_payload(key, graph, body) == proof.payload


def test_noise_in_an_envelope_is_an_error_of_verification() -> None:
    data, rng = small_proof().to_bytes(), random.Random(12)
    public = data.index(b'"public"')
    for _ in range(300):
        noisy = bytearray(data)
        noisy[rng.randrange(public, len(data))] = rng.choice(b'{}[]",:0129-ae+/=AZ\\ ')
        try:
            decoded = Proof.from_bytes(bytes(noisy))
        except MalformedProof:
            continue
        if decoded != small_proof():
            with pytest.raises(VerificationError):
                small().verify(decoded)


def test_a_builder_s_graph_has_the_structure() -> None:
    b = Builder(name="b")
    x = b.input(0, (2,), -3, 3, Fraction(1), "float")
    y = b.multiply(x, x)
    graph = b.finish([spec_of(b, "x", x)], [spec_of(b, "y", y)])[0]
    require_structure((graph.nodes, graph.inputs, graph.outputs))
