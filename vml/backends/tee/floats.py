"""What is different about a float run, as a verifier sees it: description of the runtime, specs, identity, values.

    model = keccak(0x0a || keccak(description) || SHA-256 of the ONNX file || keccak(input spec) || keccak(output spec))

The description is canonical JSON and names whatever can change a bit of the output (``docs/tee-float.md``). A spec is
u16 length || name || dtype u8 || rank u8 || dims u64 each; several are u32 count || each. Nothing here runs a model.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vml import canonical
from vml.backends.exact.statement import Form
from vml.canonical import JSON
from vml.errors import MalformedProof
from vml.keccak import HASH_BYTES, keccak256
from vml.merkle import VALUE_DTYPES
from vml.model.codec import Reader, decode_dims, encode_dims
from vml.values import is_value, value_bytes

SEMANTICS = "onnxruntime-float/1"
RUNTIME = "onnxruntime"
TAG_FLOAT_MODEL = b"\x0a"
OPTIMIZATIONS = ("disabled", "basic", "extended", "layout", "all")
MAX_DESCRIPTION_BYTES = 1 << 16
MAX_SPECS = 1 << 12
MAX_ELEMENTS = 1 << 40
MAX_THREADS = 1 << 16
_DTYPE_NAMES = {code: name for name, code in VALUE_DTYPES.items()}


@dataclass(frozen=True)
class Runtime:
    """Everything that can change a bit of what a float model gives, besides its file and its input.

    Args:
        version: of onnxruntime.
        build: what onnxruntime says of its build.
        providers: names of the execution providers in their order, and the options of each.
        optimization: one of `OPTIMIZATIONS`.
        threads: inside an operator, and between operators.
        deterministic: deterministic kernels were asked for.
        machine: architecture, instruction sets, and devices, as words.
        config: session options by name.

    Raises:
        ValueError: a field that no description has.
    """

    version: str
    build: str
    providers: tuple[tuple[str, Mapping[str, str]], ...]
    optimization: str
    threads: tuple[int, int]
    deterministic: bool
    machine: tuple[str, ...]
    config: Mapping[str, str]

    def __post_init__(self) -> None:
        held = (self.config, *(options for _, options in self.providers))
        options = [text for pairs in held for pair in pairs.items() for text in pair]
        named = [self.version, self.build, *self.machine, *(name for name, _ in self.providers)]
        if not all(isinstance(text, str) and text.isascii() and text.isprintable() for text in [*named, *options]):
            raise ValueError("a description is in printable ASCII")
        if not all(named) or not self.providers or not self.machine:
            raise ValueError("a description names version, build, providers and machine")
        if self.optimization not in OPTIMIZATIONS or not isinstance(self.deterministic, bool):
            raise ValueError(f"the optimisation is one of {', '.join(OPTIMIZATIONS)}")
        if not all(type(count) is int and 0 < count <= MAX_THREADS for count in self.threads):
            raise ValueError(f"1 to {MAX_THREADS} threads")

    def encode(self) -> bytes:
        """The description as canonical JSON."""
        providers: list[JSON] = [{"name": name, "options": dict(options)} for name, options in self.providers]
        inside, between = self.threads
        return canonical.encode(
            {
                "semantics": SEMANTICS,
                "runtime": RUNTIME,
                "version": self.version,
                "build": self.build,
                "providers": providers,
                "optimization": self.optimization,
                "execution": "sequential",
                "threads": {"between": between, "inside": inside},
                "deterministic": self.deterministic,
                "machine": list(self.machine),
                "config": dict(self.config),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Runtime:
        """Read what `encode` wrote; nothing else is accepted.

        Args:
            data: bytes from anyone.

        Raises:
            MalformedProof: anything else.
        """
        try:
            item = canonical.decode(data, max_bytes=MAX_DESCRIPTION_BYTES)
            if not isinstance(item, dict):
                raise ValueError("no object")
            providers = tuple((held["name"], dict(held["options"])) for held in item["providers"])
            threads = (item["threads"]["inside"], item["threads"]["between"])
            machine = tuple(item["machine"])
            found = cls(
                item["version"],
                item["build"],
                providers,
                item["optimization"],
                threads,
                item["deterministic"],
                machine,
                dict(item["config"]),
            )
            if found.encode() != data:
                raise ValueError("not in its one encoding")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MalformedProof(f"the description of the runtime: {str(error)[:300]}") from None
        return found

    def lines(self) -> tuple[str, ...]:
        """The description for people."""
        inside, between = self.threads
        providers = ", ".join(name + (f" ({_pairs(options)})" if options else "") for name, options in self.providers)
        return (
            f"engine: {RUNTIME} {self.version} (floats), {providers}",
            f"engine's build: {self.build}",
            f"engine's options: optimisation {self.optimization}, {inside} and {between} threads, "
            f"{'deterministic' if self.deterministic else 'any'} kernels",
            f"engine's session: {_pairs(self.config) or 'no options'}",
            f"engine's machine: {', '.join(self.machine)}",
        )


def _pairs(options: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(options.items()))


@dataclass(frozen=True)
class FloatSpec:
    """An input or output of the ONNX file.

    Args:
        name: of the tensor.
        dtype: a key of `vml.merkle.VALUE_DTYPES`.
        shape: dimensions, each at least 1.

    Raises:
        ValueError: out of these bounds.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in VALUE_DTYPES:
            raise ValueError(f"{self.name!r} is {self.dtype}, not one of {', '.join(VALUE_DTYPES)}")
        if len(self.shape) > 255 or min(self.shape, default=1) < 1 or math.prod(self.shape) > MAX_ELEMENTS:
            raise ValueError(f"{self.name!r} has the shape {self.shape}")

    @property
    def onnx_dtype(self) -> str:
        """`dtype`, as `vml.arrays` calls it: a file's values are of the user's own type."""
        return self.dtype

    def encode(self) -> bytes:
        """Bytes inside the identity."""
        name = self.name.encode()
        return struct.pack(">H", len(name)) + name + bytes([VALUE_DTYPES[self.dtype]]) + encode_dims(self.shape)


