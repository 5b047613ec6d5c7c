"""The bytes of a proof: one encoding, every count known before it is read.

Integers are big-endian, field elements 8 bytes little-endian and below p (an extension element is two of them)::

    u32 length || verifying key
    u32 length || graph:   u32 nodes, each u32 length || descriptor; u32 length || input specs; likewise output specs
    cap of the witness matrix
    lookups:   for each layer k of the tree: k rounds of 3 elements, then 4 elements
    products:  one element each; rounds of 3 elements; two elements each
    opening:   cap of level 2; rounds of 2 elements; the message;
               u16 columns opened at level 1: of the fixed matrix column and path each, then of the witness matrix;
               u16 columns opened at level 2: column and path each

Everything but the two counts of opened columns (which the transcript fixes) follows from the graph and the batch.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from vml.backends.exact.specs import decode_specs
from vml.backends.sumcheck.circuit import Circuit
from vml.backends.sumcheck.fractions.types import FractionLayer, FractionProof
from vml.backends.sumcheck.opening.columns import cap_bytes, cap_height
from vml.backends.sumcheck.opening.types import OpeningProof, Path
from vml.backends.sumcheck.products.types import ProductProof
from vml.errors import MalformedProof
from vml.field.goldilocks import Ext, P
from vml.keccak import HASH_BYTES
from vml.merkle import graph_root, model_digest
from vml.model.graph import MAX_NODES, Node, TensorSpec, encode_specs
from vml.model.semantics import semantics_digest

T = TypeVar("T")


@dataclass(frozen=True)
class Body:
    """Everything a prover says after the statement."""

    cap: bytes
    fractions: FractionProof
    products: ProductProof
    opening: OpeningProof


class _Reader:
    """A cursor that refuses to read past the end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        chunk = self.data[self.at : self.at + count]
        if len(chunk) != count:
            raise MalformedProof(f"the payload ends at byte {len(self.data)}, {count} more were expected")
        self.at += count
        return chunk

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        return self.take(self.number(4))

    def words(self, count: int) -> tuple[int, ...]:
        values = struct.unpack(f"<{count}Q", self.take(8 * count))
        if values and max(values) >= P:
            raise MalformedProof("a field element is not canonical")
        return values

    def elements(self, count: int) -> tuple[Ext, ...]:
        values = self.words(2 * count)
        return tuple(zip(values[::2], values[1::2], strict=True))

    def many(self, count: int, read: Callable[[], T]) -> tuple[T, ...]:
        return tuple(read() for _ in range(count))

    def end(self) -> None:
        if self.at != len(self.data):
            raise MalformedProof(f"{len(self.data) - self.at} bytes follow the proof")


# The head: verifying key and graph.


