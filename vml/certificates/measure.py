"""What an authority states of a model's quality: measured by running the exact model, or as its compiler measured it.

Of a file of rows: ``accuracy`` (a label per row against the decision: the arg max of the scores, or the integer the
model gives), ``mean-absolute-error`` (numbers of an output's shape), or without labels ``agreement``, ``max-error`` and
``mean-error`` against the float model in onnxruntime. Counts are exact fractions, errors decimal numbers of 12 digits.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vml.arrays import load_arrays
from vml.certificates.statement import Accuracy

if TYPE_CHECKING:
    from vml.model import Model
    from vml.model.certificate import Difference
    from vml.model.graph import TensorSpec

Array = np.ndarray[Any, np.dtype[Any]]
Progress = Callable[[str, float], None]
MAX_FILE_BYTES = 1 << 30
FLOAT_MODEL = "float model"
COMPILER = "vml compile, as certificate.json of the compiled folder says; not measured again"


def measured(
    model: Model, path: str | os.PathLike[str], labels: str | None, *, progress: Progress | None = None
) -> tuple[Accuracy, ...]:
    """Run the exact model on every row of a file and compare.

    Args:
        model: compiled.
        path: .npz or .json with rows (first axis) by input name, and the labels where there are some.
        labels: name of the array that holds them; None where the file holds inputs only.
        progress: told how far it is.

    Returns:
        What was measured, by rising name.

    Raises:
        ValueError: the file does not fit the model, or labels that fit no output.
        OutOfRange: a row that the model refuses.
        OSError: it cannot be read.
    """
    arrays = load_arrays(path)
    with Path(path).open("rb") as file:
        dataset = hashlib.file_digest(file, "sha256").digest()
    names = {spec.name for spec in model.inputs}
    beside = sorted(arrays.keys() - names - {labels})
    if beside or (labels is not None and labels not in arrays):
        raise ValueError(
            f"{path}: holds {sorted(arrays)}; the model takes {sorted(names)}, --labels says which array is compared"
        )
    rows = {name: arrays[name] for name in names if name in arrays}
    command = f"vml certify --holdout {Path(path).name}" + (f" --labels {labels}" if labels else "")

    def tell(fraction: float) -> None:
        if progress is not None:
            progress("measuring", fraction)

    if labels is None:
        return _against_float(model, rows, dataset, command, tell)
    return (_against_labels(model, rows, arrays[labels], dataset, command, tell),)


def stated(model: Model) -> tuple[Accuracy, ...]:
    """What the compiler measured against the float model, on held-out rows where there are some."""
    certificate, found = model.certificate, list[Accuracy]()
    for each in certificate.differences:
        data = certificate.holdout if each.holdout is not None else certificate.calibration
        if data is not None:
            difference = each.holdout or each.calibration
            found += _differences(each.name, difference, bytes.fromhex(data.sha256), f"{COMPILER} ({data.origin})")
    return tuple(sorted(found))


def _rows(model: Model, arrays: Mapping[str, Array]) -> list[dict[str, Array]]:
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    missing = sorted({spec.name for spec in model.inputs} - arrays.keys())
    if missing or len(set(counts.values())) != 1 or 0 in counts.values():
        raise ValueError(f"every input needs as many rows as the others, got {counts}; missing: {missing}")
    shapes = {spec.name: spec.shape for spec in model.inputs}
    for name, array in arrays.items():
        if array[0].size != np.prod(shapes[name], dtype=int):
            raise ValueError(f"{name!r} has rows of shape {array.shape[1:]}, the model takes {shapes[name]}")
    count = next(iter(counts.values()))
    return [{name: array[at].reshape(shapes[name]) for name, array in arrays.items()} for at in range(count)]


def _against_labels(
    model: Model,
    arrays: Mapping[str, Array],
    labels: Array,
    dataset: bytes,
    command: str,
    tell: Callable[[float], None],
) -> Accuracy:
    rows = _rows(model, arrays)
    if labels.ndim == 0 or len(labels) != len(rows):
        raise ValueError(f"{len(rows)} rows and labels of shape {labels.shape}")
    spec = model.outputs[0]
    decided = labels.dtype.kind in "iu" and labels[0].size == 1
    if not decided and labels[0].size != np.prod(spec.shape, dtype=int):
        raise ValueError(f"labels of shape {labels.shape} fit neither a decision nor the output {spec.name!r}")
    right, error = 0, Fraction(0)
    for at, row in enumerate(rows):
        codes = model.run(model.quantize(row))[spec.name].ravel()
        if decided:
            right += _decision(spec, codes) == int(labels[at].ravel()[0])
        else:
            wanted = [Fraction(value.item()) for value in labels[at].ravel()]
            parts = (abs(int(c) / spec.scale - w) for c, w in zip(codes, wanted, strict=True))
            error += sum(parts, Fraction(0)) / len(wanted)
        tell((at + 1) / len(rows))
    metric = "accuracy" if decided else "mean-absolute-error"
    value = f"{right}/{len(rows)}" if decided else _decimal(error / len(rows))
    return Accuracy(metric, spec.name, "labels", value, len(rows), dataset, command)


def _decision(spec: TensorSpec, codes: Array) -> int:
    """The class with the highest score, the lowest of equals; of an integer output the integer."""
    if codes.size == 1 and np.dtype(spec.onnx_dtype).kind in "iu":
        return int(Fraction(int(codes[0])) / spec.scale)
    return int(codes.argmax())


def _against_float(
    model: Model, arrays: Mapping[str, Array], dataset: bytes, command: str, tell: Callable[[float], None]
) -> tuple[Accuracy, ...]:
    import onnx

    from vml.model.calibration import FloatModel
    from vml.model.measure import compare_outputs

    rows = _rows(model, arrays)
    stacked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    reference = FloatModel(onnx.load_from_string(model.source))
    found = compare_outputs(model.graph, model.executor, reference, stacked, refuse=True, progress=tell)
    return tuple(sorted(each for name, part in found.items() for each in _differences(name, part, dataset, command)))


def _differences(name: str, part: Difference, dataset: bytes, command: str) -> list[Accuracy]:
    values = {"max-error": part.max_error, "mean-error": part.mean_error}
    if part.agreement is not None:
        values["agreement"] = part.agreement
    return [
        Accuracy(metric, name, FLOAT_MODEL, _decimal(Fraction(value)), part.rows, dataset, command)
        for metric, value in values.items()
    ]


def _decimal(value: Fraction) -> str:
    """A decimal number of 12 digits behind the point, rounded half up, without trailing zeros."""
    scaled = (value * 10**12 + Fraction(1, 2)).__floor__()
    text = f"{Decimal(scaled).scaleb(-12):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
