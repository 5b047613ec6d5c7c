"""Refuses, before any work, what cannot fit in memory, and says how much it would need."""

from __future__ import annotations

from vml.backends.ezkl.circuit import Cost
from vml.errors import BackendUnavailable, ProvingError

SHARE = 0.9
"""Of what is free; the rest is for everything else that runs here."""

GIB = 2**30


def available_memory() -> int:
    """Bytes that a worker may take here.

    Raises:
        BackendUnavailable: psutil is not installed.
    """
    try:
        import psutil
    except ImportError as error:
        raise BackendUnavailable("psutil is missing: pip install 'vml[ezkl]'") from error
    return int(psutil.virtual_memory().available * SHARE)


def require_memory(cost: Cost, limit_bytes: int) -> None:
    """Refuse a circuit that would not fit.

    Raises:
        ProvingError: with what it needs and what there is.
    """
    if cost.memory_bytes > limit_bytes:
        raise ProvingError(
            f"a circuit of 2^{cost.log_rows} rows in {cost.blocks} blocks needs about "
            f"{cost.memory_bytes / GIB:.1f} GiB of memory and may take {limit_bytes / GIB:.1f} GiB; allow a larger "
            "error, shrink the model, or use another backend"
        )
