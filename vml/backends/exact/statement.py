"""What a proof about the exact model states: integers that went in and came out, and claims that commit to them.

A claim of the exact model holds ``input`` = H(0x03 || n || tensor roots) and ``output`` likewise (`vml.merkle`). The
envelope's public section holds the integers themselves, one entry a tensor, one text of codes a claim::

    {"hidden":[],
     "input":[{"codes":["base64", …],"dtype":"int16","name":"x","scale":["4096","1"],"shape":[1,4]}, …],
     "output":[…]}

The codes are the bytes that the commitment hashes: row-major, two's complement, big-endian of the tensor's dtype.
value = code / scale. Name, dtype, shape and scale repeat the model's specs, for readers who hold no model.

A verifier takes the specs from a model that it has checked, and then:

 1. the section has exactly the names above, hides nothing, and may show the context's preimage;
 2. the preimage is that of every claim's context;
 3. every tensor's entry says what its spec says;
 4. it has one text of codes a claim, of exactly the tensor's bytes, in the one spelling of base64;
 5. every code lies in the range that the model declares;
 6. every claim's input and output are the commitments recomputed from the codes;
 7. every claim is about a model that the verifier accepts;
 8. and bound to the context that it expects;
 9. its input is the one that the verifier expects, where it expects one;
10. and its output.

That the output follows from the input is not shown here: it is what the proof is for.

Other tensors than codes stand in the same section under a `Form` of their own: what an entry says of them, under which
name their texts stand, which bytes are values, and how a verifier's own arrays are compared.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from vml import canonical
from vml.backends.types import ClaimExpectation
from vml.claim import Claim, Context
from vml.errors import ClaimMismatch, MalformedProof
from vml.merkle import tensor_bytes, tensors_root
from vml.values import FORMATS, VALUE_BYTES, packed_root

if TYPE_CHECKING:
    from vml.model.graph import TensorSpec

CONTEXT_PREIMAGE = "context_preimage"

Tensors: TypeAlias = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Form:
    """How one kind of outside tensors stands in a public section. A spec is whatever its functions take.

    Args:
        field: name of the texts in an entry.
        header: what an entry repeats of a spec: with dtype (a key of `vml.merkle.VALUE_DTYPES`) and shape.
        values: the values that a tensor's bytes hold, and None where one of them is no value of the spec.
        why: says of a spec what is no value, for the error.
        is_input: whether the inputs of all claims are the verifier's arrays: specs, arrays by name, values.
        is_output: likewise. Both raise ValueError for arrays of other names, shapes or kinds.
    """

    field: str
    header: Callable[[Any], dict[str, Any]]
    values: Callable[[Any, bytes], Any]
    why: Callable[[Any], str]
    is_input: Callable[[Sequence[Any], Mapping[str, Any], Sequence[Any]], bool]
    is_output: Callable[[Sequence[Any], Mapping[str, Any], Sequence[Any]], bool]


@dataclass(frozen=True)
class Row:
    """The codes of one claim: tensors in the order of the specs, elements row-major; of other forms their values."""

    inputs: Tensors
    outputs: Tensors


def commit(specs: Sequence[TensorSpec], tensors: Tensors) -> bytes:
    """The commitment of one side of a claim.

    Args:
        specs: inputs or outputs of the model, at least one.
        tensors: their codes.

    Returns:
        32 bytes, as ``merkle.tensors_root`` of arrays gives them.

    Raises:
        ValueError: no specs, or codes that do not fit them.
    """
    return commit_packed(specs, [_pack(spec, codes) for spec, codes in zip(specs, tensors, strict=True)])


def public_section(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], rows: Sequence[Row]) -> dict[str, Any]:
    """The public section of a proof about these rows, one a claim.

    Raises:
        ValueError: codes that do not fit the specs.
    """
    return {
        "hidden": [],
        "input": [_entry(spec, [row.inputs[k] for row in rows]) for k, spec in enumerate(inputs)],
        "output": [_entry(spec, [row.outputs[k] for row in rows]) for k, spec in enumerate(outputs)],
    }


def section_of_run(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], tensors: Mapping[int, Any]
) -> dict[str, Any]:
    """The public section of a proof about one run, as `public_section`, from arrays: for large tensors.

    Args:
        inputs, outputs: the model's specs.
        tensors: by node, integer arrays of the specs' dtypes and shapes, within their ranges.
    """

    sides = [[tensor_bytes(tensors[spec.node]) for spec in side] for side in (inputs, outputs)]
    return packed_section(inputs, outputs, sides[0], sides[1])


def packed_section(
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    given: Sequence[bytes],
    made: Sequence[bytes],
    form: Form | None = None,
) -> dict[str, Any]:
    """The public section of a proof about one run, from the tensors' bytes.

    Args:
        inputs, outputs: specs.
        given, made: the bytes of each, as they are committed to.
        form: of the tensors; None: codes.
    """
    shown = form or CODES

    def entries(specs: Sequence[Any], tensors: Sequence[bytes]) -> list[dict[str, Any]]:
        return [
            {**shown.header(spec), shown.field: [base64.b64encode(data).decode("ascii")]}
            for spec, data in zip(specs, tensors, strict=True)
        ]

    return {"hidden": [], "input": entries(inputs, given), "output": entries(outputs, made)}


def commit_packed(specs: Sequence[Any], tensors: Sequence[bytes], form: Form | None = None) -> bytes:
    """The commitment of one side of a claim, 32 bytes, from the tensors' bytes; specs and form as above."""
    headers = [(form or CODES).header(spec) for spec in specs]
    return tensors_root(
        [packed_root(head["dtype"], head["shape"], data) for head, data in zip(headers, tensors, strict=True)]
    )


