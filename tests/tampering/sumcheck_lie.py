"""What lies of a prover are made of, and those that any single equation must refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.backends.sumcheck.runs import signed
from vml.model.builder import Builder, Value
from vml.model.relation import MODULUS

Codes = dict[str, list[int]]
Alter = Callable[[list[int]], list[int]]
Columns = dict[str, Alter]


@dataclass(frozen=True)
class Lie:
    """One lie.

    Args:
        name: for messages.
        output: the node's output, altered; what follows it in the graph follows.
        columns: witness columns to alter, by the end of their names; all witness is computed from what is said of
            the columns before it.
        kept: witness columns stay as they were computed from the true output.
        inputs: which of the primitive's inputs.
        hidden: in the graph that does not show the node's output, so that it may be any residue.
    """

    name: str
    output: Alter | None = None
    columns: Columns = field(default_factory=dict)
    kept: bool = False
    inputs: int = 0
    hidden: bool = False


@dataclass(frozen=True)
class Liar:
    """A primitive's graph, its inputs, and its lies."""

    build: Callable[[Builder], Value]
    inputs: tuple[Codes, ...]
    lies: tuple[Lie, ...]


def put(place: int, value: int | Callable[[int], int]) -> Alter:
    """One element replaced."""

    def alter(flat: list[int]) -> list[int]:
        assert place < len(flat)
        flat[place] = signed(value(flat[place]) if callable(value) else value)
        return flat

    return alter


def plus(by: int, place: int = 0) -> Alter:
    return put(place, lambda v: v + by)


def swap(i: int, j: int) -> Alter:
    """Two different elements exchanged."""

    def alter(flat: list[int]) -> list[int]:
        assert flat[i] != flat[j]
        flat[i], flat[j] = flat[j], flat[i]
        return flat

    return alter


def both(*alters: Alter) -> Alter:
    def alter(flat: list[int]) -> list[int]:
        for step in alters:
            flat = step(flat)
        return flat

    return alter


def fraction(above: int, below: int) -> int:
    """above / below modulo p."""
    return above * pow(below, -1, MODULUS) % MODULUS


HALF = fraction(1, 2)
# Of any primitive that is one linear or bilinear equation.
EQUATIONS = (
    Lie("one more", plus(1)),
    Lie("one less, in the last place", lambda flat: [*flat[:-1], flat[-1] - 1]),
    Lie("two errors that cancel", both(plus(1, 0), plus(-1, 1))),
    Lie("two elements exchanged", swap(0, 1)),
    Lie("all zero", lambda flat: [0] * len(flat)),
    Lie("a residue that is no small number", plus(HALF), hidden=True),
    Lie("one more modulo 2^64", plus((1 << 64) + 1), hidden=True),
)