def encode_specs(specs: Sequence[FloatSpec]) -> bytes:
    """Several specs: u32 count, then each."""
    return struct.pack(">I", len(specs)) + b"".join(spec.encode() for spec in specs)


def decode_specs(data: bytes) -> tuple[FloatSpec, ...]:
    """Strict inverse of `encode_specs`.

    Args:
        data: bytes from anyone.

    Raises:
        MalformedProof: anything that does not encode back to `data`.
    """
    try:
        reader = Reader(data)
        count = reader.number(">I")
        if count > MAX_SPECS:
            raise MalformedProof(f"{count} outside tensors")
        specs = tuple(_spec(reader) for _ in range(count))
    except (KeyError, ValueError, struct.error) as error:
        raise MalformedProof(f"the specifications: {error}") from None
    if reader.position != len(data) or len({spec.name for spec in specs}) != len(specs):
        raise MalformedProof("the specifications are not in their one encoding, or two have one name")
    return specs


def _spec(reader: Reader) -> FloatSpec:
    name = reader.take(reader.number(">H")).decode()
    return FloatSpec(name, _DTYPE_NAMES[reader.number(">B")], decode_dims(reader))


def identity(description: bytes, source: bytes, inputs: bytes, outputs: bytes) -> bytes:
    """The identity of a float model, 32 bytes: what goes into ``Claim.model``.

    Args:
        description: of the runtime.
        source: SHA-256 of the ONNX file.
        inputs, outputs: encoded specs.

    Raises:
        ValueError: `source` is not 32 bytes.
    """
    if len(source) != HASH_BYTES:
        raise ValueError(f"a SHA-256 has {HASH_BYTES} bytes")
    return keccak256(TAG_FLOAT_MODEL + keccak256(description) + source + keccak256(inputs) + keccak256(outputs))


def _header(spec: FloatSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}


def _is(specs: Sequence[FloatSpec], arrays: Mapping[str, Any], rows: Sequence[Sequence[bytes]]) -> bool:
    """Whether a run's values are the verifier's arrays, bit for bit in the specs' types.

    An array of another type is taken where every number of it is one of the spec's type.

    Raises:
        ValueError: another name, shape or kind of number, or one that the spec's type would round.
    """
    import numpy as np

    names = [spec.name for spec in specs]
    if set(arrays) != set(names):
        raise ValueError(f"the model has {', '.join(sorted(names))}, given were {', '.join(sorted(map(str, arrays)))}")
    (row,) = rows
    wanted: list[bytes | None] = []
    for spec in specs:
        array, kind = np.asarray(arrays[spec.name]), np.dtype(spec.dtype).kind
        if array.shape != spec.shape:
            raise ValueError(f"{spec.name!r} has shape {array.shape}, the model takes {spec.shape}")
        if array.dtype.kind not in ("iuf" if kind == "f" else "biu"):
            raise ValueError(f"{spec.name!r} holds {spec.dtype}, given were {array.dtype}")
        if array.dtype.kind == "f" and np.isnan(array).any():
            wanted.append(None)
            continue
        with np.errstate(over="ignore"):
            cast = array.astype(spec.dtype)
        # Python compares numbers of any two types exactly.
        if cast.dtype != array.dtype and (cast.astype(object) != array.astype(object)).any():
            raise ValueError(f"{spec.name!r}: a number does not fit {spec.dtype}; .astype({spec.dtype!r}) rounds it")
        wanted.append(value_bytes(cast))
    return wanted == list(row)


VALUES = Form(
    field="data",
    header=_header,
    values=lambda spec, data: data if is_value(spec.dtype, data) else None,
    why=lambda spec: f"{spec.name!r} holds NaN, or a truth value besides 0 and 1",
    is_input=_is,
    is_output=_is,
)
"""Values as the runtime got and gave them."""
