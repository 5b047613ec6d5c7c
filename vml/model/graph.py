"""The exact integer graph: nodes in topological order, their descriptors, and the model commitment.

A node's descriptor is fixed binary: kind u8 ‖ header (dtype u8, dims, lo i64, hi i64) ‖ inputs (u8 count, u32 each)
‖ attributes (per primitive, see ``vml.model.codec``). The graph root is a Merkle tree over the descriptors, and
``model`` = keccak(0x06 ‖ semantics digest ‖ graph root ‖ keccak(input spec) ‖ keccak(output spec)).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

from vml.merkle import DTYPES, graph_root, model_digest, tensor_root
from vml.model.codec import Reader, decode_dims, decode_fields, encode_dims, encode_fields
from vml.model.primitives import BY_KIND, PRIMITIVES
from vml.model.semantics import semantics_digest
from vml.model.tensor import DTYPE_BITS, MAX_ELEMENTS, MAX_RANK, Header, Operand, dtype_for

if TYPE_CHECKING:
    import numpy as np

MAX_NODES = 1 << 20
_DTYPE_NAMES = {code: name for name, code in DTYPES.items()}

_WHOLE = {
    **{f"int{bits}": (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": (0, (1 << bits) - 1) for bits in (8, 16, 32, 64)},
    "bool": (0, 1),
}
OUTSIDE_DTYPES: dict[str, tuple[int, int] | None] = {**_WHOLE, "float16": None, "float32": None, "float64": None}
"""Number types of outside tensors by numpy name, and for whole numbers the range they hold."""


@dataclass(frozen=True)
class Node:
    """One operation: a primitive by name, the header of its output, the nodes it reads, its attributes."""

    primitive: str
    header: Header
    inputs: tuple[int, ...]
    attributes: Mapping[str, Any]

    def encode(self) -> bytes:
        """The descriptor's bytes. Raises ValueError for attributes outside their fields."""
        row, header = PRIMITIVES[self.primitive], self.header
        return b"".join(
            (
                bytes([row.kind, DTYPES[header.dtype]]),
                encode_dims(header.shape),
                struct.pack(">qqB", header.lo, header.hi, len(self.inputs)),
                struct.pack(f">{len(self.inputs)}I", *self.inputs),
                encode_fields(row.fields, self.attributes),
            )
        )

    @staticmethod
    def decode(data: bytes) -> Node:
        """Strict inverse of ``encode``. Raises ValueError for anything that does not encode back to ``data``."""
        reader = Reader(data)
        kind, dtype = reader.take(2)
        if kind not in BY_KIND or dtype not in _DTYPE_NAMES:
            raise ValueError(f"unknown kind {kind} or dtype {dtype}")
        shape = decode_dims(reader)
        lo, hi = reader.number(">q"), reader.number(">q")
        inputs = tuple(reader.number(">I") for _ in range(reader.number(">B")))
        attributes = decode_fields(BY_KIND[kind].fields, reader)
        if reader.position != len(data):
            raise ValueError(f"{len(data) - reader.position} bytes follow the descriptor")
        return Node(BY_KIND[kind].name, Header(_DTYPE_NAMES[dtype], shape, lo, hi), inputs, attributes)


