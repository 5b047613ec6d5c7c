"""Files of float runs: what onnxruntime would add from elsewhere, or read in another way, or draw, is refused."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vml.backends.tee import session
from vml.backends.tee.onnxfile import OPERATORS, require_whole
from vml.backends.tee.session import CPU, FloatModel, float_specs
from vml.errors import UnsupportedModel
from vml.model.importer import CONTROL_FLOW, RANDOM
from vml.model.lowering import LOWERINGS

X = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
Y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
ONES = {"x": np.ones(4, np.float32)}
ELSEWHERE = np.full(4, 7, np.float32)


def proto_of(nodes: list[Any], weights: list[Any] | None = None, opset: int = 17, **more: Any) -> Any:
    graph = helper.make_graph(nodes, "test", [X], [Y], weights or [])
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(name, 1) for name in more.pop("domains", ()))]
    return helper.make_model(graph, opset_imports=imports, ir_version=9, **more)


def data(proto: Any) -> bytes:
    return bytes(proto.SerializeToString(deterministic=True))


def times(factor: float) -> Any:
    weights = [numpy_helper.from_array(np.full(4, factor, np.float32), "w")]
    return proto_of([helper.make_node("Mul", ["x", "w"], ["y"])], weights)


def elsewhere(name: str, dtype: int = TensorProto.FLOAT) -> Any:
    """A tensor that lies in weights.bin of the working folder."""
    tensor = TensorProto(name=name, data_type=dtype, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "weights.bin"), ("offset", "0")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def sparse(values: Any, indices: Any = None) -> Any:
    places = helper.make_tensor("places", TensorProto.INT64, [4], [0, 1, 2, 3]) if indices is None else indices
    return onnx.SparseTensorProto(dims=[4], values=values, indices=places)


def weight() -> Any:
    return numpy_helper.from_array(ELSEWHERE, "w")


def constant(name: str, value: Any) -> Any:
    return helper.make_node("Constant", [], ["w"], **{name: value})


def multiplied(first: Any) -> Any:
    return proto_of([first, helper.make_node("Mul", ["x", "w"], ["y"])])


def branch(nodes: list[Any]) -> Any:
    inner = helper.make_graph(nodes, "then", [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, [4])])
    other = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "else", [], list(inner.output))
    yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    return proto_of([yes, helper.make_node("If", ["yes"], ["y"], then_branch=inner, else_branch=other)])


def sparse_in_a_branch() -> Any:
    proto = branch([helper.make_node("Mul", ["x", "w"], ["z"])])
    (inner,) = (a.g for a in proto.graph.node[1].attribute if a.name == "then_branch")
    inner.sparse_initializer.append(sparse(elsewhere("w")))
    return proto


def function(own: Any = None, default: Any = None) -> Any:
    """Calls a function of the file's own, whose constant is in it, or the default of an attribute."""
    node = constant("value", own) if own is not None else helper.make_node("Constant", [], ["w"])
    if own is None:
        node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR, ref_attr_name="weights")
    body = [node, helper.make_node("Mul", ["a", "w"], ["b"])]
    held = helper.make_function("own", "F", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    if default is not None:
        held.attribute_proto.add(name="weights", type=onnx.AttributeProto.TENSOR, t=default)
    return proto_of([helper.make_node("F", ["x"], ["y"], domain="own")], domains=["own"], functions=[held])


def unsaid() -> Any:
    """A tensor of this file that names another one all the same."""
    proto = times(1)
    proto.graph.initializer[0].external_data.add(key="location", value="weights.bin")
    return proto


def trained() -> Any:
    proto = times(1)
    proto.training_info.add().initialization.initializer.append(elsewhere("t"))
    return proto


EXTERNAL: dict[str, Callable[[], Any]] = {
    "an initialiser": lambda: proto_of([helper.make_node("Mul", ["x", "w"], ["y"])], [elsewhere("w")]),
    "a constant": lambda: multiplied(constant("value", elsewhere("w"))),
    "a sparse constant": lambda: multiplied(constant("sparse_value", sparse(elsewhere("w")))),
    "the places of a sparse constant": lambda: multiplied(
        constant("sparse_value", sparse(weight(), elsewhere("i", TensorProto.INT64)))
    ),
    "a sparse initialiser of a subgraph": sparse_in_a_branch,
    "a constant of a subgraph": lambda: branch(
        [constant("value", elsewhere("w")), helper.make_node("Mul", ["x", "w"], ["z"])]
    ),
    "a function's constant": lambda: function(own=elsewhere("w")),
    "a function's default": lambda: function(default=elsewhere("w")),
    "training": trained,
    "a name alone": unsaid,
}
READ = tuple(EXTERNAL)[:3] + tuple(EXTERNAL)[4:8]
"""Those that onnxruntime takes from the working folder, the numbers of `ELSEWHERE`."""


@pytest.mark.parametrize("name", EXTERNAL)
def test_other_files_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(ELSEWHERE.tobytes() + bytes(16))
    source = data(EXTERNAL[name]())
    for refuse in (float_specs, FloatModel, require_whole):
        with pytest.raises(UnsupportedModel, match=r"another file|functions|training|sparse"):
            refuse(source)


@pytest.mark.parametrize("name", READ)
def test_the_engine_finds_no_other_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Had the checks missed it: as it comes, onnxruntime reads the file; in our session it does not."""
    import onnxruntime

    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(ELSEWHERE.tobytes())
    source = data(EXTERNAL[name]())
    plain = onnxruntime.SessionOptions()
    plain.log_severity_level = 4
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    (made,) = onnxruntime.InferenceSession(source, plain).run(None, ONES)
    assert made.tolist() == ELSEWHERE.tolist()
    with pytest.raises(UnsupportedModel, match="cannot load"):
        session._session(source, CPU, 1, ())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: multiplied(constant("sparse_value", sparse(weight()))), "sparse"),
        (lambda: function(own=weight()), "functions"),
        (lambda: proto_of([helper.make_node("Neg", ["x"], ["y"])], opset=6), "operator set"),
        (lambda: proto_of([helper.make_node("Neg", ["x"], ["y"])], domains=["ai.onnx"]), "operator set"),
    ],
)
def test_what_no_compiled_file_has(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(UnsupportedModel, match=words):
        FloatModel(data(make()))


def test_options_that_a_file_brings() -> None:
    """onnxruntime can be told by its environment to take them."""
    proto = times(1)
    helper.set_model_props(proto, {"ort_config": '{"session_options":{"graph_optimization_level":99}}'})
    with pytest.raises(UnsupportedModel, match="metadata_props"):
        FloatModel(data(proto))


# Two readings of the same bytes.


def varint(number: int) -> bytes:
    low = b""
    while number > 127:
        low, number = low + bytes([number & 127 | 128]), number >> 7
    return low + bytes([number])


@pytest.fixture(scope="module")
def polyglot(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """ONNX in its one encoding, which multiplies by 1; in onnxruntime's own format the same bytes multiply by 7.

    Its first four bytes are the tags of version and producer, and, as a number, where the other model begins.
    """
    import onnxruntime

    path = tmp_path_factory.mktemp("ort") / "b.ort"
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.optimized_model_filepath = str(path)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    onnxruntime.InferenceSession(data(times(7)), options)
    other = path.read_bytes()
    (root,) = struct.unpack_from("<I", other)
    for version in range(8, 14):
        (place,) = struct.unpack("<I", bytes([0x08, version, 0x12, 4]))
        if (place - root) % 8 == 0:
            break
    head = bytes([0x08, version, 0x12, 4]) + b"ORTM" + b"\x1a"
    size = place - root + len(other) - len(head) - 4
    head += varint(size)
    proto = times(1)
    proto.ClearField("ir_version")
    made = head + bytes(size - len(other) + 8) + other[8:] + data(proto)
    assert len(varint(size)) == 4
    return made


def test_a_file_of_two_formats(polyglot: bytes) -> None:
    proto = onnx.ModelProto()
    proto.ParseFromString(polyglot)
    assert numpy_helper.to_array(proto.graph.initializer[0]).tolist() == [1] * 4
    assert proto.SerializeToString(deterministic=True) == polyglot
    with pytest.raises(UnsupportedModel, match="its own format"):
        FloatModel(polyglot)


def test_the_engine_knows_one_format(polyglot: bytes) -> None:
    """Had the check missed it."""
    import onnxruntime

    (made,) = onnxruntime.InferenceSession(polyglot).run(None, ONES)
    assert made.tolist() == [7] * 4
    ours, _ = session._session(polyglot, CPU, 1, ())
    (made,) = ours.run(None, ONES)
    assert made.tolist() == [1] * 4


def _unknown_inside() -> bytes:
    proto = times(1)
    proto.graph.initializer[0].MergeFromString(b"\xf8\x3f\x01")
    return data(proto)


@pytest.mark.parametrize(
    "source",
    [
        data(times(1)) + b"\x08\x09",
        data(times(1)) + data(times(7)),
        data(times(1))[2:] + data(times(1))[:2],
        data(times(1)) + b"\xf8\x3f\x01",
        b"\x08\x89\x00" + data(times(1))[2:],
        _unknown_inside(),
    ],
    ids=["a field twice", "two models", "another order", "an unknown field", "a longer number", "unknown, inside"],
)
def test_one_encoding(source: bytes) -> None:
    assert onnx.load_from_string(source).graph.node
    with pytest.raises(UnsupportedModel, match="one encoding"):
        FloatModel(source)


# Operators.


def drawn(operator: str) -> Any:
    return [helper.make_node(operator, ["x"], ["r"]), helper.make_node("Add", ["x", "r"], ["y"])]


def dropout(*more: Any) -> Any:
    weights = [helper.make_tensor("ratio", TensorProto.FLOAT, [], [0.5]), *more]
    return proto_of([helper.make_node("Dropout", ["x", "ratio", *(w.name for w in more)], ["y"])], weights)


def flag(*value: bool) -> Any:
    return helper.make_tensor("training", TensorProto.BOOL, [], list(value))


def normalised(statistics: int = 0, opset: int = 17, **more: Any) -> Any:
    weights = [numpy_helper.from_array(np.ones(4, np.float32), name) for name in "sbmv"]
    outputs = ["y", *("mean", "var", "saved", "other")[:statistics]]
    proto = proto_of([helper.make_node("BatchNormalization", ["x", *"sbmv"], outputs, **more)], weights, opset)
    for side in (proto.graph.input, proto.graph.output):
        side[0].type.tensor_type.shape.dim.insert(0, onnx.TensorShapeProto.Dimension(dim_value=1))
    return proto


def spelled(**fields: Any) -> Any:
    return TensorProto(**{"name": "training", "data_type": TensorProto.BOOL, **fields})


def asked_by_an_input() -> Any:
    proto = dropout(flag(True))
    proto.graph.initializer.pop()
    proto.graph.input.append(helper.make_tensor_value_info("training", TensorProto.BOOL, []))
    return proto


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: proto_of(drawn("RandomUniformLike")), "operator RandomUniformLike"),
        (lambda: proto_of(drawn("RandomNormalLike")), "operator RandomNormalLike"),
        (lambda: proto_of(drawn("Bernoulli")), "operator Bernoulli"),
        (lambda: branch([*drawn("RandomUniformLike")[:1], helper.make_node("Neg", ["r"], ["z"])]), "operator If"),
        (
            lambda: proto_of([helper.make_node("BiasGelu", ["x", "x"], ["y"], domain="com.microsoft")], domains=[]),
            "operator com.microsoft:BiasGelu",
        ),
        (lambda: proto_of([helper.make_node("Neg", ["x"], ["y"], domain="other")], domains=["other"]), "other:Neg"),
        (lambda: proto_of([helper.make_node("ScatterND", ["x", "i", "x"], ["y"])]), "operator ScatterND"),
        (lambda: dropout(flag(True)), "Dropout is told to train"),
        (asked_by_an_input, "Dropout is told to train"),
        (lambda: dropout(flag(False), flag(True)), "Dropout is told to train"),
        (lambda: dropout(spelled(raw_data=b"\1", int32_data=[0])), "Dropout is told to train"),
        (lambda: dropout(spelled(raw_data=b"\0", int32_data=[1])), "Dropout is told to train"),
        (lambda: dropout(spelled(raw_data=b"\0", dims=[1])), "Dropout is told to train"),
        (lambda: dropout(spelled(string_data=[b""], data_type=TensorProto.STRING)), "Dropout is told to train"),
        (lambda: normalised(training_mode=1), "BatchNormalization is told to train"),
        (lambda: normalised(2, training_mode=1), "BatchNormalization is told to train"),
        (lambda: normalised(4, 9), "BatchNormalization is told to train"),
    ],
)
def test_what_may_be_another_number_each_time(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(UnsupportedModel, match=words):
        FloatModel(data(make()))


@pytest.mark.parametrize(
    "make",
    [
        dropout,
        lambda: dropout(flag(False)),
        lambda: dropout(spelled(raw_data=b"\0")),
        normalised,
        lambda: times(3),
    ],
)
def test_what_runs(make: Callable[[], Any]) -> None:
    model = FloatModel(data(make()))
    (spec,) = model.program.inputs
    inputs = {"x": np.ones(spec.shape, np.float32)}
    assert np.array_equal(model.evaluate(inputs)["y"], model.evaluate(inputs)["y"])


def test_the_operators() -> None:
    """What compiles can be run; what is listed exists; what draws, branches or trains is not listed."""
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if not schema.domain}
    assert set(LOWERINGS) <= OPERATORS <= known
    assert not OPERATORS & (RANDOM | CONTROL_FLOW)
