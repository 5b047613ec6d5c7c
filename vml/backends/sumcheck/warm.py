"""Compiles the kernels before the work: once after installing, told as progress, where a proof would seem to hang.

Every kernel runs on a few elements, called as the prover calls it, so that numba compiles the same forms or loads
them from its cache. Loading is not lost: the proof that follows would do it.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from vml.backends.sumcheck.fractions.prover import prove_fractions
from vml.backends.sumcheck.matrices import ext_product, to_field
from vml.backends.sumcheck.opening.prover import commit, prove_opening
from vml.backends.sumcheck.products.prover import prove_products
from vml.backends.sumcheck.scheme import LOG_BLOWUPS
from vml.backends.sumcheck.security import Parameters
from vml.field import ntt
from vml.field.goldilocks import ZERO
from vml.transcript import Transcript

if TYPE_CHECKING:
    from vml.backends.types import Progress

STAGE = "compiling kernels, once after installing"


def kernel_modules() -> tuple[ModuleType, ...]:
    """Where the prover's kernels are."""
    from vml import kernels_keccak
    from vml.backends.sumcheck import kernels, kernels_columns
    from vml.backends.sumcheck.fractions import kernels as of_fractions
    from vml.backends.sumcheck.opening import kernels as of_openings
    from vml.backends.sumcheck.products import kernels as of_products
    from vml.field import kernels as of_fields
    from vml.field import kernels_ntt

    return kernels_keccak, of_fields, kernels_ntt, kernels, kernels_columns, of_fractions, of_products, of_openings


def compiled() -> int:
    """How many kernels this process has compiled, not loaded."""
    found = {id(value): value for module in kernel_modules() for value in vars(module).values()}
    return sum(sum(value.stats.cache_misses.values()) for value in found.values() if hasattr(value, "stats"))


_done: list[bool] = []
_lock = Lock()


def compile_kernels(progress: Progress | None) -> None:
    """Have every kernel ready; the second time there is nothing to do.

    Args:
        progress: told the fraction that is done, if anything has to be compiled.
    """
    with _lock:
        if _done:
            return
        before, missing = compiled(), False
        for number, step in enumerate(_STEPS):
            step()
            missing = missing or compiled() > before
            if missing and progress:
                progress(STAGE, (number + 1) / len(_STEPS))
        _done.append(True)


def _zeros(*shape: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return np.zeros(shape, dtype=np.uint64)


def _integers() -> None:
    for dtype in (np.int8, np.int16, np.int32, np.int64):
        to_field(np.zeros(1, dtype=dtype))


def _vectors() -> None:
    from vml.backends.sumcheck import kernels_columns
    from vml.field import kernels

    kernels.eq_expand(_zeros(1, 2), _zeros(2, 2))
    ext_product(_zeros(1, 2), _zeros(1, 2))
    kernels_columns.scatter_add(_zeros(1, 2), np.zeros(1, dtype=np.int64), _zeros(1, 2))
    kernels_columns.add_scaled(_zeros(1), _zeros(1), np.uint64(0))
    kernels_columns.add_products(_zeros(1), _zeros(1), _zeros(1))
    numbers = np.zeros(1, dtype=np.int64)
    numbers.flags.writeable = False
    kernels_columns.fingerprints(numbers, numbers, _zeros(2), _zeros(2), _zeros(1, 2))


def _matrices() -> None:
    from vml.field import kernels

    matrix = _zeros(1, 1, 2)
    kernels.accumulate_rows(_zeros(1, 1), matrix[0], _zeros(1, 2), 0, 1)
    kernels.multiply_matrix_base(matrix, _zeros(1, 1, 1), _zeros(1, 1, 1, 2), 0, 1)
    kernels.multiply_matrix(matrix, _zeros(1, 1, 1, 2), _zeros(1, 1, 1, 2), 0, 1)


def _codes() -> None:
    for log_cols in (4, 5):
        ntt.encode_rows(_zeros(1, 1 << log_cols), LOG_BLOWUPS[0])
    ntt.evaluate_columns(_zeros(1, 1), _zeros(1))


def _hashes() -> None:
    from vml import kernels_keccak

    kernels_keccak.node_digests(bytes(64))
    kernels_keccak.leaf_digests(np.zeros(1, dtype=np.int64))
    commit(_zeros(1, 32), LOG_BLOWUPS[0])


def _fractions() -> None:
    ones = _zeros(8, 2)
    ones[:, 0] = 1
    prove_fractions(_zeros(8, 2), ones, Transcript("warm"))


def _products() -> None:
    prove_products([(_zeros(n, 2), _zeros(n, 2), _zeros(n, 2)) for n in (4, 8)], Transcript("warm"))


def _openings() -> None:
    part = commit(_zeros(2, 32), LOG_BLOWUPS[0])
    prove_opening(part, part, _zeros(64, 2), _zeros(64, 2), ZERO, Parameters(1, 1), Transcript("warm"))


# Quick ones first, so that the first word comes soon.
_STEPS: tuple[Callable[[], None], ...] = (
    _integers,
    _vectors,
    _matrices,
    _hashes,
    _codes,
    _products,
    _fractions,
    _openings,
)
