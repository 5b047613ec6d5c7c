"""Calibration: rows of input data, the float model run on them, and the range every float tensor takes.

Rows come from the user's data or are drawn from a declared input range; one of the two is required. Data are
arrays by input name whose first axis counts rows: ``(n, *shape)``, or ``(n, *shape[1:])`` where the model's
first axis is a batch of 1.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vml.errors import UnsupportedModel
from vml.model.extras import compile_extra
from vml.model.importer import Edge
from vml.model.rewrite import first_line

if TYPE_CHECKING:
    import onnx

Array = np.ndarray[Any, np.dtype[Any]]
Rows = dict[str, Array]
"""Arrays ``(n, *shape)`` by input name, all with the same n."""

Interval = tuple[float, float]

DRAWN_ROWS = 64
"""Rows drawn from a declared range for calibration; a quarter as many are drawn to be held out."""

HELD_OUT_SHARE = 4
"""Of data without a hold-out of their own, the last 1/4 of the rows is held out."""

RANGE_BITS = 7
"""Measured ranges are rounded outwards to this many bits: the last digits of float sums differ between machines."""


@dataclass(frozen=True)
class Calibration:
    """What the model is calibrated and judged with.

    Attributes:
        rows: scales come from these.
        holdout: no scale has seen these; None where there was only one row.
        origin: "data" or "range".
        holdout_origin: "given", "split", "drawn" or "none".
        declared: range in units by input name, for inputs that have one.
        seed: of the drawn rows, or None.
    """

    rows: Rows
    holdout: Rows | None
    origin: str
    holdout_origin: str
    declared: Mapping[str, Interval]
    seed: int | None


def gather_rows(
    inputs: Sequence[Edge],
    data: Mapping[str, Any] | None,
    input_range: Interval | Mapping[str, Interval] | None,
    holdout: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Calibration:
    """Decide which rows calibrate and which judge.

    Args:
        inputs: the model's inputs.
        data: rows by input name, or None to draw them.
        input_range: (lo, hi) in units for every input, or by input name; required for all without ``data``.
        holdout: rows by input name that only judge.
        seed: for drawing.

    Raises:
        ValueError: neither data nor range; names, shapes, types or values that do not fit.
    """
    declared = declared_ranges(inputs, input_range)
    given = None if holdout is None else check_rows(inputs, holdout, "hold-out data")
    if data is None:
        missing = [edge.name for edge in inputs if edge.name not in declared and edge.dtype != "bool"]
        if missing:
            raise ValueError(
                f"input {missing[0]!r} has neither calibration data nor a declared range: give --calibrate FILE "
                "(.npz, arrays by input name, first axis counts rows) or --input-range LO HI"
            )
        rows = draw_rows(inputs, declared, DRAWN_ROWS, seed)
        judge = given or draw_rows(inputs, declared, DRAWN_ROWS // HELD_OUT_SHARE, seed + 1)
        return Calibration(rows, judge, "range", "given" if given else "drawn", declared, seed)
    rows = check_rows(inputs, data, "calibration data")
    if given is not None:
        return Calibration(rows, given, "data", "given", declared, None)
    count = row_count(rows)
    kept = count - max(1, count // HELD_OUT_SHARE)
    if kept < 1:
        return Calibration(rows, None, "data", "none", declared, None)
    judge = {name: array[kept:] for name, array in rows.items()}
    return Calibration({n: a[:kept] for n, a in rows.items()}, judge, "data", "split", declared, None)


def row_count(rows: Rows) -> int:
    """How many rows; a model without inputs has one, which is empty."""
    return len(next(iter(rows.values()))) if rows else 1


def declared_ranges(inputs: Sequence[Edge], given: Interval | Mapping[str, Interval] | None) -> dict[str, Interval]:
    """A declared range by input name. Raises ValueError for unknown names and for what is no range."""
    if given is None:
        return {}
    by_name = dict(given) if isinstance(given, Mapping) else {edge.name: given for edge in inputs}
    unknown = sorted(set(by_name) - {edge.name for edge in inputs})
    if unknown:
        raise ValueError(f"a range is given for {unknown[0]!r}; the model has {_names(inputs)}")
    result = {}
    for name, ends in by_name.items():
        lo, hi = (float(end) for end in ends)
        if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
            raise ValueError(f"the range of input {name!r} must be two finite numbers LO < HI, not {lo:g} {hi:g}")
        result[name] = (lo, hi)
    return result


def check_rows(inputs: Sequence[Edge], data: Mapping[str, Any], what: str) -> Rows:
    """Check rows against the model's inputs.

    Args:
        inputs: what the model takes.
        data: arrays by input name; first axis counts rows, see the module's text.
        what: begins the messages.

    Returns:
        Arrays ``(n, *shape)``, C-contiguous.

    Raises:
        ValueError: a name, shape, type or number of rows does not fit, or a value is NaN or infinite.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{what}: arrays by input name are expected, not {type(data).__name__}")
    unknown, missing = sorted(set(data) - {e.name for e in inputs}), [e.name for e in inputs if e.name not in data]
    if unknown or missing:
        problem = f"unknown name {unknown[0]!r}" if unknown else f"{missing[0]!r} is missing"
        raise ValueError(f"{what}: {problem}; the model takes {_names(inputs)}")
    rows = {edge.name: _check_array(edge, np.asarray(data[edge.name]), what) for edge in inputs}
    counts = {name: len(array) for name, array in rows.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"{what}: every input needs as many rows as the others, got {counts}")
    return rows


