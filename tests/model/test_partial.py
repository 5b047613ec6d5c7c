"""Long reductions as several nodes: the same integers, the same static range, and a step for every element."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import edge, model, weight

from tests.backends.sumcheck.runs import Stage, stage_of
from tests.laws.random_graphs import random_shape, random_view
from vml.model import Model, compile_model, interpreter
from vml.model.builder import Builder, Value
from vml.model.codec import View
from vml.model.executor import Executor
from vml.model.graph import Graph, TensorSpec
from vml.model.onestep import MAX_TERMS, MAX_TRANSACTION_BYTES, step_bound
from vml.model.partial import Limit, cut_across, cut_apart
from vml.model.primitives.base import MAX_LEAVES
from vml.model.tensor import Header, contiguous

CIRCUITS = Path(__file__).parents[2] / "circuits"
# Around the limit, primes (8209, 20011), and lengths of real layers.
LENGTHS = [8191, 8192, 8193, 8209, 20_000, 20_011, 25_088, 50_257, 70_000]
Array = np.ndarray[Any, np.dtype[Any]]
Make = Callable[[Builder], Value]


@contextmanager
def limit(terms: int, leaves: int = MAX_LEAVES) -> Iterator[None]:
    """Another limit than the contract's; a larger one stands for none at all."""
    leaves = leaves if terms <= MAX_TERMS else 1 << 60
    with mock.patch("vml.model.partial.MAX_TERMS", terms), mock.patch("vml.model.partial.MAX_LEAVES", leaves):
        yield


def built(make: Make, terms: int = MAX_TERMS, leaves: int = MAX_LEAVES) -> Graph:
    """A graph whose inputs are the builder's, and whose output is what ``make`` gives."""
    b = Builder(name="long")
    with limit(terms, leaves):
        result = make(b)
    names = [(k, node) for k, node in enumerate(b.nodes) if node.primitive == "input"]
    specs = [TensorSpec(f"x{k}", "int64", ref, node.header, Fraction(1)) for k, (ref, node) in enumerate(names)]
    return b.finish(specs, [TensorSpec("y", "int64", result.ref, b.header(result), Fraction(1))])[0]


def terms_of(graph: Graph) -> list[int]:
    """Of every node that has a step."""
    nodes = enumerate(graph.nodes)
    return [step_bound(graph, k).terms for k, node in nodes if node.primitive not in ("input", "constant")]


def result(graph: Graph) -> Header:
    return graph.nodes[graph.outputs[0].node].header


def drawn(rng: np.random.Generator, header: Header) -> Array:
    """Codes over the whole range, its ends included."""
    codes = rng.integers(header.lo, header.hi + 1, header.shape)
    ends = rng.choice([header.lo, header.hi], header.shape)
    return np.where(rng.random(header.shape) < 0.2, ends, codes)


def check(make: Make, seed: int = 0, terms: int = MAX_TERMS, leaves: int = MAX_LEAVES) -> Graph:
    """Cut and whole give the same integers, by both executors, with the same header; every step is within the limit.

    Returns:
        The graph that is cut.
    """
    cut, whole = built(make, terms, leaves), built(make, 1 << 60)
    assert max(terms_of(cut)) <= terms
    assert result(cut) == result(whole)
    rng = np.random.default_rng(seed)
    inputs = {spec.name: drawn(rng, spec.header) for spec in cut.inputs}
    flat = {name: codes.reshape(-1).tolist() for name, codes in inputs.items()}
    expected = interpreter.run(whole, flat)["y"]
    assert interpreter.run(cut, flat)["y"] == expected
    assert Executor(cut).run(inputs)["y"].reshape(-1).tolist() == expected
    return cut


def dense(length: int, bias: bool, wide: int = 127, rows: int = 2, columns: int = 2) -> Make:
    def make(b: Builder) -> Value:
        rng = np.random.default_rng(length)
        x = b.input(0, (rows, length), -wide, wide, Fraction(1), "float")
        w = b.constant(rng.integers(-wide, wide + 1, (columns, length)))
        added = b.constant(rng.integers(-99, 99, columns))
        views = View(0, (length, 0, 1)), View(0, (0, length, 1))
        return b.dot(
            (rows, columns), (length,), (x, views[0]), (w, views[1]), (added, View(0, (0, 1))) if bias else None
        )

    return make


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
def test_a_product_with_weights(length: int, bias: bool) -> None:
    graph = check(dense(length, bias), length)
    assert (len(terms_of(graph)) == 1) == (length <= MAX_TERMS)


