"""Networks to measure on: known shapes, seeded weights, nothing downloaded.

Weights are He-scaled normal numbers, and every convolution and dense layer is normalised over the calibration rows,
as batch normalisation folded into weights is: so activations are alive in every layer and few saturate. What such
a network answers means nothing; what it costs to prove depends on its shape only.

* ``resnet8``, ``mobilenet025``: the reference models of MLPerf Tiny (image classification, visual wake words), with
  their layers, strides and paddings, up to the softmax. Source: Banbury et al., "MLPerf Tiny Benchmark" (2021), and
  its repository's v0.5 training scripts; He et al. (2016); Howard et al. (2017).
* ``dense4m``: four dense layers of a thousand and a head of ten, with Relu: 4 million weights, a size that published
  comparisons of provers use.
* ``mlp_N``: three square dense layers and a head of ten, with Relu, of about N weights. Their widths (56, 180, 575 and
  1,824) follow from N alone, and no two lie alike between powers of two.
* ``lenet5``: the shipped, trained model in ``circuits/``.
* ``resnet50``: ResNet-50 with the strides in its 3 x 3 convolutions, up to the softmax, on pictures of 224 x 224. Too
  large for the provers' benchmarks, so not among ``NETWORKS``. Source: He et al. (2016); the strides as in torchvision.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, np.dtype[Any]]

CIRCUITS = Path(__file__).resolve().parents[1] / "circuits"
ROWS = 16
"""Calibration rows; weights are normalised over the same."""
RESNET_ROWS = 4
"""The same of ``resnet50``."""
OPSET = 17


@dataclass(frozen=True)
class Network:
    """One ONNX model with the rows that calibrate it and one more to prove.

    Attributes:
        onnx: the file's bytes. weights: numbers in it, biases included.
        calibration: arrays ``(ROWS, *shape)`` by input name. sample: one row by input name, of the input's shape.
    """

    name: str
    onnx: bytes
    weights: int
    calibration: dict[str, Array]
    sample: dict[str, Array]


class _Sketch:
    """A graph that is built layer by layer, with the values of the calibration rows beside it."""

    def __init__(self, name: str, rows: Array, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._name, self._rows = name, rows
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: list[onnx.TensorProto] = []
        self._seen: dict[str, Array] = {"input": rows}

    def _node(self, operator: str, inputs: list[str], value: Array, **attributes: Any) -> str:
        output = f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        self._seen[output] = value.astype(np.float32)
        return output

    def _tensor(self, values: Array) -> str:
        name = f"tensor_{len(self._tensors)}"
        self._tensors.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype=np.float32), name))
        return name

    def _he(self, shape: tuple[int, ...], fan_in: int) -> Array:
        return (self._random.standard_normal(shape, dtype=np.float32) * math.sqrt(2 / fan_in)).astype(np.float32)

    def conv(self, x: str, out: int, kernel: int, stride: int = 1, *, depthwise: bool = False) -> str:
        """Convolution with padding as Keras' ``same``, normalised; ``depthwise`` keeps the channels."""
        values = self._seen[x]
        channels = values.shape[1]
        inner, groups = (1, channels) if depthwise else (channels, 1)
        weights = self._he((out, inner, kernel, kernel), inner * kernel * kernel)
        pads = [_same(size, kernel, stride) for size in values.shape[2:]]
        found = _convolve(values, weights, stride, pads, depthwise)
        scale, bias = _normalisation(found, (0, 2, 3))
        found = found * scale.reshape(-1, 1, 1) + bias.reshape(-1, 1, 1)
        inputs = [x, self._tensor(weights * scale.reshape(-1, 1, 1, 1)), self._tensor(bias)]
        ends = [pads[0][0], pads[1][0], pads[0][1], pads[1][1]]
        return self._node(
            "Conv", inputs, found, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=ends, group=groups
        )

    def dense(self, x: str, out: int) -> str:
        """Matrix product and bias, normalised."""
        values = self._seen[x]
        weights = self._he((values.shape[1], out), values.shape[1])
        found = values @ weights
        scale, bias = _normalisation(found, (0,))
        return self._node("Gemm", [x, self._tensor(weights * scale), self._tensor(bias)], found * scale + bias)

    def channels(self, x: str) -> int:
        return int(self._seen[x].shape[1])

    def relu(self, x: str) -> str:
        return self._node("Relu", [x], np.maximum(self._seen[x], 0))

    def add(self, x: str, y: str) -> str:
        return self._node("Add", [x, y], self._seen[x] + self._seen[y])

    def max_pooled(self, x: str) -> str:
        """The largest of 3 x 3, with stride 2 and padding 1."""
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(self._seen[x], [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=-np.inf), (3, 3), axis=(2, 3)
        )
        largest = windows[:, :, ::2, ::2].max(axis=(4, 5))
        return self._node("MaxPool", [x], largest, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])

    def pooled(self, x: str) -> str:
        """Average over all positions, flattened."""
        means = self._seen[x].mean(axis=(2, 3), keepdims=True)
        pooled = self._node(
            "AveragePool", [x], means, kernel_shape=list(self._seen[x].shape[2:]), strides=list(self._seen[x].shape[2:])
        )
        return self._node("Flatten", [pooled], means.reshape(len(means), -1))

    def softmax(self, x: str) -> str:
        powers = np.exp(self._seen[x] - self._seen[x].max(axis=1, keepdims=True))
        return self._node("Softmax", [x], powers / powers.sum(axis=1, keepdims=True), axis=1)

    def finish(self, output: str, sample: Array) -> Network:
        """The model, with a batch of 1."""
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *self._seen[name].shape[1:]])
            for name in ("input", output)
        ]
        graph = helper.make_graph(self._nodes, self._name, ends[:1], ends[1:], self._tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(model)
        weights = sum(math.prod(tensor.dims) for tensor in self._tensors)
        return Network(self._name, model.SerializeToString(), weights, {"input": self._rows}, {"input": sample})


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and after, as Keras' ``same``: the odd one goes to the end."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _convolve(values: Array, weights: Array, stride: int, pads: list[tuple[int, int]], depthwise: bool) -> Array:
    padded = np.pad(values, [(0, 0), (0, 0), *pads])
    windows = np.lib.stride_tricks.sliding_window_view(padded, weights.shape[2:], axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride]
    if depthwise:
        return np.einsum("nchwij,cij->nchw", windows, weights[:, 0], optimize=True)
    return np.einsum("nchwij,ocij->nohw", windows, weights, optimize=True)


def _normalisation(values: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Scale and bias that give every channel mean 0.2 and deviation 1 (nearly: quiet channels are not blown up)."""
    scale = 1 / (values.std(axis=axes) + 0.05)
    return scale, 0.2 - values.mean(axis=axes) * scale


def images(count: int, size: int, seed: int) -> Array:
    """Random pictures ``[count, 3, size, size]`` in 0..1 with coarse and fine detail, in steps of 1/255."""
    random = np.random.default_rng(seed)
    coarse = random.random((count, 3, 8, 8)).repeat(size // 8, axis=2).repeat(size // 8, axis=3)
    mixed = 0.7 * coarse + 0.3 * random.random((count, 3, size, size))
    return (np.round(mixed * 255) / 255).astype(np.float32)


def resnet8(seed: int = 0) -> Network:
    """MLPerf Tiny's ResNet for CIFAR-10: 32 x 32 x 3, three stacks of 16, 32 and 64 filters."""
    rows = images(ROWS + 1, 32, seed)
    net = _Sketch("resnet8", rows[:ROWS], seed)
    x = net.relu(net.conv("input", 16, 3))
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        y = net.relu(net.conv(x, filters, 3, stride))
        y = net.conv(y, filters, 3)
        x = net.relu(net.add(x if stride == 1 else net.conv(x, filters, 1, stride), y))
    return net.finish(net.softmax(net.dense(net.pooled(x), 10)), rows[ROWS:])


MOBILENET = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1))
"""Filters and stride of each depthwise separable layer at width 0.25."""


