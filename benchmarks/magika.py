"""A model nobody here wrote: magika's file classifier, on real files, exact integers against onnxruntime.

Run: ``python -m benchmarks.magika [--ezkl]``; writes ``results/magika.json``.
The ONNX file and the feature extraction are those of the PyPI package ``magika`` (Apache-2.0). Files
come from the Python installation itself, up to a few of every suffix, in an order fixed by a hash of
their path; calibration files are others, and no two files of the whole set have the same features.
``--ezkl`` also offers the model to ezkl, as shipped and simplified, and records what it answers
(minutes).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import statistics
import sysconfig
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import magika
import numpy as np
import onnx
import onnxruntime
import onnxslim
from magika.types import Seekable
from numpy.typing import NDArray
from onnx import numpy_helper

from benchmarks.machine import RESULTS, publish
from vml.model.compiler import compile_model

FILES_A_SUFFIX = 12
# Every fourth file of a suffix calibrates and is never tested.
CALIBRATION_EVERY = 4
MAX_FILE_BYTES = 32 << 20
CONFIDENT = 0.5
LISTED = 3
EZKL_LIMIT_S = 600.0
EZKL_MEMORY_BYTES = 10 << 30

Features = NDArray[np.int32]


class Classifier:
    """magika's own model file and feature extraction."""

    def __init__(self) -> None:
        self.magika = magika.Magika()
        self.path = Path(magika.__file__).parent / "models" / self.magika.get_model_name() / "model.onnx"
        self.labels = [str(label) for label in self.magika._model_config.target_labels_space]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        self.session = onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        (self.input_name,) = [edge.name for edge in self.session.get_inputs()]
        (self.output_name,) = [edge.name for edge in self.session.get_outputs()]

    def features(self, content: bytes) -> Features | None:
        """What magika feeds its model, or None where it answers without the model.

        Args:
            content: a file's bytes.

        Returns:
            int32, shape (1, 2048): bytes 0 to 255, padding 256.
        """
        _, found = self.magika._get_result_or_features_from_seekable(Seekable(BytesIO(content)))
        if found is None:
            return None
        return np.array([[*found.beg, *found.mid, *found.end]], dtype=np.int32)

    def probabilities(self, features: Features) -> NDArray[np.float32]:
        """onnxruntime's answer, float32, shape (1, labels)."""
        answer: NDArray[np.float32] = self.session.run(None, {self.input_name: features})[0]
        return answer


