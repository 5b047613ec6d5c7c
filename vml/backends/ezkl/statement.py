"""What the instances of an ezkl proof mean: read from the wrapper's descriptor and the circuit's settings.

The instances stand in this order: the input (the model's tensors, then ``vml_context``; as values when the
input is public, else one Poseidon digest a tensor), the digest of the parameters when the model is private,
the output (the model's tensors, then the context again), as values.

Both prover and verifier read statements, so this module imports neither.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vml import canonical
from vml.backends.ezkl.bn254 import R
from vml.backends.ezkl.circuit import MAX_LOG_ROWS, MIN_LOG_ROWS, RunArgs
from vml.backends.ezkl.commitments import (
    CONTEXT_LIMBS,
    WORD,
    hidden_field,
    lp,
    public_field,
    value_of,
)
from vml.backends.types import Visibility
from vml.errors import MalformedProof
from vml.keccak import keccak256

ENGINE_VERSION = "23.0.5"
"""The one release of ezkl whose formats and layouts are tested here."""

FORMAT = "vml-ezkl-wrapper/1"
CONTEXT_NAME = "vml_context"
SALT_LANES = 16
LANE_BITS = 15
MAX_TENSORS = 64
MAX_RANK = 8
MAX_TEXT = 4 << 20
SEMANTICS = f"ezkl-fixed-point/{ENGINE_VERSION}"
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
FLOATS = ("float16", "float", "double")
_HASH = {"Hashed": {"hash_is_public": True, "outlets": []}}


@dataclass(frozen=True)
class TensorInfo:
    """Name and shape of a tensor at the edge of the model, and its ONNX element type by name."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Number of elements."""
        size = 1
        for dimension in self.shape:
            size *= dimension
        return size

    def to_json(self) -> dict[str, Any]:
        """As the wrapper's descriptor holds it."""
        return {"name": self.name, "shape": list(self.shape), "dtype": self.dtype}


def scheme_of(visibility: Visibility) -> str:
    """The scheme name of proofs with a visibility."""
    return f"ezkl/{ENGINE_VERSION}/kzg-bn254/input-{visibility.input}/model-{visibility.model}"


def visibility_of(scheme: str) -> Visibility | None:
    """The visibility that a scheme name states; None where it is no scheme of this engine's version."""
    return _VISIBILITIES.get(scheme)


_VISIBILITIES = {
    scheme_of(visibility): visibility
    for visibility in (
        Visibility(source, model) for source in ("public", "hashed", "private") for model in ("public", "private")
    )
}


def describe(inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], visibility: Visibility) -> bytes:
    """The wrapper's descriptor, canonical JSON."""
    return canonical.encode(
        {
            "format": FORMAT,
            "inputs": [tensor.to_json() for tensor in inputs],
            "outputs": [tensor.to_json() for tensor in outputs],
            "visibility": {"input": visibility.input, "model": visibility.model},
            "context_limbs": CONTEXT_LIMBS,
            "salt_lanes": SALT_LANES if visibility.input == "private" else 0,
        }
    )


def encode_settings(settings: Mapping[str, Any]) -> bytes:
    """One spelling for settings: keys sorted, no white space, ASCII."""
    return json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


