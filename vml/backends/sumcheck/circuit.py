"""What one proof is about: a graph, a number of inputs, and everything that follows from the two.

Prover, verifier and set-up build the same circuit. The fixed matrix and the row length belong to the verifying key and
must not depend on the batch; `build_circuit` sees to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from vml.backends.exact.specs import MAX_SCALE_BYTES
from vml.backends.sumcheck.arrange import FIXED, Arrangement, Block, arrange, bits_of
from vml.backends.sumcheck.linear import moving
from vml.backends.sumcheck.opening.types import OpeningShape
from vml.backends.sumcheck.security import Parameters, Sizes, parameters_for
from vml.backends.sumcheck.system import build_system
from vml.errors import UnsupportedModel
from vml.model.graph import Node, TensorSpec


@dataclass(frozen=True)
class Circuit:
    """A placed system with its sizes.

    Attributes:
        nodes: of the graph. inputs, outputs: its outside tensors. batch: how many runs are proved at once.
        arrangement: the placed system. log_cols: row length of both matrices.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batch: int
    arrangement: Arrangement
    log_cols: int

    @cached_property
    def shape(self) -> OpeningShape:
        """Of what is committed to."""
        return OpeningShape(*self.arrangement.rows(self.log_cols), self.log_cols)

    @cached_property
    def product_vars(self) -> tuple[int, ...]:
        """Variables of the sumcheck of every product, in order."""
        return tuple(
            sum(bits_of(c.loops[k]) for k in moving(a) & moving(b))
            for c in self.arrangement.constraints
            for _, a, b in c.products
        )

    @cached_property
    def index_bits(self) -> int:
        """Coordinates of the point at which constraints and outside tensors are checked."""
        outer = [c.loops[: len(c.loops) - c.contracted] for c in self.arrangement.constraints]
        outer += [loops for loops, _ in self.arrangement.boundary]
        return max(sum(bits_of(n) for n in loops) for loops in outer)

    @cached_property
    def sizes(self) -> Sizes:
        """What the soundness depends on."""
        products, arrangement = len(self.product_vars), self.arrangement
        claims = 2 * bool(arrangement.lookups) + len(arrangement.constraints) + 2 * products + len(arrangement.boundary)
        return Sizes(
            log_fractions=arrangement.log_fractions,
            index_bits=self.index_bits,
            products=products,
            product_rounds=max(self.product_vars, default=0),
            claims=claims,
            opening=self.shape,
        )

    @cached_property
    def parameters(self) -> Parameters:
        """Queries that reach the required bits. Raises UnsupportedModel where no number does."""
        try:
            return parameters_for(self.sizes)
        except ValueError as error:
            raise UnsupportedModel(f"sumcheck: {error}") from error


def build_circuit(
    nodes: tuple[Node, ...], inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], batch: int
) -> Circuit:
    """The circuit of a graph for ``batch`` inputs.

    Raises:
        UnsupportedModel: a node's numbers are too large for its equations, or the proof would be too weak.
    """
    for spec in (*inputs, *outputs):
        if max(spec.scale.numerator, spec.scale.denominator) >> (8 * MAX_SCALE_BYTES):
            raise UnsupportedModel(f"sumcheck: the scale of {spec.name!r} has more than {MAX_SCALE_BYTES} bytes")
    names = [f"{index}:{node.primitive}" for index, node in enumerate(nodes)]
    boundary = [spec.node for spec in (*inputs, *outputs)]
    single = arrange(build_system(nodes, names, 1), boundary)
    placed = single if batch == 1 else arrange(build_system(nodes, names, batch), boundary)
    if _fixed(placed) != _fixed(single):
        raise UnsupportedModel(
            "sumcheck: the weights of this model lie differently in a batch; prove one input at a time"
        )
    circuit = Circuit(nodes, inputs, outputs, batch, placed, single.default_log_cols)
    _ = circuit.parameters
    return circuit


def _fixed(arrangement: Arrangement) -> list[tuple[int, Block]]:
    return [(k, block) for k, block in enumerate(arrangement.blocks) if block.part == FIXED]
