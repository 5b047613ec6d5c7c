"""The bytes of a payload: one encoding, and every refusal of its decoders, each by itself."""

from __future__ import annotations

import struct
from dataclasses import replace
from fractions import Fraction
from functools import cache

import pytest

from tests.backends.sumcheck.runs import small, small_proof
from vml.backends.exact.specs import MAX_SCALE_BYTES, MAX_SPECS
from vml.backends.sumcheck.payload import (
    decode_body,
    decode_graph,
    decode_payload,
    encode_body,
    encode_graph,
    encode_payload,
    graph_commitment,
)
from vml.errors import MalformedProof
from vml.field.goldilocks import P
from vml.model.graph import Node, TensorSpec, encode_specs
from vml.model.tensor import Header

NODE = Node("input", Header("int8", (2,), -5, 5), (), {"index": 0})
SPEC = TensorSpec("x", "float32", 0, NODE.header, Fraction(3, 2))
DESCRIPTOR = NODE.encode()
PREFIX = struct.pack(">II", 1, len(DESCRIPTOR)) + DESCRIPTOR


def sized(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


GRAPH = PREFIX + sized(encode_specs((SPEC,))) + sized(encode_specs(()))


@cache
def body() -> bytes:
    return decode_payload(small_proof().payload)[2]


def refused(data: bytes, match: str) -> None:
    with pytest.raises(MalformedProof, match=match):
        decode_graph(data)


def spec(**parts: bytes) -> bytes:
    """The graph with one specification, whose parts can be any bytes."""
    said = {
        "name": b"\0\1x",
        "type": b"\7float32",
        "node": struct.pack(">I", 0),
        "dtype": SPEC.encode()[3 + 8 + 4 : 3 + 8 + 5],
        "rest": SPEC.encode()[3 + 8 + 5 : -6 - 1],
        "saturate": b"\0",
        "above": b"\0\1\3",
        "below": b"\0\1\2",
    }
    return PREFIX + sized(struct.pack(">I", 1) + b"".join((said | parts).values())) + sized(struct.pack(">I", 0))


def test_the_graph_written_out() -> None:
    assert spec() == GRAPH == encode_graph((NODE,), (SPEC,), ())
    assert decode_graph(GRAPH) == ((NODE,), (SPEC,), ())


def test_a_graph_without_nodes() -> None:
    refused(bytes(12), "a graph of 0 nodes")
    refused(b"\xff" * 4 + bytes(8), "a graph of 4294967295 nodes")


def test_more_outside_tensors_than_allowed() -> None:
    many = tuple(replace(SPEC, name=str(k)) for k in range(MAX_SPECS + 1))
    decode_graph(encode_graph((NODE,), many[:-1], ()))
    refused(encode_graph((NODE,), many, ()), f"{MAX_SPECS + 1} outside tensors")
    refused(encode_graph((NODE,), (), many), f"{MAX_SPECS + 1} outside tensors")


def test_a_specification_of_a_node_that_is_not_there() -> None:
    refused(spec(node=struct.pack(">I", 1)), "does not match its node")


def test_an_unknown_number_type() -> None:
    refused(spec(dtype=b"\xff"), "out of range")


def test_saturation_is_a_bit() -> None:
    assert decode_graph(spec(saturate=b"\1"))[1][0].saturate
    refused(spec(saturate=b"\2"), "not in their one encoding")


@pytest.mark.parametrize("part", ["above", "below"])
def test_a_scale_of_zero(part: str) -> None:
    refused(spec(**{part: b"\0\0"}), "out of range")
    refused(spec(**{part: b"\0\1\0"}), "out of range")


@pytest.mark.parametrize("part", ["above", "below"])
def test_a_scale_too_long(part: str) -> None:
    def scale(size: int) -> bytes:
        return struct.pack(">H", size) + b"\xff" * size

    decode_graph(spec(**{part: scale(MAX_SCALE_BYTES)[:2] + b"\1" + bytes(MAX_SCALE_BYTES - 2) + b"\1"}))
    refused(spec(**{part: scale(MAX_SCALE_BYTES + 1)}), f"a scale of {MAX_SCALE_BYTES + 1} bytes")


@pytest.mark.parametrize(
    "parts",
    [{"above": b"\0\2\0\3"}, {"below": b"\0\2\0\2"}, {"above": b"\0\1\6", "below": b"\0\1\4"}],
)
def test_a_second_spelling_of_a_scale(parts: dict[str, bytes]) -> None:
    refused(spec(**parts), "not in their one encoding")


def test_a_name_that_is_no_text() -> None:
    refused(spec(name=b"\0\1\xff"), "the specifications: ")


def test_a_specification_that_is_not_its_node_s() -> None:
    refused(encode_graph((NODE,), (replace(SPEC, header=Header("int8", (2,), -5, 4)),), ()), "does not match its node")


def test_bytes_after_a_graph() -> None:
    refused(GRAPH + b"\0", "1 bytes follow")


def test_a_graph_that_ends() -> None:
    for cut in range(1, len(GRAPH)):
        refused(GRAPH[:-cut], "the payload ends|the graph: ")


def test_the_payload_is_its_three_parts() -> None:
    assert decode_payload(encode_payload(b"key", b"graph", b"body")) == (b"key", b"graph", b"body")
    assert decode_payload(bytes(8)) == (b"", b"", b"")
    for data in (b"", bytes(3), bytes(7), b"\0\0\0\1", b"\0\0\0\0\0\0\0\2\0"):
        with pytest.raises(MalformedProof, match="the payload ends"):
            decode_payload(data)


def test_the_body_survives() -> None:
    circuit = small().circuit()
    assert encode_body(decode_body(body(), circuit)) == body()
    with pytest.raises(MalformedProof, match="1 bytes follow the proof"):
        decode_body(body() + b"\0", circuit)
    for cut in (1, 31, 5000, len(body()) - 1, len(body())):
        with pytest.raises(MalformedProof, match="the payload ends at byte"):
            decode_body(body()[: len(body()) - cut], circuit)


@pytest.mark.parametrize("at", ["fractions", "message", "columns"])
def test_an_element_that_is_not_canonical(at: str) -> None:
    circuit = small().circuit()
    decoded = decode_body(body(), circuit)
    word = {
        "fractions": decoded.fractions.layers[3].values[1][0],
        "message": decoded.opening.message[5][1],
        "columns": decoded.opening.witness_columns[2][0] or decoded.opening.level2_columns[0][0][0],
    }[at]
    data = body().replace(struct.pack("<Q", word), struct.pack("<Q", P), 1)
    assert data != body()
    with pytest.raises(MalformedProof, match="a field element is not canonical"):
        decode_body(data, circuit)


@pytest.mark.parametrize("part", ["fixed", "level2"])
def test_more_columns_than_are_drawn(part: str) -> None:
    circuit = small().circuit()
    decoded = decode_body(body(), circuit)
    names = [f"{p}_{k}" for p in (("fixed", "witness") if part == "fixed" else (part,)) for k in ("columns", "paths")]
    most = circuit.parameters.queries1 if part == "fixed" else circuit.parameters.queries2
    for count, refusal in ((most, None), (most + 1, f"{most + 1} columns are opened, at most {most}")):
        opening = replace(decoded.opening, **{n: (getattr(decoded.opening, n) * 3)[:count] for n in names})
        data = encode_body(replace(decoded, opening=opening))
        if refusal is None:
            assert decode_body(data, circuit).opening == opening
        else:
            with pytest.raises(MalformedProof, match=refusal):
                decode_body(data, circuit)


def test_a_node_without_a_descriptor_has_no_commitment() -> None:
    with pytest.raises(MalformedProof, match="without a descriptor"):
        graph_commitment(struct.pack(">II", 1, 0) + sized(encode_specs(())) + sized(encode_specs(())))


def test_the_commitment_of_a_graph_is_the_model_s() -> None:
    graph = small().model.graph
    assert graph_commitment(encode_graph(graph.nodes, graph.inputs, graph.outputs)) == graph.commitment
    with pytest.raises(MalformedProof, match="bytes follow"):
        graph_commitment(GRAPH + b"\0")