def mobilenet025(seed: int = 0) -> Network:
    """MLPerf Tiny's MobileNet v1 for visual wake words: width 0.25, 96 x 96 x 3, two classes."""
    rows = images(ROWS + 1, 96, seed)
    net = _Sketch("mobilenet025", rows[:ROWS], seed)
    x, channels = net.relu(net.conv("input", 8, 3, 2)), 8
    for filters, stride in MOBILENET:
        x = net.relu(net.conv(x, channels, 3, stride, depthwise=True))
        x, channels = net.relu(net.conv(x, filters, 1)), filters
    return net.finish(net.softmax(net.dense(net.pooled(x), 2)), rows[ROWS:])


def dense(name: str, layers: int, width: int, seed: int = 0) -> Network:
    """Square dense layers and a head of ten, Relu between them."""
    rows = np.random.default_rng(seed).random((ROWS + 1, width), dtype=np.float32)
    net = _Sketch(name, rows[:ROWS], seed)
    x = "input"
    for _ in range(layers):
        x = net.relu(net.dense(x, width))
    return net.finish(net.dense(x, 10), rows[ROWS:])


def mlp(weights: int, seed: int = 0) -> Network:
    """Three square layers and a head, of about ``weights`` weights."""
    return dense(f"mlp_{weights}", 3, round((math.sqrt(13 * 13 + 12 * weights) - 13) / 6), seed)


def lenet5() -> Network:
    """The shipped model, its rows and its sample."""
    folder = CIRCUITS / "lenet5"
    source = (folder / "model.onnx").read_bytes()
    weights = sum(math.prod(tensor.dims) for tensor in onnx.load_from_string(source).graph.initializer)
    with np.load(folder / "calibration.npz") as rows, np.load(folder / "sample.npz") as sample:
        return Network("lenet5", source, weights, dict(rows), dict(sample))


RESNET50 = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""Inner width, blocks and stride of each stage; a block's output is four times as wide."""


def resnet50(seed: int = 0) -> Network:
    """ResNet-50 with batch normalisation folded: 25.5 million weights, 4.1 billion products."""
    rows = images(RESNET_ROWS + 1, 224, seed)
    net = _Sketch("resnet50", rows[:RESNET_ROWS], seed)
    x = net.max_pooled(net.relu(net.conv("input", 64, 7, 2)))
    for width, blocks, first in RESNET50:
        for stride in (first, *[1] * (blocks - 1)):
            shortcut = x if net.channels(x) == 4 * width else net.conv(x, 4 * width, 1, stride)
            y = net.relu(net.conv(x, width, 1))
            y = net.conv(net.relu(net.conv(y, width, 3, stride)), 4 * width, 1)
            x = net.relu(net.add(shortcut, y))
    return net.finish(net.softmax(net.dense(net.pooled(x), 1000)), rows[RESNET_ROWS:])


GROWTH = (10**4, 10**5, 10**6, 10**7)
"""Weights of the networks that growth is fitted on."""

NETWORKS: dict[str, Callable[[], Network]] = {
    "lenet5": lenet5,
    "resnet8": resnet8,
    "mobilenet025": mobilenet025,
    "dense4m": lambda: dense("dense4m", 4, 1000),
    **{f"mlp_{weights}": (lambda weights=weights: mlp(weights)) for weights in GROWTH},  # type: ignore[misc]
}
