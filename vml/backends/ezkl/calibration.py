"""Rows of real input, as ezkl and onnxruntime take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vml.backends.ezkl.commitments import CONTEXT_LIMBS
from vml.backends.ezkl.sample import Sample, write_input
from vml.backends.ezkl.statement import FLOATS, TensorInfo
from vml.errors import BackendUnavailable, OutOfRange

Array = np.ndarray[Any, Any]
ROWS = 16
_NUMPY = {"float": "float32", "double": "float64", "bool": "bool"}


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    """The numpy type of an ONNX element type's name."""
    return np.dtype(_NUMPY.get(dtype, dtype))


def check_inputs(inputs: Sequence[TensorInfo], arrays: Mapping[str, Any]) -> dict[str, Array]:
    """Take one row of input, of the right names, shapes and types, all finite.

    Args:
        inputs: what the model reads.
        arrays: by input name; an integer or floating array, exactly of the model's shape.

    Returns:
        The arrays in the model's own types.

    Raises:
        ValueError: a name, shape or type is not the model's.
        OutOfRange: a value is not finite.
    """
    expected = {tensor.name for tensor in inputs}
    if set(arrays) != expected:
        raise ValueError(f"inputs are {sorted(expected)}, got {sorted(arrays)}")
    result = {}
    for tensor in inputs:
        array = np.asarray(arrays[tensor.name])
        if array.shape != tensor.shape:
            raise ValueError(f"input {tensor.name!r} has shape {tensor.shape}, got {array.shape}")
        wanted = numpy_dtype(tensor.dtype)
        if array.dtype.kind not in "biuf" or (array.dtype.kind == "f" and wanted.kind != "f"):
            raise ValueError(f"input {tensor.name!r} holds {wanted}, got {array.dtype}")
        bad = np.argwhere(~np.isfinite(array)) if array.dtype.kind == "f" else np.empty((0, 0))
        if len(bad):
            index = tuple(int(i) for i in bad[0])
            raise OutOfRange(tensor.name, index, array[index], "finite numbers")
        with np.errstate(over="ignore"):
            cast = array.astype(wanted)
        if not np.array_equal(np.isfinite(cast.astype(np.float64)), np.ones(cast.shape, bool)):
            raise OutOfRange(tensor.name, 0, "a value", f"the range of {wanted}")
        if wanted.kind != "f" and not np.array_equal(cast, array):
            raise OutOfRange(tensor.name, 0, "a value", f"the range of {wanted}")
        result[tensor.name] = cast
    return result


def codes(array: Array, scale: int, dtype: str) -> list[int]:
    """Fixed point codes as ezkl computes them: round(x * 2^scale), ties away from zero.

    Args:
        array: finite, in the model's own type.
        scale: fixed point bits; 0 for integers.
        dtype: ONNX element type by name.
    """
    if dtype not in FLOATS:
        return [int(v) for v in array.ravel()]
    scaled = np.abs(array.astype(np.float64).ravel()) * 2.0**scale
    # floor(x + 1/2) would round 0.49999999999999994 up.
    whole = np.floor(scaled)
    rounded = whole + (scaled - whole >= 0.5)
    return [int(v) if s >= 0 else -int(v) for v, s in zip(rounded, array.ravel(), strict=True)]


def floats(array: Array) -> list[float | int]:
    """Values as JSON numbers."""
    flat = array.ravel()
    return [float(v) for v in flat] if array.dtype.kind == "f" else [int(v) for v in flat]


def lanes_as_input(lanes: Sequence[int], scale: int, dtype: str) -> list[float | int]:
    """Salt lanes as numbers that ezkl quantises back to exactly these integers."""
    return [lane / 2.0**scale for lane in lanes] if dtype in FLOATS else list(lanes)


def rows_of(inputs: Sequence[TensorInfo], calibration: Mapping[str, Any], limit: int = ROWS) -> list[dict[str, Array]]:
    """Split calibration arrays into rows.

    Args:
        inputs: what the model reads.
        calibration: by input name, arrays of shape [n, *shape without its leading 1] or [n, *shape].
        limit: at most so many rows, spread evenly.

    Raises:
        ValueError: names, shapes or row counts do not fit.
    """
    if set(calibration) != {tensor.name for tensor in inputs}:
        raise ValueError(f"calibration holds {sorted(calibration)}, the model reads {[t.name for t in inputs]}")
    counts = {len(np.asarray(calibration[tensor.name])) for tensor in inputs}
    if len(counts) != 1 or not (count := counts.pop()):
        raise ValueError("calibration arrays need the same number of rows, at least one")
    chosen = np.unique(np.linspace(0, count - 1, min(limit, count)).astype(int))
    rows = []
    for i in chosen:
        row = {}
        for tensor in inputs:
            array = np.asarray(calibration[tensor.name])[i]
            if array.size != tensor.size:
                raise ValueError(f"calibration of {tensor.name!r}: rows of {array.shape}, not {tensor.shape}")
            row[tensor.name] = array.reshape(tensor.shape)
        rows.append(check_inputs(inputs, row))
    return rows


def make_sample(
    source: bytes,
    inputs: Sequence[TensorInfo],
    rows: Sequence[Mapping[str, Array]],
    salt_lanes: int,
    folder: Path,
) -> Sample:
    """Write the rows as ezkl reads them, and run them through onnxruntime.

    Args:
        source: the model before wrapping.
        inputs: what it reads.
        rows: of `rows_of`.
        salt_lanes: behind each tensor.
        folder: for the files.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailable("onnxruntime is missing: pip install 'vml[ezkl]'") from error
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    files, outputs = [], []
    for i, row in enumerate(rows):
        # The largest limbs: calibration must leave room for every context.
        tensors = [floats(row[t.name]) + [0] * salt_lanes for t in inputs]
        tensors.append([(1 << 16) - 1] * CONTEXT_LIMBS)
        files.append(write_input(folder / f"row{i}.json", tensors))
        results = session.run(None, dict(row))
        outputs.append(tuple(_float64(r) if r.dtype.kind == "f" else None for r in results))
    return Sample(tuple(files), tuple(outputs))


def _float64(array: Array) -> Array:
    return array.astype(np.float64).ravel()
