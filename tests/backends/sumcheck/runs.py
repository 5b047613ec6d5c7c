"""Whole runs of the protocol: models with their keys, columns of honest and of lying provers, envelopes of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from tests.laws import relation_checker
from vml.backends.exact.statement import Row, commit, public_section, row_of
from vml.backends.sumcheck import prover, verifier
from vml.backends.sumcheck.binding import begin, boundary_tensors
from vml.backends.sumcheck.circuit import Circuit
from vml.backends.sumcheck.fractions import prover as fractions_prover
from vml.backends.sumcheck.fractions.types import FractionClaim, FractionProof
from vml.backends.sumcheck.opening.prover import Committed
from vml.backends.sumcheck.payload import Body, decode_body, decode_payload, encode_body, encode_graph, encode_payload
from vml.backends.sumcheck.scheme import NAME, SCHEME
from vml.backends.sumcheck.setup import make_key, model_circuit
from vml.backends.sumcheck.witness import build_columns
from vml.backends.types import PINNED_KEYS, ClaimExpectation, Environment, Keys, VerifiedClaim
from vml.claim import ZERO_CONTEXT, Claim
from vml.field.goldilocks import Ext, inv, mul, neg
from vml.model import Model, compile_model
from vml.model.builder import Builder, Value
from vml.model.graph import Graph, TensorSpec
from vml.model.primitives import PRIMITIVES
from vml.model.relation import LIMB, LIMB_BITS, MODULUS, Column, Evaluate, Expression, System
from vml.policy import Policy
from vml.proof import Proof
from vml.transcript import Transcript

CIRCUITS = Path(__file__).parents[3] / "circuits"
Array = np.ndarray[Any, np.dtype[Any]]
Inputs = Mapping[str, Array]


def signed(number: int) -> int:
    """A residue as an int64."""
    number %= MODULUS
    return number if number < 1 << 63 else number - MODULUS


@dataclass
class Stage:
    """A model on which any number of runs are proved and verified; its key is in no cache."""

    model: Model
    _circuits: dict[int, Circuit] = field(default_factory=dict)

    @cached_property
    def _made(self) -> tuple[Any, Committed]:
        return make_key(self.model, None)

    @property
    def key(self) -> Any:
        return self._made[0]

    @property
    def fixed(self) -> Committed:
        return self._made[1]

    @property
    def graph(self) -> Graph:
        return self.model.graph

    @cached_property
    def graph_bytes(self) -> bytes:
        return encode_graph(self.graph.nodes, self.graph.inputs, self.graph.outputs)

    def circuit(self, batch: int = 1) -> Circuit:
        if batch not in self._circuits:
            self._circuits[batch] = model_circuit(self.model, batch)
        return self._circuits[batch]

    # An honest run, and one in which some nodes say something else.

    def values(
        self, rows: Sequence[Inputs], lies: Mapping[int, Callable[[list[int]], list[int]]] | None = None
    ) -> list[Array]:
        """Values of every node, (batch, *shape); nodes after a lie compute with it."""
        runs = [self._run(row, lies or {}) for row in rows]
        return [
            np.array(runs[0][k] if node.primitive == "constant" else [run[k] for run in runs], dtype=np.int64).reshape(
                node.header.shape if node.primitive == "constant" else (len(rows), *node.header.shape)
            )
            for k, node in enumerate(self.graph.nodes)
        ]

    def _run(self, row: Inputs, lies: Mapping[int, Callable[[list[int]], list[int]]]) -> list[list[int]]:
        names = {spec.node: spec.name for spec in self.graph.inputs}
        values: list[list[int]] = []
        for k, node in enumerate(self.graph.nodes):
            if node.primitive == "input":
                flat = np.asarray(row[names[k]]).reshape(-1).tolist()
            elif node.primitive == "constant":
                flat = self.graph.constants[k].reshape(-1).tolist()
            else:
                headers = [self.graph.nodes[ref].header for ref in node.inputs]
                operands = [values[ref] for ref in node.inputs]
                flat = PRIMITIVES[node.primitive].exact(node.attributes, node.header, operands, headers)
            values.append([signed(v) for v in lies[k](list(flat))] if k in lies else flat)
        return values

    def columns(
        self, values: Sequence[Array], lies: Mapping[int, Callable[[list[int]], list[int]]] | None = None
    ) -> list[Array]:
        """All columns, further witnesses as an honest prover computes them, multiplicities as they are asked for.

        Args:
            lies: by number of a witness column; what is computed from that column is computed from the lie.
        """
        system = self.circuit(len(values[self.graph.inputs[0].node])).arrangement.system
        described = [_lying(c, lies[k]) if lies and k in lies else c for k, c in enumerate(system.columns)]
        columns = build_columns(replace(system, columns=described, lookups=[]), values)
        recount(system, columns)
        return columns

    def sides(self, columns: Sequence[Array], batch: int) -> list[Row]:
        """What the columns say went in and came out."""
        graph = self.graph
        return [
            row_of(graph.inputs, graph.outputs, _named(graph.inputs, columns, k), _named(graph.outputs, columns, k))
            for k in range(batch)
        ]

    # Proofs.

    def claims(self, sides: Sequence[Row], context: bytes = ZERO_CONTEXT) -> tuple[Claim, ...]:
        graph = self.graph
        return tuple(
            Claim(graph.commitment, commit(graph.inputs, row.inputs), commit(graph.outputs, row.outputs), context)
            for row in sides
        )

    def transcript(self, sides: Sequence[Row], context: bytes = ZERO_CONTEXT) -> Transcript:
        return begin(self.circuit(len(sides)), self.key.encode(), self.graph_bytes, self.claims(sides, context))

    def envelope(self, sides: Sequence[Row], body: Body | bytes, context: bytes = ZERO_CONTEXT) -> Proof:
        graph = self.graph
        body = body if isinstance(body, bytes) else encode_body(body)
        payload = encode_payload(self.key.encode(), self.graph_bytes, body)
        public = public_section(graph.inputs, graph.outputs, sides)
        return Proof(SCHEME, self.claims(sides, context), public, payload)

    def prove(
        self,
        columns: Sequence[Array],
        sides: Sequence[Row] | None = None,
        batch: int = 1,
        exact: bool = True,
        fractions: Callable[..., Any] | None = None,
    ) -> Proof:
        """Prove columns, true or not, as an honest prover would.

        Args:
            sides: what is claimed; by default what the columns say.
            exact: lookups are evaluated modulo p, position by position: a lie may hold any residue.
            fractions: proves the lookups instead of `any_fractions`.
        """
        sides = self.sides(columns, batch) if sides is None else sides
        circuit = self.circuit(len(sides))

        def evaluate(expression: Expression, _: Any, loops: Sequence[int]) -> Array:
            return evaluate_exactly(expression, columns, loops)

        with (
            mock.patch.object(prover, "evaluate", evaluate if exact else prover.evaluate),
            mock.patch.object(prover, "prove_fractions", fractions or any_fractions),
        ):
            body = prover.prove_columns(
                circuit, self.fixed, columns, boundary_tensors(circuit, sides), self.transcript(sides)
            )
        return self.envelope(sides, body)

    def honest(self, *rows: Inputs) -> Proof:
        return self.prove(self.columns(self.values(rows)), batch=len(rows), exact=False)

    def public_prove(self, rows: Sequence[Inputs], context: bytes = ZERO_CONTEXT) -> Proof:
        """By the backend's own `prove`."""
        keys = Keys(NAME, SCHEME, self.model.commitment, self.key.encode(), compiled=self.model)
        with mock.patch.object(prover, "commit_fixed", return_value=self.fixed):
            return prover.prove(self.model, keys, rows, context, None)

    def verify(self, proof: Proof, **expected: Any) -> VerifiedClaim:
        return verifier.verify(proof, self.expectation(**expected), Policy.default(), self.environment)

    def expectation(self, **expected: Any) -> ClaimExpectation:
        return ClaimExpectation(model=frozenset({self.model.commitment}), **expected)

    @property
    def environment(self) -> Environment:
        return Environment(pins={PINNED_KEYS: frozenset({self.key.digest})})

    def body(self, proof: Proof) -> Body:
        return decode_body(decode_payload(proof.payload)[2], self.circuit(len(proof.claims)))

    def with_body(self, proof: Proof, body: Body | bytes) -> Proof:
        body = body if isinstance(body, bytes) else encode_body(body)
        return replace(proof, payload=encode_payload(*decode_payload(proof.payload)[:2], body))


