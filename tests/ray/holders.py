"""Processes on nodes that do not do as they should."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vml.proof import Proof
from vml.ray.holder import KeyHolder

MARKS = "VML_TEST_MARKS"
"""Environment variable with a folder where every attempt leaves a file."""


OTHER_INPUT, FORGED, NO_PROOF, HONEST = 0.5, 1.0, 1.5, 2.0
BABBLE, DEEP = 2.5, 3.0


def _first(inputs: Any) -> float:
    return float(np.ravel(next(iter(inputs.values())))[0])


class Slow(KeyHolder):
    """Takes a second for each proof."""

    def prove(self, kit: Any, inputs: Any, context: bytes) -> dict[str, Any]:
        time.sleep(1.0)
        return super().prove(kit, inputs, context)


class Untrue(KeyHolder):
    """Honest about inputs that begin with 2; else it proves another input, forges the payload, sends no proof, no
    answer at all, or what opens a hidden input as JSON that is nested too deep.
    """

    def prove(self, kit: Any, inputs: Any, context: bytes) -> dict[str, Any]:
        kind = _first(inputs)
        if kind == OTHER_INPUT:
            return super().prove(kit, {name: values * 0 for name, values in inputs.items()}, context)
        said = super().prove(kit, inputs, context)
        if kind == FORGED:
            proof = Proof.from_bytes(said["proof"])
            return {**said, "proof": replace(proof, payload=proof.payload[:-8] + bytes(8)).to_bytes()}
        if kind == BABBLE:
            return {"proof": 7}
        if kind == DEEP:
            return {**said, "opening": b"[" * 100_000}
        return {**said, "proof": b"{}"} if kind == NO_PROOF else said

    def status(self) -> dict[str, Any]:
        return {"stage": None, "fraction": "x"}


class Mortal(KeyHolder):
    """Dies at its first try at every input, and whenever an input begins with 3.5 or more."""

    def prove(self, kit: Any, inputs: Any, context: bytes) -> dict[str, Any]:
        marks = Path(os.environ[MARKS])
        first = _first(inputs)
        (marks / f"{first}-{os.getpid()}-{time.time_ns()}").touch()
        if first >= 3.5 or len(list(marks.glob(f"{first}-*"))) == 1:
            os._exit(9)
        return super().prove(kit, inputs, context)


class Broken(KeyHolder):
    """Cannot load any keys."""

    def _load(self, kit: Any) -> Any:
        raise ValueError("this node has no disk")
