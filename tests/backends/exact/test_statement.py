"""What a proof about the exact model states: one spelling, every code in range, every expectation kept."""

from __future__ import annotations

import base64
import copy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vml import merkle
from vml.backends.exact.statement import Row, commit, expect, public_section, read_public, row_of, section_of_run
from vml.backends.types import ClaimExpectation
from vml.claim import ZERO_CONTEXT, Claim, Context
from vml.errors import ClaimMismatch, MalformedProof
from vml.model.graph import TensorSpec
from vml.model.tensor import Header
from vml.proof import Proof

MODEL, OTHER = b"\x01" * 32, b"\x02" * 32
X = TensorSpec("x", "float32", 0, Header("int16", (1, 3), -2000, 2000), Fraction(1000))
N = TensorSpec("n", "int64", 1, Header("int8", (1,), 0, 9), Fraction(1))
Y = TensorSpec("y", "float32", 7, Header("int32", (1, 2), -(1 << 30), 1 << 30), Fraction(3, 7))
Z = TensorSpec("z", "bool", 8, Header("int8", (), 0, 1), Fraction(1))
INS, OUTS = (X, N), (Y, Z)
ROWS = (
    Row(((-2000, 0, 1999), (9,)), ((1 << 30, -5), (1,))),
    Row(((1, 2, 3), (0,)), ((4, 5), (0,))),
)
ADDRESS = "0x" + "11" * 20
CONTEXT = Context(ADDRESS, 5, ADDRESS, bytes(32), ADDRESS, 99)


def claims_of(rows: tuple[Row, ...], context: bytes = ZERO_CONTEXT) -> tuple[Claim, ...]:
    return tuple(Claim(MODEL, commit(INS, row.inputs), commit(OUTS, row.outputs), context) for row in rows)


CLAIMS = claims_of(ROWS)
PUBLIC = public_section(INS, OUTS, ROWS)


def b64(array: Any) -> str:
    return base64.b64encode(merkle.tensor_bytes(array)).decode()


def test_the_section_written_out() -> None:
    assert {
        "hidden": [],
        "input": [
            {
                "name": "x", "dtype": "int16", "shape": [1, 3], "scale": ["1000", "1"],
                "codes": [b64(np.array([-2000, 0, 1999], np.int16)), b64(np.array([1, 2, 3], np.int16))],
            },
            {"name": "n", "dtype": "int8", "shape": [1], "scale": ["1", "1"], "codes": ["CQ==", "AA=="]},
        ],
        "output": [
            {
                "name": "y", "dtype": "int32", "shape": [1, 2], "scale": ["3", "7"],
                "codes": [b64(np.array([1 << 30, -5], np.int32)), b64(np.array([4, 5], np.int32))],
            },
            {"name": "z", "dtype": "int8", "shape": [], "scale": ["1", "1"], "codes": ["AQ==", "AA=="]},
        ],
    } == PUBLIC  # fmt: skip


def test_the_section_of_arrays_is_the_same() -> None:
    for row in ROWS:
        pairs = [*zip(INS, row.inputs, strict=True), *zip(OUTS, row.outputs, strict=True)]
        arrays = {s.node: np.array(codes, s.header.dtype).reshape(s.shape) for s, codes in pairs}
        assert section_of_run(INS, OUTS, arrays) == public_section(INS, OUTS, [row])


def test_what_is_written_is_read() -> None:
    proof = Proof.from_bytes(Proof("sumcheck/1", CLAIMS, PUBLIC, b"").to_bytes())
    assert read_public(proof.public, proof.claims, INS, OUTS) == ROWS
    assert read_public(public_section(INS, OUTS, ROWS[:1]), CLAIMS[:1], INS, OUTS) == ROWS[:1]


