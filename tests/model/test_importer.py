"""Files that somebody else made: what is read, what is refused, and what simplification leaves alone."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_models import edge, mlp, model, weight

from vml.errors import UnsupportedModel, UnsupportedOperator, VmlError
from vml.model.calibration import FloatModel
from vml.model.importer import MAX_MODEL_BYTES, import_model

CIRCUITS = sorted((Path(__file__).parents[2] / "circuits").glob("*/model.onnx"))
# Folding and fusing reorder float sums; an output may move by this share of the largest one, and not more.
MOVED = 1e-5


def data(proto: onnx.ModelProto) -> bytes:
    return bytes(proto.SerializeToString())


def test_a_model_from_path_and_from_bytes_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(data(mlp()))
    by_path, by_bytes = import_model(tmp_path / "m.onnx"), import_model(data(mlp()))
    assert by_path.proto == by_bytes.proto
    assert [(e.name, e.shape, e.dtype) for e in by_path.inputs] == [("x", (1, 4), "float32")]
    assert [(e.name, e.shape, e.dtype) for e in by_path.outputs] == [("y", (1, 3), "float32")]
    assert list(by_path.files) == ["m.onnx"]
    assert list(by_bytes.files) == [""]


# Not ONNX.


@pytest.mark.parametrize("junk", [b"", b"\x00" * 64, b"not a model\n", b"PK\x03\x04" + bytes(100), b"\x08\x08"])
def test_what_is_not_onnx_is_refused(junk: bytes) -> None:
    with pytest.raises(UnsupportedModel, match="not an ONNX model"):
        import_model(junk)


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    whole = data(mlp())
    for length in [*range(0, len(whole), 7), len(whole) - 1]:
        with pytest.raises(UnsupportedModel):
            import_model(whole[:length])


@given(noise=st.binary(max_size=400))
@settings(max_examples=60)
def test_noise_raises_documented_errors_only(noise: bytes) -> None:
    with pytest.raises(VmlError):
        import_model(noise)


@given(place=st.integers(min_value=0), value=st.integers(0, 255))
@settings(max_examples=80)
def test_a_flipped_byte_is_read_or_refused(place: int, value: int) -> None:
    changed = bytearray(data(mlp()))
    changed[place % len(changed)] = value
    with suppress(VmlError):
        import_model(bytes(changed))


@pytest.mark.parametrize("text", [b"first", b"x", b"w1", b"y"])
def test_names_that_are_no_text_are_refused(text: bytes) -> None:
    with pytest.raises(UnsupportedModel):
        import_model(data(mlp()).replace(text, b"\xff" * len(text)))


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        import_model(tmp_path / "absent.onnx")
    with pytest.raises(IsADirectoryError, match="folder"):
        import_model(tmp_path)


def test_too_large_a_file_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_MODEL_BYTES == 2**31 - 1
    monkeypatch.setattr("vml.model.importer.MAX_MODEL_BYTES", 100)
    with pytest.raises(UnsupportedModel, match="larger than"):
        import_model(data(mlp()))


def test_an_invalid_graph_is_refused() -> None:
    proto = mlp()
    proto.graph.node[0].input[0] = "nowhere"
    with pytest.raises(UnsupportedModel, match="not a valid ONNX model"):
        import_model(data(proto))


def test_contradicting_shapes_are_refused() -> None:
    proto = mlp()
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 7
    with pytest.raises(UnsupportedModel, match="do not fit together"):
        import_model(data(proto))


def test_an_old_opset_is_refused_with_advice() -> None:
    proto = mlp()
    proto.opset_import[0].version = 6
    with pytest.raises(UnsupportedModel, match="opset 6 is not between"):
        import_model(data(proto))


def test_tensors_that_are_not_numbers_are_refused() -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    proto = model([node], [edge("x", [1], TensorProto.STRING)], [edge("y", [1], TensorProto.STRING)])
    with pytest.raises(UnsupportedModel, match="only numbers"):
        import_model(data(proto))


def test_sequences_and_sparse_weights_are_refused() -> None:
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [1, 4]))
    node = helper.make_node("Identity", ["x"], ["y"])
    edges = [helper.make_value_info("x", kind)], [helper.make_value_info("y", kind)]
    with pytest.raises(UnsupportedModel, match="'x' is not a tensor"):
        import_model(data(model([node], *edges)))
    proto = mlp()
    proto.graph.sparse_initializer.add()
    with pytest.raises(UnsupportedModel, match="sparse"):
        import_model(data(proto))


# Operators.


def test_every_unknown_operator_is_listed() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="fine"),
        helper.make_node("Magic", ["a"], ["b"], name="one", domain="somebody.else"),
        helper.make_node("Cumulate", ["b"], ["c"], name="two"),
        helper.make_node("NonZero", ["c"], ["y"], name="three"),
    ]
    proto = model(nodes, [edge("x", [1, 4])], [edge("y", [1, 4])], domains=["somebody.else"])
    with pytest.raises(UnsupportedOperator) as caught:
        import_model(data(proto))
    problems = [(p.node, p.op, p.opset) for p in caught.value.problems]
    assert problems == [("one", "Magic", 17), ("two", "Cumulate", 17), ("three", "NonZero", 17)]
    assert "somebody.else" in caught.value.problems[0].hint


def test_random_operators_are_refused_even_without_inputs() -> None:
    nodes = [
        helper.make_node("RandomNormal", [], ["noise"], name="noise", shape=[1, 4]),
        helper.make_node("Add", ["x", "noise"], ["y"]),
    ]
    with pytest.raises(UnsupportedOperator, match="random"):
        import_model(data(model(nodes, [edge("x", [1, 4])], [edge("y", [1, 4])])))


def test_control_flow_is_refused() -> None:
    def branch(name: str, op: str) -> onnx.GraphProto:
        return helper.make_graph([helper.make_node(op, ["x"], [name])], name, [], [edge(name, [1, 4])])

    node = helper.make_node(
        "If", ["c"], ["y"], name="fork", then_branch=branch("t", "Relu"), else_branch=branch("e", "Neg")
    )
    inputs = [edge("c", [], TensorProto.BOOL), edge("x", [1, 4])]
    with pytest.raises(UnsupportedOperator, match="control flow"):
        import_model(data(model([node], inputs, [edge("y", [1, 4])])))


def test_functions_of_the_model_are_inlined() -> None:
    body = [helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Neg", ["b"], ["c"])]
    function = helper.make_function("mine", "Twist", ["a"], ["c"], body, [helper.make_opsetid("", 17)])
    node = helper.make_node("Twist", ["x"], ["y"], domain="mine")
    proto = model([node], [edge("x", [1, 4])], [edge("y", [1, 4])], domains=["mine"])
    proto.functions.append(function)
    imported = import_model(data(proto))
    assert [n.op_type for n in imported.proto.graph.node] == ["Relu", "Neg"]
    assert "inlined" in " ".join(imported.notes)


# Shapes.


def test_a_dynamic_batch_becomes_one() -> None:
    imported = import_model(data(mlp(batch="N")))
    assert imported.inputs[0].shape == (1, 4)
    assert imported.outputs[0].shape == (1, 3)
    assert any("fixed to 1" in note for note in imported.notes)


def picture(shape: list[Any]) -> bytes:
    nodes = [helper.make_node("Relu", ["image"], ["y"])]
    return data(model(nodes, [edge("image", shape)], [edge("y", shape)]))


def test_other_dynamic_axes_must_be_stated() -> None:
    with pytest.raises(UnsupportedModel) as caught:
        import_model(picture(["N", 3, "height", None]))
    message = str(caught.value)
    assert "axis 2 (height)" in message
    assert "axis 3 (?)" in message
    assert "--shape image=1,3,N,N" in message
    assert import_model(picture(["N", 3, "height", None]), shapes={"image": [1, 3, 8, 6]}).inputs[0].shape == (
        1,
        3,
        8,
        6,
    )
    assert import_model(picture([1, 3, "s", "s"]), shapes={"image": [1, 3, 8, 8]}).outputs[0].shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"picture": [1, 3, 8, 8]}, "no such input"),
        ({"image": [1, 3, 8]}, "3 axes"),
        ({"image": [1, 4, 8, 8]}, "contradicts"),
        ({"image": [1, 3, 8, 9]}, "contradicts"),
        ({"image": [1, 3, 0, 0]}, "at least 1"),
    ],
)
def test_shapes_that_do_not_fit_are_the_callers_mistake(shape: dict[str, list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        import_model(picture(["N", 3, "s", "s"]), shapes=shape)


def test_an_input_without_any_shape() -> None:
    proto = onnx.ModelProto()
    proto.ParseFromString(picture([1, 3]))
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(UnsupportedModel, match="has no shape"):
        import_model(data(proto))
    assert import_model(data(proto), shapes={"image": [1, 3]}).outputs[0].shape == (1, 3)


# Weights.


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(bad: float) -> None:
    array = np.ones((4, 3), np.float32)
    array[2, 1] = bad
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    with pytest.raises(UnsupportedModel, match=r"weight 'w'\[2, 1\]"):
        import_model(data(model([node], [edge("x", [1, 4])], [edge("y", [1, 3])], [weight("w", array)])))


def test_nan_in_a_constant_node_is_refused() -> None:
    array = weight("", np.float32([1, np.nan]))
    nodes = [helper.make_node("Constant", [], ["c"], value=array), helper.make_node("Add", ["x", "c"], ["y"])]
    with pytest.raises(UnsupportedModel, match=r"\[1\] is nan"):
        import_model(data(model(nodes, [edge("x", [1, 2])], [edge("y", [1, 2])])))


def test_widening_must_not_outgrow_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    small = data(mlp(dtype=np.float16))
    monkeypatch.setattr("vml.model.importer.MAX_MODEL_BYTES", len(small) + 10)
    with pytest.raises(UnsupportedModel, match="with float32 weights"):
        import_model(small)


def test_an_infinite_bound_is_no_weight() -> None:
    node = helper.make_node("Clip", ["x", "lo", "hi"], ["y"])
    bounds = [weight("lo", np.float32(0)), weight("hi", np.float32(np.inf))]
    assert import_model(data(model([node], [edge("x", [1, 4])], [edge("y", [1, 4])], bounds))).inputs


def test_weights_whose_bytes_do_not_fit_are_refused() -> None:
    proto = mlp()
    proto.graph.initializer[0].raw_data = proto.graph.initializer[0].raw_data[:-3]
    with pytest.raises(UnsupportedModel):
        import_model(data(proto))


def test_an_input_with_an_initializer_is_a_constant() -> None:
    proto = mlp()
    proto.ir_version = 3
    proto.graph.input.extend(edge(t.name, list(t.dims)) for t in proto.graph.initializer)
    assert [e.name for e in import_model(data(proto)).inputs] == ["x"]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_float_types_become_float32(dtype: Any) -> None:
    imported = import_model(data(mlp(dtype=dtype)))
    assert {e.dtype for e in (*imported.inputs, *imported.outputs)} == {"float32"}
    assert {t.data_type for t in imported.proto.graph.initializer} == {TensorProto.FLOAT}
    assert "became float32" in " ".join(imported.notes)
    x = np.linspace(-1, 1, 4, dtype=np.float32).reshape(1, 4)
    single = FloatModel(imported.proto).run({"x": x})["y"]
    same = FloatModel(import_model(data(mlp())).proto).run({"x": x})["y"]
    assert np.abs(single - same).max() < 1e-2


def test_casts_between_float_types_become_casts_to_float32() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["d"], to=TensorProto.DOUBLE),
        helper.make_node("Mul", ["d", "d"], ["s"]),
        helper.make_node("Cast", ["s"], ["y"], to=TensorProto.FLOAT16),
    ]
    proto = model(nodes, [edge("x", [1, 4])], [edge("y", [1, 4], TensorProto.FLOAT16)])
    assert import_model(data(proto)).outputs[0].dtype == "float32"


def test_a_float64_weight_beyond_float32_is_refused() -> None:
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    edges = [edge("x", [2], TensorProto.DOUBLE)], [edge("y", [2], TensorProto.DOUBLE)]
    with pytest.raises(UnsupportedModel, match="beyond float32"):
        import_model(data(model([node], *edges, [weight("w", np.array([1.0, 1e300]))])))


def test_training_leftovers_and_texts_are_dropped() -> None:
    proto = mlp()
    proto.doc_string = proto.graph.doc_string = proto.graph.node[0].doc_string = "/home/somebody/train.py"
    proto.metadata_props.add(key="where", value="/home/somebody")
    proto.training_info.add()
    imported = import_model(data(proto))
    assert b"somebody" not in data(imported.proto)
    assert "training information was dropped" in imported.notes


# Simplification.


@pytest.mark.parametrize("path", CIRCUITS, ids=lambda path: path.parent.name)
def test_simplification_moves_no_output_of_a_shipped_model(path: Path) -> None:
    imported = import_model(path)
    original = FloatModel(onnx.load(path))
    simplified = FloatModel(imported.proto)
    with np.load(path.parent / "calibration.npz") as rows:
        for k in range(8):
            row = {name: rows[name][k : k + 1] for name in rows.files}
            before, after = original.run(row), simplified.run(row)
            assert list(before) == list(after)
            for name, values in before.items():
                assert np.abs(values - after[name]).max() <= MOVED * np.abs(values).max()


def test_simplification_moves_no_output_of_a_model_nobody_here_made() -> None:
    import magika

    (path,) = Path(magika.__file__).parent.glob("models/*/model.onnx")
    imported = import_model(path)
    assert len(imported.proto.graph.node) < len(imported.plain.graph.node)
    original, simplified = FloatModel(onnx.load(path)), FloatModel(imported.proto)
    rng = np.random.default_rng(0)
    for high in (2, 128, 257):
        row = {"bytes": rng.integers(0, high, (1, 2048)).astype(np.int32)}
        before, after = original.run(row)["target_label"], simplified.run(row)["target_label"]
        assert np.abs(before - after).max() <= MOVED


def redundant() -> onnx.ModelProto:
    """Constant arithmetic on shapes, identities, dropout, a foldable batch normalisation."""
    rng = np.random.default_rng(5)
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"]),
        helper.make_node("Dropout", ["n"], ["d"]),
        helper.make_node("Identity", ["d"], ["i"]),
        helper.make_node("Shape", ["i"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["batch"]),
        helper.make_node("Concat", ["batch", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["i", "target"], ["y"]),
    ]
    weights = [
        weight("k", rng.normal(size=(2, 1, 3, 3)).astype(np.float32)),
        *(weight(n, rng.uniform(0.5, 2, 2).astype(np.float32)) for n in "gbmv"),
        weight("zero", np.array([0])),
        weight("rest", np.array([-1])),
    ]
    return model(nodes, [edge("x", ["N", 1, 4, 4])], [edge("y", ["N", 32])], weights)


def test_simplification_folds_and_moves_no_output() -> None:
    imported = import_model(data(redundant()))
    plain = import_model(data(redundant()), simplified=False)
    assert len(imported.proto.graph.node) < len(plain.proto.graph.node)
    assert imported.outputs == plain.outputs
    x = np.random.default_rng(0).normal(size=(1, 1, 4, 4)).astype(np.float32)
    before, after = (FloatModel(m.proto).run({"x": x})["y"] for m in (plain, imported))
    assert np.abs(before - after).max() <= MOVED * np.abs(before).max()


def test_a_failing_simplifier_is_recorded_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxslim

    def fail(*_: object) -> None:
        raise RuntimeError("no idea")

    monkeypatch.setattr(onnxslim, "slim", fail)
    imported = import_model(data(mlp()))
    assert "not simplified: onnxslim failed with RuntimeError: no idea" in imported.notes
    assert imported.proto.graph.node[0].op_type == "Gemm"
