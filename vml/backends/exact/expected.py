"""What a verifier expects, in its own numbers, as codes of the model: exactly as `Model.quantize` makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vml.errors import OutOfRange

if TYPE_CHECKING:
    from vml.model.graph import TensorSpec

Array = np.ndarray[Any, np.dtype[Any]]


def input_codes(
    specs: Sequence[TensorSpec], arrays: Mapping[str, Any], count: int
) -> list[tuple[tuple[int, ...], ...]] | None:
    """Codes of the input that a verifier expects.

    Args:
        specs: the model's inputs.
        arrays: by name; of a batch the first axis counts rows.
        count: claims of the proof.

    Returns:
        One tuple of tensors a claim; None where a value has no code, so that no proof can be about it.

    Raises:
        ValueError: another name, shape or kind of number.
    """
    from vml.model.quantizer import quantize

    rows = _rows(specs, arrays, count)
    try:
        return [
            tuple(tuple(quantize(spec, array).reshape(-1).tolist()) for spec, array in zip(specs, row, strict=True))
            for row in rows
        ]
    except OutOfRange:
        return None


def is_output(
    specs: Sequence[TensorSpec], arrays: Mapping[str, Any], rows: Sequence[tuple[tuple[int, ...], ...]]
) -> bool:
    """Whether the outputs of a proof are those that a verifier expects.

    A number is the same when it quantises to the code, or when it is what the code is shown as: a float32 does not
    tell neighbouring codes beyond 2^24 apart, and both forms come from the same code then.

    Args:
        specs: the model's outputs.
        arrays: by name; of a batch the first axis counts rows.
        rows: codes inside the proof, one tuple of tensors a claim.

    Raises:
        ValueError: another name, shape or kind of number.
    """
    wanted = _rows(specs, arrays, len(rows))
    return all(
        _is_same(spec, array, codes)
        for row, tensors in zip(wanted, rows, strict=True)
        for spec, array, codes in zip(specs, row, tensors, strict=True)
    )


def _is_same(spec: TensorSpec, array: Array, codes: tuple[int, ...]) -> bool:
    from vml.model.quantizer import dequantize
    from vml.model.scales import to_codes

    if array.dtype.kind != "f":
        return array.reshape(-1).tolist() == list(codes)
    if not np.isfinite(array).all():
        return False
    shown = dequantize(spec, np.array(codes, dtype=spec.header.dtype).reshape(spec.shape))
    near = to_codes(array, spec.scale) == np.array(codes, dtype=np.int64).reshape(spec.shape)
    return bool((near | (array == shown)).all())


def _rows(specs: Sequence[TensorSpec], arrays: Mapping[str, Any], count: int) -> list[list[Array]]:
    """The arrays in the models' own types, one list of tensors a claim.

    Raises:
        ValueError: another name, shape or kind of number.
    """
    names = {spec.name for spec in specs}
    if set(arrays) != names:
        raise ValueError(f"the model has {', '.join(sorted(names))}, given were {', '.join(sorted(map(str, arrays)))}")
    columns = [_cast(spec, np.asarray(arrays[spec.name]), count) for spec in specs]
    return [
        [column[k : k + 1].reshape(spec.shape) for spec, column in zip(specs, columns, strict=True)]
        for k in range(count)
    ]


def _cast(spec: TensorSpec, array: Array, count: int) -> Array:
    """One tensor of every claim in its own type: shape (count, *shape)."""
    shape = tuple(spec.shape)
    given = shape if count == 1 else (count, *shape[1:])
    if array.shape != given or (count > 1 and shape[:1] != (1,)):
        raise ValueError(f"{spec.name!r} has shape {array.shape}, {count} claims of the model take {given}")
    wanted = np.dtype(spec.onnx_dtype)
    if array.dtype.kind not in "biuf" or (array.dtype.kind == "f" and wanted.kind != "f"):
        raise ValueError(f"{spec.name!r} holds {spec.onnx_dtype}, given were {array.dtype}")
    with np.errstate(over="ignore"):
        cast: Array = array.astype(wanted)
    if wanted.kind != "f" and not np.array_equal(cast, array):
        raise ValueError(f"{spec.name!r}: a number does not fit {spec.onnx_dtype}")
    return cast.reshape((count, *shape))