@pytest.mark.parametrize("length", [8193, 8209, 20_000])
def test_a_product_of_two_inputs(length: int) -> None:
    def make(b: Builder) -> Value:
        x = b.input(0, (length,), -100, 90, Fraction(1), "float")
        y = b.input(1, (length, 2), 0, 7, Fraction(1), "float")
        return b.dot((2,), (length,), (x, View(0, (0, 1))), (y, View(0, (1, 2))))

    # Without weights nothing is widened, so nothing is clamped.
    assert all(node.primitive != "rescale" for node in check(make).nodes)


@pytest.mark.parametrize("taps", [(3, 3, 1024), (2, 2, 2053), (1, 1, 8209), (64, 3, 128), (91, 91, 1), (5, 5, 512)])
def test_windows(taps: tuple[int, int, int]) -> None:
    """A convolution, channels last: the inner loops stay whole."""
    height, width, channels = taps

    def make(b: Builder) -> Value:
        x = b.input(0, (height + 1, width, channels), -9, 20, Fraction(1), "float")
        w = b.constant(np.random.default_rng(1).integers(-50, 40, (2, *taps)))
        row, size = width * channels, math.prod(taps)
        over_x, over_w = View(0, (row, 0, row, channels, 1)), View(0, (0, size, row, channels, 1))
        return b.dot((2, 2), taps, (x, over_x), (w, over_w), (b.constant(np.array([5, -5])), View(0, (0, 1))))

    check(make)


@pytest.mark.parametrize("primitive", ["reduce_sum", "reduce_max"])
@pytest.mark.parametrize("length", LENGTHS)
def test_reductions(primitive: str, length: int) -> None:
    def make(b: Builder) -> Value:
        return b.reduce(primitive, b.input(0, (2, length), -40_000, 30_000, Fraction(1), "int"), [1], False)

    check(make, length)


@pytest.mark.parametrize("spread", [0, 1, 30_000])
@pytest.mark.parametrize("length", LENGTHS)
def test_argmax_gives_the_lowest_of_equals(length: int, spread: int) -> None:
    def make(b: Builder) -> Value:
        return b.rows("argmax", b.input(0, (2, length), -spread, 0, Fraction(1), "int"), 1)

    check(make, length)


def test_argmax_at_every_edge_of_a_block() -> None:
    def make(b: Builder) -> Value:
        return b.rows("argmax", b.input(0, (20,), 0, 1, Fraction(1), "int"), 0)

    run = Executor(built(make, 6)).run
    for first in range(20):
        for later in range(first, 20):
            row = np.zeros(20, dtype=np.int64)
            row[[first, later]] = 1
            assert run({"x0": row})["y"] == first


@pytest.mark.parametrize("seed", range(60))
def test_any_views_and_small_limits(seed: int) -> None:
    """Random shapes, strides and limits: blocks that are too many themselves, and cuts in every loop."""
    rng = np.random.default_rng(seed)
    out, loops = random_shape(rng, largest=3), random_shape(rng, int(rng.integers(1, 4)), largest=9)
    primitive = ["dot", "dot", "reduce_sum", "reduce_max", "argmax"][seed % 5]
    shape = random_shape(rng, int(rng.integers(1, 4)), largest=9)
    over = (*out, *(loops if primitive != "argmax" else (math.prod(loops),)))
    views = [random_view(rng, over, math.prod(shape)) for _ in range(2)]
    bias_view = random_view(rng, out, math.prod(shape))
    constant = rng.integers(-128, 127, shape)

    def make(b: Builder) -> Value:
        x = b.input(0, shape, -5, 300, Fraction(1), "int")
        if primitive == "dot":
            other = b.constant(constant) if seed % 2 else x
            bias = (b.constant(constant), bias_view) if seed % 3 else None
            return b.dot(out, loops, (x, views[0]), (other, views[1]), bias)
        attributes = {"length": over[-1]} if primitive == "argmax" else {"reduced": loops}
        return Value(b.emit(primitive, out, [x.ref], x=views[0], **attributes), out, contiguous(out))

    check(make, seed, int(rng.integers(2, 9)))


def test_cuts_cover_every_position_once() -> None:
    for size in range(11, 400):
        for inner in (1, 2, 3, 7, 10):
            apart, across = cut_apart((3, size, inner), Limit(10)), cut_across((3, size, inner), Limit(10))
            for cut in (apart, across):
                assert (cut.axis, cut.outer) == (1, (3, cut.count))
                assert math.prod(cut.inner) <= 10
            rest = 0 if apart.rest is None else apart.rest[1]
            assert apart.step == apart.length
            assert apart.count * apart.length + rest == size
            assert across.rest is None
            assert across.step <= across.length


def test_a_rescale_per_channel_behind() -> None:
    def make(b: Builder) -> Value:
        y = dense(20_011, True, columns=3)(b)
        return b.rescale_channels(y, b.constant(np.array([1, 77, 300])), 16, -3000, 3000)

    check(make)