@dataclass(frozen=True)
class Statement:
    """How to read a proof's instances.

    Args:
        visibility: what is hidden.
        inputs, outputs: the model's tensors.
        input_scales, output_scales: fixed point bits of each; a code v stands for v / 2^scale.
        log_rows: k of the circuit.
    """

    visibility: Visibility
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    input_scales: tuple[int, ...]
    output_scales: tuple[int, ...]
    log_rows: int

    @classmethod
    def read(cls, wrapper: bytes, settings: bytes, visibility: Visibility) -> Statement:
        """Read descriptor and settings, and check that they tell the same story.

        Args:
            wrapper: canonical JSON.
            settings: JSON in the one spelling of `encode_settings`.
            visibility: what the scheme says.

        Raises:
            MalformedProof: what does not fit.
        """
        try:
            described = canonical.decode(wrapper, max_bytes=MAX_TEXT)
            inputs, outputs = (_tensors(described[side]) for side in ("inputs", "outputs"))
            if describe(inputs, outputs, visibility) != wrapper:
                raise MalformedProof("the wrapper's descriptor does not fit the scheme")
            value = _settings(settings)
            arguments = value["run_args"]
            _check_arguments(value, arguments, visibility)
            scales = {side: tuple(_scales(value[f"model_{side}_scales"])) for side in ("input", "output")}
            statement = cls(
                visibility, inputs, outputs, scales["input"][:-1], scales["output"][:-1], arguments["logrows"]
            )
            shapes = [list(shape) for shape in value["model_instance_shapes"]]
            digests = sum(value["module_sizes"]["poseidon"][1])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MalformedProof(f"wrapper or settings: {error!r}"[:200]) from None
        context = [1, CONTEXT_LIMBS]
        expected = [list(t.shape) for t in outputs] + [context]
        if visibility.input == "public":
            expected = [list(t.shape) for t in inputs] + [context] + expected
        if shapes != expected or digests != statement.input_digests + statement.parameter_digests:
            raise MalformedProof("the settings do not have the wrapper's instances")
        if [scales["input"][-1], scales["output"][-1]] != [0, 0]:
            raise MalformedProof("the context is not passed as integers")
        if len(statement.input_scales) != len(inputs) or len(statement.output_scales) != len(outputs):
            raise MalformedProof("the settings do not have the wrapper's tensors")
        return statement

    @property
    def input_digests(self) -> int:
        """Poseidon digests of the input: one a tensor, the context's included; none when it is public."""
        return 0 if self.visibility.input == "public" else len(self.inputs) + 1

    @property
    def parameter_digests(self) -> int:
        """Poseidon digests of the parameters."""
        return 1 if self.visibility.model == "private" else 0

    @property
    def _input_words(self) -> int:
        if self.visibility.input != "public":
            return self.input_digests
        return sum(t.size for t in self.inputs) + CONTEXT_LIMBS

    @property
    def _output_start(self) -> int:
        return self._input_words + self.parameter_digests

    @property
    def instance_count(self) -> int:
        """How many instances a proof has."""
        return self._output_start + sum(t.size for t in self.outputs) + CONTEXT_LIMBS

    def input_words(self, instances: Sequence[bytes]) -> Sequence[bytes]:
        """The instances of the model's input, values or digests, without the context."""
        extra = CONTEXT_LIMBS if self.visibility.input == "public" else 1
        return instances[: self._input_words - extra]

    def input_context(self, instances: Sequence[bytes]) -> Sequence[bytes]:
        """The context among the inputs; empty when the input is hashed (the circuit copies it anyway)."""
        if self.visibility.input != "public":
            return ()
        return instances[self._input_words - CONTEXT_LIMBS : self._input_words]

    def parameter_words(self, instances: Sequence[bytes]) -> Sequence[bytes]:
        """Digests of hidden parameters."""
        return instances[self._input_words : self._output_start]

    def output_words(self, instances: Sequence[bytes]) -> Sequence[bytes]:
        """The instances of the model's output."""
        return instances[self._output_start : -CONTEXT_LIMBS]

    def output_context(self, instances: Sequence[bytes]) -> Sequence[bytes]:
        """The context among the outputs."""
        return instances[-CONTEXT_LIMBS:]

    def commit_input(self, words: Sequence[bytes]) -> bytes:
        """``claim.input`` for the instances of the input."""
        if self.visibility.input == "public":
            return public_field([t.shape for t in self.inputs], words)
        return hidden_field(words)

    def commit_output(self, words: Sequence[bytes]) -> bytes:
        """``claim.output`` for the instances of the output."""
        return public_field([t.shape for t in self.outputs], words)

    def public(self, instances: Sequence[bytes]) -> dict[str, Any]:
        """The envelope's public section: what the instances say, in integers.

        Raises:
            MalformedProof: a value is no small integer.
        """
        section: dict[str, Any] = {
            "output": _values(self.outputs, self.output_scales, self.output_words(instances)),
            "hidden": self.hidden_names(),
        }
        if self.visibility.input == "public":
            section["input"] = _values(self.inputs, self.input_scales, self.input_words(instances))
        return section

    def hidden_names(self) -> list[str]:
        """Which parts the proof does not show."""
        names = ["input"] if self.visibility.input != "public" else []
        return names + (["model"] if self.visibility.model == "private" else [])


