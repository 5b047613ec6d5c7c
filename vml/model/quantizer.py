"""From the user's numbers to codes and back: code = floor(value * scale + 1/2), in exact rational arithmetic.

This is part of the semantics: the claim commits to codes, and the model commitment holds every input's scale and
range. NaN is always refused; a value outside the range is refused, or clamped where the input's spec says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from vml.arrays import check_arrays
from vml.errors import OutOfRange
from vml.model.calibration import Calibration, Interval, integer_range
from vml.model.graph import TensorSpec
from vml.model.importer import Edge
from vml.model.lowering.driver import InputDeclaration
from vml.model.scales import code_limit, exact_scale, nice_scale, to_codes
from vml.model.tensor import VALUE_LIMIT

if TYPE_CHECKING:
    import onnx

Array = np.ndarray[Any, np.dtype[Any]]

FINE_BITS = 31
"""Width of an input that the graph itself first shifts or scales: the widest that is stored in four bytes."""

MOVES = frozenset({"Cast", "Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
SCALES = frozenset({"Add", "BatchNormalization", "Div", "Mul", "Sub"})


def is_scaled_first(graph: onnx.GraphProto, name: str) -> bool:
    """Whether a reader of input ``name``, behind mere data movement, shifts or scales its elements one by one.

    Such an input keeps ``FINE_BITS`` bits: its features may have very different units, which a scaler in the
    graph brings together.
    """
    several = {tensor.name for tensor in graph.initializer if math.prod(tensor.dims) > 1}
    names = {name}
    for node in graph.node:
        if names.intersection(node.input):
            if node.op_type in SCALES and several.intersection(node.input):
                return True
            if node.op_type in MOVES:
                names.update(node.output)
    return False


def index_bound(graph: onnx.GraphProto, name: str) -> int | None:
    """Size of the smallest table that input ``name``, behind mere data movement, indexes with a Gather; else None."""
    tables = {tensor.name: tensor.dims for tensor in graph.initializer}
    names, sizes = {name}, []
    for node in graph.node:
        if node.op_type == "Gather" and node.input[1] in names and node.input[0] in tables:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
            sizes.append(int(tables[node.input[0]][axis]))
        elif node.op_type in MOVES and names.intersection(node.input):
            names.update(node.output)
    return min(sizes, default=None)


def declare_input(
    edge: Edge,
    calibration: Calibration,
    bits: int,
    headroom: Fraction,
    saturate: bool,
    positions: int | None = None,
) -> InputDeclaration:
    """Scale and range of one input.

    A declared range is taken as it is. Without one, a float input reaches from 0 to the calibration rows' ends
    times ``headroom``, and an integer input covers the smallest 0..2^k-1 or -2^k..2^k-1 that holds the rows, or
    the positions it indexes.

    Args:
        edge: the input. calibration: rows and declared ranges.
        bits: width of its codes. headroom: at least 1. saturate: clamp instead of refuse.
        positions: size of the table it indexes, see ``index_bound``.

    Raises:
        ValueError: a declared range that the input's type cannot hold.
    """
    declared, rows = calibration.declared.get(edge.name), calibration.rows[edge.name]
    kind = np.dtype(edge.dtype).kind
    if kind == "b":
        lo, hi, scale = 0, 1, Fraction(1)
    elif kind in "iu":
        lo, hi = _integer_codes(edge, rows, declared, positions)
        scale = Fraction(1)
    else:
        lo, hi, scale = _float_codes(rows, declared, bits, headroom)
    return InputDeclaration(edge.name, edge.shape, edge.dtype, lo, hi, scale, saturate)


def _integer_codes(edge: Edge, rows: Array, declared: Interval | None, positions: int | None) -> tuple[int, int]:
    if declared is not None:
        lo, hi = integer_range(edge, declared)
    elif positions is not None:
        # Beyond the table an index would be clamped, where onnxruntime refuses it.
        lo, hi = (-positions if rows.min() < 0 else 0), positions - 1
    else:
        low, high = int(rows.min()), int(rows.max())
        k = max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0)
        lo, hi = (-(1 << k) if low < 0 else 0), (1 << k) - 1
        info = np.iinfo(edge.dtype)
        lo, hi = max(lo, int(info.min)), max(1, min(hi, int(info.max)))
    if max(abs(lo), abs(hi)) >= VALUE_LIMIT:
        raise ValueError(f"input {edge.name!r} reaches {lo}..{hi}; integers must stay below 2^62")
    return lo, hi


def _float_codes(rows: Array, declared: Interval | None, bits: int, headroom: Fraction) -> tuple[int, int, Fraction]:
    if declared is not None:
        low, high = (Fraction(end) for end in declared)
    else:
        low = min(Fraction(float(rows.min())), Fraction(0)) * headroom
        high = max(Fraction(float(rows.max())), Fraction(0)) * headroom
    reach = max(abs(low), abs(high)) or Fraction(1)
    if low == high:
        low, high = -reach, reach
    limit = code_limit(bits)
    scale = nice_scale(limit / reach)
    power = Fraction(2) ** (scale.numerator.bit_length() - scale.denominator.bit_length())
    power = power if power <= scale else power / 2
    # Rows that are whole multiples of some 2^-k (integers, quarters) stay exact under a finer power of two.
    exact = exact_scale(rows, limit)
    if exact is not None and exact <= power:
        scale = power
    return math.floor(low * scale + Fraction(1, 2)), math.floor(high * scale + Fraction(1, 2)), scale


def quantize(spec: TensorSpec, values: Array, saturate: bool = False) -> Array:
    """Codes of one input.

    Args:
        spec: the input's.
        values: of the spec's shape and dtype (see ``quantize_inputs`` for the check).
        saturate: clamp, as a spec that says so always does.

    Returns:
        Codes of the spec's shape and storage type.

    Raises:
        OutOfRange: NaN, or a value outside the range; names the input, index, value and bound.
    """
    lo, hi = spec.header.lo, spec.header.hi
    bound = f"{_units(spec, lo)}..{_units(spec, hi)}"
    codes: Array
    if values.dtype.kind == "f":
        if np.isnan(values).any():
            raise OutOfRange(spec.name, _place(np.isnan(values)), "NaN", bound, "NaN has no code")
        # Infinity has no code either: what lies well outside is told apart before the exact arithmetic.
        below, above = values < float((lo - 2) / spec.scale), values > float((hi + 2) / spec.scale)
        codes = to_codes(np.where(below | above, np.zeros_like(values), values), spec.scale)
        codes[below], codes[above] = lo - 1, hi + 1
    else:
        codes = values.astype(object if values.dtype == np.uint64 else np.int64)
    outside = (codes < lo) | (codes > hi)
    if outside.any() and not (spec.saturate or saturate):
        place = _place(outside)
        hint = "calibrate with wider data, declare a range, or compile with --saturate-inputs"
        raise OutOfRange(spec.name, place, values[place], bound, hint)
    inside: Array = np.clip(codes, lo, hi).astype(spec.header.dtype)
    return inside.reshape(spec.shape)


def quantize_inputs(specs: Sequence[TensorSpec], inputs: Mapping[str, Any], saturate: bool = False) -> dict[str, Array]:
    """Codes of every input, by name.

    Args:
        specs: the model's inputs.
        inputs: arrays by input name, of exactly the specs' shapes and dtypes.
        saturate: as for ``quantize``.

    Raises:
        ValueError: a name is unknown or missing, a shape or dtype differs.
        OutOfRange: as for ``quantize``.
    """
    arrays = {name: np.asarray(array) for name, array in inputs.items()}
    check_arrays(arrays, specs)
    return {spec.name: quantize(spec, arrays[spec.name], saturate) for spec in specs}


def dequantize(spec: TensorSpec, codes: Array) -> Array:
    """The numbers that codes stand for: code / scale, rounded to the spec's ONNX dtype.

    Args:
        spec: an output's (or input's).
        codes: integers of the spec's shape.

    Raises:
        ValueError: another shape, or no integers.
        OutOfRange: a whole number that the dtype cannot hold.
    """
    codes = np.asarray(codes)
    if codes.shape != spec.shape or codes.dtype.kind not in "iu":
        raise ValueError(f"{spec.name!r}: codes of shape {spec.shape} are expected, got {codes.dtype}{codes.shape}")
    if np.dtype(spec.onnx_dtype).kind != "f":
        whole: Array = codes.astype(spec.onnx_dtype)
        if (wrapped := whole != codes).any():
            place = _place(wrapped)
            raise OutOfRange(spec.name, place, int(codes[place]), f"the numbers {spec.onnx_dtype} can hold")
        return whole
    numerator, denominator = float(spec.scale.numerator), float(spec.scale.denominator)
    values: Array = codes.astype(np.float64) * denominator / numerator
    with np.errstate(over="ignore"):  # beyond the dtype is infinity, as in the float model
        rounded: Array = values.astype(spec.onnx_dtype)
    return rounded


def _units(spec: TensorSpec, code: int) -> str:
    value = code / spec.scale
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.6g}"


def _place(mask: Array) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(mask)[0])
