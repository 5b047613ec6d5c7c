"""Whom `vml tee` trusts: vendors, and a simulator where that was asked for. Said here, and nowhere in the evidence."""

from __future__ import annotations

from typing import Any

from vml.cli.attested import DEFAULT_SEED
from vml.tee.anchors import TrustAnchors


def simulator() -> Any:
    """The package `vml.tee_sim`.

    Raises:
        BackendUnavailable: the extra ``sim`` is not installed.
    """
    from vml.errors import BackendUnavailable

    try:
        from vml import tee_sim
    except ImportError as error:
        raise BackendUnavailable(f"{error.name} is missing: pip install 'vml[sim]'") from error
    return tee_sim


def anchors(allow_simulated: bool, seed: str) -> TrustAnchors:
    """Vendors' roots; with `--allow-simulated` also those of the simulator with this seed.

    Raises:
        ValueError: a seed without --allow-simulated.
        BackendUnavailable: as `simulator`.
    """
    if allow_simulated:
        found: TrustAnchors = simulator().anchors(seed)
        return found
    if seed != DEFAULT_SEED:
        raise ValueError("--seed names a simulator's keys: it needs --allow-simulated")
    return TrustAnchors.vendors()
