"""Gemm, MatMul and Einsum: one ``dot`` over views; transposes and broadcast batches cost nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from vml.model import views
from vml.model.builder import Value, broadcast_view
from vml.model.codec import View
from vml.model.lowering.base import Lowering, OnnxNode, Refused
from vml.model.lowering.weights import Factor, factor, finest_scale, product, weight
from vml.model.numbers import Numbers, Tensor

INTERMEDIATE_BITS = 24


def _swapped(rank: int) -> list[int]:
    return [*range(rank - 2), rank - 1, rank - 2]


def _transposed(tensor: Tensor) -> Tensor:
    order = _swapped(len(tensor.shape))
    return tensor.transpose(order) if isinstance(tensor, np.ndarray) else views.transpose(tensor, order)


def multiplied(
    b: Numbers, first: Tensor, second: Tensor, bias: np.ndarray | None = None, transposed: bool = False
) -> Value:
    """Batched matrix product.

    Args:
        first: [batch..., m, k]. second: [batch..., k, n], or [batch..., n, k] where ``transposed``.
        bias: constant that broadcasts to the result.

    Returns:
        [batch..., m, n].
    """
    if isinstance(first, np.ndarray) and isinstance(second, Value) and bias is None:
        # The value becomes the activation side; the result is a transposed view.
        other = second if transposed else _transposed(second)
        swapped = multiplied(b, other, first, transposed=True)
        return views.transpose(swapped, _swapped(swapped.rank))
    a = factor(b, first)
    rank = len(second.shape)
    order = list(range(rank)) if transposed else _swapped(rank)
    w = weight(
        b,
        second,
        second.shape,
        order,
        channel_axis=rank - (2 if transposed else 1),
        finest=finest_scale(a, bias),
    )
    if w.steps is not None and rank != 2:
        w = weight(b, np.asarray(second), second.shape, order, finest=finest_scale(a, bias))
    if a.shape[-1] != w.value.shape[-1]:
        raise Refused(f"a product of shapes {first.shape} and {second.shape}")
    batch = np.broadcast_shapes(a.shape[:-2], w.value.shape[:-2])
    m, n, k = a.shape[-2], w.value.shape[-2], a.shape[-1]
    over_a = broadcast_view(a, (*batch, m, k))
    over_w = broadcast_view(w.value, (*batch, n, k))
    view_a = View(over_a.offset, (*over_a.strides[:-1], 0, over_a.strides[-1]))
    view_w = View(over_w.offset, (*over_w.strides[:-2], 0, *over_w.strides[-2:]))
    return product(b, (*batch, m, n), (k,), (a, view_a), (w, view_w), bias)


def gemm(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    first, second, bias = (*inputs, None)[:3]
    if first is None or second is None:
        raise Refused("both factors are required")
    alpha, beta = (Fraction(float(node.attributes.get(name, 1.0))) for name in ("alpha", "beta"))
    if alpha == 0:
        raise Refused("alpha is 0; remove the product from the graph")
    if node.attributes.get("transA", 0):
        first = _transposed(first)
    constant = None
    if isinstance(bias, np.ndarray):
        # alpha (A B + C beta / alpha): the bias joins the product's accumulator.
        constant = bias if alpha == beta else bias * np.float64(beta / alpha)
    y = multiplied(b, first, second, constant, bool(node.attributes.get("transB", 0)))
    if y.kind != "float" and not alpha == beta == 1:
        raise Refused("alpha and beta other than 1 with integer factors; put a Mul after the node")
    y = y if alpha == 1 else b.scaled(y, alpha)
    if isinstance(bias, Value) and beta:
        y = b.add(y, bias if beta == 1 else b.scaled(bias, beta))
    return [y]


def matmul(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    """numpy.matmul: a vector on the left is a row, on the right a column, and that axis disappears."""
    first, second = inputs
    if first is None or second is None:
        raise Refused("both factors are required")
    row, column = len(first.shape) == 1, len(second.shape) == 1
    if row:
        first = first.reshape(1, -1) if isinstance(first, np.ndarray) else views.unsqueeze(first, [0])
    if column:
        second = second.reshape(-1, 1) if isinstance(second, np.ndarray) else views.unsqueeze(second, [1])
    y = multiplied(b, first, second)
    gone = [axis for axis, absent in ((y.rank - 2, row), (y.rank - 1, column)) if absent]
    return [views.squeeze(y, gone)]


def _labels(equation: str, ranks: Sequence[int]) -> tuple[list[list[str]], list[str]]:
    """Einsum terms as lists of axis labels; an ellipsis axis is labelled by its distance from the end.

    Raises:
        Refused: a malformed equation.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(ranks):
        raise Refused(f"equation {equation!r} has {len(texts)} terms for {len(ranks)} inputs")

    def spell(text: str, dots: int) -> list[str]:
        before, ellipsis, after = text.partition("...")
        if before + after and not (before + after).isalpha():
            raise Refused(f"equation {equation!r}")
        middle = [f"...{dots - j}" for j in range(dots)] if ellipsis else []
        return [*before, *middle, *after]

    wide = [
        rank - len(text.replace("...", "")) if "..." in text else 0 for text, rank in zip(texts, ranks, strict=True)
    ]
    terms = [spell(text, dots) for text, dots in zip(texts, wide, strict=True)]
    if any(len(term) != rank for term, rank in zip(terms, ranks, strict=True)):
        raise Refused(f"equation {equation!r} for inputs of rank {list(ranks)}")
    if arrow:
        return terms, spell(right, max(wide, default=0))
    flat = [label for term in terms for label in term]
    once = sorted(label for label in set(flat) if len(label) == 1 and flat.count(label) == 1)
    return terms, [*(f"...{j}" for j in range(max(wide, default=0), 0, -1)), *once]


