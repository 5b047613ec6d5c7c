"""Rewrites of an ONNX graph that change no result in exact arithmetic, only what ezkl makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

_CONVOLUTIONS = ("Conv", "ConvTranspose")
_POOLS = ("MaxPool", "AveragePool")
_MAX_WINDOW = 16
"""Above this many elements a window's chain of comparisons is longer than ezkl's sort."""


def simplify(model: onnx.ModelProto) -> None:
    """Apply every rewrite in place.

    Args:
        model: with inferred shapes.
    """
    shapes = _shapes(model.graph)
    for node in model.graph.node:
        _spell_out(node, shapes)
    _relu_after_pool(model.graph)
    _pool_by_comparison(model.graph, shapes)


def _shapes(graph: onnx.GraphProto) -> dict[str, list[int]]:
    """Static shapes by tensor name."""
    result = {}
    for value in (*graph.value_info, *graph.input, *graph.output):
        dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
        if all(dims):
            result[value.name] = dims
    result.update({tensor.name: list(tensor.dims) for tensor in graph.initializer})
    return result


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    from onnx import helper

    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _set(node: onnx.NodeProto, name: str, value: Any) -> None:
    from onnx import helper

    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def _spell_out(node: onnx.NodeProto, shapes: dict[str, list[int]]) -> None:
    """Write the attributes that ONNX lets default and ezkl does not."""
    if node.op_type not in (*_CONVOLUTIONS, *_POOLS):
        return
    given = _attributes(node)
    if "kernel_shape" in given:
        kernel = list(given["kernel_shape"])
    elif len(node.input) > 1 and node.input[1] in shapes:
        kernel = shapes[node.input[1]][2:]
        _set(node, "kernel_shape", kernel)
    else:
        return
    n = len(kernel)
    strides = list(given.get("strides", [1] * n))
    dilations = list(given.get("dilations", [1] * n))
    _set(node, "strides", strides)
    if node.op_type != "AveragePool":
        _set(node, "dilations", dilations)
    if node.op_type in _CONVOLUTIONS:
        _set(node, "group", given.get("group", 1))
    pads = _pads(given, kernel, strides, dilations, shapes.get(node.input[0]))
    if pads is not None:
        _set(node, "pads", pads)
        if "auto_pad" in given:
            _set(node, "auto_pad", "NOTSET")


def _pads(
    given: dict[str, Any], kernel: list[int], strides: list[int], dilations: list[int], shape: list[int] | None
) -> list[int] | None:
    """Explicit padding, begins then ends; None where auto_pad needs a shape that is not known."""
    auto = given.get("auto_pad", b"NOTSET").decode()
    if auto == "NOTSET":
        return list(given.get("pads", [0] * (2 * len(kernel))))
    if auto == "VALID":
        return [0] * (2 * len(kernel))
    if shape is None:
        return None
    begins, ends = [], []
    for size, k, s, d in zip(shape[2:], kernel, strides, dilations, strict=True):
        total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
        small, large = total // 2, total - total // 2
        begins.append(small if auto == "SAME_UPPER" else large)
        ends.append(large if auto == "SAME_UPPER" else small)
    return begins + ends


def _relu_after_pool(graph: onnx.GraphProto) -> None:
    """Relu then MaxPool becomes MaxPool then Relu: the same values, since both keep order, on fewer elements."""
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    outputs = {value.name for value in graph.output}
    for relu in graph.node:
        if relu.op_type != "Relu" or relu.output[0] in outputs:
            continue
        users = consumers.get(relu.output[0], [])
        if len(users) != 1 or users[0].op_type != "MaxPool" or len(users[0].output) != 1:
            continue
        pool = users[0]
        # Padding counts as minus infinity before the ReLU and after it alike, but not for a zero ReLU floor:
        # a window always holds a real element, so the maximum is the same either way.
        source, middle, result = relu.input[0], relu.output[0], pool.output[0]
        relu.CopyFrom(_renamed(pool, source, middle))
        pool.CopyFrom(_relu(middle, result))


def _renamed(node: onnx.NodeProto, source: str, result: str) -> onnx.NodeProto:
    copy = type(node)()
    copy.CopyFrom(node)
    copy.input[0], copy.output[0] = source, result
    return copy


def _relu(source: str, result: str) -> onnx.NodeProto:
    from onnx import helper

    return helper.make_node("Relu", [source], [result])


def _pool_by_comparison(graph: onnx.GraphProto, shapes: dict[str, list[int]]) -> None:
    """MaxPool without padding becomes max(a, b) = a + relu(b - a) over strided slices."""
    import numpy as np
    from onnx import helper, numpy_helper

    nodes = list(graph.node)
    del graph.node[:]
    for index, node in enumerate(nodes):
        given = _attributes(node)
        source = node.input[0] if node.input else ""
        if not _plain_pool(node, given, shapes.get(source)):
            graph.node.append(node)
            continue
        kernel, strides, dilations = (list(given[key]) for key in ("kernel_shape", "strides", "dilations"))
        axes = list(range(2, 2 + len(kernel)))
        counts = [
            (size - (k - 1) * d - 1) // s + 1
            for size, k, s, d in zip(shapes[source][2:], kernel, strides, dilations, strict=True)
        ]
        prefix = f"vml_pool_{index}"
        for name, value in (("axes", axes), ("steps", strides)):
            array = np.array(value, np.int64)
            graph.initializer.append(numpy_helper.from_array(array, f"{prefix}_{name}"))
        parts = []
        for offset in np.ndindex(*kernel):
            begin = [o * d for o, d in zip(offset, dilations, strict=True)]
            end = [b + (c - 1) * s + 1 for b, c, s in zip(begin, counts, strides, strict=True)]
            part = f"{prefix}_{'_'.join(map(str, offset))}"
            for name, value in (("begin", begin), ("end", end)):
                array = np.array(value, np.int64)
                graph.initializer.append(numpy_helper.from_array(array, f"{part}_{name}"))
            bounds = [f"{part}_begin", f"{part}_end", f"{prefix}_axes", f"{prefix}_steps"]
            graph.node.append(helper.make_node("Slice", [source, *bounds], [part]))
            parts.append(part)
        _maximum(graph, parts, prefix, node.output[0])


def _maximum(graph: onnx.GraphProto, parts: list[str], prefix: str, result: str) -> None:
    """The elementwise maximum of several tensors, as a balanced tree."""
    from onnx import helper

    level = 0
    while len(parts) > 1:
        above = []
        for i in range(0, len(parts) - 1, 2):
            name = result if len(parts) == 2 else f"{prefix}_max_{level}_{i}"
            graph.node.append(helper.make_node("Sub", [parts[i + 1], parts[i]], [f"{name}_minus"]))
            graph.node.append(_relu(f"{name}_minus", f"{name}_more"))
            graph.node.append(helper.make_node("Add", [parts[i], f"{name}_more"], [name]))
            above.append(name)
        if len(parts) % 2:
            above.append(parts[-1])
        parts, level = above, level + 1


def _plain_pool(node: onnx.NodeProto, given: dict[str, Any], shape: list[int] | None) -> bool:
    """Whether a node is a MaxPool that comparisons can stand for."""
    if node.op_type != "MaxPool" or len(node.output) != 1 or shape is None:
        return False
    window = 1
    for size in given["kernel_shape"]:
        window *= size
    no_padding = not any(given.get("pads", [])) and given.get("ceil_mode", 0) == 0
    return no_padding and 1 < window <= _MAX_WINDOW