def candidates() -> Iterator[tuple[str, Path]]:
    """Relative name and path of every file of the installation, in an order a hash of the name fixes."""
    roots = {name: Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib")}
    found = {}
    for name, root in roots.items():
        for path in root.rglob("*"):
            if "__pycache__" in path.parts and path.suffix != ".pyc":
                continue
            if path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_FILE_BYTES:
                found.setdefault(path.resolve(), f"{name}/{path.relative_to(root).as_posix()}")
    for path, name in sorted(found.items(), key=lambda item: hashlib.sha256(item[1].encode()).digest()):
        yield name, path


def collect(classifier: Classifier) -> tuple[list[tuple[str, Features]], list[tuple[str, Features]]]:
    """Test files and calibration files, each with its features; all features differ."""
    chosen: dict[str, list[tuple[str, Features]]] = defaultdict(list)
    seen: set[bytes] = set()
    for name, path in candidates():
        group = chosen[path.suffix.lower()]
        if len(group) == FILES_A_SUFFIX:
            continue
        features = classifier.features(path.read_bytes())
        if features is None or features.tobytes() in seen:
            continue
        seen.add(features.tobytes())
        group.append((name, features))
    test, calibration = [], []
    for suffix in sorted(chosen):
        for index, file in enumerate(chosen[suffix]):
            (calibration if index % CALIBRATION_EVERY == CALIBRATION_EVERY - 1 else test).append(file)
    return test, calibration


def compare(classifier: Classifier) -> dict[str, Any]:
    """Agreement of the integer model with onnxruntime on the test files."""
    test, calibration = collect(classifier)
    start = time.perf_counter()
    model = compile_model(
        classifier.path,
        calibration={classifier.input_name: np.concatenate([features for _, features in calibration])},
    )
    compile_s = time.perf_counter() - start
    floats, integers, float_s, integer_s = [], [], [], []
    for _, features in test:
        start = time.perf_counter()
        floats.append(classifier.probabilities(features)[0])
        middle = time.perf_counter()
        codes = model.run(model.quantize({classifier.input_name: features}))
        integer_s.append(time.perf_counter() - middle)
        float_s.append(middle - start)
        integers.append(model.dequantize(codes)[classifier.output_name][0])
    float_p, integer_p = np.array(floats), np.array(integers)
    top, integer_top = float_p.argmax(1), integer_p.argmax(1)
    same = top == integer_top
    confident = float_p.max(1) >= CONFIDENT
    gap = np.abs(float_p - integer_p)

    def answers(i: int) -> dict[str, Any]:
        return {
            "file": test[i][0],
            "onnxruntime": [classifier.labels[top[i]], round(float(float_p[i, top[i]]), 4)],
            "vml": [classifier.labels[integer_top[i]], round(float(integer_p[i, integer_top[i]]), 4)],
        }

    return {
        "model": {
            "package": "magika",
            "name": classifier.magika.get_model_name(),
            "sha256": hashlib.sha256(classifier.path.read_bytes()).hexdigest(),
        },
        "files": {
            "test": len(test),
            "calibration": len(calibration),
            "labels_seen": len(set(top.tolist())),
            "suffixes": dict(sorted(Counter(Path(name).suffix.lower() for name, _ in test).items())),
        },
        "agreement": {
            "top1": round(float(same.mean()), 6),
            "top1_where_confident": round(float(same[confident].mean()), 6),
            "confident_files": int(confident.sum()),
            "max_probability_difference": float(f"{gap.max():.4g}"),
            "mean_of_largest_difference": float(f"{gap.max(1).mean():.4g}"),
            "p99_of_largest_difference": float(f"{np.quantile(gap.max(1), 0.99):.4g}"),
        },
        "disagreements": [answers(i) for i in np.flatnonzero(~same)],
        "largest_differences": [answers(i) for i in gap.max(1).argsort()[::-1][:LISTED]],
        "seconds": {
            "compile": round(compile_s, 2),
            "onnxruntime_a_file": round(statistics.median(float_s), 5),
            "vml_a_file": round(statistics.median(integer_s), 5),
        },
    }


def offer_to_ezkl(classifier: Classifier) -> list[dict[str, Any]]:
    """What ezkl says to the model: as shipped, simplified for one file, and without its infinite constant."""
    shipped = onnx.load(classifier.path)
    fixed = onnx.load(classifier.path)
    for edge in (*fixed.graph.input, *fixed.graph.output):
        edge.type.tensor_type.shape.dim[0].dim_value = 1
    fixed = onnxslim.slim(fixed)
    finite = onnx.ModelProto()
    finite.CopyFrom(fixed)
    _drop_infinite_bounds(finite)
    answers = []
    for what, model in {
        "as shipped": shipped,
        "batch fixed to 1, simplified by onnxslim": fixed,
        "the same without Max(-inf, x)": finite,
    }.items():
        answers.append({"model": what, **_ask_ezkl(model.SerializeToString())})
    return answers


def _drop_infinite_bounds(model: onnx.ModelProto) -> None:
    """Remove every Max whose one constant operand is minus infinity: it changes nothing."""
    infinite = {
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and (numpy_helper.to_array(tensor) == -np.inf).all()
    }
    for node in list(model.graph.node):
        operands = [name for name in node.input if name not in infinite]
        if node.op_type == "Max" and len(operands) == 1:
            for other in model.graph.node:
                for index, name in enumerate(other.input):
                    if name == node.output[0]:
                        other.input[index] = operands[0]
            model.graph.node.remove(node)


def _ask_ezkl(model: bytes) -> dict[str, Any]:
    """ezkl's settings for a model, in a process of its own: it may panic or eat all memory."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_gen_settings, args=(model, sender))
    start = time.perf_counter()
    process.start()
    sender.close()
    answered = receiver.poll(EZKL_LIMIT_S)
    try:
        answer: dict[str, Any] = receiver.recv() if answered else {"refused": f"no answer in {EZKL_LIMIT_S:.0f} s"}
    except EOFError:
        answer = {"refused": "the process ended without an answer"}
    process.kill()
    process.join()
    return {**answer, "seconds": round(time.perf_counter() - start, 1)}


def _gen_settings(model: bytes, sender: Any) -> None:
    import resource
    import tempfile

    import ezkl

    resource.setrlimit(resource.RLIMIT_AS, (EZKL_MEMORY_BYTES, EZKL_MEMORY_BYTES))
    with tempfile.TemporaryDirectory() as folder:
        path, settings = Path(folder) / "model.onnx", Path(folder) / "settings.json"
        path.write_bytes(model)
        arguments = ezkl.PyRunArgs()
        graph = onnx.load_from_string(model).graph
        arguments.variables = [
            (dim.dim_param, 1)
            for edge in (*graph.input, *graph.output)
            for dim in edge.type.tensor_type.shape.dim
            if dim.dim_param
        ]
        try:
            ezkl.gen_settings(str(path), str(settings), py_run_args=arguments)
        # A Rust panic reaches Python as BaseException.
        except BaseException as error:
            sender.send({"refused": f"{type(error).__name__}: {error}"[:400]})
        else:
            sender.send({"rows": json.loads(settings.read_text())["num_rows"]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ezkl", action="store_true", help="also offer the model to ezkl")
    with_ezkl = parser.parse_args().ezkl
    classifier = Classifier()
    measured = compare(classifier)
    packages = ["magika", "numpy", "numba", "onnx", "onnxruntime", "onnxslim"]
    if with_ezkl:
        measured["ezkl"] = offer_to_ezkl(classifier)
    else:
        measured.update(kept_answers(measured["model"]))
    publish("magika", [*packages, "ezkl"], measured)


def kept_answers(model: dict[str, Any]) -> dict[str, Any]:
    """What ezkl answered in the last run with ``--ezkl``, if that was the same release and the same model."""
    path = RESULTS / "magika.json"
    last = json.loads(path.read_text()) if path.exists() else {}
    same = last.get("model") == model and last["machine"]["versions"].get("ezkl") == version("ezkl")
    return {"ezkl": last["ezkl"]} if same and "ezkl" in last else {}


if __name__ == "__main__":
    main()