def _check_array(edge: Edge, array: Array, what: str) -> Array:
    if array.dtype != np.dtype(edge.dtype):
        raise ValueError(
            f"{what}: {edge.name!r} is {array.dtype}, the model takes {edge.dtype}; "
            f"convert it with .astype({edge.dtype!r}) if that is what you mean"
        )
    batched = edge.shape[:1] == (1,) and array.ndim == len(edge.shape) and array.shape[1:] == edge.shape[1:]
    if not (batched or array.shape[1:] == edge.shape) or array.ndim == 0 or len(array) == 0:
        wanted = ["n", *map(str, edge.shape[1:] if edge.shape[:1] == (1,) else edge.shape)]
        raise ValueError(
            f"{what}: {edge.name!r} has shape {array.shape}, rows of shape ({', '.join(wanted)}) are wanted"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{what}: {edge.name!r}{list(place)} is {array[place]}; values must be finite")
    return np.ascontiguousarray(array).reshape(len(array), *edge.shape)


def draw_rows(inputs: Sequence[Edge], declared: Mapping[str, Interval], count: int, seed: int) -> Rows:
    """Rows from declared ranges: all at the lower end, all at the upper, at 0 where inside, then uniform.

    Args:
        inputs: what the model takes. declared: (lo, hi) in units by name (booleans need none).
        count: rows, at least 4. seed: equal seeds draw equal rows.
    """
    rng = np.random.default_rng(seed)
    rows = {}
    for edge in inputs:
        lo, hi = declared.get(edge.name, (0.0, 1.0))
        shape = (count, *edge.shape)
        if edge.dtype == "bool":
            array = rng.integers(0, 2, shape).astype(bool)
        elif np.dtype(edge.dtype).kind in "iu":
            low, high = integer_range(edge, (lo, hi))
            array = rng.integers(low, high, shape, dtype=np.int64, endpoint=True).astype(edge.dtype)
            array[0], array[1], array[2] = low, high, min(max(0, low), high)
        else:
            array = rng.uniform(lo, hi, shape).astype(edge.dtype)
            # Rounding to float32 must not leave the declared range.
            array = np.clip(array, *(np.asarray((lo, hi), dtype=edge.dtype)))
            array[0], array[1], array[2] = lo, hi, min(max(0.0, lo), hi)
        rows[edge.name] = array
    return rows


def integer_range(edge: Edge, declared: Interval) -> tuple[int, int]:
    """The integers inside a declared range. Raises ValueError where there are none or the type cannot hold them."""
    lo, hi = math.ceil(declared[0]), math.floor(declared[1])
    info = np.iinfo(edge.dtype)
    if lo > hi or lo < info.min or hi > info.max:
        raise ValueError(f"the range of input {edge.name!r}, {lo}..{hi}, is empty or does not fit {edge.dtype}")
    return lo, hi


def _names(inputs: Sequence[Edge]) -> str:
    return ", ".join(f"{e.name!r} {e.dtype}{list(e.shape)}" for e in inputs) or "no inputs"


def digest(rows: Rows) -> str:
    """SHA-256 (hex) of rows: for each name in order, name, type, shape and little-endian values."""
    state = hashlib.sha256()
    for name in sorted(rows):
        array = rows[name]
        state.update(f"{name}\0{array.dtype.name}\0{array.shape}\0".encode())
        state.update(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).data)
    return state.hexdigest()