def salt_lanes(salt: bytes, tensor: int) -> list[int]:
    """Sixteen 15-bit integers out of a salt.

    Args:
        salt: 32 random bytes.
        tensor: index of the tensor they stand behind.
    """
    if len(salt) != WORD:
        raise ValueError(f"a salt has 32 bytes, not {len(salt)}")
    bits = int.from_bytes(keccak256(b"vml-salt-lanes/1" + tensor.to_bytes(4, "big") + lp(salt)), "big")
    return [(bits >> (LANE_BITS * i)) & ((1 << LANE_BITS) - 1) for i in range(SALT_LANES)]


def felt_to_word(felt: str) -> bytes:
    """ezkl's spelling of a field element (little-endian hexadecimal) as an instance word."""
    return bytes.fromhex(felt.removeprefix("0x"))[::-1]


def word_to_felt(word: bytes) -> str:
    """An instance word in ezkl's spelling."""
    return word[::-1].hex()


def value_to_felt(value: int) -> str:
    """A signed integer in ezkl's spelling."""
    return (value % R).to_bytes(WORD, "little").hex()


def _values(tensors: Sequence[TensorInfo], scales: Sequence[int], words: Sequence[bytes]) -> list[dict[str, Any]]:
    """Tensors as JSON: name, shape, scale and codes."""
    result, at = [], 0
    for tensor, scale in zip(tensors, scales, strict=True):
        codes = [value_of(word) for word in words[at : at + tensor.size]]
        if any(abs(code) > canonical.MAX_INTEGER for code in codes):
            raise MalformedProof(f"{tensor.name!r} holds a value beyond 2^53")
        at += tensor.size
        result.append({"name": tensor.name, "shape": list(tensor.shape), "scale": scale, "values": codes})
    return result


def _tensors(value: Any) -> tuple[TensorInfo, ...]:
    tensors = tuple(TensorInfo(t["name"], tuple(t["shape"]), t["dtype"]) for t in value)
    names = {t.name for t in tensors}
    for t in tensors:
        dims_fine = all(isinstance(d, int) and not isinstance(d, bool) and d >= 1 for d in t.shape)
        if not isinstance(t.name, str) or t.dtype not in (*INTEGERS, *FLOATS) or not dims_fine:
            raise MalformedProof("a tensor of the wrapper's descriptor is malformed")
        if len(t.shape) > MAX_RANK or t.size > 1 << 20:
            raise MalformedProof(f"{t.name[:40]!r} is too large")
    if not 1 <= len(tensors) <= MAX_TENSORS or len(names) != len(tensors):
        raise MalformedProof("the wrapper's descriptor has no tensors, too many, or two of one name")
    return tensors


def _settings(data: bytes) -> dict[str, Any]:
    """Parse settings; only the one spelling is accepted."""
    if len(data) > MAX_TEXT:
        raise MalformedProof("the settings are too large")
    canonical.require_shallow(data)
    value = json.loads(data)
    if not isinstance(value, dict) or encode_settings(value) != data:
        raise MalformedProof("the settings are not in their one spelling")
    return value


def _check_arguments(value: dict[str, Any], arguments: dict[str, Any], visibility: Visibility) -> None:
    """The settings' own words for version and visibility must be the scheme's."""
    seen = RunArgs().seen(visibility)
    words = {"public": "Public", "fixed": "Fixed", "hashed": _HASH}
    for name in ("input_visibility", "param_visibility", "output_visibility"):
        if arguments[name] != words[getattr(seen, name)]:
            raise MalformedProof(f"the settings' {name} does not fit the scheme")
    if value["version"] != ENGINE_VERSION or value["timestamp"] != 0:
        raise MalformedProof(f"the settings are not of ezkl {ENGINE_VERSION}")
    if type(arguments["logrows"]) is not int or not MIN_LOG_ROWS <= arguments["logrows"] <= MAX_LOG_ROWS:
        raise MalformedProof("the settings' number of rows is out of bounds")


def _scales(values: Any) -> list[int]:
    if not all(type(scale) is int and -64 <= scale <= 64 for scale in values):
        raise MalformedProof("a scale is out of bounds")
    return list(values)
