"""compile_model: what it needs, what it refuses, what its certificate states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import edge, mlp, model, rows, weight

from vml.errors import BackendUnavailable, OutOfRange, UnsupportedModel, UnsupportedOperator
from vml.model import compile_model
from vml.model.calibration import FloatModel, draw_rows, measure_ranges, outwards
from vml.model.certificate import Certificate
from vml.model.importer import Edge, import_model

CIRCUITS = Path(__file__).parents[2] / "circuits"
# Fixed beforehand: 16-bit activations, as a share of the output's range.
BOUND = 1e-3
SHIPPED = ["breast-cancer-mlp", "digits-mlp", "digits-cnn", "lenet5", "digits-transformer"]


def data(proto: onnx.ModelProto) -> bytes:
    return bytes(proto.SerializeToString())


MLP = data(mlp())


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_compile_within_the_bound(name: str) -> None:
    with np.load(CIRCUITS / name / "calibration.npz") as file:
        compiled = compile_model(CIRCUITS / name / "model.onnx", calibration=dict(file))
    certificate = compiled.certificate
    for difference in certificate.differences:
        for part in (difference.calibration, difference.holdout):
            assert part is not None
            lo, hi = part.reference
            assert part.max_error <= BOUND * (hi - lo)
            assert part.refused == 0
    assert certificate.agreement == 1.0
    assert (certificate.calibration.rows, certificate.holdout and certificate.holdout.rows) == (96, 32)


# Calibration.


def test_neither_data_nor_range() -> None:
    with pytest.raises(ValueError, match=r"--calibrate FILE .* or --input-range LO HI"):
        compile_model(MLP)


def x(shape: tuple[int, ...] = (8, 4), dtype: str = "float32", fill: float = 0.5) -> Any:
    return np.full(shape, fill, dtype)


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ({"z": x()}, "unknown name 'z'"),
        ({}, "'x' is missing"),
        ({"x": x(), "z": x()}, "unknown name 'z'"),
        ({"x": x((8, 5))}, r"has shape \(8, 5\)"),
        ({"x": x((0, 4))}, "shape"),
        ({"x": x((4,))}, "shape"),
        ({"x": np.float32(1)}, "shape"),
        ({"x": x(dtype="float64")}, r"float64, the model takes float32.*astype"),
        ({"x": x(dtype="int64")}, "int64, the model takes float32"),
        ({"x": x(fill=np.nan)}, r"'x'\[0, 0\] is nan"),
        ({"x": x(fill=np.inf)}, "must be finite"),
        ([1, 2], "arrays by input name"),
    ],
)
def test_calibration_that_does_not_fit(calibration: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_model(MLP, calibration=calibration)
    with pytest.raises(ValueError, match=message):
        compile_model(MLP, calibration=rows(), holdout=calibration)


@pytest.mark.parametrize(("lowest", "expected"), [(0, (0, 49)), (-3, (-50, 49))])
def test_an_index_reaches_as_far_as_its_embedding(lowest: int, expected: tuple[int, int]) -> None:
    rng = np.random.default_rng(4)
    nodes = [
        helper.make_node("Cast", ["ids"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "wide"], ["e"]),
        helper.make_node("ReduceMean", ["e"], ["y"], axes=[1], keepdims=0),
    ]
    table = [weight("table", rng.normal(size=(50, 8)).astype(np.float32))]
    proto = model(nodes, [edge("ids", [1, 6], TensorProto.INT32)], [edge("y", [1, 8])], table)
    ids = rng.integers(lowest, 20, (12, 6)).astype(np.int32)
    compiled = compile_model(data(proto), calibration={"ids": ids})
    assert (compiled.inputs[0].header.lo, compiled.inputs[0].header.hi) == expected
    assert compiled.certificate.max_error < BOUND
    with pytest.raises(OutOfRange):
        compiled.quantize({"ids": np.full((1, 6), 50, np.int32)})


def test_a_model_without_inputs_has_one_empty_row() -> None:
    node = helper.make_node("Neg", ["w"], ["y"])
    proto = model([node], [], [edge("y", [3])], [weight("w", np.float32([1, 2, 3]))])
    compiled = compile_model(data(proto), calibration={})
    assert compiled.dequantize(compiled.run({}))["y"].tolist() == [-1, -2, -3]
    assert compiled.certificate.differences[0].calibration.rows == 1


def test_rows_may_have_their_own_axis_or_take_the_batch_axis() -> None:
    flat, nested = rows()["x"], rows()["x"][:, None]
    assert (
        compile_model(MLP, calibration={"x": flat}).commitment
        == compile_model(MLP, calibration={"x": nested}).commitment
    )


def test_two_inputs_need_as_many_rows() -> None:
    proto = model(
        [helper.make_node("Add", ["a", "b"], ["y"])], [edge("a", [1, 2]), edge("b", [1, 2])], [edge("y", [1, 2])]
    )
    with pytest.raises(ValueError, match="as many rows"):
        compile_model(data(proto), calibration={"a": x((3, 2)), "b": x((4, 2))})


@pytest.mark.parametrize("ends", [(1.0, 1.0), (2.0, -2.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_ranges_that_are_none(ends: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="two finite numbers LO < HI"):
        compile_model(MLP, input_range=ends)


def test_a_range_for_an_unknown_input() -> None:
    with pytest.raises(ValueError, match="a range is given for 'z'"):
        compile_model(MLP, input_range={"z": (0, 1)})


def test_a_declared_range_draws_its_own_rows_and_binds_the_input() -> None:
    compiled = compile_model(MLP, input_range=(-1, 2))
    certificate = compiled.certificate
    assert (certificate.calibration.origin, certificate.calibration.rows) == ("range", 64)
    assert certificate.holdout is not None
    assert (certificate.holdout.origin, certificate.holdout.rows) == ("drawn", 16)
    assert certificate.options.seed == 0
    assert certificate.inputs[0].units == (-1.0, 2.0)
    assert compiled.commitment == compile_model(MLP, input_range=(-1, 2)).commitment
    assert compiled.quantize({"x": x((1, 4), fill=2.0)})
    with pytest.raises(OutOfRange):
        compiled.quantize({"x": x((1, 4), fill=2.001)})


def test_calibration_rows_outside_the_declared_range_are_refused() -> None:
    with pytest.raises(OutOfRange, match=r"outside 0\.\.0\.1"):
        compile_model(MLP, calibration=rows(), input_range=(0, 0.1))
    assert compile_model(MLP, calibration=rows(), input_range=(0, 0.1), saturate_inputs=True)


def test_drawn_rows_hold_the_corners_and_stay_inside() -> None:
    edges = [Edge("f", (2, 3), "float32"), Edge("i", (4,), "int8"), Edge("b", (2,), "bool")]
    drawn = draw_rows(edges, {"f": (-0.1, 0.3), "i": (-5.5, 7.0)}, 32, seed=3)
    assert drawn["f"].shape == (32, 2, 3)
    assert (drawn["f"][0] == np.float32(-0.1)).all()
    assert (drawn["f"][1] == np.float32(0.3)).all()
    assert (drawn["f"][2] == 0).all()
    assert drawn["i"].dtype == np.int8
    assert (drawn["i"].min(), drawn["i"].max()) == (-5, 7)
    assert drawn["b"].dtype == bool
    again = draw_rows(edges, {"f": (-0.1, 0.3), "i": (-5.5, 7.0)}, 32, seed=3)
    assert all(np.array_equal(drawn[name], again[name]) for name in drawn)


def test_held_out_rows_are_the_last_quarter_or_the_given_ones() -> None:
    split = compile_model(MLP, calibration=rows(16)).certificate
    assert split.holdout is not None
    assert (split.calibration.rows, split.holdout.rows, split.holdout.origin) == (12, 4, "split")
    given = compile_model(MLP, calibration=rows(16), holdout=rows(3, seed=9)).certificate
    assert given.holdout is not None
    assert (given.calibration.rows, given.holdout.rows, given.holdout.origin) == (16, 3, "given")
    alone = compile_model(MLP, calibration=rows(1)).certificate
    assert (alone.calibration.rows, alone.holdout, alone.differences[0].holdout) == (1, None, None)


def test_held_out_rows_outside_the_range_are_counted() -> None:
    far = {"x": np.concatenate([rows(3)["x"], x((2, 4), fill=50)])}
    certificate = compile_model(MLP, calibration=rows(), holdout=far).certificate
    held_out = certificate.differences[0].holdout
    assert held_out is not None
    assert (held_out.rows, held_out.refused) == (3, 2)


def test_measured_ranges_are_those_of_every_float_tensor() -> None:
    imported = import_model(MLP)
    measured = measure_ranges(FloatModel(imported.proto, exposed=True), {"x": rows()["x"][:, None]})
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in imported.proto.graph.initializer}
    hidden = rows()["x"] @ weights["w1"] + weights["b1"]
    assert set(measured) == {"h", "r", "y"}
    lo, hi = measured["h"]
    assert lo <= hidden.min() <= lo * (1 - 2**-6) + 1e-6
    assert hi * (1 - 2**-6) - 1e-6 <= hidden.max() <= hi
    assert measured["r"][0] == 0


@pytest.mark.parametrize(
    ("end", "rounded"), [(0.0, 0.0), (1.0, 1.0), (1.0001, 1.015625), (-1.0001, -1.0), (100.1, 101.0)]
)
def test_rounding_outwards(end: float, rounded: float) -> None:
    assert outwards(end) == rounded


def test_nan_inside_the_float_model_is_refused() -> None:
    nodes = [helper.make_node("Sqrt", ["x"], ["y"])]
    proto = model(nodes, [edge("x", [1, 4])], [edge("y", [1, 4])])
    with pytest.raises(UnsupportedModel, match="'y' of the float model is NaN"):
        compile_model(data(proto), calibration=rows())


# Dynamic shapes, operators and weights reach the caller as the importer's errors.


def test_importer_errors_come_through() -> None:
    with pytest.raises(UnsupportedModel, match="not an ONNX model"):
        compile_model(b"noise", input_range=(0, 1))
    node = helper.make_node("Det", ["x"], ["y"])
    with pytest.raises(UnsupportedOperator):
        compile_model(data(model([node], [edge("x", [1, 4])], [edge("y", [1, 4])])), input_range=(0, 1))
    wide = model([helper.make_node("Relu", ["x"], ["y"])], [edge("x", ["N", "M"])], [edge("y", ["N", "M"])])
    with pytest.raises(UnsupportedModel, match="--shape"):
        compile_model(data(wide), input_range=(0, 1))
    assert compile_model(data(wide), input_range=(0, 1), shapes={"x": [1, 6]}).inputs[0].shape == (1, 6)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import vml.model.extras

    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(vml.model.extras, "import_module", absent)
    with pytest.raises(BackendUnavailable, match=r"vml\[compile\]"):
        compile_model(MLP, input_range=(0, 1))


# Gates and options.


def test_a_missed_error_gate_names_the_worst_layers() -> None:
    assert compile_model(MLP, calibration=rows(), max_error=0.1)
    with pytest.raises(UnsupportedModel) as caught:
        compile_model(MLP, calibration=rows(), max_error=1e-9)
    message = str(caught.value)
    assert "differs from onnxruntime by" in message
    assert "layers with the largest relative error" in message
    assert "Gemm 'second'" in message


def test_the_agreement_gate() -> None:
    assert compile_model(MLP, calibration=rows(), min_agreement=0.9)
    near = mlp()
    # Two equal scores: the float model's sums decide by their last bits, the integers tie.
    for name in ("w2", "b2"):
        tensor = next(t for t in near.graph.initializer if t.name == name)
        array = onnx.numpy_helper.to_array(tensor).copy()
        array[..., :] = array[..., :1] + np.array([0, 1e-7, 2e-7], np.float32)
        tensor.CopyFrom(weight(name, array))
    with pytest.raises(UnsupportedModel, match="of the decisions agree"):
        compile_model(data(near), calibration=rows(), min_agreement=0.9)
    single = model([helper.make_node("ReduceSum", ["x"], ["y"])], [edge("x", [1, 4])], [edge("y", [1, 1])])
    with pytest.raises(ValueError, match="no output has a decision"):
        compile_model(data(single), calibration=rows(), min_agreement=0.5)


@pytest.mark.parametrize(
    "options",
    [
        {"max_error": 0.0},
        {"max_error": float("nan")},
        {"min_agreement": 1.5},
        {"bits": 12},
        {"weight_bits": 32},
        {"headroom": 0.5},
    ],
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        compile_model(MLP, calibration=rows(), **options)


def test_scores_may_have_trailing_axes_of_one() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Reshape", ["r", "shape"], ["y"]),
    ]
    proto = model(nodes, [edge("x", [1, 4])], [edge("y", [1, 4, 1, 1])], [weight("shape", np.array([1, 4, 1, 1]))])
    assert compile_model(data(proto), calibration=rows()).certificate.agreement == 1.0


def test_saturating_inputs_are_another_model() -> None:
    strict = compile_model(MLP, calibration=rows())
    loose = compile_model(MLP, calibration=rows(), saturate_inputs=True)
    assert strict.commitment != loose.commitment
    assert loose.certificate.options.saturate_inputs
    assert loose.quantize({"x": x((1, 4), fill=99)})["x"].max() == loose.inputs[0].header.hi


def test_eight_bits_are_coarser() -> None:
    fine, coarse = (compile_model(MLP, calibration=rows(), bits=n, weight_bits=n) for n in (16, 8))
    assert fine.certificate.max_error < coarse.certificate.max_error < 0.5
    assert coarse.inputs[0].header.dtype == "int8"


def test_compiling_twice_gives_one_commitment_and_progress_is_told() -> None:
    told: list[tuple[str, float]] = []
    first = compile_model(MLP, calibration=rows(), progress=lambda stage, share: told.append((stage, share)))
    second = compile_model(MLP, calibration=rows())
    assert first.commitment == second.commitment
    assert first.certificate == second.certificate
    assert list(dict.fromkeys(stage for stage, _ in told)) == [
        "import",
        "calibrate",
        "lower",
        "measure on calibration rows",
        "measure on held-out rows",
        "measure layers",
    ]
    assert all(0 <= share <= 1 for _, share in told)


def test_a_quantised_model_keeps_its_integers_and_its_answers() -> None:
    """Large 8-bit factors, which optimised onnxruntime sums in 16 bits on some processors, and we never do."""
    rng = np.random.default_rng(2)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["qx"]),
        helper.make_node("DequantizeLinear", ["qx", "sx", "zx"], ["dx"]),
        helper.make_node("DequantizeLinear", ["qw", "sw"], ["dw"]),
        helper.make_node("MatMul", ["dx", "dw"], ["h"]),
        helper.make_node("QuantizeLinear", ["h", "sh", "zx"], ["qh"]),
        helper.make_node("DequantizeLinear", ["qh", "sh", "zx"], ["y"]),
    ]
    weights = [
        weight("sx", np.float32(1 / 128)),
        weight("zx", np.uint8(128)),
        weight("qw", rng.choice(np.array([-127, 126, 127], np.int8), (8, 3))),
        weight("sw", np.float32(1 / 64)),
        weight("sh", np.float32(1 / 8)),
    ]
    proto = model(nodes, [edge("x", [1, 8])], [edge("y", [1, 3])], weights)
    inputs = rng.choice(np.float32([-1, -0.984375, 0.984375, 0.9921875]), (32, 8))
    certificate = compile_model(data(proto), calibration={"x": inputs}).certificate
    assert certificate.max_error == 0
    assert certificate.agreement == 1.0


# The certificate.


def test_what_the_certificate_states() -> None:
    compiled = compile_model(MLP, calibration=rows())
    certificate = compiled.certificate
    assert certificate.model == f"0x{compiled.commitment.hex()}"
    assert certificate.semantics == "vml-int/1"
    assert [layer.tensor for layer in certificate.layers] == ["h", "r", "y"]
    assert all(layer.relative < BOUND for layer in certificate.layers)
    assert certificate.accumulator is not None
    assert 0 < certificate.accumulator.bound < 1 << 52
    assert set(certificate.versions) >= {"vml", "onnx", "onnxruntime", "onnxslim", "numpy", "python"}
    assert Certificate.model_validate_json(certificate.model_dump_json()) == certificate


def test_the_boundary_says_what_stays_outside() -> None:
    bare = compile_model(MLP, calibration=rows()).certificate.boundary
    assert (bare.first, bare.last) == ({"x": ("Gemm",)}, {"y": "Gemm"})
    assert len(bare.warnings) == 2
    whole = mlp()
    whole.graph.node.insert(0, helper.make_node("Sub", ["x", "mean"], ["c"]))
    whole.graph.node[1].input[0] = "c"
    whole.graph.node.append(helper.make_node("ArgMax", ["y"], ["label"], axis=1))
    whole.graph.initializer.append(weight("mean", np.float32([1, 2, 3, 4])))
    whole.graph.output.append(edge("label", [1, 1], TensorProto.INT64))
    boundary = compile_model(data(whole), calibration=rows()).certificate.boundary
    assert (boundary.first, boundary.last["label"]) == ({"x": ("Sub",)}, "ArgMax")
    assert boundary.warnings == ()


def test_saturation_is_counted_exactly() -> None:
    """Rows beyond what the scales were calibrated for: a hidden layer clamps, and the table says how often."""
    from vml.model.executor import Executor
    from vml.model.measure import clamped_elements

    calm = compile_model(MLP, calibration={"x": rows()["x"] / 16}, input_range=(-1, 1))
    assert calm.certificate.saturation == ()
    executor, clamped = Executor(calm.graph), 0
    for row in rows()["x"]:
        values = executor.run_all(calm.quantize({"x": row[None]}))
        for index, node in enumerate(calm.graph.nodes):
            if node.primitive != "rescale":
                continue
            low, high = node.attributes["lo"], node.attributes["hi"]
            at_ends = np.count_nonzero(values[index] == high) + (np.count_nonzero(values[index] == low) if low else 0)
            assert clamped_elements(calm.graph, index, values) == at_ends
            clamped += at_ends
    assert clamped > 0


def test_a_simplifier_that_moves_outputs_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxslim

    def broken(proto: onnx.ModelProto) -> onnx.ModelProto:
        tensor = next(t for t in proto.graph.initializer if t.name == "b2")
        tensor.CopyFrom(weight("b2", onnx.numpy_helper.to_array(tensor) + np.float32(0.1)))
        return proto

    monkeypatch.setattr(onnxslim, "slim", broken)
    with pytest.raises(UnsupportedModel, match=r"moved an output by 0\.1"):
        compile_model(MLP, calibration=rows())
    assert compile_model(MLP, calibration=rows(), simplify=False).certificate.source.simplification_difference == 0
