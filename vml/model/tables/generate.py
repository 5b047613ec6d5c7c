"""Compute the canonical tables with mpmath and write ``canonical.npz``; prints the roots to pin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vml.model.tables import TABLES


def _functions() -> dict[str, tuple[int, Callable[[int], Any]]]:
    """For each table: the number of fraction bits of its values, and the function of the code."""
    from mpmath import mp, mpf

    mp.dps = 60
    q11 = mpf(2) ** 11
    return {
        "tanh": (15, lambda x: mp.tanh(x / q11)),
        "sigmoid": (15, lambda x: 1 / (1 + mp.exp(-x / q11))),
        "erf": (15, lambda x: mp.erf(x / q11)),
        "exp": (15, lambda x: mp.exp(x / q11)),
        "log": (11, lambda x: mp.log(x if x else mpf(1) / 2)),
        "softplus_tail": (15, lambda x: mp.log1p(mp.exp(-x / q11))),
        "sin": (15, lambda x: mp.sin(mp.pi * x / mpf(2) ** 15)),
    }


def generate(name: str, positions: list[int] | None = None) -> np.ndarray:
    """The table's values at ``positions`` (indices; all of them by default): int16."""
    from mpmath import mp

    bits, function = _functions()[name]
    info = TABLES[name]
    chosen = range(info.length) if positions is None else positions
    codes = [int(mp.floor(function(info.base + i) * 2**bits + mp.mpf(1) / 2)) for i in chosen]
    return np.array([min(code, 32767) for code in codes], dtype=np.int16)


def main() -> None:
    from vml.merkle import tensor_root

    tables = {name: generate(name) for name in TABLES}
    np.savez_compressed(Path(__file__).with_name("canonical.npz"), allow_pickle=False, **tables)
    for name, values in tables.items():
        print(f'"{name}": {tensor_root(values).hex()}')


if __name__ == "__main__":
    main()
