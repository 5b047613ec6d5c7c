"""Wrapper and settings of an ezkl proof, written by hand: each bound by itself, with the reason it is refused for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vml import canonical
from vml.backends.ezkl.circuit import MAX_LOG_ROWS, MIN_LOG_ROWS
from vml.backends.ezkl.commitments import word_of
from vml.backends.ezkl.payload import Payload
from vml.backends.ezkl.statement import (
    ENGINE_VERSION,
    MAX_RANK,
    MAX_TENSORS,
    MAX_TEXT,
    Statement,
    TensorInfo,
    describe,
    encode_settings,
)
from vml.backends.types import Visibility
from vml.errors import MalformedProof

X, Y = TensorInfo("x", (1, 3), "float"), TensorInfo("y", (1, 2), "int64")
PUBLIC = Visibility()


def settings(inputs: tuple[TensorInfo, ...] = (X,), outputs: tuple[TensorInfo, ...] = (Y,)) -> dict[str, Any]:
    """What ezkl would say of a public circuit with these tensors."""
    return {
        "version": ENGINE_VERSION,
        "timestamp": 0,
        "run_args": {
            "input_visibility": "Public",
            "param_visibility": "Fixed",
            "output_visibility": "Public",
            "logrows": MIN_LOG_ROWS,
        },
        "model_input_scales": [7] * len(inputs) + [0],
        "model_output_scales": [7] * len(outputs) + [0],
        "model_instance_shapes": [list(t.shape) for t in inputs]
        + [[1, 16]]
        + [list(t.shape) for t in outputs]
        + [[1, 16]],
        "module_sizes": {"poseidon": [0, [0]]},
    }


def read(inputs: tuple[TensorInfo, ...] = (X,), outputs: tuple[TensorInfo, ...] = (Y,)) -> Statement:
    return Statement.read(describe(inputs, outputs, PUBLIC), encode_settings(settings(inputs, outputs)), PUBLIC)


def changed(key: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda record: record.__setitem__(key, value)


def test_the_statement_written_by_hand_is_sound() -> None:
    statement = read()
    assert (statement.inputs, statement.outputs, statement.instance_count) == ((X,), (Y,), 3 + 16 + 2 + 16)
    assert len(read(inputs=tuple(TensorInfo(f"x{i}", (1,), "bool") for i in range(MAX_TENSORS))).inputs) == MAX_TENSORS
    assert read(outputs=(TensorInfo("y", (1,) * MAX_RANK, "double"),)).outputs[0].size == 1


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ((), "no tensors, too many"),
        (tuple(TensorInfo(f"x{i}", (1,), "float") for i in range(MAX_TENSORS + 1)), "no tensors, too many"),
        ((X, X), "two of one name"),
        ((TensorInfo("x", (1,) * (MAX_RANK + 1), "float"),), "too large"),
        ((TensorInfo("x", (1, (1 << 20) + 1), "float"),), "too large"),
        ((TensorInfo("x", (0,), "float"),), "malformed"),
        ((TensorInfo("x", (True,), "float"),), "malformed"),
        ((TensorInfo("x", ("1",), "float"),), "malformed"),  # type: ignore[arg-type]
        ((TensorInfo("x", (1,), "string"),), "malformed"),
        ((TensorInfo(7, (1,), "float"),), "malformed"),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_tensors(side: str, tensors: tuple[TensorInfo, ...], reason: str) -> None:
    sides = {"inputs": (X,), "outputs": (Y,), side: tensors}
    wrapper = describe(sides["inputs"], sides["outputs"], PUBLIC)
    with pytest.raises(MalformedProof, match=reason):
        Statement.read(wrapper, encode_settings(settings()), PUBLIC)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (changed("model_input_scales", [0]), "do not have the wrapper's tensors"),
        (changed("model_input_scales", [7, 7, 0]), "do not have the wrapper's tensors"),
        (changed("model_output_scales", [0]), "do not have the wrapper's tensors"),
        (changed("model_output_scales", [7, 7, 0]), "do not have the wrapper's tensors"),
        (changed("model_input_scales", [7, 1]), "not passed as integers"),
        (changed("model_output_scales", [7, 1]), "not passed as integers"),
        (changed("model_output_scales", [65, 0]), "scale is out of bounds"),
        (changed("model_output_scales", [True, 0]), "scale is out of bounds"),
        (changed("model_instance_shapes", []), "do not have the wrapper's instances"),
        (changed("module_sizes", {"poseidon": [0, [1]]}), "do not have the wrapper's instances"),
        (changed("version", "23.0.6"), "not of ezkl"),
        (changed("timestamp", 5), "not of ezkl"),
        (lambda s: s["run_args"].update(logrows=MAX_LOG_ROWS + 1), "rows is out of bounds"),
        (lambda s: s["run_args"].update(logrows=MIN_LOG_ROWS - 1), "rows is out of bounds"),
        (lambda s: s["run_args"].update(logrows=float(MIN_LOG_ROWS)), "rows is out of bounds"),
        (lambda s: s["run_args"].update(input_visibility="Private"), "input_visibility does not fit"),
        (lambda s: s["run_args"].update(param_visibility="Private"), "param_visibility does not fit"),
        (lambda s: s["run_args"].update(output_visibility="Fixed"), "output_visibility does not fit"),
        (lambda s: s.pop("run_args"), "wrapper or settings: KeyError"),
    ],
)
def test_settings(change: Callable[[dict[str, Any]], object], reason: str) -> None:
    value = settings()
    change(value)
    with pytest.raises(MalformedProof, match=reason):
        Statement.read(describe((X,), (Y,), PUBLIC), encode_settings(value), PUBLIC)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[]", "one spelling"),
        (b"0", "one spelling"),
        (encode_settings(settings()) + b"\n", "one spelling"),
        (b" " * (MAX_TEXT + 1), "settings are too large"),
        (b"", "wrapper or settings"),
    ],
    ids=["list", "number", "line end", "size", "nothing"],
)
def test_settings_as_bytes(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedProof, match=reason):
        Statement.read(describe((X,), (Y,), PUBLIC), data, PUBLIC)


def test_another_visibility_than_the_schemes() -> None:
    with pytest.raises(MalformedProof, match="descriptor does not fit the scheme"):
        Statement.read(describe((X,), (Y,), PUBLIC), encode_settings(settings()), Visibility("hashed"))


@pytest.mark.parametrize(("old", "new"), [(b"wrapper/1", b"wrapper/2"), (b'"salt_lanes":0', b'"salt_lanes":16')])
def test_another_wrapper_than_ours(old: bytes, new: bytes) -> None:
    wrapper = describe((X,), (Y,), PUBLIC)
    assert old in wrapper
    with pytest.raises(MalformedProof, match="descriptor does not fit the scheme"):
        Statement.read(wrapper.replace(old, new), encode_settings(settings()), PUBLIC)


@pytest.mark.parametrize("code", [canonical.MAX_INTEGER + 1, -canonical.MAX_INTEGER - 1])
def test_values_that_json_cannot_hold(code: int) -> None:
    words = [word_of(0)] * (3 + 16 + 2 + 16)
    statement = read()
    assert statement.public(words)["output"][0]["values"] == [0, 0]
    words[19] = word_of(code)
    with pytest.raises(MalformedProof, match="beyond 2\\^53"):
        statement.public(words)


def test_a_payload_that_ends_early() -> None:
    data = Payload(b"w", b"s", b"v", bytes(128), (bytes(32),), b"p").to_bytes()
    for length in range(len(data)):
        with pytest.raises(MalformedProof, match="ends early"):
            Payload.from_bytes(data[:length])
