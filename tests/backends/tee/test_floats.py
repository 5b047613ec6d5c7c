"""Description, specs and identity of a float model: one encoding each, and nothing else is read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.backends.tee.float_runs import honest, loaded, runtime, source
from tests.backends.tee.signed_runs import decoded
from vml import canonical
from vml.backends.tee.engines import ENGINES, EXACT, FLOAT, SCHEMES, engine_of
from vml.backends.tee.floats import MAX_SPECS, FloatSpec, Runtime, decode_specs, encode_specs, identity
from vml.backends.tee.payload import SignedRun
from vml.errors import MalformedProof
from vml.merkle import VALUE_DTYPES
from vml.tee.binding import verify_receipt

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "float_runs.json").read_text(encoding="utf-8"))


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


@pytest.mark.parametrize("case", VECTORS["models"], ids=lambda case: case["name"])
def test_identities(case: dict[str, Any]) -> None:
    """Bytes that a second implementation wrote."""
    description, inputs, outputs = (unhex(case[name]) for name in ("description", "inputs", "outputs"))
    assert Runtime.decode(description).encode() == description
    assert encode_specs(decode_specs(inputs)) == inputs
    shown = [[spec.name, spec.dtype, list(spec.shape)] for spec in decode_specs(inputs)]
    assert shown == case["input_specs"]
    found = FLOAT.identity(description, unhex(case["source"]), inputs, outputs)
    assert found == unhex(case["model"]) == identity(description, unhex(case["source"]), inputs, outputs)


@pytest.mark.parametrize("case", VECTORS["payloads"], ids=lambda case: case["name"])
def test_payloads(case: dict[str, Any]) -> None:
    data, described = unhex(case["payload"]), case["described"]
    run = SignedRun.decode(data, described)
    assert run.encode() == data
    assert run.description == unhex(case["description"])
    assert [gpu.hex() for gpu in run.gpus] == [text[2:] for text in case["gpus"]]
    assert run.certificate.digest() == unhex(case["certificate_digest"])
    verify_receipt(run.receipt(unhex(case["claim"])), run.signature, run.certificate)
    with pytest.raises(MalformedProof):
        SignedRun.decode(data, not described)


def test_the_engines() -> None:
    assert list(ENGINES) == ["exact", "float"]
    assert list(SCHEMES) == ["tee/1", "tee/float/1"]
    assert {scheme.partition("/")[0] for scheme in SCHEMES} == {"tee"}
    assert engine_of("tee/1") is EXACT
    assert engine_of("tee/float/1") is FLOAT
    assert len({engine.semantics for engine in SCHEMES.values()}) == 2
    for scheme in ("tee", "tee/2", "tee/float", "tee/float/2", "tee/float/1/", ""):
        with pytest.raises(MalformedProof, match="is not 'tee/1' or 'tee/float/1'"):
            engine_of(scheme)
    with pytest.raises(MalformedProof, match="no runtime"):
        EXACT.lines(b"{}")
    assert EXACT.identity(bytes(1), bytes(32), b"", b"") != FLOAT.identity(bytes(1), bytes(32), b"", b"")


# The description.


def written(**change: Any) -> bytes:
    item = {**json.loads(runtime().encode()), **change}
    return canonical.encode({name: value for name, value in item.items() if value != "gone"})


def test_descriptions_round_trip() -> None:
    assert written() == runtime().encode() == decoded(honest()).description
    assert Runtime.decode(written()) == runtime()
    cuda = replace(runtime(), providers=(("CUDAExecutionProvider", {"use_tf32": "0", "a": ""}), *runtime().providers))
    assert Runtime.decode(cuda.encode()).encode() == cuda.encode()
    assert "CUDAExecutionProvider (a=, use_tf32=0), CPUExecutionProvider" in cuda.lines()[0]


FIELDS = {
    "semantics": ["onnxruntime-float/2", "vml-int/1", None],
    "runtime": ["tensorrt", 1],
    "version": ["", 1, None, "1\n", "é"],
    "build": ["", 5, "a\x1b[31m"],
    "providers": [
        [],
        {},
        "CPUExecutionProvider",
        [["CPUExecutionProvider", {}]],
        [{"name": "CPUExecutionProvider"}],
        [{"name": "", "options": {}}],
        [{"name": "X", "options": []}],
        [{"name": "X", "options": {"a": 1}}],
        [{"name": "X", "options": {"a": "\n"}}],
        [{"name": "X", "options": {}, "more": 1}],
    ],
    "optimization": ["none", 0, None],
    "execution": ["parallel", None],
    "threads": [{}, 1, {"inside": 1}, {"inside": 0, "between": 1}, {"inside": 1, "between": True}],
    "deterministic": [1, "true", None],
    "machine": [[], "x86_64", [""], [1], {"x86_64": 1}],
    "config": [None, [], "a", {"a": 1}, {"a": "\n"}, [["a", "b"]]],
    "more": ["field"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in FIELDS.items() for value in values])
def test_other_descriptions(name: str, value: Any) -> None:
    with pytest.raises(MalformedProof, match="description of the runtime"):
        Runtime.decode(written(**{name: value}))


def test_every_field_is_needed_and_tried() -> None:
    names = json.loads(runtime().encode()).keys()
    assert FIELDS.keys() == names | {"more"}
    for name in names:
        with pytest.raises(MalformedProof, match="description of the runtime"):
            Runtime.decode(written(**{name: "gone"}))


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"1", b"{", b"[" * 100_000, written() + b" ", b"\xff", b'{"a":' + b"9" * 70_000]
)
def test_what_is_no_description(data: bytes) -> None:
    with pytest.raises(MalformedProof, match="description of the runtime"):
        Runtime.decode(data)


@pytest.mark.parametrize("threads", [(0, 1), (1, 1 << 17), (True, 1)])
def test_threads_are_counted(threads: Any) -> None:
    with pytest.raises(ValueError, match="threads"):
        replace(runtime(), threads=threads)


def test_session_options_are_told() -> None:
    told = "\n".join(runtime().lines())
    assert "engine's session: session.load_model_format=ONNX, session.model_external_" in told
    assert "engine's session: no options" in replace(runtime(), config={}).lines()


# Specs.


def test_specs_round_trip() -> None:
    specs = tuple(FloatSpec(f"{name} é", name, shape) for name in VALUE_DTYPES for shape in ((), (1,), (2, 3)))
    named = tuple(replace(spec, name=f"{spec.name}{k}") for k, spec in enumerate(specs))
    assert decode_specs(encode_specs(named)) == named
    assert decode_specs(encode_specs(())) == ()


@pytest.mark.parametrize(
    "change",
    [{"dtype": "bfloat16"}, {"dtype": "str"}, {"shape": (0,)}, {"shape": (1,) * 256}, {"shape": (1 << 41,)}],
)
def test_other_specs(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="'x'"):
        replace(FloatSpec("x", "float32", (1,)), **change)


def test_specs_of_another_form() -> None:
    spec = FloatSpec("x", "float32", (2, 3))
    good = encode_specs([spec])
    cases = [good[:size] for size in range(len(good))]
    cases += [good + b"\0", encode_specs([spec, spec]), b"\xff" * 4 + good, good.replace(b"x\x06", b"x\x0d")]
    cases += [good.replace(b"\0\1x", b"\0\1\xff"), good[:-8] + bytes(8)]
    for data in cases:
        with pytest.raises(MalformedProof, match=r"specifications|outside tensors"):
            decode_specs(data)


def test_specs_are_counted() -> None:
    many = [FloatSpec(str(k), "uint8", ()) for k in range(MAX_SPECS + 1)]
    assert len(decode_specs(encode_specs(many[1:]))) == MAX_SPECS
    with pytest.raises(MalformedProof, match="4097 outside tensors"):
        decode_specs(encode_specs(many))


def test_a_float_run_has_a_description() -> None:
    run = replace(decoded(honest()), description=b"")
    data = run.encode()
    head = data.index(run.inputs) - 4
    with pytest.raises(MalformedProof, match="no description"):
        SignedRun.decode(data[:head] + bytes(4) + data[head:], True)
    assert SignedRun.decode(data) == run


def test_a_source_is_a_digest() -> None:
    run = decoded(honest())
    assert run.source == hashlib.sha256(source()).digest() == loaded().program.source
    with pytest.raises(ValueError, match="32 bytes"):
        identity(run.description, b"", run.inputs, run.outputs)