def test_the_range_of_sums_too_wide_for_a_clamp() -> None:
    """From 2^46 on the range stays as wide as the blocks say; the integers are right."""

    def make(b: Builder) -> Value:
        return dense(20_000, True, wide=1 << 18)(b)

    cut, whole = built(make), built(make, 1 << 60)
    assert result(whole).bound >= 1 << 46
    assert result(cut).lo <= result(whole).lo
    assert result(whole).hi <= result(cut).hi
    assert result(cut).bound < 1.1 * result(whole).bound
    codes = {spec.name: drawn(np.random.default_rng(0), spec.header) for spec in cut.inputs}
    assert np.array_equal(Executor(cut).run(codes)["y"], Executor(whole).run(codes)["y"])


def test_blocks_whose_sums_could_leave_62_bits_stay_together() -> None:
    """Only with very uneven weights: one weight holds nearly all that a sum may reach."""

    def make(b: Builder) -> Value:
        x = b.input(0, (1 << 13,), -(1 << 24), 1 << 24, Fraction(1), "float")
        w = np.zeros(1 << 13, dtype=np.int64)
        w[5] = 1 << 27
        return b.dot((), (1 << 13,), (x, View(0, (1,))), (b.constant(w), View(0, (1,))))

    assert terms_of(built(make, 2)) == [1 << 13]


@pytest.mark.parametrize(("channels", "side", "blocks"), [(512, 7, 2), (256, 14, 4), (64, 56, 4)])
def test_a_convolution_channels_first_is_cut_by_channels(channels: int, side: int, blocks: int) -> None:
    """Its windows touch leaves of every channel: whole windows over fewer channels, in few blocks."""
    across, size = side + 2, (side + 2) ** 2

    def make(b: Builder) -> Value:
        x = b.input(0, (channels, across, across), -32_000, 32_000, Fraction(1), "float")
        w = b.constant(np.random.default_rng(1).integers(-50, 50, (2, channels, 3, 3)))
        over_x, over_w = View(0, (0, across, 1, across, 1, size)), View(0, (9 * channels, 0, 0, 3, 1, 9))
        return b.dot((2, 2, 2), (3, 3, channels), (x, over_x), (w, over_w))

    graph = check(make)
    (dot,) = (k for k, node in enumerate(graph.nodes) if node.primitive == "dot")
    assert graph.nodes[dot].attributes["contract"] == (3, 3, channels // blocks)
    bounds = [step_bound(graph, k) for k, node in enumerate(graph.nodes) if node.inputs]
    assert max(bound.leaves for bound in bounds) <= MAX_LEAVES
    assert max(bound.transaction_bytes for bound in bounds) <= MAX_TRANSACTION_BYTES


@pytest.mark.parametrize("seed", range(40))
def test_any_views_that_are_scattered(seed: int) -> None:
    """Random loops over many leaves, few of which a step may read."""
    rng = np.random.default_rng(seed)
    out, loops = random_shape(rng, largest=3), random_shape(rng, int(rng.integers(1, 4)), largest=9)
    primitive = ["dot", "dot", "reduce_sum", "reduce_max"][seed % 4]
    size = 1_500 * math.prod(loops)
    views = [random_view(rng, (*out, *loops), size) for _ in range(2)]

    def make(b: Builder) -> Value:
        x = b.input(0, (size,), -5, 300, Fraction(1), "int")
        if primitive == "dot":
            bias = (x, random_view(np.random.default_rng(seed), out, size)) if seed % 3 else None
            return b.dot(out, loops, (x, views[0]), (x, views[1]), bias)
        return Value(b.emit(primitive, out, [x.ref], x=views[0], reduced=loops), out, contiguous(out))

    check(make, seed, leaves=int(rng.integers(4, 20)))


@pytest.mark.parametrize("primitive", ["dot", "reduce_sum", "reduce_max", "argmax"])
@pytest.mark.parametrize(("length", "width"), [(161, 512), (1024, 768), (1021, 40)])
def test_terms_that_lie_apart(primitive: str, length: int, width: int) -> None:
    """Attention over a long sequence: the values of one feature lie ``width`` elements apart."""

    def make(b: Builder) -> Value:
        x = b.input(0, (length, width), -32_000, 32_000, Fraction(1), "int")
        shares = b.input(1, (length,), 0, 99, Fraction(1), "int")
        over = View(3, (1, width))
        if primitive == "dot":
            return b.dot((2,), (length,), (shares, View(0, (0, 1))), (x, over))
        loops = {"length": length} if primitive == "argmax" else {"reduced": (length,)}
        return Value(b.emit(primitive, (2,), [x.ref], x=over, **loops), (2,), contiguous((2,)))

    graph = check(make)
    bounds = [step_bound(graph, k) for k, node in enumerate(graph.nodes) if node.inputs]
    assert max(bound.leaves for bound in bounds) <= MAX_LEAVES
    assert max(bound.transaction_gas for bound in bounds) < 1 << 24


def test_topk_stays_whole() -> None:
    def make(b: Builder) -> Value:
        return b.rows("topk", b.input(0, (3000,), 0, 9, Fraction(1), "int"), 0, 3)

    assert terms_of(built(make)) == [9000]


# Proofs.


@pytest.mark.parametrize("make", [dense(50, True, columns=3), dense(53, False)])
def test_sumcheck_proves_partial_sums(make: Make) -> None:
    proved(stage_of(built(make, 6)), 2)


@pytest.mark.parametrize("primitive", ["reduce_sum", "reduce_max", "argmax"])
def test_sumcheck_proves_partial_reductions(primitive: str) -> None:
    def make(b: Builder) -> Value:
        x = b.input(0, (3, 47), -9, 9, Fraction(1), "int")
        return b.rows(primitive, x, 1) if primitive == "argmax" else b.reduce(primitive, x, [1], False)

    proved(stage_of(built(make, 6)), 2)


def proved(stage: Stage, batch: int, rows: Sequence[dict[str, Array]] | None = None) -> None:
    rng = np.random.default_rng(0)
    rows = rows or [{spec.name: drawn(rng, spec.header) for spec in stage.graph.inputs} for _ in range(batch)]
    proof = stage.public_prove(rows)
    assert stage.verify(proof).claims == proof.claims
    for row, claim in zip(rows, proof.claims, strict=True):
        values = [np.asarray(value) for value in stage.values([row])]
        assert stage.claims(stage.sides(values, 1)) == (claim,)


# Models.

WIDE, CLASSES = 20_000, 50_257


def wide_mlp() -> bytes:
    """20,000 features, a hidden layer of six, 50,257 scores, and which is largest."""
    rng = np.random.default_rng(3)
    weights = [
        weight("w1", rng.normal(size=(WIDE, 6)).astype(np.float32)),
        weight("b1", rng.normal(size=6).astype(np.float32)),
        weight("w2", rng.normal(size=(6, CLASSES)).astype(np.float32)),
        weight("b2", rng.normal(size=CLASSES).astype(np.float32)),
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["s"], name="second"),
        helper.make_node("ArgMax", ["s"], ["y"], name="which", axis=1, keepdims=0),
    ]
    outputs = [edge("s", [1, CLASSES]), edge("y", [1], TensorProto.INT64)]
    proto = model(nodes, [edge("x", [1, WIDE])], outputs, weights)
    return bytes(proto.SerializeToString())


