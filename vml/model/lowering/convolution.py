"""Conv and ConvTranspose, any number of spatial axes: one ``dot`` over overlapping views of the padded input.

Loops are (n, out..., [group], channel) and contracted (taps..., channel in group): the result is
stored channels last, weights as [group, channel, taps..., channel in group], and a 1x1 convolution is a plain
matrix product. ConvTranspose spreads the input by its strides, with zeros in between, and slides the reversed kernel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vml.model import views
from vml.model.builder import Value
from vml.model.codec import View
from vml.model.lowering.base import Lowering, OnnxNode, Refused
from vml.model.lowering.spatial import Window, padded, padding, per_axis, sliding, split_padding
from vml.model.lowering.weights import Factor, factor, finest_scale, product, weight
from vml.model.numbers import Numbers, Tensor
from vml.model.tensor import row_major


def convolve(b: Numbers, x: Value, weights: Factor, windows: Sequence[Window], bias: Tensor | None) -> Value:
    """Slide ``weights`` over an already padded x.

    Args:
        x: [N, groups * in, spatial...]. weights: [groups, out, taps..., in]. windows: one per spatial axis.
        bias: [groups * out] or None.

    Returns:
        [N, groups * out, counts...], stored channels last.
    """
    groups, out, *_, inner = weights.value.shape
    (batch, channel, *space), kernel = x.view.strides, weights.value.view.strides
    counts, taps = [w.count for w in windows], [w.kernel for w in windows]
    steps = [s * w.stride for s, w in zip(space, windows, strict=True)]
    reach = [s * w.dilation for s, w in zip(space, windows, strict=True)]
    loops = [(groups, channel * inner, kernel[0])] if groups > 1 else []
    if groups == 1 or out > 1:
        loops.append((out, 0, kernel[1]))
    shape = [x.shape[0], *counts, *(n for n, _, _ in loops)]
    over_x = View(x.view.offset, (batch, *steps, *(s for _, s, _ in loops), *reach, channel))
    over_w = View(weights.value.view.offset, (0, *(0 for _ in counts), *(s for _, _, s in loops), *kernel[2:]))
    constant = bias.reshape(shape[1 + len(counts) :]) if isinstance(bias, np.ndarray) else None
    y = product(b, shape, [*taps, inner], (x, over_x), (weights, over_w), constant)
    strides = row_major([x.shape[0], *counts, groups * out])
    logical = (x.shape[0], groups * out, *counts)
    y = Value(y.ref, logical, View(0, (strides[0], strides[-1], *strides[1:-1])), y.scale, y.kind)
    if isinstance(bias, Value):
        return b.add(y, views.unsqueeze(bias, range(1, 1 + len(counts))))
    return y


def _operands(inputs: Sequence[Tensor | None]) -> tuple[Tensor, Tensor, Tensor | None]:
    x, w, bias = (*inputs, None)[:3]
    if x is None or w is None:
        raise Refused("input and weights are required")
    if len(x.shape) < 3 or len(x.shape) != len(w.shape):
        raise Refused(f"input {x.shape} with weights {w.shape}")
    return x, w, bias


def _static(bias: Tensor | None) -> np.ndarray | None:
    return bias if isinstance(bias, np.ndarray) else None


def conv(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    x, w, bias = _operands(inputs)
    groups, rank = int(node.attributes.get("group", 1)), len(w.shape) - 2
    outer, inner, *taps = w.shape
    if outer % groups or x.shape[1] != inner * groups:
        raise Refused(f"{x.shape[1]} input channels and weights {w.shape} in {groups} groups")
    windows = sliding(node, x.shape[2:], taps)
    x = factor(b, x)
    weights = weight(
        b,
        w,
        (groups, outer // groups, inner, *taps),
        (0, 1, *range(3, 3 + rank), 2),
        channel_axis=0,
        finest=finest_scale(x, _static(bias)),
    )
    return [convolve(b, padded(b, x, windows), weights, windows, bias)]


def _spread(node: OnnxNode, sizes: Sequence[int], taps: Sequence[int]) -> list[tuple[Window, list[int]]]:
    """Per axis of a ConvTranspose: the window over the spread input, and the spread input's positions."""
    rank = len(sizes)
    strides, dilations = per_axis(node, "strides", rank, 1), per_axis(node, "dilations", rank, 1)
    extra, auto = per_axis(node, "output_padding", rank, 0), node.attributes.get("auto_pad", "NOTSET")
    wanted = [int(n) for n in node.attributes.get("output_shape") or ()][-rank:]
    if any(extra) and auto.startswith("SAME"):
        raise Refused("runtimes disagree on auto_pad with output_padding; write the pads out")
    pads = padding(node, rank) if auto == "NOTSET" else [(0, 0)] * rank
    result = []
    for axis, (size, kernel, stride, dilation) in enumerate(zip(sizes, taps, strides, dilations, strict=True)):
        reach = (kernel - 1) * dilation + 1
        full = stride * (size - 1) + extra[axis] + reach
        begin, end = pads[axis]
        count = wanted[axis] if wanted else full - begin - end
        if not wanted and auto in ("SAME_UPPER", "SAME_LOWER"):
            count = min(size * stride, full)
        if wanted or auto != "NOTSET":
            begin, end = split_padding(max(full - count, 0), upper=auto == "SAME_UPPER")
        if count < 1:
            raise Refused(f"pads {begin} and {end} leave nothing of {full} positions")
        first = begin - (reach - 1)
        places = range(first, first + count + reach - 1)
        inside = [p // stride if p % stride == 0 and 0 <= p // stride < size else views.FILL for p in places]
        result.append((Window(len(inside), kernel, 1, dilation, 0, 0, count), inside))
    return result


def conv_transpose(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    x, w, bias = _operands(inputs)
    groups, rank = int(node.attributes.get("group", 1)), len(w.shape) - 2
    inner, out, *taps = w.shape
    if inner % groups or x.shape[1] != inner:
        raise Refused(f"{x.shape[1]} input channels and weights {w.shape} in {groups} groups")
    spread = _spread(node, x.shape[2:], taps)
    x = factor(b, x)
    weights = weight(
        b,
        w,
        (groups, inner // groups, out, *taps),
        (0, 2, *range(3, 3 + rank), 1),
        range(2, 2 + rank),
        channel_axis=1 if groups == 1 else None,
        finest=finest_scale(x, _static(bias)),
    )
    if any(inside != list(range(n)) for (_, inside), n in zip(spread, x.shape[2:], strict=True)):
        x = views.pick(b, x, [None, None, *(inside for _, inside in spread)])
    return [convolve(b, x, weights, [window for window, _ in spread], bias)]


LOWERINGS: dict[str, Lowering] = {"Conv": conv, "ConvTranspose": conv_transpose}
