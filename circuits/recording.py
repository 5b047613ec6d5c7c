"""What every `build.py` shares: the data sets, the ONNX graph of an MLP and how a folder is written."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split

OPSET = 17
IR_VERSION = 8
HOLDOUT_FRACTION = 0.2
SPLIT_SEED = 0
CALIBRATION_ROWS = 128
FILES = ("model.onnx", "calibration.npz", "holdout.npz", "sample.npz")

Array = NDArray[Any]


class Rows:
    """A data set cut into training and held-out rows, always at the same place."""

    def __init__(self, inputs: Array, labels: Array) -> None:
        """Cut 20 % off, stratified by label.

        Args:
            inputs: float32, rows on axis 0.
            labels: int64, one class a row.
        """
        self.train_x, self.holdout_x, self.train_y, self.holdout_y = train_test_split(
            inputs.astype(np.float32),
            labels.astype(np.int64),
            test_size=HOLDOUT_FRACTION,
            random_state=SPLIT_SEED,
            stratify=labels,
        )


def digits() -> Rows:
    """scikit-learn's handwritten digits: 1,797 images of 8 x 8 pixels, 0 to 16 each, flattened to 64."""
    data = load_digits()
    return Rows(data.data, data.target)


def breast_cancer() -> Rows:
    """scikit-learn's Wisconsin breast cancer set: 569 rows of 30 measurements in their own units."""
    data = load_breast_cancer()
    return Rows(data.data, data.target)


def upscale(images: Array, side: int) -> Array:
    """Enlarge square images bilinearly, corners on corners.

    Args:
        images: float, shape (rows, n, n).
        side: pixels of the result's side.

    Returns:
        float64, shape (rows, side, side).
    """
    size = images.shape[-1]
    at = np.linspace(0, size - 1, side)
    low = np.minimum(np.floor(at).astype(int), size - 2)
    weight = np.zeros((side, size))
    weight[np.arange(side), low] = 1 - (at - low)
    weight[np.arange(side), low + 1] = at - low
    return np.einsum("ij,rjk,lk->ril", weight, images.astype(np.float64), weight)


