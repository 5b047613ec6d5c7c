"""A model that is served: arrays in, outputs and their claim out.

The claim is of the very arrays that the engine was given and gave: what comes in is copied once, quantised, run, and
the commitments are those of the codes that went through the executor. Nobody else holds these arrays meanwhile.
"""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from vml import canonical
from vml.backends.exact.statement import public_section
from vml.claim import ZERO_CONTEXT, Claim
from vml.client.tensors import datatype
from vml.merkle import tensor_bytes, tensor_root, tensors_root
from vml.model.semantics import SEMANTICS

if TYPE_CHECKING:
    from vml.model import Model
    from vml.model.graph import TensorSpec

Array = np.ndarray[Any, np.dtype[Any]]

QUICK_S = 0.004
"""A model that runs faster is run where requests are read: handing it to a thread would cost as much."""

WARM_UPS = 3
NUMBER_BYTES, BODY_SLACK = 64, 1 << 16
"""A request has so many bytes for each number of its input, and so many for all the rest."""


@dataclass(frozen=True)
class Answered:
    """What a model answered.

    Args:
        claim: of the exact model.
        inputs: what went in, by name: private copies, of the model's number types.
        outputs: the numbers, by name, of the model's number types.
        codes: the output's codes, as the claim commits to them: canonical JSON, as in the public section of a proof.
    """

    claim: Claim
    inputs: Mapping[str, Array] = field(repr=False)
    outputs: Mapping[str, Array] = field(repr=False)
    codes: bytes = field(repr=False)


class Served:
    """One model under one name.

    Args:
        name: under which clients ask for it.
        model: compiled.
        backend: who proves where a request does not say; None where nobody can.

    `body_bytes` is the most that a request for it can need: what is longer is not read at all.
    """

    semantics = SEMANTICS

    def __init__(self, name: str, model: Model, backend: str | None = None) -> None:
        self.name, self.model, self.backend = name, model, backend
        self.version = "0x" + model.commitment.hex()
        self.inputs, self.outputs = model.inputs, model.outputs
        self.datatypes = {spec.name: datatype(spec.onnx_dtype) for spec in (*self.inputs, *self.outputs)}
        self.body_bytes = BODY_SLACK + NUMBER_BYTES * sum(math.prod(spec.shape) for spec in self.inputs)
        self.ready = False
        self.run_s = 0.0
        self._tails = [_tail(spec) for spec in self.outputs]

    @property
    def quick(self) -> bool:
        """Whether it runs in no time."""
        return self.run_s < QUICK_S

    def warm(self) -> None:
        """Run it on what it was calibrated with, until everything that is compiled on first use is compiled."""
        arrays = {
            spec.name: np.zeros(spec.shape, np.dtype(spec.onnx_dtype))
            if spec.name not in self.model.calibration
            else self.model.calibration[spec.name][:1].reshape(spec.shape).astype(spec.onnx_dtype)
            for spec in self.inputs
        }
        times = []
        for _ in range(WARM_UPS):
            started = time.perf_counter()
            self.answer(arrays, ZERO_CONTEXT)
            times.append(time.perf_counter() - started)
        self.run_s = min(times)
        self.ready = True

    def answer(self, arrays: Mapping[str, Array], context: bytes) -> Answered:
        """Run the model once.

        Args:
            arrays: by input name, of exactly the model's shapes and number types.
            context: 32 bytes the claim is bound to.

        Raises:
            ValueError: another name, shape or number type.
            OutOfRange: a value that the model was not made for.
        """
        model = self.model
        taken = {name: np.array(array, order="C") for name, array in arrays.items()}
        codes = model.quantize(taken)
        made = model.run(codes)
        claim = Claim(
            model.commitment,
            tensors_root([tensor_root(codes[spec.name]) for spec in self.inputs]),
            tensors_root([tensor_root(made[spec.name]) for spec in self.outputs]),
            context,
        )
        return Answered(claim, taken, model.dequantize(made), self._written(made))

    def _written(self, made: Mapping[str, Array]) -> bytes:
        """The outputs as the public section of a proof shows them."""
        items = []
        for spec, tail in zip(self.outputs, self._tails, strict=True):
            items.append(b'{"codes":["' + base64.b64encode(tensor_bytes(made[spec.name])) + b'"],' + tail)
        return b"[" + b",".join(items) + b"]"


def _tail(spec: TensorSpec) -> bytes:
    """What follows the codes of a tensor, in canonical JSON: all that does not change."""
    (entry,) = public_section((), (spec,), ())["output"]
    return canonical.encode({name: value for name, value in entry.items() if name != "codes"})[1:]


def read_outputs(data: bytes) -> list[dict[str, Any]]:
    """The outputs of a claim for readers: what `Answered.codes` holds, with the numbers they stand for.

    Args:
        data: as the server kept them.
    """
    if not data:
        return []
    shown = []
    for entry in canonical.decode(data, max_bytes=len(data)):
        codes = np.frombuffer(base64.b64decode(entry["codes"][0]), np.dtype(entry["dtype"]).newbyteorder(">"))
        numerator, denominator = map(int, entry["scale"])
        values = [code * denominator / numerator for code in codes.tolist()]
        shown.append({**entry, "codes": codes.tolist(), "values": values})
    return shown
