"""OutputLib reads what Python committed to: the same tensors, words and values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.parity.conftest import Deployed
from vml.backends.ezkl.bn254 import R
from vml.backends.ezkl.commitments import public_field, value_of, word_of
from vml.errors import MalformedProof
from vml.merkle import tensor_bytes, tensor_root, tensors_root

CODES = {"int8": 1, "int16": 2, "int32": 3, "int64": 4}
RUNS = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
TENSORS = st.sampled_from(sorted(CODES)).flatmap(
    lambda dtype: arrays.arrays(np.dtype(dtype), arrays.array_shapes(min_dims=0, max_dims=3, max_side=9))
)
# The name of the custom error; pytest loads conftest under a name of its own, so its class cannot be imported.
REVERTS = Exception
VALUES = st.integers(-(2**127) + 1, 2**127 - 1)


@pytest.fixture(scope="module")
def outputs(deploy: Callable[[str], Deployed]) -> Deployed:
    return deploy("Outputs.sol:Outputs")


def _tensor(array: Any) -> tuple[int, tuple[int, ...], bytes]:
    return CODES[array.dtype.name], array.shape, bytes(tensor_bytes(array))


@RUNS
@given(st.lists(TENSORS, min_size=1, max_size=3))
def test_tensors(outputs: Deployed, tensors: list[Any]) -> None:
    expected = tensors_root([tensor_root(array) for array in tensors])
    brought = [_tensor(array) for array in tensors]
    assert outputs.call("commitment", brought) == expected
    for array, tensor in zip(tensors, brought, strict=True):
        values = outputs.call("values", tensor)
        assert list(values) == array.reshape(-1).tolist()
        assert outputs.call("argmax", values) == int(np.argmax(array))


@RUNS
@given(st.lists(st.lists(st.integers(1, 4), max_size=3), min_size=1, max_size=3), st.data())
def test_words(outputs: Deployed, shapes: list[list[int]], data: st.DataObject) -> None:
    count = sum(int(np.prod(shape)) for shape in shapes)
    values = data.draw(st.lists(VALUES, min_size=count, max_size=count))
    words = [word_of(value) for value in values]
    numbers = [int.from_bytes(word, "big") for word in words]
    assert outputs.call("ezklCommitment", shapes, numbers) == public_field(shapes, words)
    assert list(outputs.call("ezklValues", numbers)) == values
    with pytest.raises(REVERTS, match="WordCount"):
        outputs.call("ezklCommitment", shapes, [*numbers, 0])


@pytest.mark.parametrize("word", [0, 2**127 - 1, 2**127, R // 2, R - 2**127, R - 2**127 + 1, R - 1, R, 2**256 - 1])
def test_words_at_the_edges(outputs: Deployed, word: int) -> None:
    try:
        expected = value_of(word.to_bytes(32, "big"))
    except MalformedProof:
        with pytest.raises(REVERTS, match="NotAValue"):
            outputs.call("ezklValues", [word])
    else:
        assert list(outputs.call("ezklValues", [word])) == [expected]