class FloatModel:
    """The float model in onnxruntime, as it is written, on one thread, one row at a time.

    onnxruntime's own optimisations are off: they turn quantised models into kernels that saturate on some
    processors (8-bit products summed in 16 bits), and no certificate should depend on that.

    Args:
        proto: an imported model.
        exposed: give every node's outputs, not only the graph's.

    Raises:
        UnsupportedModel: onnxruntime cannot load it.
        BackendUnavailable: onnxruntime is not installed.
    """

    def __init__(self, proto: onnx.ModelProto, exposed: bool = False) -> None:
        runtime = compile_extra("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if exposed:
            proto = _expose(proto)
        try:
            self._session = runtime.InferenceSession(
                proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors share no base class
            raise UnsupportedModel(f"onnxruntime cannot load the model: {first_line(error)}") from error
        self.names = tuple(info.name for info in self._session.get_outputs())

    def run(self, row: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name for one row (arrays of the model's input shapes). Raises UnsupportedModel."""
        try:
            return dict(zip(self.names, self._session.run(None, dict(row)), strict=True))
        except Exception as error:  # as above
            raise UnsupportedModel(f"onnxruntime cannot run the model: {first_line(error)}") from error


def _expose(proto: onnx.ModelProto) -> onnx.ModelProto:
    import onnx

    exposed = onnx.ModelProto()
    exposed.CopyFrom(proto)
    known = {info.name for info in exposed.graph.output}
    for node in proto.graph.node:
        for name in node.output:
            if name and name not in known:
                known.add(name)
                exposed.graph.output.append(onnx.ValueInfoProto(name=name))
    return exposed


def each_row(rows: Rows) -> list[dict[str, Array]]:
    """Rows one by one: views, nothing is copied."""
    # The ellipsis keeps a scalar an array, which onnxruntime insists on.
    return [{name: array[k, ...] for name, array in rows.items()} for k in range(row_count(rows))]


def measure_ranges(
    model: FloatModel, rows: Rows, progress: Callable[[float], None] = lambda _: None
) -> dict[str, Interval]:
    """The range of every float tensor over all rows, in one pass that holds one row's tensors at a time.

    Args:
        model: with every tensor exposed.
        rows: at least one.
        progress: called with the share of rows done, 0 to 1.

    Returns:
        (lo, hi) in units by ONNX tensor name, rounded outwards to ``RANGE_BITS`` bits. Infinite elements are
        left out; a lowering that meets an infinite constant decides what it means.

    Raises:
        UnsupportedModel: a tensor holds NaN, or nothing finite, or an output is infinite.
    """
    ranges: dict[str, Interval] = {}
    every = each_row(rows)
    for k, row in enumerate(every):
        for name, tensor in model.run(row).items():
            if not isinstance(tensor, np.ndarray) or tensor.dtype.kind != "f" or not tensor.size:
                continue
            lo, hi = float(tensor.min()), float(tensor.max())
            if not (math.isfinite(lo) and math.isfinite(hi)):
                lo, hi = _finite_range(name, tensor, k)
            low, high = ranges.get(name, (lo, hi))
            ranges[name] = (min(low, lo), max(high, hi))
        progress((k + 1) / len(every))
    return {name: (-outwards(-lo), outwards(hi)) for name, (lo, hi) in ranges.items()}


def _finite_range(name: str, tensor: Array, row: int) -> Interval:
    finite = tensor[np.isfinite(tensor)]
    if np.isnan(tensor).any() or not finite.size:
        raise UnsupportedModel(
            f"tensor {name!r} of the float model is NaN or infinite on calibration row {row}; "
            "the model or the calibration data are broken"
        )
    return float(finite.min()), float(finite.max())


def outwards(end: float) -> float:
    """The smallest number of ``RANGE_BITS`` bits that is not below ``end``."""
    if end == 0:
        return 0.0
    mantissa, exponent = math.frexp(end)
    return math.ldexp(math.ceil(mantissa * (1 << RANGE_BITS)), exponent - RANGE_BITS)
