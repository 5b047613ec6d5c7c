"""Attacks that once worked, or that no other test tries: graphs that mean two things, folders that say another.

Each hostile graph below passed validation at some time while the two executors disagreed about it, or showed a
person another number than the one that was computed.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backends.ezkl.conftest import tiny_mlp
from tests.laws import random_graphs
from vml import api
from vml.backends.types import VerifiedClaim
from vml.claim import Claim
from vml.errors import OutOfRange, PolicyRejected, UnsupportedModel
from vml.merkle import tensor_root
from vml.model import Model, interpreter
from vml.model.builder import Builder
from vml.model.codec import Part, Run, View, encode_fields
from vml.model.executor import Executor
from vml.model.graph import Graph, Node, TensorSpec
from vml.model.quantizer import dequantize
from vml.model.tensor import MAX_RANK, Header, contiguous, header_for
from vml.policy import Policy

NONE = View(0, ())
INT64 = (-(1 << 63), (1 << 63) - 1)


def graph_of(*nodes: Node, constants: dict[int, np.ndarray] | None = None) -> Graph:
    """A graph whose inputs are its input nodes and whose output is its last node."""

    def spec(name: str, index: int) -> TensorSpec:
        return TensorSpec(name, "float32", index, nodes[index].header, Fraction(1))

    sources = [i for i, node in enumerate(nodes) if node.primitive == "input"]
    inputs = tuple(spec(f"x{i}", i) for i in sources)
    return Graph(nodes, constants or {}, inputs, (spec("y", len(nodes) - 1),), ("n",) * len(nodes))


def source(header: Header) -> Node:
    return Node("input", header, (), {"index": 0})


def doubled(header: Header) -> Node:
    out = Header("int16", header.shape, 2 * header.lo, 2 * header.hi)
    return Node("affine", out, (0,), {"a": contiguous(header.shape), "b": NONE, "alpha": 2, "beta": 0, "gamma": 0})


def gathered(shape: tuple[int, ...], *parts: Part) -> Node:
    return Node("gather", header_for(shape, -5, 5), (0,) * len(parts), {"axis": 0, "fill": 0, "parts": parts})


SMALL = header_for((4,), -5, 5)
WIDE = Header("int64", (3,), *INT64)
LOWEST = np.array([INT64[0], 5, 7])
RANKS = {"row": Header("int8", (3,), 0, 2), "x": {"length": 3, "x": View(0, (1,))}}
LONG = (1,) * (MAX_RANK + 1)

# Graphs that one executor reads otherwise than the other.
TWO_MEANINGS = {
    "an input that its type cannot hold": graph_of(
        source(Header("int8", (4,), -1000, 1000)), doubled(Header("int8", (4,), -1000, 1000))
    ),
    "an input of no range": graph_of(source(Header("int8", (4,), 5, -5))),
    "a scalar out of two parts": graph_of(source(SMALL), gathered((), Part(1, 0, ()), Part(1, 1, ()))),
    "a scalar out of a longer part": graph_of(source(SMALL), gathered((), Part(2, 0, ()))),
    "topk of -2^63, whose negation wraps": graph_of(source(WIDE), Node("topk", RANKS["row"], (0,), RANKS["x"])),
    "topk of a constant -2^63": graph_of(
        Node("constant", Header("int64", (3,), INT64[0], 7), (), {"root": tensor_root(LOWEST)}),
        Node("topk", RANKS["row"], (0,), RANKS["x"]),
        constants={0: LOWEST},
    ),
    "isqrt of 2^63 - 1, whose square wraps": graph_of(
        source(Header("int64", (1,), 0, INT64[1])),
        Node("isqrt", header_for((1,), 0, 3037000499), (0,), {"x": View(0, (1,))}),
    ),
    "a stride that is no int64 in bytes": graph_of(
        source(header_for((1,), -5, 5)),
        Node("less", header_for((1,), 0, 1), (0, 0), {"a": View(0, (1 << 62,)), "b": View(0, (1,))}),
    ),
    "a run whose step is no int64 in bytes": graph_of(
        source(SMALL), gathered((1,), Part(1, 0, ((Run(1, 0, 1 << 62),),)))
    ),
    "more dimensions than numpy has": graph_of(source(header_for(LONG, -5, 5)), doubled(header_for(LONG, -5, 5))),
    "more elements than there is memory": graph_of(
        source(header_for((1,), 0, 1)),
        Node(
            "affine",
            header_for((1 << 41,), 0, 2),
            (0,),
            {"a": View(0, (0,)), "b": NONE, "alpha": 2, "beta": 0, "gamma": 0},
        ),
    ),
    "more steps than there is time": graph_of(
        source(header_for((1,), 0, 0)),
        Node(
            "dot",
            header_for((1,), 0, 0),
            (0, 0),
            {"contract": (1 << 53,), "a": View(0, (0, 0)), "b": View(0, (0, 0)), "bias": NONE},
        ),
    ),
    "more contracted loops than numpy has": graph_of(
        source(header_for((1,), 0, 1)),
        Node("reduce_max", header_for((), 0, 1), (0,), {"reduced": (1,) * 65, "x": View(0, (0,) * 65)}),
    ),
}


@pytest.mark.parametrize("name", TWO_MEANINGS)
def test_a_graph_with_two_meanings_does_not_validate(name: str) -> None:
    with pytest.raises(ValueError, match="node "):
        TWO_MEANINGS[name].validate()


def test_the_honest_neighbours_validate() -> None:
    """The graphs above are refused for what is wrong with them, not for their form."""
    for graph in (
        graph_of(source(SMALL), gathered((), Part(1, 3, ()))),
        graph_of(source(SMALL), gathered((1,), Part(1, 0, ((Run(1, 2, 7),),)))),
        graph_of(
            source(header_for((3,), -(1 << 61), 1 << 61)),
            Node("topk", RANKS["row"], (0,), RANKS["x"]),
        ),
    ):
        graph.validate()
        lo, hi = graph.inputs[0].header.lo, graph.inputs[0].header.hi
        codes = np.resize([hi, lo, 0, lo], graph.inputs[0].shape)
        exact = interpreter.run(graph, {"x0": codes.tolist()})
        assert np.ravel(Executor(graph).run({"x0": codes})["y"]).tolist() == exact["y"]


def test_an_output_is_a_copy() -> None:
    """Whoever changes a result changes neither the model's constants nor their own input."""
    table = np.array([3, 1, 2], dtype=np.int8)
    constant = Node("constant", header_for((3,), 1, 3), (), {"root": tensor_root(table)})
    graph = graph_of(source(SMALL), constant, constants={1: table})
    graph.validate()
    codes = np.array([1, 2, 3, 4], dtype=np.int8)
    executor = Executor(graph)
    executor.run({"x0": codes})["y"][:] = 0
    assert executor.run({"x0": codes})["y"].tolist() == [3, 1, 2]
    executor = Executor(graph_of(source(SMALL)))
    executor.run({"x0": codes})["y"][:] = 0
    assert codes.tolist() == [1, 2, 3, 4]


