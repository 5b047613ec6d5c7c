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
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from vml import canonical
from vml.backends.types import ClaimExpectation
from vml.claim import Claim, Context
from vml.errors import ClaimMismatch, MalformedProof
from vml.merkle import EMPTY, ITEM_BYTES, LEAF_BYTES, Tree, tensor_bytes, tensor_digest, tensor_leaf, tensors_root

if TYPE_CHECKING:
    from vml.model.graph import TensorSpec

CONTEXT_PREIMAGE = "context_preimage"
_FORMATS = {"int8": "b", "int16": "h", "int32": "i", "int64": "q"}

Tensors: TypeAlias = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Row:
    """The codes of one claim: tensors in the order of the specs, elements row-major."""

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
    return _commit(specs, [_pack(spec, codes) for spec, codes in zip(specs, tensors, strict=True)])


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

    def entry(spec: TensorSpec) -> dict[str, Any]:
        return {**_header(spec), "codes": [base64.b64encode(tensor_bytes(tensors[spec.node])).decode("ascii")]}

    return {"hidden": [], "input": [entry(spec) for spec in inputs], "output": [entry(spec) for spec in outputs]}


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
    public: Mapping[str, Any], claims: Sequence[Claim], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> tuple[Row, ...]:
    """Read the public section strictly, and check every claim's input and output against it.

    Args:
        public: from anyone.
        claims: of the same envelope.
        inputs, outputs: specs of the claimed model.

    Returns:
        The codes, one row a claim.

    Raises:
        MalformedProof: another form, or a code outside its range.
        ClaimMismatch: a claim commits to something else.
    """
    # step 1: the section has its names, and hides nothing
    rest = dict(public)
    preimage = rest.pop(CONTEXT_PREIMAGE, None)
    if rest.keys() != {"hidden", "input", "output"}:
        raise MalformedProof(f"the public section holds {sorted(map(str, rest))}, not hidden, input, output")
    if rest["hidden"] != []:
        raise MalformedProof("a proof about the exact model hides nothing")

    # step 2: the preimage of the context, where it is shown
    if CONTEXT_PREIMAGE in public:
        context = Context.from_json(preimage).commitment()
        for claim in claims:
            if claim.context != context:
                raise ClaimMismatch("context", _hex(claim.context), "the preimage of another context")

    read_inputs = _read_side("input", rest["input"], inputs, len(claims))
    read_outputs = _read_side("output", rest["output"], outputs, len(claims))
    for k, claim in enumerate(claims):
        # step 6: the commitments
        if claim.input != (committed := _commit(inputs, [tensor[k].data for tensor in read_inputs])):
            raise ClaimMismatch("input", _hex(committed), _hex(claim.input))
        if claim.output != (committed := _commit(outputs, [tensor[k].data for tensor in read_outputs])):
            raise ClaimMismatch("output", _hex(committed), _hex(claim.output))
    return tuple(
        Row(tuple(tensor[k].codes for tensor in read_inputs), tuple(tensor[k].codes for tensor in read_outputs))
        for k in range(len(claims))
    )


def expect(
    expected: ClaimExpectation,
    claims: Sequence[Claim],
    rows: Sequence[Row],
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
) -> None:
    """Compare the claims with what the verifier already knows. Returns nothing or raises.

    Args:
        expected: the verifier's.
        claims, rows: as `read_public` took and gave them.
        inputs, outputs: specs of the claimed model.

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
    if expected.public_input is not None:
        from vml.backends.exact.expected import input_codes

        # step 9a: the input, from values
        if input_codes(inputs, expected.public_input, len(rows)) != [row.inputs for row in rows]:
            raise ClaimMismatch("input", "the input that was given", "another one inside the proof")
    if expected.public_output is not None:
        from vml.backends.exact.expected import is_output

        # step 10a: the output, from values
        if not is_output(outputs, expected.public_output, [row.outputs for row in rows]):
            raise ClaimMismatch("output", "the output that was given", "another one inside the proof")


@dataclass(frozen=True)
class _Tensor:
    """One tensor of one claim, both as it is hashed and as it is read."""

    data: bytes
    codes: tuple[int, ...]


def _read_side(side: str, entries: Any, specs: Sequence[TensorSpec], count: int) -> list[list[_Tensor]]:
    """The tensors of one side, by spec and then by claim."""
    if not isinstance(entries, list) or len(entries) != len(specs) or not specs:
        raise MalformedProof(f"public.{side} is not a list of the model's {len(specs)} tensors")
    tensors = []
    for spec, entry in zip(specs, entries, strict=True):
        # step 3: what the tensor is
        if not isinstance(entry, dict) or "codes" not in entry:
            raise MalformedProof(f"public.{side} does not say what {spec.name!r} is")
        if _spelled({name: value for name, value in entry.items() if name != "codes"}) != _spelled(_header(spec)):
            raise MalformedProof(f"public.{side} does not say what {spec.name!r} is: {_header(spec)}")
        # step 4: its bytes, for every claim
        texts = entry["codes"]
        if not isinstance(texts, list) or len(texts) != count:
            raise MalformedProof(f"public.{side}: {spec.name!r} does not have {count} texts of codes, one a claim")
        tensors.append([_read_codes(side, spec, text) for text in texts])
    return tensors


def _read_codes(side: str, spec: TensorSpec, text: Any) -> _Tensor:
    """One tensor of one claim."""
    size = spec.header.size * ITEM_BYTES[spec.header.dtype]
    # step 4: exactly its bytes, in one spelling
    if not isinstance(text, str):
        raise MalformedProof(f"public.{side}: the codes of {spec.name!r} are not a text")
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise MalformedProof(f"public.{side}: the codes of {spec.name!r} are not base64") from None
    if len(data) != size or base64.b64encode(data).decode("ascii") != text:
        raise MalformedProof(f"public.{side}: the codes of {spec.name!r} are not {size} bytes in canonical base64")
    # step 5: their range
    codes = struct.unpack(f">{spec.header.size}{_FORMATS[spec.header.dtype]}", data)
    if min(codes) < spec.header.lo or max(codes) > spec.header.hi:
        raise MalformedProof(f"public.{side}: a code of {spec.name!r} is outside {spec.header.lo}..{spec.header.hi}")
    return _Tensor(data, codes)


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
    return struct.pack(f">{header.size}{_FORMATS[header.dtype]}", *codes)


def _commit(specs: Sequence[TensorSpec], tensors: Sequence[bytes]) -> bytes:
    """The commitment of tensors that lie there as bytes."""
    roots = []
    for spec, data in zip(specs, tensors, strict=True):
        leaves = [tensor_leaf(data[at : at + LEAF_BYTES]) for at in range(0, len(data), LEAF_BYTES)]
        roots.append(tensor_digest(spec.header.dtype, spec.shape, Tree(leaves, EMPTY).root))
    return tensors_root(roots)


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