def features(count: int) -> dict[str, Any]:
    return {"x": np.random.default_rng(4).uniform(-1, 1, (count, WIDE)).astype(np.float32)}


@pytest.fixture(scope="module")
def wide() -> Model:
    return compile_model(wide_mlp(), calibration=features(8))


def test_every_node_of_a_wide_model_can_be_disputed(wide: Model) -> None:
    assert max(terms_of(wide.graph)) <= MAX_TERMS
    assert wide.certificate.agreement == 1.0


def test_a_wide_model_gives_what_it_gives_whole(wide: Model) -> None:
    with limit(1 << 60):
        whole = compile_model(wide_mlp(), calibration=features(8))
    assert max(terms_of(whole.graph)) == CLASSES
    assert [spec.header for spec in whole.outputs] == [spec.header for spec in wide.outputs]
    for k in range(3):
        codes = wide.quantize({"x": features(8)["x"][k : k + 1]})
        run, expected = wide.executor.run(codes), whole.executor.run(codes)
        assert {n: v.tolist() for n, v in run.items()} == {n: v.tolist() for n, v in expected.items()}


def test_sumcheck_proves_a_wide_model(wide: Model) -> None:
    rows = [wide.quantize({"x": features(8)["x"][k : k + 1]}) for k in range(2)]
    stage = Stage(wide)
    proof = stage.public_prove(rows)
    assert stage.verify(proof).claims == proof.claims


@pytest.mark.parametrize("name", ["breast-cancer-mlp", "digits-mlp", "digits-cnn", "lenet5", "digits-transformer"])
def test_shipped_models_are_what_they_were(name: str) -> None:
    """None of them has a reduction as long as that."""
    with np.load(CIRCUITS / name / "calibration.npz") as file:
        rows = {key: values[:32] for key, values in file.items()}
    cut = compile_model(CIRCUITS / name / "model.onnx", calibration=rows)
    with limit(1 << 60):
        assert compile_model(CIRCUITS / name / "model.onnx", calibration=rows).commitment == cut.commitment
