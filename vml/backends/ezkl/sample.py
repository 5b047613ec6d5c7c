"""Calibration rows on disk as ezkl reads them, beside what the float model makes of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Sample:
    """Calibration: what goes in, and what onnxruntime makes of it.

    Args:
        files: ezkl input files, one a row.
        outputs: for each row, the model's outputs as flat float64 arrays; integer outputs are None.
    """

    files: tuple[str, ...]
    outputs: tuple[tuple[np.ndarray[Any, Any] | None, ...], ...]

    def some(self, count: int) -> Sample:
        """A few rows, spread evenly."""
        step = max(1, len(self.files) // count)
        return Sample(self.files[::step][:count], self.outputs[::step][:count])

    @property
    def spread(self) -> float:
        """Largest absolute value of any float output."""
        values = [float(np.abs(o).max()) for row in self.outputs for o in row if o is not None]
        return max(values, default=0.0)


def write_input(path: Path, tensors: Sequence[Sequence[float | int]]) -> str:
    """Write one row as ezkl reads it."""
    path.write_text(json.dumps({"input_data": [list(tensor) for tensor in tensors]}))
    return str(path)