@given(
    dtype=st.sampled_from(["int8", "int16", "int32", "int64"]),
    shape=st.lists(st.integers(1, 4), max_size=3),
    count=st.integers(1, 3),
    data=st.data(),
)
@settings(max_examples=60)
def test_the_commitment_is_that_of_arrays(dtype: str, shape: list[int], count: int, data: st.DataObject) -> None:
    info = np.iinfo(dtype)
    arrays, specs = {}, []
    for k in range(count):
        size = int(np.prod(shape, dtype=int))
        codes = data.draw(st.lists(st.integers(int(info.min), int(info.max)), min_size=size, max_size=size))
        arrays[str(k)] = np.array(codes, dtype=dtype).reshape(shape)
        header = Header(dtype, tuple(shape), int(info.min), int(info.max))
        specs.append(TensorSpec(str(k), "int64", k, header, Fraction(1)))
    row = row_of(specs, specs, arrays, arrays)
    root = merkle.tensors_root([merkle.tensor_root(array) for array in arrays.values()])
    assert commit(specs, row.inputs) == commit(specs, row.outputs) == root
    claim = Claim(MODEL, root, root, ZERO_CONTEXT)
    assert read_public(public_section(specs, specs, [row]), [claim], specs, specs) == (row,)


@pytest.mark.parametrize("size", [511, 512, 513, 5000])
def test_commitments_of_several_leaves(size: int) -> None:
    array = np.arange(size, dtype=np.int16)
    spec = TensorSpec("x", "float32", 0, Header("int16", (1, size), 0, size - 1), Fraction(1))
    fortran = np.asfortranarray(array.reshape(1, size))
    (codes,) = row_of([spec], [spec], {"x": fortran}, {"x": fortran}).inputs
    assert commit([spec], (codes,)) == merkle.tensors_root([merkle.tensor_root(array.reshape(1, size))])


@pytest.mark.parametrize("codes", [(1, 2), (1, 2, 3, 4), (-2001, 0, 0), (0, 0, 2001)])
def test_codes_that_do_not_fit_are_a_callers_mistake(codes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="'x' is 3 codes"):
        commit([X], (codes,))
    with pytest.raises(ValueError, match=r"tensors|zip|argument"):
        commit(INS, ((1, 2, 3),))


# ---- tampering


