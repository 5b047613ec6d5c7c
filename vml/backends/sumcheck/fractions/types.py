"""What a proof about a sum of fractions consists of, and what it leaves to be shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from vml.field.goldilocks import Ext

Round: TypeAlias = tuple[Ext, Ext, Ext]
"""g(0), g(2), g(3)."""


@dataclass(frozen=True)
class FractionLayer:
    """One layer of the tree: k rounds, then the children's p0, p1, q0, q1 at the point where the rounds end."""

    rounds: tuple[Round, ...]
    values: tuple[Ext, Ext, Ext, Ext]


@dataclass(frozen=True)
class FractionProof:
    """One layer for each variable of the leaves, the root's first: layer k has k rounds."""

    layers: tuple[FractionLayer, ...]


@dataclass(frozen=True)
class FractionClaim:
    """What remains to be shown: extended, the leaves' numerators and denominators have these values at the point."""

    point: tuple[Ext, ...]
    numerator: Ext
    denominator: Ext
