"""The committed circuits are what their `info.json` says, and `build.py` still makes them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

CIRCUITS = Path(__file__).parents[2] / "circuits"
NAMES = sorted(path.parent.name for path in CIRCUITS.glob("*/info.json"))
WITHOUT_TORCH = ["breast-cancer-mlp", "digits-mlp"]
# Another processor rounds training differently; two points are far more than that ever moved.
ACCURACY_SLACK = 0.02
MAX_FILE_BYTES = 400_000


def info(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((CIRCUITS / name / "info.json").read_text())
    return loaded


def scores(model: Path, name: str, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {name: rows[i : i + 1]})[0] for i in range(len(rows))])


def test_every_circuit_of_the_readme_is_shipped() -> None:
    assert {"breast-cancer-mlp", "digits-mlp", "digits-cnn", "lenet5", "digits-transformer"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_files_have_the_recorded_digests_and_stay_small(name: str) -> None:
    digests = info(name)["sha256"]
    assert set(digests) == {"model.onnx", "calibration.npz", "holdout.npz", "sample.npz"}
    for file, digest in digests.items():
        data = (CIRCUITS / name / file).read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest, file
        assert len(data) <= MAX_FILE_BYTES, file


@pytest.mark.parametrize("name", NAMES)
def test_model_is_valid_and_described_rightly(name: str) -> None:
    model = onnx.load(CIRCUITS / name / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    described = info(name)
    assert [o.version for o in model.opset_import] == [17] == [described["opset"]]
    for part in ("input", "output"):
        edges = [
            {
                "name": value.name,
                "dtype": onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
                "shape": [dim.dim_value for dim in value.type.tensor_type.shape.dim],
            }
            for value in getattr(model.graph, part)
        ]
        assert edges == described[f"{part}s"]
        assert all(edge["shape"][0] == 1 for edge in edges), "the compiled batch is always 1"
    assert not any(node.doc_string for node in model.graph.node), "no path of the building machine"


@pytest.mark.parametrize("name", NAMES)
def test_data_fit_the_model_and_the_recorded_accuracy(name: str) -> None:
    folder, described = CIRCUITS / name, info(name)
    edge = described["inputs"][0]
    with (
        np.load(folder / "holdout.npz") as holdout,
        np.load(folder / "calibration.npz") as calibration,
        np.load(folder / "sample.npz") as sample,
    ):
        assert set(holdout.files) == {edge["name"], "labels"}
        assert calibration.files == sample.files == [edge["name"]]
        rows, labels, one = holdout[edge["name"]], holdout["labels"], sample[edge["name"]]
        for array in (rows, calibration[edge["name"]], one):
            assert array.dtype == np.dtype(edge["dtype"])
            assert list(array.shape[1:]) == edge["shape"][1:]
            assert np.isfinite(array).all()
        assert len(calibration[edge["name"]]) == described["rows"]["calibration"]
        assert np.array_equal(one, rows[described["sample"]["holdout_row"]][None])
    answers = scores(folder / "model.onnx", edge["name"], rows)
    assert (answers.argmax(1) == labels).mean() == pytest.approx(described["accuracy"]["float_holdout"], abs=1e-6)
    assert answers.argmax(1)[described["sample"]["holdout_row"]] == described["sample"]["label"]


@pytest.mark.parametrize("name", NAMES)
def test_no_held_out_row_is_a_calibration_row(name: str) -> None:
    edge = info(name)["inputs"][0]["name"]
    with (
        np.load(CIRCUITS / name / "holdout.npz") as holdout,
        np.load(CIRCUITS / name / "calibration.npz") as seen,
    ):
        held = {row.tobytes() for row in holdout[edge]}
        assert not held & {row.tobytes() for row in seen[edge]}


def test_lenet5_has_the_classic_number_of_weights() -> None:
    assert info("lenet5")["weights"] == 61_706


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_build_makes_the_same_graph_again(name: str, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the dev extra is not installed")
    command = [sys.executable, "-W", "error", str(CIRCUITS / name / "build.py"), str(tmp_path / name)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    built, committed = onnx.load(tmp_path / name / "model.onnx"), onnx.load(CIRCUITS / name / "model.onnx")
    assert [n.SerializeToString(deterministic=True) for n in built.graph.node] == [
        n.SerializeToString(deterministic=True) for n in committed.graph.node
    ]
    assert [(t.name, list(t.dims)) for t in built.graph.initializer] == [
        (t.name, list(t.dims)) for t in committed.graph.initializer
    ]
    rebuilt = json.loads((tmp_path / name / "info.json").read_text())
    for file in ("calibration.npz", "holdout.npz"):
        assert rebuilt["sha256"][file] == info(name)["sha256"][file]
    gap = rebuilt["accuracy"]["float_holdout"] - info(name)["accuracy"]["float_holdout"]
    assert abs(gap) <= ACCURACY_SLACK