def put(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(public: dict[str, Any]) -> None:
        target: Any = public
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = value

    return change


def drop(*path: Any) -> Callable[[dict[str, Any]], None]:
    def change(public: dict[str, Any]) -> None:
        target: Any = public
        for step in path[:-1]:
            target = target[step]
        del target[path[-1]]

    return change


X_CODES = ("input", 0, "codes")
TAMPERS: dict[str, tuple[Callable[[dict[str, Any]], None], type[Exception]]] = {
    "hidden says something": (put("hidden", value=["input"]), MalformedProof),
    "hidden is false": (put("hidden", value=False), MalformedProof),
    "hidden is gone": (drop("hidden"), MalformedProof),
    "input is gone": (drop("input"), MalformedProof),
    "output is gone": (drop("output"), MalformedProof),
    "another section": (put("extra", value=1), MalformedProof),
    "a name that is no text": (put(5, value=1), MalformedProof),
    "no list": (put("input", value={}), MalformedProof),
    "a null": (put("input", value=None), MalformedProof),
    "a text": (put("output", value="ab"), MalformedProof),
    "a tensor less": (drop("input", 1), MalformedProof),
    "a tensor twice": (put("input", value=PUBLIC["input"] + PUBLIC["input"][:1]), MalformedProof),
    "tensors in another order": (put("input", value=PUBLIC["input"][::-1]), MalformedProof),
    "no object": (put("input", 0, value=[]), MalformedProof),
    "null": (put("input", 0, value=None), MalformedProof),
    "another name": (put("input", 0, "name", value="X"), MalformedProof),
    "another dtype": (put("input", 0, "dtype", value="int32"), MalformedProof),
    "another shape": (put("input", 0, "shape", value=[3, 1]), MalformedProof),
    "true for 1 in a shape": (put("input", 0, "shape", value=[True, 3]), MalformedProof),
    "another scale": (put("input", 0, "scale", value=["2000", "2"]), MalformedProof),
    "a number in a scale": (put("input", 0, "scale", value=[1000, 1]), MalformedProof),
    "a float, from Python": (put("input", 0, "scale", value=1.5), MalformedProof),
    "bytes, from Python": (put("input", 0, "name", value=b"x"), MalformedProof),
    "more in an entry": (put("input", 0, "extra", value=1), MalformedProof),
    "less in an entry": (drop("input", 0, "shape"), MalformedProof),
    "no codes": (drop("input", 0, "codes"), MalformedProof),
    "codes as a null": (put(*X_CODES, value=None), MalformedProof),
    "codes as a text": (put(*X_CODES, value="AAEAAgAD"), MalformedProof),
    "codes of a claim less": (drop(*X_CODES, 1), MalformedProof),
    "codes of a claim more": (put(*X_CODES, value=PUBLIC["input"][0]["codes"] * 2), MalformedProof),
    "codes as numbers": (put(*X_CODES, 0, value=[1, 2, 3]), MalformedProof),
    "codes as null": (put(*X_CODES, 0, value=None), MalformedProof),
    "codes too short": (put(*X_CODES, 0, value="AAEA"), MalformedProof),
    "codes too long": (put(*X_CODES, 0, value="AAEAAgADAAQA"), MalformedProof),
    "no base64": (put(*X_CODES, 0, value="AAEAAg*D"), MalformedProof),
    "not ASCII": (put(*X_CODES, 0, value="AAEAAgAé"), MalformedProof),
    "a line break": (put(*X_CODES, 0, value="AAEAAgA\n"), MalformedProof),
    "padding inside": (put(*X_CODES, 0, value="AAEAAgA="), MalformedProof),
    "unused bits": (put("input", 1, "codes", 0, value="CR=="), MalformedProof),
    "more than its bytes": (put("input", 1, "codes", 0, value="CQA="), MalformedProof),
    "below the range": (put(*X_CODES, 0, value=b64(np.array([-2001, 0, 0], np.int16))), MalformedProof),
    "above the range": (put(*X_CODES, 0, value=b64(np.array([2001, 0, 0], np.int16))), MalformedProof),
    "a boolean 2": (put("output", 1, "codes", 0, value="Ag=="), MalformedProof),
    "another input": (put(*X_CODES, 0, value=b64(np.array([-2000, 0, 1998], np.int16))), ClaimMismatch),
    "another output": (put("output", 0, "codes", 1, value=b64(np.array([4, 6], np.int32))), ClaimMismatch),
    "another second output": (put("output", 1, "codes", 0, value="AA=="), ClaimMismatch),
    "rows in another order": (put(*X_CODES, value=PUBLIC["input"][0]["codes"][::-1]), ClaimMismatch),
    "a preimage of another context": (put("context_preimage", value=CONTEXT.to_json()), ClaimMismatch),
    "a preimage that is none": (put("context_preimage", value={}), MalformedProof),
    "a preimage null": (put("context_preimage", value=None), MalformedProof),
}


@pytest.mark.parametrize(("change", "expected"), TAMPERS.values(), ids=TAMPERS.keys())
def test_tampering(change: Callable[[dict[str, Any]], None], expected: type[Exception]) -> None:
    public = copy.deepcopy(PUBLIC)
    change(public)
    with pytest.raises(expected):
        read_public(public, CLAIMS, INS, OUTS)


@pytest.mark.parametrize("side", ["input", "output"])
@pytest.mark.parametrize("number", [0, 1])
def test_another_commitment(side: str, number: int) -> None:
    claims = list(CLAIMS)
    claims[number] = replace(claims[number], **{side: OTHER})
    with pytest.raises(ClaimMismatch, match=side):
        read_public(PUBLIC, claims, INS, OUTS)


def test_claims_that_are_swapped_or_left_out() -> None:
    with pytest.raises(ClaimMismatch):
        read_public(PUBLIC, CLAIMS[::-1], INS, OUTS)
    for claims in (CLAIMS[:1], CLAIMS + CLAIMS[:1]):
        with pytest.raises(MalformedProof):
            read_public(PUBLIC, claims, INS, OUTS)


def test_a_model_without_a_side() -> None:
    for inputs, outputs in (((), OUTS), (INS, ())):
        public = {**PUBLIC, "input": PUBLIC["input"] if inputs else [], "output": PUBLIC["output"] if outputs else []}
        with pytest.raises(MalformedProof):
            read_public(public, CLAIMS, inputs, outputs)


def test_the_preimage_of_the_context() -> None:
    claims = claims_of(ROWS, CONTEXT.commitment())
    public = {**PUBLIC, "context_preimage": CONTEXT.to_json()}
    assert read_public(public, claims, INS, OUTS) == ROWS
    with pytest.raises(ClaimMismatch, match="context"):
        read_public(public, (claims[0], CLAIMS[1]), INS, OUTS)


# ---- what the verifier expects


def check(expected: ClaimExpectation, rows: tuple[Row, ...] = ROWS) -> None:
    expect(expected, claims_of(rows), rows, INS, OUTS)


def test_what_is_expected() -> None:
    accepted = frozenset({MODEL, OTHER})
    check(ClaimExpectation(accepted))
    check(ClaimExpectation(accepted, input=CLAIMS[0].input, output=CLAIMS[0].output), ROWS[:1])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": frozenset({OTHER})}, "model"),
        ({"model": frozenset()}, "model"),
        ({"context": OTHER}, "context"),
        ({"input": OTHER}, "input"),
        ({"output": OTHER}, "output"),
        # A single commitment is expected of every claim of a batch.
        ({"input": CLAIMS[0].input}, "input"),
        ({"output": CLAIMS[1].output}, "output"),
    ],
)
def test_another_claim_than_expected(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ClaimMismatch, match=field):
        check(ClaimExpectation(**{"model": frozenset({MODEL}), **change}))


