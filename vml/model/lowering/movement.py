"""Operators that only move, repeat or relabel elements: exact, and free where strides allow it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vml.model import views
from vml.model.builder import Value
from vml.model.lowering.base import Lowering, OnnxNode, Refused, normalize_axis, static
from vml.model.numbers import Numbers, Tensor

Inputs = Sequence[Tensor | None]


def first(inputs: Inputs) -> Value:
    """The data input, which is in the graph (a node with static inputs only is folded). Raises Refused otherwise."""
    if not isinstance(inputs[0], Value):
        raise Refused("its data is constant but its parameters are computed at run time; make the parameters constant")
    return inputs[0]


def axes_of(node: OnnxNode, inputs: Inputs, position: int, rank: int, name: str = "axes") -> list[int] | None:
    """Axes from the attribute or, in later opsets, the input; non-negative, distinct; None where absent."""
    given = static(node, inputs, position, name)
    axes = node.attributes.get(name) if given is None else given.reshape(-1).tolist()
    if axes is None:
        return None
    chosen = [normalize_axis(int(axis), rank) for axis in axes]
    if len(set(chosen)) < len(chosen):
        raise Refused(f"axes {list(axes)} repeat an axis")
    return chosen


def check_not_empty(shape: Sequence[int]) -> None:
    """Raises Refused for a tensor without elements."""
    if math.prod(shape) == 0:
        raise Refused(f"a result of shape {tuple(shape)} has no elements; remove the node")


def identity(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
    return [first(inputs)]


def dropout(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
    """Inference: the identity, and a mask that keeps everything."""
    x, training = first(inputs), static(node, inputs, 2, "training_mode")
    if training is not None and bool(training):
        raise Refused("training_mode is on; export the model for inference")
    return [x, np.ones(x.shape, dtype=np.bool_)]


def reshape(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
    x, wanted = first(inputs), static(node, inputs, 1, "shape")
    assert wanted is not None
    shape = [int(n) for n in wanted.reshape(-1)]
    if not node.attributes.get("allowzero", 0):
        if any(n == 0 and k >= x.rank for k, n in enumerate(shape)):
            raise Refused(f"shape {shape} copies an axis that {x.shape} does not have")
        shape = [x.shape[k] if n == 0 else n for k, n in enumerate(shape)]
    check_not_empty(shape)
    if -1 in shape:
        known = math.prod(n for n in shape if n != -1)
        shape[shape.index(-1)] = math.prod(x.shape) // known
    if math.prod(shape) != math.prod(x.shape) or min(shape, default=1) < 1:
        raise Refused(f"{x.shape} cannot become {wanted.tolist()}")
    return [views.reshape(b, x, shape)]


def flatten(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
    x, axis = first(inputs), node.attributes.get("axis", 1)
    if not -x.rank <= axis <= x.rank:
        raise Refused(f"axis {axis} of a tensor of rank {x.rank}")
    cut = axis + x.rank if axis < 0 else axis
    return [views.reshape(b, x, (math.prod(x.shape[:cut]), math.prod(x.shape[cut:])))]


def transpose(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
    x = first(inputs)
    order = node.attributes.get("perm", list(reversed(range(x.rank))))
    if sorted(order) != list(range(x.rank)):
        raise Refused(f"perm {order} of a tensor of rank {x.rank}")
    return [views.transpose(x, order)]


def squeeze(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
    x = first(inputs)
    axes = axes_of(node, inputs, 1, x.rank)
    if axes is None:
        axes = [k for k, n in enumerate(x.shape) if n == 1]
    if any(x.shape[k] != 1 for k in axes):
        raise Refused(f"axes {axes} of {x.shape} are not all of size 1")
    return [views.squeeze(x, axes)]


def unsqueeze(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
    x = first(inputs)
    given = static(node, inputs, 1, "axes")
    count = len(node.attributes["axes"]) if given is None else given.size
    axes = axes_of(node, inputs, 1, x.rank + count)
    assert axes is not None
    return [views.unsqueeze(x, axes)]


def expand(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
    x, wanted = first(inputs), static(node, inputs, 1, "shape")
    assert wanted is not None
    sizes = [int(n) for n in wanted.reshape(-1)]
    check_not_empty(sizes)
    try:
        shape = np.broadcast_shapes(x.shape, tuple(sizes))
    except ValueError as error:
        raise Refused(f"{x.shape} does not broadcast with {sizes}") from error
    return [views.expand(x, shape)]


def concat(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
    filled = [t for t in inputs if t is not None and 0 not in t.shape]
    axis = normalize_axis(node.attributes["axis"], len(filled[0].shape))
    aligned = b.align(filled)
    return [aligned[0] if len(aligned) == 1 else views.concat(b, aligned, axis)]


def slice_(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
    x = first(inputs)

    def parameter(name: str, position: int) -> list[int] | None:
        given = static(node, inputs, position, name)
        values = node.attributes.get(name) if given is None else given.reshape(-1).tolist()
        return None if values is None else [int(v) for v in values]

    starts, ends = parameter("starts", 1), parameter("ends", 2)
    assert starts is not None
    assert ends is not None
    axes = axes_of(node, inputs, 3, x.rank)
    steps = parameter("steps", 4) or [1] * len(starts)
    axes = list(range(len(starts))) if axes is None else axes
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step == 0:
            raise Refused("a slice with step 0")
        chosen = range(*slice(start, end, step).indices(x.shape[axis]))
        check_not_empty([len(chosen)])
        x = views.slice_axis(x, axis, chosen.start, len(chosen), step)
    return [x]


def split(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
    x, given = first(inputs), static(node, inputs, 1, "split")
    axis = normalize_axis(node.attributes.get("axis", 0), x.rank)
    size = x.shape[axis]
    lengths = node.attributes.get("split") if given is None else given.reshape(-1).tolist()
    if lengths is None:
        count = node.attributes.get("num_outputs", node.outputs)
        each = -(-size // count)
        lengths = [min(each, size - k * each) for k in range(count)]
    if sum(lengths) != size or min(lengths) < 1:
        raise Refused(f"axis {axis} of size {size} cannot be split into {lengths}; every part needs an element")
    starts = [sum(lengths[:k]) for k in range(len(lengths))]
    return [views.slice_axis(x, axis, start, int(n)) for start, n in zip(starts, lengths, strict=True)]


def shape(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
    """Static: every shape is fixed at compile time."""
    x = first(inputs)
    start, end = node.attributes.get("start", 0), node.attributes.get("end", x.rank)
    return [np.array(x.shape[start:end], dtype=np.int64)]


def constant_of_shape(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
    """Reached only with a shape computed at run time (a constant one is folded)."""
    static(node, inputs, 0, "shape")
    raise Refused("its shape must be a constant")


LOWERINGS: dict[str, Lowering] = {
    "Concat": concat,
    "ConstantOfShape": constant_of_shape,
    "Dropout": dropout,
    "Expand": expand,
    "Flatten": flatten,
    "Identity": identity,
    "Reshape": reshape,
    "Shape": shape,
    "Slice": slice_,
    "Split": split,
    "Squeeze": squeeze,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
