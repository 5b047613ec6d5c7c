"""Sliding windows over spatial axes: sizes, padding and window views shared by convolution and pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vml.model import views
from vml.model.builder import Builder, Value
from vml.model.lowering.base import OnnxNode, Refused


@dataclass(frozen=True)
class Window:
    """How a kernel slides along one spatial axis.

    Attributes:
        size: input positions. kernel: taps. stride, dilation: in positions.
        begin, end: declared padding, in positions. count: output positions.
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    begin: int
    end: int
    count: int

    @property
    def reach(self) -> int:
        """Positions from the first to the last tap, both included."""
        return (self.kernel - 1) * self.dilation + 1

    def positions(self) -> list[int] | None:
        """Padded axis as input positions and FILL, as far as windows read; None where nothing is padded."""
        needed = (self.count - 1) * self.stride + self.reach
        after = max(0, needed - self.begin - self.size)
        if self.begin == 0 and after == 0:
            return None
        return [views.FILL] * self.begin + list(range(self.size)) + [views.FILL] * after

    def taps_inside(self, with_padding: bool) -> list[int]:
        """For every output position, how many taps read the input (with_padding: or its declared padding)."""
        low = 0 if with_padding else self.begin
        high = self.begin + self.size + (self.end if with_padding else 0)
        return [
            sum(low <= o * self.stride + t * self.dilation < high for t in range(self.kernel))
            for o in range(self.count)
        ]


def per_axis(node: OnnxNode, name: str, rank: int, default: int) -> list[int]:
    """An integer attribute with one entry per spatial axis. Raises Refused where it has another length."""
    values = [int(v) for v in node.attributes.get(name) or [default] * rank]
    if len(values) != rank:
        raise Refused(f"{name} {values} for {rank} spatial axes")
    return values


def padding(node: OnnxNode, rank: int) -> list[tuple[int, int]]:
    """The pads attribute as (begin, end) per axis. Raises Refused for negative padding."""
    pads = [int(v) for v in node.attributes.get("pads") or [0] * (2 * rank)]
    if len(pads) != 2 * rank or min(pads, default=0) < 0:
        raise Refused(f"pads {pads} for {rank} spatial axes; a Slice before the node can replace negative pads")
    return list(zip(pads[:rank], pads[rank:], strict=True))


def sliding(node: OnnxNode, sizes: Sequence[int], kernel: Sequence[int], ceil: bool = False) -> list[Window]:
    """The windows of a node with strides, dilations, pads and auto_pad.

    Args:
        node: the node. sizes: input size per spatial axis. kernel: taps per spatial axis.
        ceil: count the last, incomplete window too, as long as it starts before the end padding.

    Raises:
        Refused: attributes of the wrong length, or a kernel larger than the padded input.
    """
    rank = len(sizes)
    if len(kernel) != rank:
        raise Refused(f"kernel {list(kernel)} for {rank} spatial axes")
    strides, dilations = per_axis(node, "strides", rank, 1), per_axis(node, "dilations", rank, 1)
    auto = node.attributes.get("auto_pad", "NOTSET")
    pads = padding(node, rank) if auto == "NOTSET" else [(0, 0)] * rank
    windows = []
    for size, taps, stride, dilation, (begin, end) in zip(sizes, kernel, strides, dilations, pads, strict=True):
        reach = (taps - 1) * dilation + 1
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            total = max((-(-size // stride) - 1) * stride + reach - size, 0)
            begin, end = split_padding(total, upper=auto == "SAME_UPPER")
        span = size + begin + end - reach
        if span < 0:
            raise Refused(f"a kernel reaching over {reach} positions on {size} with pads {begin} and {end}")
        count = span // stride + 1
        if ceil and span % stride and count * stride < size + begin:
            count += 1
        windows.append(Window(size, taps, stride, dilation, begin, end, count))
    return windows


def split_padding(total: int, upper: bool) -> tuple[int, int]:
    """Padding in halves; the odd one goes to the end (upper) or to the beginning."""
    return (total // 2, total - total // 2) if upper else (total - total // 2, total // 2)


def padded(b: Builder, x: Value, windows: Sequence[Window], fill: int = 0) -> Value:
    """x [N, C, spatial...] with the padding its windows read; x itself where there is none."""
    positions = [None, None, *(window.positions() for window in windows)]
    return x if all(p is None for p in positions) else views.pick(b, x, positions, fill)


def windowed(x: Value, windows: Sequence[Window]) -> Value:
    """A padded x [N, C, spatial...] as a view [N, C, count0, taps0, count1, taps1, ...]."""
    for axis in reversed(range(len(windows))):
        w = windows[axis]
        x = views.windows(x, 2 + axis, w.count, w.kernel, w.stride, w.dilation)
    return x