ONE_IN, ONE_OUT = (TensorSpec("x", "float32", 0, Header("int16", (1, 3), -2000, 2000), Fraction(1000)),), (Y,)


def ask(public_input: Any = None, public_output: Any = None, count: int = 1) -> None:
    rows = tuple(Row(row.inputs[:1], row.outputs[:1]) for row in ROWS[:count])
    claims = [Claim(MODEL, commit(ONE_IN, r.inputs), commit(ONE_OUT, r.outputs), ZERO_CONTEXT) for r in rows]
    expected = ClaimExpectation(frozenset({MODEL}), public_input=public_input, public_output=public_output)
    expect(expected, claims, rows, ONE_IN, ONE_OUT)


def test_values_are_quantised_as_the_model_does() -> None:
    exact = np.array([[-2.0, 0.0, 1.999]], np.float32)
    ask({"x": exact})
    ask({"x": exact.astype(np.float64)})
    ask({"x": np.array([[-2.0004, 0.0004, 1.9991]], np.float32)})  # the same codes
    for other in ([-2.0, 0.0, 1.998], [-2.0, 0.001, 1.999], [-1.9994, 0.0, 1.999]):
        with pytest.raises(ClaimMismatch, match="input"):
            ask({"x": np.array([other], np.float32)})


@pytest.mark.parametrize("value", [2.5, -2.5, np.inf, -np.inf, np.nan])
def test_a_value_without_a_code_is_no_proof_s_input(value: float) -> None:
    with pytest.raises(ClaimMismatch, match="input"):
        ask({"x": np.array([[value, 0, 1.999]], np.float32)})


def test_a_batch_is_expected_row_by_row() -> None:
    x = np.array([[-2.0, 0.0, 1.999], [0.001, 0.002, 0.003]], np.float32)
    y = np.array([[(1 << 30) * 7 / 3, -35 / 3], [28 / 3, 35 / 3]], np.float32)
    ask({"x": x}, {"y": y}, count=2)
    with pytest.raises(ClaimMismatch, match="input"):
        ask({"x": x[::-1]}, count=2)
    with pytest.raises(ClaimMismatch, match="output"):
        ask(None, {"y": y[::-1]}, count=2)
    for wrong in (x[:1], np.stack([x, x])):
        with pytest.raises(ValueError, match="shape"):
            ask({"x": wrong}, count=2)