def row_of(
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    input_codes: Mapping[str, Any],
    output_codes: Mapping[str, Any],
) -> Row:
    """The codes of one run as plain integers.

    Args:
        inputs, outputs: the model's specs.
        input_codes, output_codes: integer arrays by name, of the specs' shapes, in any memory layout.
    """
    return Row(
        tuple(tuple(input_codes[spec.name].reshape(-1).tolist()) for spec in inputs),
        tuple(tuple(output_codes[spec.name].reshape(-1).tolist()) for spec in outputs),
    )


def read_public(
    public: Mapping[str, Any],
    claims: Sequence[Claim],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    form: Form | None = None,
) -> tuple[Row, ...]:
    """Read the public section strictly, and check every claim's input and output against it.

    Args:
        public: from anyone.
        claims: of the same envelope.
        inputs, outputs: specs of the claimed model.
        form: of the tensors; None: codes.

    Returns:
        The codes, or values, one row a claim.

    Raises:
        MalformedProof: another form, or a code outside its range.
        ClaimMismatch: a claim commits to something else.
    """
    shown = form or CODES
    # step 1: the section has its names, and hides nothing
    rest = dict(public)
    preimage = rest.pop(CONTEXT_PREIMAGE, None)
    if rest.keys() != {"hidden", "input", "output"}:
        raise MalformedProof(f"the public section holds {sorted(map(str, rest))}, not hidden, input, output")
    if rest["hidden"] != []:
        raise MalformedProof("a proof about values that are shown hides nothing")

    # step 2: the preimage of the context, where it is shown
    if CONTEXT_PREIMAGE in public:
        context = Context.from_json(preimage).commitment()
        for claim in claims:
            if claim.context != context:
                raise ClaimMismatch("context", _hex(claim.context), "the preimage of another context")

    read_inputs = _read_side("input", rest["input"], inputs, len(claims), shown)
    read_outputs = _read_side("output", rest["output"], outputs, len(claims), shown)
    for k, claim in enumerate(claims):
        # step 6: the commitments
        if claim.input != (committed := commit_packed(inputs, [tensor[k].data for tensor in read_inputs], shown)):
            raise ClaimMismatch("input", _hex(committed), _hex(claim.input))
        if claim.output != (committed := commit_packed(outputs, [tensor[k].data for tensor in read_outputs], shown)):
            raise ClaimMismatch("output", _hex(committed), _hex(claim.output))
    return tuple(
        Row(tuple(tensor[k].values for tensor in read_inputs), tuple(tensor[k].values for tensor in read_outputs))
        for k in range(len(claims))
    )


def expect(
    expected: ClaimExpectation,
    claims: Sequence[Claim],
    rows: Sequence[Row],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    form: Form | None = None,
) -> None:
    """Compare the claims with what the verifier already knows. Returns nothing or raises.

    Args:
        expected: the verifier's.
        claims, rows: as `read_public` took and gave them.
        inputs, outputs: specs of the claimed model.
        form: of the tensors; None: codes.

    Raises:
        ClaimMismatch: a claim is about something else.
        ValueError: the verifier's own arrays do not have the model's names and shapes.
    """
    for claim in claims:
        # step 7: the model
        if claim.model not in expected.model:
            accepted = ", ".join(sorted(map(_hex, expected.model))) or "none"
            raise ClaimMismatch("model", accepted, _hex(claim.model))
        # step 8: the context
        if claim.context != expected.context:
            raise ClaimMismatch("context", _hex(expected.context), _hex(claim.context))
        # step 9: the input
        if expected.input is not None and claim.input != expected.input:
            raise ClaimMismatch("input", _hex(expected.input), _hex(claim.input))
        # step 10: the output
        if expected.output is not None and claim.output != expected.output:
            raise ClaimMismatch("output", _hex(expected.output), _hex(claim.output))

    # Values in the user's numbers need numpy; whoever gives some has it.
    shown = form or CODES
    given, made = expected.public_input, expected.public_output
    # step 9a: the input, from values
    if given is not None and not shown.is_input(inputs, given, [row.inputs for row in rows]):
        raise ClaimMismatch("input", "the input that was given", "another one inside the proof")
    # step 10a: the output, from values
    if made is not None and not shown.is_output(outputs, made, [row.outputs for row in rows]):
        raise ClaimMismatch("output", "the output that was given", "another one inside the proof")


