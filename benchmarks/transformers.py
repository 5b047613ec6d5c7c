"""Transformers to measure on: a decoder as GPT-2 is built, of any size, with seeded weights and nothing downloaded.

Every layer is pre-normalised causal attention and a dense layer of four times the width with Gelu; embedding and head
share their weights, as in GPT-2. Weights are normal numbers of deviation ``1 / sqrt(fan in)``, those that write into
the residual stream smaller by ``sqrt(2 layers)``, so that activations and attention are alive at every depth. What such
a network answers means nothing; what it costs depends on its shape only.

Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), and its published configuration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.networks import Array, Network

OPSET = 20
"""The first with Gelu."""
ROWS = 4


@dataclass(frozen=True)
class Shape:
    """How large a decoder is: GPT-2's names for it."""

    layers: int
    width: int
    heads: int
    vocabulary: int
    tokens: int


GPT2_SMALL = Shape(layers=12, width=768, heads=12, vocabulary=50_257, tokens=32)
"""The published one, of 124 million weights, with the positions it is run on and no others."""
TINY = Shape(layers=2, width=64, heads=4, vocabulary=997, tokens=16)
"""The same code path in a second."""


class _Decoder:
    def __init__(self, shape: Shape, seed: int) -> None:
        self.shape, self._random = shape, np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def constant(self, name: str, values: Array) -> str:
        self.tensors.append(numpy_helper.from_array(values, name))
        return name

    def weights(self, name: str, shape: tuple[int, ...], deviation: float) -> str:
        return self.constant(name, self._random.standard_normal(shape, dtype=np.float32) * np.float32(deviation))

    def node(self, operator: str, name: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        names = [name] if outputs == 1 else [f"{name}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, name=name, **attributes))
        return names[0]

    def normalised(self, name: str, x: str) -> str:
        scale = self.constant(f"{name}.scale", np.ones(self.shape.width, np.float32))
        shift = self.weights(f"{name}.bias", (self.shape.width,), 0.02)
        return self.node("LayerNormalization", name, x, scale, shift, axis=-1)

    def dense(self, name: str, x: str, inner: int, out: int, deviation: float) -> str:
        product = self.node("MatMul", f"{name}.product", x, self.weights(f"{name}.weight", (inner, out), deviation))
        return self.node("Add", name, product, self.weights(f"{name}.bias", (out,), 0.02))

    def heads(self, name: str, part: str, perm: tuple[int, ...]) -> str:
        split = self.node("Reshape", f"{name}.heads", part, "heads")
        return self.node("Transpose", name, split, perm=perm)

    def attention(self, name: str, x: str) -> str:
        width = self.shape.width
        self.dense(f"{name}.qkv", x, width, 3 * width, width**-0.5)
        self.node("Split", f"{name}.split", f"{name}.qkv", outputs=3, axis=-1, num_outputs=3)
        query = self.heads(f"{name}.query", f"{name}.split_0", (0, 2, 1, 3))
        key = self.heads(f"{name}.key", f"{name}.split_1", (0, 2, 3, 1))
        value = self.heads(f"{name}.value", f"{name}.split_2", (0, 2, 1, 3))
        scores = self.node("MatMul", f"{name}.scores", query, key)
        scaled = self.node("Mul", f"{name}.scaled", scores, "scale")
        masked = self.node("Where", f"{name}.masked", "causal", scaled, "never")
        shares = self.node("Softmax", f"{name}.softmax", masked, axis=-1)
        mixed = self.node("MatMul", f"{name}.mixed", shares, value)
        joined = self.node("Transpose", f"{name}.joined", mixed, perm=(0, 2, 1, 3))
        flat = self.node("Reshape", f"{name}.flat", joined, "flat")
        return self.dense(f"{name}.out", flat, width, width, (2 * self.shape.layers * width) ** -0.5)

    def perceptron(self, name: str, x: str) -> str:
        width = self.shape.width
        inner = self.dense(f"{name}.up", x, width, 4 * width, width**-0.5)
        active = self.node("Gelu", f"{name}.gelu", inner, approximate="tanh")
        return self.dense(f"{name}.down", active, 4 * width, width, (8 * self.shape.layers * width) ** -0.5)

    def shared(self) -> None:
        """What all layers read."""
        tokens, size = self.shape.tokens, self.shape.width // self.shape.heads
        self.constant("heads", np.array([1, tokens, self.shape.heads, size], np.int64))
        self.constant("flat", np.array([1, tokens, self.shape.width], np.int64))
        self.constant("rows", np.array([tokens, self.shape.width], np.int64))
        self.constant("scale", np.array(1 / math.sqrt(size), np.float32))
        self.constant("causal", np.tril(np.ones((1, 1, tokens, tokens), bool)))
        self.constant("never", np.array(-np.inf, np.float32))

    def build(self) -> str:
        """The whole network; returns the name of its logits."""
        shape = self.shape
        self.shared()
        table = self.weights("embedding", (shape.vocabulary, shape.width), shape.width**-0.5)
        x = self.node("Gather", "embedded", table, "tokens", axis=0)
        x = self.node("Add", "positioned", x, self.weights("positions", (1, shape.tokens, shape.width), 0.01))
        for k in range(shape.layers):
            attended = self.attention(f"layer{k}.attention", self.normalised(f"layer{k}.norm1", x))
            x = self.node("Add", f"layer{k}.middle", x, attended)
            thought = self.perceptron(f"layer{k}", self.normalised(f"layer{k}.norm2", x))
            x = self.node("Add", f"layer{k}.end", x, thought)
        last = self.node("Reshape", "states", self.normalised("norm", x), "rows")
        return self.node("Gemm", "logits", last, table, transB=1)


def transformer(shape: Shape, seed: int = 0) -> Network:
    """A decoder: ``tokens`` int64[1, T] to ``logits`` float32[T, vocabulary] and ``next``, int64[T], their arg max.

    Args:
        shape: its size.
        seed: of weights, calibration rows and sample.
    """
    decoder = _Decoder(shape, seed)
    logits = decoder.build()
    decoder.node("ArgMax", "next", logits, axis=-1, keepdims=0)
    graph = helper.make_graph(
        decoder.nodes,
        "transformer",
        [helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, shape.tokens])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [shape.tokens, shape.vocabulary]),
            helper.make_tensor_value_info("next", TensorProto.INT64, [shape.tokens]),
        ],
        decoder.tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model)
    weights = sum(math.prod(t.dims) for t in decoder.tensors if t.data_type == TensorProto.FLOAT and len(t.dims))
    rows = np.random.default_rng(seed + 1).integers(0, shape.vocabulary, (ROWS + 1, shape.tokens), dtype=np.int64)
    rows[0, 0], rows[0, 1] = 0, shape.vocabulary - 1
    return Network("transformer", model.SerializeToString(), weights, {"tokens": rows[:ROWS]}, {"tokens": rows[ROWS:]})