def _strides(value: Value, term: Sequence[str], sizes: Mapping[str, int]) -> dict[str, int]:
    """Storage step per label; a repeated label walks the diagonal."""
    steps: dict[str, int] = {}
    for label, n, stride in zip(term, value.shape, value.view.strides, strict=True):
        steps[label] = steps.get(label, 0) + (stride if n == sizes[label] else 0)
    return steps


def einsum(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    """Operands are contracted two by two from the left; a label leaves as soon as nobody needs it."""
    tensors = [t for t in inputs if t is not None]
    terms, wanted = _labels(node.attributes["equation"], [len(t.shape) for t in tensors])
    sizes: dict[str, int] = {}
    for term, tensor in zip(terms, tensors, strict=True):
        for label, n in zip(term, tensor.shape, strict=True):
            if sizes.get(label, 1) not in (1, n) and n != 1:
                raise Refused(f"label {label!r} has sizes {sizes[label]} and {n}")
            sizes[label] = max(sizes.get(label, 1), n)
    if missing := [label for label in wanted if label not in sizes]:
        raise Refused(f"output labels {missing} appear in no input")
    value, term = factor(b, tensors[0]), terms[0]
    if len(tensors) == 1:
        return [_summed(b, value, _strides(value, term, sizes), wanted, sizes)]
    for position in range(1, len(tensors)):
        last = position == len(tensors) - 1
        other = factor(b, tensors[position])
        first, second = _strides(value, term, sizes), _strides(other, terms[position], sizes)
        later = {label for rest in terms[position + 1 :] for label in rest} | set(wanted)
        both = list(dict.fromkeys([*first, *second]))
        term = wanted if last else [label for label in both if label in later]
        gone = [label for label in both if label not in term]
        loops = [*term, *gone]
        y = product(
            b,
            [sizes[label] for label in term],
            [sizes[label] for label in gone],
            (value, View(value.view.offset, tuple(first.get(label, 0) for label in loops))),
            (Factor(other), View(other.view.offset, tuple(second.get(label, 0) for label in loops))),
        )
        value = y if last or y.kind != "float" else b.narrow(y, INTERMEDIATE_BITS)
    return [value]


def _summed(
    b: Numbers, value: Value, steps: Mapping[str, int], wanted: Sequence[str], sizes: Mapping[str, int]
) -> Value:
    """Einsum of one operand: a view, and a sum over the labels that disappear."""
    gone = [label for label in steps if label not in wanted]
    loops = [*wanted, *gone]
    view = View(value.view.offset, tuple(steps[label] for label in loops))
    seen = replace(value, shape=tuple(sizes[label] for label in loops), view=view)
    if not gone:
        return seen
    return b.reduce("reduce_sum", seen, range(len(wanted), len(loops)), keepdims=False, limit=None)


LOWERINGS: dict[str, Lowering] = {"Gemm": gemm, "MatMul": matmul, "Einsum": einsum}