def _lying(column: Column, alter: Callable[[list[int]], list[int]]) -> Column:
    """A witness column that is computed and then altered."""

    def compute(evaluate: Evaluate) -> Array:
        assert column.compute is not None
        true = np.asarray(column.compute(evaluate), dtype=np.int64)
        if column.limb is not None:
            true = true >> (LIMB_BITS * column.limb) & (LIMB - 1)
        true = np.broadcast_to(true, column.shape)
        return np.array(alter(true.reshape(-1).tolist()), dtype=np.int64).reshape(column.shape)

    return replace(column, compute=compute, limb=None)


def _named(specs: Sequence[TensorSpec], columns: Sequence[Array], k: int) -> dict[str, Array]:
    return {spec.name: columns[spec.node][k] for spec in specs}


def evaluate_exactly(expression: Expression, columns: Sequence[Array], loops: Sequence[int]) -> Array:
    """An expression at every position, modulo p."""
    flat = _Flat(columns)
    numbers = [signed(relation_checker.value(expression, flat, at)) for at in relation_checker.positions(loops)]
    return np.array(numbers, dtype=np.int64).reshape(tuple(loops))


class _Flat(Sequence[Any]):
    """Columns as lists of plain integers, made when asked for."""

    def __init__(self, columns: Sequence[Array]) -> None:
        self._columns, self._known = columns, dict[int, list[int]]()

    def __getitem__(self, k: Any) -> Any:
        if k not in self._known:
            self._known[k] = np.asarray(self._columns[k]).reshape(-1).tolist()
        return self._known[k]

    def __len__(self) -> int:
        return len(self._columns)