def encode_graph(nodes: Sequence[Node], inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> bytes:
    """The descriptors and specifications that a model commitment is made of."""
    parts = [struct.pack(">I", len(nodes))]
    for node in nodes:
        descriptor = node.encode()
        parts += [struct.pack(">I", len(descriptor)), descriptor]
    for specs in (inputs, outputs):
        encoded = encode_specs(specs)
        parts += [struct.pack(">I", len(encoded)), encoded]
    return b"".join(parts)


def graph_commitment(data: bytes) -> bytes:
    """The model identity of an encoded graph, whose weights are in it by their roots; nothing is decoded for it.

    Raises:
        MalformedProof: the parts are not as long as they say.
    """
    reader = _Reader(data)
    descriptors = reader.many(_node_count(reader), reader.sized)
    inputs, outputs = reader.sized(), reader.sized()
    reader.end()
    if not all(descriptors):
        raise MalformedProof("a node without a descriptor")
    return model_digest(semantics_digest(), graph_root(descriptors), inputs, outputs)


def _node_count(reader: _Reader) -> int:
    count = reader.number(4)
    if not 0 < count <= MAX_NODES:
        raise MalformedProof(f"a graph of {count} nodes")
    return count


def decode_graph(data: bytes) -> tuple[tuple[Node, ...], tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Strict inverse of `encode_graph`. Raises MalformedProof."""
    reader = _Reader(data)
    try:
        nodes = reader.many(_node_count(reader), lambda: Node.decode(reader.sized()))
        inputs, outputs = (decode_specs(reader.sized()) for _ in range(2))
    except (ValueError, IndexError, OverflowError, struct.error) as error:
        raise MalformedProof(f"the graph: {error}") from None
    reader.end()
    for spec in (*inputs, *outputs):
        if spec.node >= len(nodes) or nodes[spec.node].header != spec.header:
            raise MalformedProof("a specification does not match its node")
    if encode_graph(nodes, inputs, outputs) != data:
        raise MalformedProof("the graph is not in its one encoding")
    return nodes, inputs, outputs


def encode_payload(key: bytes, graph: bytes, body: bytes) -> bytes:
    return b"".join((struct.pack(">I", len(key)), key, struct.pack(">I", len(graph)), graph, body))


def decode_payload(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Verifying key, graph and body, none of them decoded yet. Raises MalformedProof."""
    reader = _Reader(data)
    key, graph = reader.sized(), reader.sized()
    return key, graph, reader.data[reader.at :]


# The body.


def encode_body(body: Body) -> bytes:
    """The bytes that `decode_body` reads."""
    out = [body.cap]
    for layer in body.fractions.layers:
        out += [_elements([x for sent in layer.rounds for x in sent]), _elements(layer.values)]
    products, opening = body.products, body.opening
    for group in (products.values, *products.rounds, *products.factors):
        out.append(_elements(group))
    out += [opening.level2_cap, _elements([x for sent in opening.rounds for x in sent]), _elements(opening.message)]
    out.append(struct.pack(">H", len(opening.fixed_columns)))
    for columns, paths in (
        (opening.fixed_columns, opening.fixed_paths),
        (opening.witness_columns, opening.witness_paths),
    ):
        for column, path in zip(columns, paths, strict=True):
            out += [struct.pack(f"<{len(column)}Q", *column), *path]
    out.append(struct.pack(">H", len(opening.level2_columns)))
    for entries, path in zip(opening.level2_columns, opening.level2_paths, strict=True):
        out += [_elements(entries), *path]
    return b"".join(out)


def _elements(values: Sequence[Ext]) -> bytes:
    return struct.pack(f"<{2 * len(values)}Q", *(word for value in values for word in value))


def decode_body(data: bytes, circuit: Circuit) -> Body:
    """Strict inverse of `encode_body`, for one circuit. Raises MalformedProof."""
    reader, shape, parameters = _Reader(data), circuit.shape, circuit.parameters
    depth1, depth2 = shape.log_cols + parameters.log_blowup1, shape.log_final + parameters.log_blowup2
    path1, path2 = depth1 - cap_height(depth1), depth2 - cap_height(depth2)
    cap = reader.take(cap_bytes(depth1))
    layers = tuple(
        FractionLayer(reader.many(k, lambda: _three(reader)), _four(reader))
        for k in range(circuit.arrangement.log_fractions)
    )
    products = ProductProof(
        values=reader.elements(len(circuit.product_vars)),
        rounds=reader.many(max(circuit.product_vars, default=0), lambda: _three(reader)),
        factors=reader.many(len(circuit.product_vars), lambda: _two(reader)),
    )
    level2_cap = reader.take(cap_bytes(depth2))
    rounds = reader.many(shape.rounds, lambda: _two(reader))
    message = reader.elements(1 << shape.log_final)
    count1 = _count(reader, parameters.queries1)
    fixed = reader.many(count1, lambda: (reader.words(shape.fixed_rows), _path(reader, path1)))
    witness = reader.many(count1, lambda: (reader.words(shape.witness_rows), _path(reader, path1)))
    count2 = _count(reader, parameters.queries2)
    level2 = reader.many(count2, lambda: (reader.elements(1 << shape.level2_vars), _path(reader, path2)))
    reader.end()
    opening = OpeningProof(
        level2_cap=level2_cap,
        rounds=rounds,
        message=message,
        fixed_columns=tuple(column for column, _ in fixed),
        fixed_paths=tuple(path for _, path in fixed),
        witness_columns=tuple(column for column, _ in witness),
        witness_paths=tuple(path for _, path in witness),
        level2_columns=tuple(column for column, _ in level2),
        level2_paths=tuple(path for _, path in level2),
    )
    return Body(cap, FractionProof(layers), products, opening)


def _two(reader: _Reader) -> tuple[Ext, Ext]:
    first, second = reader.elements(2)
    return first, second


def _three(reader: _Reader) -> tuple[Ext, Ext, Ext]:
    first, second, third = reader.elements(3)
    return first, second, third


def _four(reader: _Reader) -> tuple[Ext, Ext, Ext, Ext]:
    first, second, third, fourth = reader.elements(4)
    return first, second, third, fourth


def _path(reader: _Reader, length: int) -> Path:
    data = reader.take(HASH_BYTES * length)
    return tuple(data[k : k + HASH_BYTES] for k in range(0, len(data), HASH_BYTES))


def _count(reader: _Reader, most: int) -> int:
    count = reader.number(2)
    if count > most:
        raise MalformedProof(f"{count} columns are opened, at most {most} are asked for")
    return count