# Names and number types that would show a person something else.


def named(*outputs: TensorSpec) -> Graph:
    return Graph((source(SMALL),), {}, (TensorSpec("x", "float32", 0, SMALL, Fraction(1)),), outputs, ("n",))


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        ("int8", Fraction(1, 3)),
        ("bool", Fraction(2)),
        ("U5", Fraction(1)),
        ("object", Fraction(1)),
        ("i4", Fraction(1)),
    ],
)
def test_an_output_type_that_shows_another_number(dtype: str, scale: Fraction) -> None:
    with pytest.raises(ValueError, match="'y' is"):
        named(TensorSpec("y", dtype, 0, SMALL, scale)).validate()


def test_an_input_whose_codes_leave_its_type() -> None:
    header = header_for((4,), -1, 300)
    spec = TensorSpec("x", "uint8", 0, header, Fraction(1))
    graph = Graph((source(header),), {}, (spec,), (TensorSpec("y", "float32", 0, header, Fraction(1)),), ("n",))
    with pytest.raises(ValueError, match="its codes reach -1"):
        graph.validate()


def test_a_whole_number_is_never_wrapped_into_its_type() -> None:
    spec = TensorSpec("y", "int8", 0, header_for((2,), 0, 300), Fraction(1))
    with pytest.raises(OutOfRange, match="300"):
        dequantize(spec, np.array([7, 300]))
    flag = TensorSpec("y", "bool", 0, header_for((2,), 0, 2), Fraction(1))
    with pytest.raises(OutOfRange, match="2"):
        dequantize(flag, np.array([1, 2]))


