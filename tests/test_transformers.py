"""The decoders that benchmarks measure: seeded, causal, alive at every depth, and disputed as the large one is."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest

from benchmarks.disputes import Match, bounds, middle_operators
from benchmarks.transformers import GPT2_SMALL, TINY, transformer
from vml.backends.optimistic.trace import Trace
from vml.model.calibration import FloatModel
from vml.model.compiler import compile_model

SMALLER = dataclasses.replace(TINY, layers=1, width=16, heads=2, vocabulary=101, tokens=5)


def test_weights_and_rows_are_seeded_and_counted() -> None:
    network = transformer(SMALLER)
    assert network.onnx == transformer(SMALLER).onnx != transformer(SMALLER, seed=1).onnx
    graph = onnx.load_from_string(network.onnx).graph
    weights = [t for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT and t.dims]
    assert network.weights == sum(int(np.prod(t.dims)) for t in weights)
    width = 16
    layer = 12 * width * width + 9 * width + 4 * width  # four products and their biases, two normalisations
    assert network.weights == 101 * width + 5 * width + layer + 2 * width


def test_the_large_one_has_the_published_shape() -> None:
    assert (GPT2_SMALL.layers, GPT2_SMALL.width, GPT2_SMALL.heads, GPT2_SMALL.vocabulary) == (12, 768, 12, 50_257)


def test_a_token_answers_to_earlier_ones_only_and_every_layer_is_alive() -> None:
    network = transformer(TINY)
    model = FloatModel(onnx.load_from_string(network.onnx), exposed=True)
    tokens = network.sample["tokens"]
    changed = tokens.copy()
    changed[0, 9] = (changed[0, 9] + 1) % TINY.vocabulary
    before, after = model.run({"tokens": tokens}), model.run({"tokens": changed})
    same = np.isclose(before["logits"], after["logits"]).all(axis=1)
    assert same[:9].all()
    assert not same[9:].any()
    assert np.array_equal(before["next"], before["logits"].argmax(axis=1))
    for k in range(TINY.layers):
        assert 0.2 < float(np.std(before[f"layer{k}.gelu"])) < 2
        largest = before[f"layer{k}.attention.softmax"][0, :, -1].max(axis=-1)
        assert 1.5 / TINY.tokens < float(largest.mean()) < 0.9


@pytest.mark.slow
def test_a_small_transformer_goes_the_way_of_the_large_one() -> None:
    network = transformer(TINY)
    model = compile_model(network.onnx, calibration=network.calibration)
    assert all(difference.holdout.agreement > 0.9 for difference in model.certificate.differences)
    graph, executor = model.graph, model.executor
    codes = model.quantize({name: rows[:1] for name, rows in network.sample.items()})
    claim = Trace(executor, codes).claim()
    assert claim == Trace(executor, codes).claim()
    operators = middle_operators(graph)
    primitives = {graph.nodes[i].primitive for i in operators}
    assert {"dot", "take", "lookup", "isqrt", "divide", "select", "argmax", "reduce_max"} <= primitives
    gas = max(bound.transaction_gas for bound in bounds(graph).values())
    for dispute in (Match(executor, codes, operator, gas).play() for operator in operators):
        assert dispute["asserter_moves"] <= 6
        assert dispute["challenger_moves"] <= 7
        assert dispute["step_gas"] <= gas