@dataclass(frozen=True)
class TensorSpec:
    """What an outside tensor is: how to go from floats to codes and back.

    Attributes:
        name: its ONNX name.
        onnx_dtype: the user's numpy dtype ("float32", "int64", "bool", ...).
        node: index of the node that holds it.
        header: storage type, shape, range in codes.
        scale: codes per unit, an exact rational; value = code / scale.
        saturate: (inputs) out-of-range values are clamped instead of refused.
    """

    name: str
    onnx_dtype: str
    node: int
    header: Header
    scale: Fraction
    saturate: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.header.shape

    def encode(self) -> bytes:
        """Bytes inside the model commitment."""
        name, dtype = self.name.encode(), self.onnx_dtype.encode()
        out = [struct.pack(">H", len(name)), name, struct.pack(">B", len(dtype)), dtype]
        out += [struct.pack(">IB", self.node, DTYPES[self.header.dtype]), encode_dims(self.header.shape)]
        out.append(struct.pack(">qqB", self.header.lo, self.header.hi, self.saturate))
        for part in (self.scale.numerator, self.scale.denominator):
            number = part.to_bytes((part.bit_length() + 7) // 8, "big")
            out += [struct.pack(">H", len(number)), number]
        return b"".join(out)


def encode_specs(specs: tuple[TensorSpec, ...]) -> bytes:
    """Several specs: u32 count, then each."""
    return struct.pack(">I", len(specs)) + b"".join(spec.encode() for spec in specs)


@dataclass(frozen=True)
class Graph:
    """A whole model in integers.

    Attributes:
        nodes: in topological order.
        constants: values of the constant nodes, by node index; C-contiguous arrays of the header's dtype and shape.
        inputs, outputs: the outside tensors, in the order of the ONNX graph.
        names: for messages: the ONNX node or tensor each node came from (not committed).
    """

    nodes: tuple[Node, ...]
    constants: Mapping[int, np.ndarray]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    names: tuple[str, ...]

    @cached_property
    def root(self) -> bytes:
        """Merkle root over the descriptors, 32 bytes."""
        return graph_root([node.encode() for node in self.nodes])

    @cached_property
    def commitment(self) -> bytes:
        """The 32-byte identity ``Claim.model`` of this model."""
        return model_digest(semantics_digest(), self.root, encode_specs(self.inputs), encode_specs(self.outputs))

    def operand(self, index: int) -> Operand:
        """Header and, for constants, values of node ``index``."""
        return Operand(self.nodes[index].header, self.constants.get(index))

    def validate(self) -> None:
        """Derive every header, range and root again and compare: a stored graph is not believed.

        Raises:
            ValueError: naming the node and what is wrong.
        """
        self.validate_structure()
        self._each_node(self._validate_node)

    def validate_structure(self) -> None:
        """What can be checked without the weights: every number has one source, and comes before it is read.

        Raises:
            ValueError: naming the node and what is wrong.
        """
        if not 0 < len(self.nodes) <= MAX_NODES:
            raise ValueError(f"{len(self.nodes)} nodes")
        self._each_node(self._validate_node_structure)
        self._validate_specs()

    def _each_node(self, check: Callable[[int, Node], None]) -> None:
        for index, node in enumerate(self.nodes):
            try:
                check(index, node)
            except ValueError as error:
                raise ValueError(f"node {index} ({node.primitive}, from {self.names[index]!r}): {error}") from error

    def _validate_node_structure(self, index: int, node: Node) -> None:
        row = PRIMITIVES[node.primitive]
        if not row.arity[0] <= len(node.inputs) <= row.arity[1]:
            raise ValueError(f"{len(node.inputs)} inputs")
        if any(not 0 <= ref < index for ref in node.inputs):
            raise ValueError(f"inputs {node.inputs} do not come before it")
        if any(n < 1 for n in node.header.shape) or len(node.header.shape) > MAX_RANK:
            raise ValueError(f"shape {node.header.shape} is empty somewhere, or has more than {MAX_RANK} dimensions")
        if node.header.size > MAX_ELEMENTS:
            raise ValueError(f"shape {node.header.shape} has more than 2^40 elements")
        if node.primitive in ("input", "constant"):
            # A declared range that its type cannot hold would wrap in one executor and not in the other.
            lo, hi = node.header.lo, node.header.hi
            if lo > hi or dtype_for(lo, hi) != node.header.dtype:
                raise ValueError(f"{node.header.dtype} is not the type of the range {lo}..{hi}")

    def _validate_node(self, index: int, node: Node) -> None:
        if Node.decode(node.encode()) != Node(node.primitive, node.header, node.inputs, dict(node.attributes)):
            raise ValueError("the descriptor does not survive its own encoding")
        if node.primitive == "constant":
            self._validate_constant(node, self.constants[index])
        elif node.primitive != "input":
            operands = [self.operand(ref) for ref in node.inputs]
            derived = PRIMITIVES[node.primitive].shape(node.attributes, node.header.shape, operands)
            if derived != node.header:
                raise ValueError(f"header {node.header} is not the derived {derived}")

    def _validate_constant(self, node: Node, values: np.ndarray) -> None:
        header = node.header
        if values.dtype.name != header.dtype or values.shape != header.shape:
            raise ValueError(f"values are {values.dtype}{values.shape}, the header says {header}")
        if (int(values.min()), int(values.max())) != (header.lo, header.hi):
            raise ValueError("the range is not that of the values")
        if tensor_root(values) != node.attributes["root"]:
            raise ValueError("the root is not that of the values")

    def _validate_specs(self) -> None:
        sources = [i for i, node in enumerate(self.nodes) if node.primitive == "input"]
        if [spec.node for spec in self.inputs] != sources:
            raise ValueError("input specs and input nodes differ")
        if [self.nodes[i].attributes["index"] for i in sources] != list(range(len(sources))):
            raise ValueError("input nodes are not numbered in order")
        if not self.outputs:
            raise ValueError("a model needs an output")
        for spec in (*self.inputs, *self.outputs):
            if not 0 <= spec.node < len(self.nodes) or self.nodes[spec.node].header != spec.header:
                raise ValueError(f"spec of {spec.name!r} does not match its node")
            if spec.scale <= 0 or spec.header.dtype not in DTYPE_BITS:
                raise ValueError(f"spec of {spec.name!r} has scale {spec.scale}")
            _check_numbers(spec, declared=spec in self.inputs)
        for side, specs in (("inputs", self.inputs), ("outputs", self.outputs)):
            if len({spec.name for spec in specs}) != len(specs):
                raise ValueError(f"two {side} share a name")


def _check_numbers(spec: TensorSpec, *, declared: bool) -> None:
    """Refuse a spec whose outside type cannot show its codes; a derived range may be wider than what occurs."""
    if spec.onnx_dtype not in OUTSIDE_DTYPES:
        raise ValueError(f"{spec.name!r} is {spec.onnx_dtype!r}, not one of {', '.join(OUTSIDE_DTYPES)}")
    ends = OUTSIDE_DTYPES[spec.onnx_dtype]
    if ends is None:
        return
    if spec.scale != 1:
        raise ValueError(f"{spec.name!r} is {spec.onnx_dtype} with scale {spec.scale}; whole numbers have scale 1")
    if declared and (spec.header.lo < ends[0] or spec.header.hi > ends[1]):
        raise ValueError(f"{spec.name!r} is {spec.onnx_dtype}, its codes reach {spec.header.lo}..{spec.header.hi}")