def test_two_outputs_of_one_name() -> None:
    twice = TensorSpec("y", "float32", 0, SMALL, Fraction(1))
    with pytest.raises(ValueError, match="two outputs share a name"):
        named(twice, twice).validate()


def test_a_root_of_another_length_has_no_encoding() -> None:
    for size in (0, 31, 33):
        with pytest.raises(ValueError, match="32 bytes"):
            encode_fields((("root", "root"),), {"root": bytes(size)})


# Folders


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(api.compile(tiny_mlp(), input_range=(-1, 1)).save(tmp_path_factory.mktemp("models") / "m").folder)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    target = tmp_path / "copy"
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def refused(folder: Path) -> str:
    """What both readers of a graph say to a damaged one."""
    with pytest.raises(UnsupportedModel) as loading:
        Model.load(folder)
    with pytest.raises(UnsupportedModel):
        Model.read_commitment(folder)
    return str(loading.value)


def test_a_key_that_appears_twice(copy: Path) -> None:
    """Whoever reads the first sees another graph than whoever reads the last."""
    text = (copy / "graph.json").read_text()
    (copy / "graph.json").write_text(text.replace('"format"', '"commitment": "0xlie", "format"', 1))
    assert "twice" in refused(copy)
    (copy / "graph.json").write_text(text.replace('"range"', '"range": [0, 1], "range"', 1))
    assert "twice" in refused(copy)


