"""The engines that may run inside, as a verifier sees them: all that differs between them is in this table.

An engine's scheme says how a proof's bytes are read. Nothing rests on the name: a claim's model is a hash with a tag of
the engine's own, so what one engine's key signed is no claim under another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vml.backends.exact import specs as codes
from vml.backends.exact.statement import CODES, Form
from vml.backends.tee import floats
from vml.backends.tee.scheme import FLOAT_SCHEME, KERNELS, REVEALED, REVEALED_FLOATS, SCHEME, SEMANTICS
from vml.errors import MalformedProof
from vml.merkle import model_digest
from vml.model.graph import encode_specs
from vml.model.semantics import semantics_digest

if TYPE_CHECKING:
    from vml.model import Model


@dataclass(frozen=True)
class Engine:
    """One way to run a model.

    Args:
        name: on the command line.
        scheme: of its proofs.
        semantics: of its verdicts.
        described: its proofs carry a description of the runtime.
        form: how tensors stand in the public section.
        encode_specs, decode_specs: inputs or outputs, to and from bytes. Decoding raises MalformedProof.
        identity: the model's, of description, source (32 bytes), encoded inputs and outputs.
        lines: what a description says, for people. Raises MalformedProof for what is none.
        trusted: what its results rest on besides.
        revealed: what a proof shows.
    """

    name: str
    scheme: str
    semantics: str
    described: bool
    form: Form
    encode_specs: Callable[[Any], bytes]
    decode_specs: Callable[[bytes], tuple[Any, ...]]
    identity: Callable[[bytes, bytes, bytes, bytes], bytes]
    lines: Callable[[bytes], tuple[str, ...]]
    trusted: tuple[str, ...]
    revealed: tuple[str, ...]


def _exact_lines(description: bytes) -> tuple[str, ...]:
    if description:
        raise MalformedProof("the exact model runs on no runtime that could be described")
    return ("engine: the exact integer model",)


EXACT = Engine(
    name="exact",
    scheme=SCHEME,
    semantics=SEMANTICS,
    described=False,
    form=CODES,
    encode_specs=encode_specs,
    decode_specs=codes.decode_specs,
    identity=lambda description, graph, inputs, outputs: model_digest(semantics_digest(), graph, inputs, outputs),
    lines=_exact_lines,
    trusted=(),
    revealed=REVEALED,
)
FLOAT = Engine(
    name="float",
    scheme=FLOAT_SCHEME,
    semantics=floats.SEMANTICS,
    described=True,
    form=floats.VALUES,
    encode_specs=floats.encode_specs,
    decode_specs=floats.decode_specs,
    identity=floats.identity,
    lines=lambda description: floats.Runtime.decode(description).lines(),
    trusted=(KERNELS,),
    revealed=REVEALED_FLOATS,
)
ENGINES: Mapping[str, Engine] = {engine.name: engine for engine in (EXACT, FLOAT)}
SCHEMES: Mapping[str, Engine] = {engine.scheme: engine for engine in ENGINES.values()}


def engine_of(scheme: str) -> Engine:
    """The engine whose proofs have a scheme.

    Raises:
        MalformedProof: there is none.
    """
    if scheme not in SCHEMES:
        raise MalformedProof(f"scheme {scheme[:80]!r} is not {' or '.join(map(repr, SCHEMES))}")
    return SCHEMES[scheme]


@dataclass(frozen=True)
class Program:
    """What is to be run: an engine, and everything that the identity hashes.

    Args:
        engine: which.
        source: 32 bytes: graph root, or SHA-256 of the ONNX file.
        description: of the runtime; empty for the exact model.
        inputs, outputs: specs.
    """

    engine: Engine
    source: bytes
    description: bytes
    inputs: Sequence[Any]
    outputs: Sequence[Any]

    @property
    def identity(self) -> bytes:
        """``Claim.model``, 32 bytes."""
        encoded = [self.engine.encode_specs(specs) for specs in (self.inputs, self.outputs)]
        return self.engine.identity(self.description, self.source, *encoded)


def exact_program(model: Model) -> Program:
    """A compiled model under the exact engine."""
    return Program(EXACT, model.graph.root, b"", model.graph.inputs, model.graph.outputs)