@dataclass(frozen=True)
class _Tensor:
    """One tensor of one claim, both as it is hashed and as it is read."""

    data: bytes
    values: Any


def _read_side(side: str, entries: Any, specs: Sequence[Any], count: int, form: Form) -> list[list[_Tensor]]:
    """The tensors of one side, by spec and then by claim."""
    if not isinstance(entries, list) or len(entries) != len(specs) or not specs:
        raise MalformedProof(f"public.{side} is not a list of the model's {len(specs)} tensors")
    tensors = []
    for spec, entry in zip(specs, entries, strict=True):
        head = form.header(spec)
        # step 3: what the tensor is
        if not isinstance(entry, dict) or form.field not in entry:
            raise MalformedProof(f"public.{side} does not say what {spec.name!r} is")
        if _spelled({name: value for name, value in entry.items() if name != form.field}) != _spelled(head):
            raise MalformedProof(f"public.{side} does not say what {spec.name!r} is: {head}")
        # step 4: its bytes, for every claim
        texts = entry[form.field]
        if not isinstance(texts, list) or len(texts) != count:
            raise MalformedProof(
                f"public.{side}: {spec.name!r} does not have {count} texts of {form.field}, one a claim"
            )
        size = math.prod(head["shape"]) * VALUE_BYTES[head["dtype"]]
        tensors.append([_read_tensor(side, spec, size, text, form) for text in texts])
    return tensors


def _read_tensor(side: str, spec: Any, size: int, text: Any, form: Form) -> _Tensor:
    """One tensor of one claim, of `size` bytes."""
    what = f"public.{side}: the {form.field} of {spec.name!r} are"
    # step 4: exactly its bytes, in one spelling
    if not isinstance(text, str):
        raise MalformedProof(f"{what} not a text")
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise MalformedProof(f"{what} not base64") from None
    if len(data) != size or base64.b64encode(data).decode("ascii") != text:
        raise MalformedProof(f"{what} not {size} bytes in canonical base64")
    # step 5: their range
    values = form.values(spec, data)
    if values is None:
        raise MalformedProof(f"public.{side}: {form.why(spec)}")
    return _Tensor(data, values)


def _read_codes(spec: TensorSpec, data: bytes) -> tuple[int, ...] | None:
    """The codes in a tensor's bytes; None where one is out of range."""
    codes = struct.unpack(f">{spec.header.size}{FORMATS[spec.header.dtype]}", data)
    return None if min(codes) < spec.header.lo or max(codes) > spec.header.hi else codes


def _is_input(specs: Sequence[TensorSpec], arrays: Mapping[str, Any], rows: Sequence[Tensors]) -> bool:
    from vml.backends.exact.expected import input_codes

    return input_codes(specs, arrays, len(rows)) == list(rows)


def _is_output(specs: Sequence[TensorSpec], arrays: Mapping[str, Any], rows: Sequence[Tensors]) -> bool:
    from vml.backends.exact.expected import is_output

    return is_output(specs, arrays, rows)


def _header(spec: TensorSpec) -> dict[str, Any]:
    """What the public section repeats of a spec."""
    return {
        "name": spec.name,
        "dtype": spec.header.dtype,
        "shape": list(spec.shape),
        "scale": [str(spec.scale.numerator), str(spec.scale.denominator)],
    }


def _entry(spec: TensorSpec, rows: Sequence[Sequence[int]]) -> dict[str, Any]:
    """One tensor's entry of the public section."""
    return {**_header(spec), "codes": [base64.b64encode(_pack(spec, codes)).decode("ascii") for codes in rows]}


def _pack(spec: TensorSpec, codes: Sequence[int]) -> bytes:
    """The bytes of a tensor.

    Raises:
        ValueError: another number of codes, or one outside the range.
    """
    header = spec.header
    if len(codes) != header.size or min(codes) < header.lo or max(codes) > header.hi:
        raise ValueError(f"{spec.name!r} is {header.size} codes in {header.lo}..{header.hi}")
    return struct.pack(f">{header.size}{FORMATS[header.dtype]}", *codes)


def _spelled(value: Any) -> bytes:
    """A value as canonical JSON, which tells true from 1.

    Raises:
        MalformedProof: no JSON; only a proof that was made in Python can hold that.
    """
    try:
        return canonical.encode(value)
    except ValueError:
        raise MalformedProof("the public section holds something that is no canonical JSON") from None


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


CODES = Form(
    field="codes",
    header=_header,
    values=_read_codes,
    why=lambda spec: f"a code of {spec.name!r} is outside {spec.header.lo}..{spec.header.hi}",
    is_input=_is_input,
    is_output=_is_output,
)
"""Codes of the exact model."""