class _Anything(tuple):  # type: ignore[type-arg]
    """The zero that every number is taken for when the prover asks if it is another one."""

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


def any_fractions(
    numerators: Array, denominators: Array, transcript: Transcript, progress: Any = None, mend: bool = False
) -> tuple[FractionProof, FractionClaim]:
    """As `prove_fractions`, but of any sum.

    Args:
        mend: say of the root what makes the sum zero.
    """
    root: list[tuple[Ext, ...]] = []

    class Mending(Transcript):
        __slots__ = ()

        def observe_ext(self, label: str, values: Sequence[Ext]) -> None:
            if label == "fractions/values" and not root:
                _, p1, q0, q1 = values
                root.append((neg(mul(mul(p1, q0), inv(q1))), p1, q0, q1))
                values = root[0]
            super().observe_ext(label, values)

    if mend:
        transcript.__class__ = Mending
    with mock.patch.object(fractions_prover, "ZERO", _Anything((0, 0))):
        proof, claim = fractions_prover.prove_fractions(numerators, denominators, transcript, progress)
    transcript.__class__ = Transcript
    if mend:
        first, *rest = proof.layers
        proof = FractionProof((replace(first, values=root[0]), *rest))  # type: ignore[arg-type]
    return proof, claim


def recount(system: System, columns: list[Array]) -> list[str]:
    """Set the multiplicities to what is asked for and found; names of lookups that ask for something else."""
    flat = _Flat(columns)
    counts: dict[int, Counter[int]] = {identifier: Counter() for identifier in system.tables}
    missed = [k.name for k in system.lookups if not relation_checker.asked(k, system, flat, counts)]
    for identifier, table in system.tables.items():
        numbers = np.zeros(math.prod(table.loops), dtype=np.int64)
        for place, count in counts[identifier].items():
            numbers[place] = count
        columns[table.multiplicity] = numbers.reshape(table.loops)
    return missed


def violated(system: System, columns: Sequence[Array]) -> tuple[list[str], list[str]]:
    """Names of the constraints, and of the lookups, that columns do not satisfy."""
    flat = _Flat(columns)
    counts: dict[int, Counter[int]] = {identifier: Counter() for identifier in system.tables}
    lookups = [k.name for k in system.lookups if not relation_checker.asked(k, system, flat, counts)]
    return [c.name for c in system.constraints if not relation_checker.holds(c, flat)], lookups


# Models.


def stage_of(graph: Graph) -> Stage:
    return Stage(Model(graph, b"", None, {}))  # type: ignore[arg-type]  # no certificate is looked at


def spec_of(b: Builder, name: str, value: Value) -> TensorSpec:
    return TensorSpec(name, "float32", value.ref, b.header(value), Fraction(1))


@cache
def shipped(name: str) -> Stage:
    with np.load(CIRCUITS / name / "calibration.npz") as calibration:
        return Stage(compile_model(CIRCUITS / name / "model.onnx", calibration=dict(calibration)))


@cache
def sample_rows(name: str, count: int = 1) -> tuple[dict[str, Array], ...]:
    """Codes of calibration rows of a shipped model."""
    model = shipped(name).model
    with np.load(CIRCUITS / name / "calibration.npz") as rows:
        data = {spec.name: rows[spec.name] for spec in model.inputs}
    return tuple(
        model.quantize({spec.name: data[spec.name][k].reshape(spec.shape) for spec in model.inputs}, saturate=True)
        for k in range(count)
    )


@cache
def small() -> Stage:
    """A little of everything: weights, a table of values, range lookups, products; two inputs and two outputs."""
    b = Builder(name="small")
    x = b.input(0, (2, 3), -100, 100, Fraction(1), "float")
    y = b.input(1, (3,), -9, 9, Fraction(1), "float")
    table = b.constant(np.array([3 * v % 101 - 50 for v in range(41)]))
    weights = b.constant(np.array([[1, -2, 3], [4, 5, -6]]))
    product = b.multiply(b.multiply(x, weights), y)
    rest = b.rescale_codes(product, 1 << 14, 16, -20, 20)
    looked = Value(b.emit("lookup", (2, 3), [rest.ref, table.ref], x=rest.view, base=-20), (2, 3), rest.view)
    total = b.reduce("reduce_sum", looked, [1], False)
    outputs = [spec_of(b, "sum", total), spec_of(b, "rescaled", rest)]
    return stage_of(b.finish([spec_of(b, "x", x), spec_of(b, "y", y)], outputs)[0])


def small_rows(count: int = 1) -> list[dict[str, Array]]:
    rng = np.random.default_rng(1)
    return [{"x": rng.integers(-100, 101, (2, 3)), "y": rng.integers(-9, 10, 3)} for _ in range(count)]


@cache
def small_proof(count: int = 1) -> Proof:
    return small().honest(*small_rows(count))
