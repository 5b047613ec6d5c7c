"""What tests about Ray share: a compiled model with inputs, and how a command ended."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ray.ray_cluster import ALONE


@dataclass(frozen=True)
class World:
    """A compiled folder, an input file of many rows, and the caller's cache."""

    model: Path
    inputs: Path
    rows: int
    cache: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **ALONE, "VML_CACHE_DIR": str(self.cache)}


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.out)
        return value
