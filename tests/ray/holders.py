"""Processes on nodes that do not do as they should."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from vml.ray.holder import KeyHolder

MARKS = "VML_TEST_MARKS"
"""Environment variable with a folder where every attempt leaves a file."""


def _first(inputs: Any) -> float:
    return float(np.ravel(next(iter(inputs.values())))[0])


class Slow(KeyHolder):
    """Takes a second for each proof."""

    def prove(self, kit: Any, inputs: Any, context: bytes) -> dict[str, Any]:
        time.sleep(1.0)
        return super().prove(kit, inputs, context)


class Liar(KeyHolder):
    """Proves another input than it was given, and proves it well."""

    def prove(self, kit: Any, inputs: Any, context: bytes) -> dict[str, Any]:
        return super().prove(kit, {name: values * 0 for name, values in inputs.items()}, context)


class Forger(KeyHolder):
    """Sends the right claim with a payload that proves nothing."""

    def prove(self, kit: Any, inputs: Any, context: bytes) -> dict[str, Any]:
        from dataclasses import replace

        from vml.proof import Proof

        said = super().prove(kit, inputs, context)
        proof = Proof.from_bytes(said["proof"])
        forged = replace(proof, payload=proof.payload[:-8] + bytes(8))
        return {**said, "proof": forged.to_bytes()}


class Babbler(KeyHolder):
    """Sends no proof at all."""

    def prove(self, kit: Any, inputs: Any, context: bytes) -> dict[str, Any]:
        return {**super().prove(kit, inputs, context), "proof": b"{}"}


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
