"""onnxruntime inside: what is hashed is what was run, and files, inputs and outputs that it refuses."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.backends.tee.float_runs import check, honest, loaded, model_id, sides_of, source
from tests.backends.tee.signed_runs import AT, CONTEXT, INPUTS, NONCE, attesting, decoded
from vml.backends.tee.floats import FloatSpec, Runtime
from vml.backends.tee.inside import run
from vml.backends.tee.session import CPU, CUDA, FloatModel, float_inputs, float_specs, machine
from vml.backends.tee.simulated import simulated_key
from vml.errors import BackendUnavailable, ProvingError, UnsupportedModel
from vml.proof import Proof
from vml.values import value_bytes


def file_of(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: list[Any] | None = None) -> bytes:
    graph = helper.make_graph(nodes, "test", inputs, outputs, weights or [])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(proto.SerializeToString())


def tensor(name: str, shape: list[int] | None = None, dtype: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, dtype, [2] if shape is None else shape)


def one_node(operator: str, **more: Any) -> bytes:
    return file_of([helper.make_node(operator, ["x"], ["y"])], [tensor("x")], [tensor("y", **more)])


def proved(model: FloatModel, inputs: dict[str, Any]) -> Proof:
    key, attestation = simulated_key(model.program.identity, attesting(), NONCE)
    return run(model, key, attestation, inputs, CONTEXT, AT)


def test_the_values_are_those_of_onnxruntime() -> None:
    import onnxruntime

    made = dict(zip(("positive", "rest"), onnxruntime.InferenceSession(source()).run(None, INPUTS), strict=True))
    assert sides_of(honest()) == (
        [value_bytes(INPUTS[name]) for name in ("x", "y")],
        [value_bytes(made[name]) for name in ("positive", "rest")],
    )


def test_the_callers_arrays_are_not_what_is_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host writes over its buffer while the engine runs."""
    inputs = {name: values.copy() for name, values in INPUTS.items()}
    real = FloatModel.evaluate

    def slow(self: FloatModel, taken: Any) -> Any:
        for values in inputs.values():
            values[...] = 1
        return real(self, taken)

    monkeypatch.setattr(FloatModel, "evaluate", slow)
    made = proved(loaded(), inputs)
    assert made == honest()
    assert check(made).final


def test_every_layout_is_the_same_input() -> None:
    turned = {"x": np.asfortranarray(INPUTS["x"]), "y": np.repeat(INPUTS["y"], 2)[::2]}
    assert proved(loaded(), turned).claims == honest().claims


def test_the_description_is_of_this_runtime() -> None:
    import onnxruntime

    found = Runtime.decode(decoded(honest()).description)
    assert (found.version, found.build) == (onnxruntime.__version__, onnxruntime.get_build_info())
    assert found.providers == ((CPU, {}),)
    assert (found.optimization, found.threads, found.deterministic) == ("disabled", (1, 1), True)
    assert found.machine == machine()
    assert FloatModel(source(), threads=2).program.identity != model_id()
    assert FloatModel(source(), devices=("driver 1",)).program.identity != model_id()
    assert FloatModel(source()).program.identity == model_id()


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("flags\t\t: fpu sse2 avx2 fma ssse3 ht avx512_bf16\n", ("avx2", "avx512_bf16", "fma", "sse2")),
        ("processor : 0\nFeatures : fp asimd sve2 aes\nFeatures : sme\n", ("asimd", "sve2")),
        ("nothing\n", ()),
    ],
)
def test_the_machine(text: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert machine(tmp_path / "cpuinfo") == (os.uname().machine, *flags)
    assert machine(tmp_path / "none") == (os.uname().machine,)


def test_nan_is_refused_on_either_side() -> None:
    model = FloatModel(one_node("Sqrt"))
    assert proved(model, {"x": np.array([1, np.inf], np.float32)})
    with pytest.raises(ValueError, match="'x' holds NaN"):
        proved(model, {"x": np.array([1, np.nan], np.float32)})
    with pytest.raises(ProvingError, match="NaN is not a value"):
        proved(model, {"x": np.array([1, -1], np.float32)})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": INPUTS["x"].astype(np.float64)}, "float64"),
        ({"x": INPUTS["x"][0]}, r"\(3,\)"),
        ({"z": INPUTS["y"]}, "has the inputs x, y"),
    ],
)
def test_inputs_that_do_not_fit(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        proved(loaded(), {**INPUTS, **change})
    with pytest.raises(ValueError, match="input"):
        float_inputs(source(), {**INPUTS, **change})


def test_outputs_that_are_not_as_the_file_says() -> None:
    """Shapes in a file are hints to onnxruntime; in a proof they are what was committed to."""
    shape = numpy_helper.from_array(np.array([2, 1]), "shape")
    odd = file_of([helper.make_node("Reshape", ["x", "shape"], ["y"])], [tensor("x")], [tensor("y", [1, 2])], [shape])
    with pytest.raises((ProvingError, UnsupportedModel), match=r"not as the file says|cannot load"):
        proved(FloatModel(odd), {"x": np.zeros(2, np.float32)})


def test_a_run_that_fails() -> None:
    nodes = [helper.make_node("Gather", ["w", "x"], ["y"])]
    weights = [numpy_helper.from_array(np.zeros(3, np.float32), "w")]
    model = FloatModel(file_of(nodes, [tensor("x", dtype=TensorProto.INT64)], [tensor("y")], weights))
    assert proved(model, {"x": np.array([0, 2])})
    with pytest.raises(ProvingError, match="cannot run the model"):
        proved(model, {"x": np.array([0, 3])})


def _external() -> bytes:
    proto = onnx.ModelProto()
    proto.ParseFromString(source())
    weight = proto.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "weights.bin"
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: b"", "not an ONNX model"),
        (lambda: b"no model", "not an ONNX model"),
        (lambda: source()[:-7], "not an ONNX model"),
        (_external, "another file"),
        (lambda: one_node("Swish"), "cannot load"),  # it came with opset 24
        (lambda: file_of([helper.make_node("Neg", ["x"], ["y"])], [tensor("x", ["n"])], [tensor("y", ["n"])]), "fixed"),
        (
            lambda: file_of(
                [helper.make_node("Identity", ["w"], ["y"])],
                [],
                [tensor("y")],
                [numpy_helper.from_array(np.zeros(2, np.float32), "w")],
            ),
            "no input",
        ),
    ],
)
def test_files_that_are_refused(make: Callable[[], bytes], words: str) -> None:
    with pytest.raises(UnsupportedModel, match=words):
        FloatModel(make())


def test_types_that_have_no_code() -> None:
    odd = one_node("Identity", dtype=TensorProto.STRING)
    with pytest.raises(UnsupportedModel, match="only numbers"):
        float_specs(odd)


def test_providers() -> None:
    with pytest.raises(ValueError, match="no execution provider"):
        FloatModel(source(), "TensorrtExecutionProvider")
    with pytest.raises(BackendUnavailable, match="no CUDAExecutionProvider"):
        FloatModel(source(), CUDA)
    with pytest.raises(ValueError, match="one thread"):
        FloatModel(source(), threads=0)


def test_a_session_that_fell_back_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda data, options, providers: real(data, options, providers=[CPU])
    )
    with pytest.raises(BackendUnavailable, match="fell back to CPUExecutionProvider"):
        FloatModel(source(), CUDA)


def test_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert float_specs(source())[0] == (FloatSpec("x", "float32", (1, 3)), FloatSpec("y", "float32", (3,)))
    with pytest.raises(BackendUnavailable, match=r"vml\[compile\]"):
        FloatModel(source())