Edit = Callable[[dict[str, Any]], object]
EDITS: dict[str, Edit] = {
    "an unknown field": lambda graph: graph.update(note="an honest model"),
    "an unknown field of a node": lambda graph: graph["nodes"][0].update(note=1),
    "an unknown field of a spec": lambda graph: graph["inputs"][0].update(units="volt"),
    "a number type of 5000 digits": lambda graph: graph["inputs"][0].update(onnx_dtype="9" * 5000 + "f4"),
    "a compound number type": lambda graph: graph["inputs"][0].update(onnx_dtype="i4,(2,)f4"),
    "a decimal": lambda graph: graph["nodes"][0].update(range=[0.0, 1.0]),
    "a constant that is NaN": lambda graph: graph.update(commitment=float("nan")),
    "a list for a name": lambda graph: graph["inputs"][0].update(onnx_dtype=[]),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_graph_file_with_anything_unknown(name: str, copy: Path) -> None:
    graph = json.loads((copy / "graph.json").read_text())
    EDITS[name](graph)
    (copy / "graph.json").write_text(json.dumps(graph))
    refused(copy)


def test_an_unknown_field_of_a_view(copy: Path) -> None:
    graph = json.loads((copy / "graph.json").read_text())
    view = next(v for n in graph["nodes"] for v in n["attributes"].values() if isinstance(v, dict))
    view["note"] = 0
    (copy / "graph.json").write_text(json.dumps(graph))
    assert "offset, strides" in refused(copy)


@pytest.mark.parametrize(("dtype", "size"), [("BF16", 16), ("F8_E4M3", 8), ("U64", 64), ("F32", 32)])
def test_weights_of_a_type_that_numpy_lacks(dtype: str, size: int, copy: Path) -> None:
    header = json.dumps({"0": {"dtype": dtype, "shape": [8], "data_offsets": [0, size]}}).encode()
    (copy / "tensors.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))
    with pytest.raises(UnsupportedModel, match=r"tensors\.safetensors"):
        Model.load(copy)


# Large tensors, which run in kernels: the random graphs of tests/laws are tiny.

BIG = {
    "line": (33_001,),
    "square": (182, 181),
    "last axis of one": (33_000, 1),
    "first axes of one": (1, 1, 32_769),
}


@pytest.mark.parametrize("shape", BIG.values(), ids=BIG)
def test_kernels_agree_with_the_specification_at_the_ends_of_the_ranges(shape: tuple[int, ...]) -> None:
    """Sums just below 2^52, products just below 2^62, a bias along one axis, reversed and repeated views."""
    b, size, ends = Builder(name="big"), math.prod(shape), (1 << 25) - 1
    forward = contiguous(shape)
    backward = View(size - 1, tuple(-s for s in forward.strides))
    column = View(0, (*(0 for _ in shape[:-1]), 1 if shape[-1] > 1 else 0))
    a = b.input(0, (size,), -ends, ends, Fraction(1), "float")
    weights = b.constant(np.array([ends, 7 - ends, ends, 3, -1]))
    line = b.constant(np.arange(-2, shape[-1] - 2) * 1_000_003)
    window, taps = View(forward.offset, (*forward.strides, 0)), tuple(0 for _ in shape)

    def dot(first_tap: int, *bias: int) -> int:
        views = {"a": window, "b": View(first_tap, (*taps, -1)), "bias": column if bias else NONE}
        return b.emit("dot", shape, [a.ref, weights.ref, *bias], contract=(3,), **views)

    def rescale(x: int, view: View, shift: int, multiplier: int) -> int:
        fields = {"x": view, "shift": shift, "multiplier": multiplier, "multipliers": NONE}
        return b.emit("rescale", shape, [x], lo=-(1 << 40), hi=(1 << 39) + 1, **fields)

    spread = b.emit("affine", shape, [a.ref, a.ref], a=forward, b=backward, alpha=-(1 << 35), beta=1 << 35, gamma=-1)
    outs = [
        dot(3, line.ref),
        rescale(dot(4, line.ref), forward, 16, 1 << 9),  # read by nobody else: runs inside the product
        rescale(dot(2), forward, 48, (1 << 10) - 1),
        rescale(a.ref, backward, 32, 1 << 36),
        spread,
        b.emit("isqrt", shape, [spread], x=backward),
        b.emit("divide", shape, [a.ref, line.ref], a=backward, b=column),
    ]
    specs = [TensorSpec(f"y{i}", "float32", ref, b.nodes[ref].header, Fraction(1)) for i, ref in enumerate(outs)]
    graph = b.finish([TensorSpec("x0", "float32", a.ref, b.header(a), Fraction(1))], specs)[0]
    graph.validate()
    assert max(node.header.bound for node in graph.nodes if node.primitive == "dot") > 1 << 50
    codes = random_graphs.random_inputs(graph, 3)
    exact = interpreter.run(graph, {name: values.ravel().tolist() for name, values in codes.items()})
    fast = Executor(graph).run(codes)
    for name, wanted in exact.items():
        assert fast[name].ravel().tolist() == wanted, name
        assert len(set(wanted)) > 9 or name == "y6", "a tensor of one value tests nothing"


# Policies


def verdict(**changes: Any) -> VerifiedClaim:
    claim = Claim(bytes(32), bytes(32), bytes(32), bytes(32))
    fields = {"backend": "ezkl", "scheme": "ezkl/x", "assurance": "cryptographic", "semantics": "s", **changes}
    return VerifiedClaim(claims=(claim,), **{"security_bits": 100, **fields})


UNSAFE = verdict(unsafe_setup=True, setup_id=b"\x01" * 32)


@pytest.mark.parametrize(
    "text",
    [
        "any_of: [{backends: [ezkl], allow_unsafe_setup: true}]",
        "all_of: [{backends: [ezkl], allow_unsafe_setup: true}]",
        "setups: ['0x" + "01" * 32 + "']",
        "{allow_unsafe_setup: true, any_of: [{backends: [ezkl]}]}",
        "{allow_unsafe_setup: true, all_of: [{backends: [ezkl], allow_unsafe_setup: true}, {backends: [ezkl]}]}",
        "{allow_unsafe_setup: true, any_of: [{backends: [tee], allow_unsafe_setup: true}, {backends: [ezkl]}]}",
        "allow_unsafe_setup: true",
    ],
)
def test_no_branch_lets_an_unsafe_set_up_through_alone(text: str) -> None:
    """Every level must allow it, on the branch that accepts; and allowing it requires nothing by itself."""
    with pytest.raises(PolicyRejected):
        Policy.from_yaml(text).check(UNSAFE)


def test_one_proof_cannot_borrow_what_another_has() -> None:
    """A safe proof of few bits and an unsafe one of many bits do not add up."""
    weak = verdict(security_bits=64)
    with pytest.raises(PolicyRejected):
        Policy(min_security_bits=96).check(weak, UNSAFE)
    with pytest.raises(PolicyRejected):
        Policy(all_of=(Policy(min_security_bits=96), Policy(backends=frozenset({"ezkl"})))).check(weak, UNSAFE)