def test_outputs_as_codes_are_shown_and_as_they_quantise() -> None:
    shown = np.array([[(1 << 30) * 7 / 3, -35 / 3]])
    ask(None, {"y": shown.astype(np.float32)})  # beyond 2^24 a float32 is coarser than a code
    ask(None, {"y": shown})
    ask(None, {"y": shown + 0.9})
    small, large = np.array([[0, 3.0]]), np.array([[1e4, 0]])
    for other in (shown + small, shown - small, shown + large, shown * np.nan, shown * np.inf):
        with pytest.raises(ClaimMismatch, match="output"):
            ask(None, {"y": other.astype(np.float32)})


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"X": np.zeros((1, 3), np.float32)},
        {"x": np.zeros((1, 3), np.float32), "y": np.zeros(1)},
        {"x": np.zeros((3,), np.float32)},
        {"x": np.zeros((2, 3), np.float32)},
        {"x": np.array([["a", "b", "c"]])},
    ],
)
def test_the_verifiers_own_mistakes(arrays: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"the model has|shape|holds"):
        ask(arrays)
    with pytest.raises(ValueError, match=r"the model has|shape|holds"):
        ask(None, {"y" if name == "x" else name: array for name, array in arrays.items()})


def test_whole_numbers_and_booleans() -> None:
    spec = TensorSpec("n", "uint8", 0, Header("int16", (1, 2), 0, 255), Fraction(1))
    flag = TensorSpec("b", "bool", 1, Header("int8", (1,), 0, 1), Fraction(1))
    row = Row(((255, 0),), ((1,),))
    claim = Claim(MODEL, commit([spec], row.inputs), commit([flag], row.outputs), ZERO_CONTEXT)

    def ask_for(n: Any, b: Any) -> None:
        expected = ClaimExpectation(frozenset({MODEL}), public_input={"n": n}, public_output={"b": b})
        expect(expected, [claim], [row], [spec], [flag])

    ask_for(np.array([[255, 0]]), np.array([True]))
    ask_for(np.array([[255, 0]], np.uint8), np.array([1]))
    with pytest.raises(ClaimMismatch, match="input"):
        ask_for(np.array([[254, 0]]), np.array([True]))
    with pytest.raises(ClaimMismatch, match="output"):
        ask_for(np.array([[255, 0]]), np.array([False]))
    for n, b in ((np.array([[256, 0]]), np.array([True])), (np.array([[255.0, 0.0]]), np.array([True]))):
        with pytest.raises(ValueError, match=r"fit|holds"):
            ask_for(n, b)


def test_plain_python_is_enough() -> None:
    code = """
import sys
from fractions import Fraction
from vml.backends.exact.statement import Row, commit, expect, public_section, read_public
from vml.backends.types import ClaimExpectation
from vml.claim import Claim
from vml.model.graph import TensorSpec
from vml.model.tensor import Header
spec = TensorSpec("x", "float32", 0, Header("int16", (1, 3), -9, 9), Fraction(1))
row = Row(((1, 2, 3),), ((4, 5, 6),))
claim = Claim(bytes(32), commit([spec], row.inputs), commit([spec], row.outputs), bytes(32))
read = read_public(public_section([spec], [spec], [row]), [claim], [spec], [spec])
expect(ClaimExpectation(frozenset({bytes(32)})), [claim], read, [spec], [spec])
print(read == (row,), sorted({"numpy", "numba"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "True []\n"


def test_expected_values_need_no_extra() -> None:
    code = """
import sys
for name in ("numba", "onnx", "onnxruntime", "onnxslim", "safetensors", "filelock", "platformdirs", "threadpoolctl"):
    sys.modules[name] = None
import numpy as np
from fractions import Fraction
from vml.backends.exact.expected import input_codes, is_output
from vml.model.graph import TensorSpec
from vml.model.tensor import Header
spec = TensorSpec("x", "float32", 0, Header("int16", (1, 3), -9, 9), Fraction(2))
x = {"x": np.array([[0.5, 1.0, -1.0]], np.float32)}
print(input_codes([spec], x, 1), is_output([spec], x, [((1, 2, -2),)]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[((1, 2, -2),)] True\n", done.stderr