def mlp_onnx(
    name: str,
    input_name: str,
    before: Sequence[tuple[str, Array]],
    layers: Sequence[tuple[Array, Array]],
    *,
    decide: bool = False,
) -> onnx.ModelProto:
    """An ONNX graph: elementwise steps on the raw input, then Gemm layers with Relu between them.

    Args:
        name: graph name.
        input_name: name of the one input, shape (1, features), float32.
        before: (operator, constant) pairs applied in turn, e.g. ("Sub", mean).
        layers: (weights of shape (in, out), bias of shape (out,)) a layer.
        decide: add a second output `label`, int64 of shape (1,): the arg max of the logits.

    Returns:
        A checked model with output `logits`, shape (1, classes).
    """
    nodes, constants, current = [], [], input_name
    for index, (op, constant) in enumerate(before):
        constants.append(numpy_helper.from_array(constant.astype(np.float32), f"scaler.{index}"))
        nodes.append(
            helper.make_node(op, [current, f"scaler.{index}"], [f"scaled.{index}"], name=f"scaler_{op.lower()}")
        )
        current = f"scaled.{index}"
    for index, (weight, bias) in enumerate(layers):
        last = index == len(layers) - 1
        constants.append(numpy_helper.from_array(weight.astype(np.float32), f"fc{index + 1}.weight"))
        constants.append(numpy_helper.from_array(bias.astype(np.float32), f"fc{index + 1}.bias"))
        output = "logits" if last else f"fc{index + 1}"
        nodes.append(
            helper.make_node(
                "Gemm",
                [current, f"fc{index + 1}.weight", f"fc{index + 1}.bias"],
                [output],
                name=f"fc{index + 1}",
            )
        )
        current = output
        if not last:
            nodes.append(helper.make_node("Relu", [current], [f"relu{index + 1}"], name=f"relu{index + 1}"))
            current = f"relu{index + 1}"
    features, classes = layers[0][0].shape[0], layers[-1][0].shape[1]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, classes])]
    if decide:
        nodes.append(helper.make_node("ArgMax", ["logits"], ["label"], name="decision", axis=1, keepdims=0))
        outputs.append(helper.make_tensor_value_info("label", TensorProto.INT64, [1]))
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, [1, features])],
        outputs,
        constants,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="vml circuits",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def run_float(model: bytes | str, input_name: str, rows: Array) -> Array:
    """The float model's first output on every row, by onnxruntime on one thread.

    Args:
        model: ONNX bytes or a path; its batch is 1.
        input_name: name of the one input.
        rows: float32, rows on axis 0.

    Returns:
        float32, shape (rows, classes).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {input_name: rows[i : i + 1]})[0] for i in range(len(rows))])


def sha256(path: Path) -> str:
    """Lower-case hexadecimal SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def record(
    folder: Path,
    model: onnx.ModelProto | bytes,
    data: Rows,
    *,
    tools: Sequence[str],
    about: Mapping[str, Any],
) -> None:
    """Write model, calibration, held-out rows, one sample and `info.json` into a circuit's folder.

    The sample is the first held-out row that the float model classifies rightly. Calibration rows come from
    the training rows, so no held-out row ever touches a scale.

    Args:
        folder: where to write.
        model: the ONNX model, one float input with batch 1, classifier scores as first output.
        data: rows shaped as the model's input without the batch axis.
        tools: packages whose versions are recorded.
        about: what `info.json` says of this model: title, data, input, output, decision, and so on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    raw = model if isinstance(model, bytes) else model.SerializeToString(deterministic=True)
    proto = onnx.load_from_string(raw)
    name = proto.graph.input[0].name
    scores = run_float(raw, name, data.holdout_x)
    right = scores.argmax(axis=1) == data.holdout_y
    sample = int(np.flatnonzero(right)[0])

    (folder / "model.onnx").write_bytes(raw)
    np.savez_compressed(folder / "calibration.npz", **{name: data.train_x[:CALIBRATION_ROWS]})
    np.savez_compressed(folder / "holdout.npz", **{name: data.holdout_x, "labels": data.holdout_y})
    np.savez_compressed(folder / "sample.npz", **{name: data.holdout_x[sample : sample + 1]})
    info = {
        "name": folder.name,
        **about,
        "inputs": [_edge(value) for value in proto.graph.input],
        "outputs": [_edge(value) for value in proto.graph.output],
        "weights": int(sum(np.prod(t.dims, dtype=np.int64) for t in proto.graph.initializer if t.data_type == 1)),
        "opset": proto.opset_import[0].version,
        "operators": sorted({node.op_type for node in proto.graph.node}),
        "rows": {
            "train": len(data.train_x),
            "calibration": len(data.train_x[:CALIBRATION_ROWS]),
            "holdout": len(data.holdout_x),
        },
        "sample": {"holdout_row": sample, "label": int(data.holdout_y[sample])},
        "accuracy": {"float_holdout": round(float(right.mean()), 6)},
        "built_with": {"python": sys.version.split()[0], **{tool: version(tool) for tool in sorted(tools)}},
        "sha256": {file: sha256(folder / file) for file in FILES},
    }
    (folder / "info.json").write_text(json.dumps(info, indent=2) + "\n")
    print(f"{folder.name}: {info['weights']} weights, float accuracy {info['accuracy']['float_holdout']:.4f}")


def _edge(value: onnx.ValueInfoProto) -> dict[str, Any]:
    tensor = value.type.tensor_type
    return {
        "name": value.name,
        "dtype": helper.tensor_dtype_to_np_dtype(tensor.elem_type).name,
        "shape": [dim.dim_value for dim in tensor.shape.dim],
    }
