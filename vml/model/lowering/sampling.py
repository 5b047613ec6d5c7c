"""Operators that copy elements by a static rule along each axis: Tile, Pad, Resize and Upsample (nearest).

Resize maps every output position to an input coordinate and rounds it; both are computed in exact rationals, so no
rounding of floats decides which element is read. A float32 scale stands for the simplest fraction that rounds to it
(0.33333334 is 1/3), which is what whoever wrote it meant. onnxruntime computes coordinates in float32 and may read
the neighbour where the exact coordinate lies on a boundary of floor or ceil.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from vml.model import views
from vml.model.builder import Value
from vml.model.lowering.base import Lowering, OnnxNode, Refused, static
from vml.model.lowering.logic import beside
from vml.model.lowering.movement import Inputs, axes_of, check_not_empty, first
from vml.model.numbers import Numbers, Tensor

Positions = list[list[int] | None]
HALF = Fraction(1, 2)


def pick_filled(b: Numbers, x: Value, positions: Positions, value: np.ndarray | None) -> Value:
    """``views.pick`` where FILL positions give ``value`` (a number of x's type; None: zero)."""
    check_not_empty([n if p is None else len(p) for n, p in zip(x.shape, positions, strict=True)])
    if all(p is None or views.FILL not in p for p in positions) or value is None or not value.reshape(()):
        return views.pick(b, x, positions)
    aligned, fill = beside(b, x, value.reshape(()))
    return views.pick(b, aligned, positions, fill=b.header(fill).lo)


def tile(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
    x, repeats = first(inputs), static(node, inputs, 1, "repeats")
    assert repeats is not None
    counts = [int(n) for n in repeats.reshape(-1)]
    if len(counts) != x.rank:
        raise Refused(f"{len(counts)} repeats for a tensor of rank {x.rank}")
    check_not_empty(counts)
    return [views.pick(b, x, [None if r == 1 else [*range(n)] * r for n, r in zip(x.shape, counts, strict=True)])]


# Pad


def _reflected(k: int, size: int) -> int:
    period = max(1, 2 * (size - 1))
    k %= period
    return k if k < size else period - k


PAD_MODES: dict[str, Callable[[int, int], int]] = {
    "constant": lambda k, size: k if 0 <= k < size else views.FILL,
    "reflect": _reflected,
    "edge": lambda k, size: min(max(k, 0), size - 1),
    "wrap": lambda k, size: k % size,
}
"""Position (possibly outside) and size of an axis to the position that is read."""


def pad(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
    """Negative pads crop first; what is left is then padded."""
    x, given = first(inputs), static(node, inputs, 1, "pads")
    pads = node.attributes.get("pads", node.attributes.get("paddings")) if given is None else given.reshape(-1).tolist()
    value = static(node, inputs, 2, "constant_value")
    if value is None and "value" in node.attributes:
        value = np.array(node.attributes["value"], dtype=np.float32)
    mode = node.attributes.get("mode", "constant")
    if mode not in PAD_MODES:
        raise Refused(f"mode {mode!r}; use one of {sorted(PAD_MODES)}")
    axes = axes_of(node, inputs, 3, x.rank)
    axes = list(range(x.rank)) if axes is None else axes
    if pads is None or len(pads) != 2 * len(axes):
        raise Refused(f"pads {pads} for axes {axes}")
    positions: Positions = [None] * x.rank
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        start, end = max(0, -before), x.shape[axis] - max(0, -after)
        check_not_empty([max(0, end - start)])
        x = views.slice_axis(x, axis, start, end - start)
        if before > 0 or after > 0:
            size = end - start
            positions[axis] = [PAD_MODES[mode](k, size) for k in range(-max(0, before), size + max(0, after))]
    return [pick_filled(b, x, positions, value)]


# Resize


def simplest(low: Fraction, high: Fraction) -> Fraction:
    """The fraction of smallest denominator in low..high, both > 0 (Stern-Brocot)."""
    whole = math.ceil(low)
    if whole <= high:
        return Fraction(whole)
    return whole - 1 + 1 / simplest(1 / (high - (whole - 1)), 1 / (low - (whole - 1)))


def intended(scale: float) -> Fraction:
    """The simplest fraction that rounds to this float32 > 0."""
    value = np.float32(scale)
    below, above = (Fraction(float(np.nextafter(value, np.float32(end)))) for end in (0, np.inf))
    exact = Fraction(float(value))
    return simplest((exact + below) / 2, (exact + above) / 2)


Coordinate = Callable[[Fraction, int, int, Fraction, tuple[Fraction, Fraction]], Fraction]


def _align_corners(x: Fraction, size: int, out: int, scale: Fraction, roi: tuple[Fraction, Fraction]) -> Fraction:
    return x * (size - 1) / (out - 1) if out > 1 else Fraction(0)


def _symmetric(x: Fraction, size: int, out: int, scale: Fraction, roi: tuple[Fraction, Fraction]) -> Fraction:
    return Fraction(size, 2) * (1 - out / (scale * size)) + (x + HALF) / scale - HALF


def _crop(x: Fraction, size: int, out: int, scale: Fraction, roi: tuple[Fraction, Fraction]) -> Fraction:
    start, end = roi
    if out == 1:
        return (start + end) * (size - 1) / 2
    return start * (size - 1) + x * (end - start) * (size - 1) / (out - 1)


COORDINATES: dict[str, Coordinate] = {
    "half_pixel": lambda x, size, out, scale, roi: (x + HALF) / scale - HALF,
    "half_pixel_symmetric": _symmetric,
    "pytorch_half_pixel": lambda x, size, out, scale, roi: (x + HALF) / scale - HALF if out > 1 else Fraction(0),
    "align_corners": _align_corners,
    "asymmetric": lambda x, size, out, scale, roi: x / scale,
    "tf_half_pixel_for_nn": lambda x, size, out, scale, roi: (x + HALF) / scale,
    "tf_crop_and_resize": _crop,
}
"""Output position, input size, output size, scale, region of interest to the input coordinate."""

ROUNDINGS: dict[str, Callable[[Fraction], int]] = {
    "round_prefer_floor": lambda x: math.ceil(x - HALF),
    "round_prefer_ceil": lambda x: math.floor(x + HALF),
    "floor": math.floor,
    "ceil": math.ceil,
}


def axis_positions(
    size: int, out: int, scale: Fraction, mode: str, rounding: str, roi: tuple[Fraction, Fraction]
) -> list[int]:
    """Which input element each output position of one axis reads; FILL outside a cropped region."""
    positions = []
    for k in range(out):
        x = COORDINATES[mode](Fraction(k), size, out, scale, roi)
        outside = mode == "tf_crop_and_resize" and not 0 <= x <= size - 1
        positions.append(views.FILL if outside else min(max(ROUNDINGS[rounding](x), 0), size - 1))
    return positions


def _scales(policy: str, sizes: Sequence[int], shape: Sequence[int]) -> list[tuple[int, Fraction]]:
    """Output size and scale per axis from the ``sizes`` input."""
    exact = [Fraction(wanted, n) for wanted, n in zip(sizes, shape, strict=True)]
    if policy == "stretch":
        return list(zip(sizes, exact, strict=True))
    if policy not in ("not_larger", "not_smaller"):
        raise Refused(f"keep_aspect_ratio_policy {policy!r}")
    scale = min(exact) if policy == "not_larger" else max(exact)
    return [(math.floor(scale * n + HALF), scale) for n in shape]


def resize(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
    """Nearest neighbour; opset 10 and Upsample as onnxruntime does: asymmetric, ceil where it shrinks, else floor."""
    x, attributes = first(inputs), node.attributes
    if attributes.get("mode", "nearest") != "nearest":
        raise Refused(f"mode {attributes['mode']!r}; only nearest is supported, export with mode nearest")
    modern = node.op == "Resize" and node.opset >= 11
    mode = attributes.get("coordinate_transformation_mode", "half_pixel") if modern else "asymmetric"
    if mode not in COORDINATES:
        raise Refused(f"coordinate_transformation_mode {mode!r}; use one of {sorted(COORDINATES)}")
    axes = attributes.get("axes", list(range(x.rank)))
    axes = [axis % x.rank for axis in axes]
    scales, sizes = _parameters(node, inputs, modern)
    if scales is not None:
        fractions = [intended(s) for s in scales]
        planned = [(math.floor(x.shape[axis] * f), f) for axis, f in zip(axes, fractions, strict=True)]
    else:
        assert sizes is not None
        policy = attributes.get("keep_aspect_ratio_policy", "stretch")
        planned = _scales(policy, sizes, [x.shape[axis] for axis in axes])
    roi = _regions(node, inputs, modern, mode, len(axes))
    check_not_empty([out for out, _ in planned])
    if mode != "tf_crop_and_resize" and all(out == x.shape[axis] for axis, (out, _) in zip(axes, planned, strict=True)):
        return [x]  # onnxruntime copies a tensor that keeps its size, whatever the scale
    positions: Positions = [None] * x.rank
    for axis, (out, scale), region in zip(axes, planned, roi, strict=True):
        if scale == 1 and mode != "tf_crop_and_resize":
            continue  # an axis that keeps its size is copied, whatever the rounding
        older = "ceil" if scale < 1 else "floor"
        rounding = attributes.get("nearest_mode", "round_prefer_floor") if modern else older
        positions[axis] = axis_positions(x.shape[axis], out, scale, mode, rounding, region)
    outside = np.array(attributes.get("extrapolation_value", 0.0), dtype=np.float32)
    return [pick_filled(b, x, positions, outside)]


def _parameters(node: OnnxNode, inputs: Inputs, modern: bool) -> tuple[list[float] | None, list[int] | None]:
    """Scales or sizes, whichever the node gives."""
    given = static(node, inputs, 2 if modern else 1, "scales")
    if given is not None and given.size:
        return [float(s) for s in given.reshape(-1)], None
    if "scales" in node.attributes:  # Upsample before opset 9
        return [float(s) for s in node.attributes["scales"]], None
    sizes = static(node, inputs, 3, "sizes")
    if sizes is None or not sizes.size:
        raise Refused("neither scales nor sizes are given")
    return None, [int(n) for n in sizes.reshape(-1)]


def _regions(node: OnnxNode, inputs: Inputs, modern: bool, mode: str, count: int) -> list[tuple[Fraction, Fraction]]:
    """Start and end of the region of interest, per resized axis, in units of the axis."""
    roi = static(node, inputs, 1, "roi") if modern and mode == "tf_crop_and_resize" else None
    if mode != "tf_crop_and_resize":
        return [(Fraction(0), Fraction(1))] * count
    if roi is None or roi.size != 2 * count:
        raise Refused(f"tf_crop_and_resize needs a roi of {2 * count} numbers")
    ends = [intended_signed(float(v)) for v in roi.reshape(-1)]
    return list(zip(ends[:count], ends[count:], strict=True))


def intended_signed(value: float) -> Fraction:
    """``intended`` for any float32."""
    return Fraction(0) if value == 0 else intended(value) if value > 0 else -intended(-value)


LOWERINGS: dict[str, Lowering] = {"Pad": pad, "Resize": resize, "Tile": tile, "Upsample": resize}
