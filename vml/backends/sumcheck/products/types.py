"""What a proof about weighted inner products consists of, what it is about, and what it leaves to be shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from vml.field.goldilocks import Ext

Round: TypeAlias = tuple[Ext, Ext, Ext]
"""g(0), g(2), g(3)."""


@dataclass(frozen=True)
class ProductInstance:
    """One sum over x of weight(x) a(x) b(x).

    Args:
        num_vars: n >= 0; there are 2^n terms.
        weight: the multilinear extension of the weights, which the verifier can evaluate at any point of n variables.
    """

    num_vars: int
    weight: Callable[[Sequence[Ext]], Ext]


@dataclass(frozen=True)
class ProductProof:
    """The sums; the rounds of all instances together; each instance's two factors where the rounds end."""

    values: tuple[Ext, ...]
    rounds: tuple[Round, ...]
    factors: tuple[tuple[Ext, Ext], ...]


@dataclass(frozen=True)
class ProductClaim:
    """What remains to be shown of one instance: extended, its factors have the values a and b at the point."""

    point: tuple[Ext, ...]
    a: Ext
    b: Ext
