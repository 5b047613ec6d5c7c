"""Predicts what proving a model would cost, from one layout with generous arguments."""

from __future__ import annotations

import tempfile
from pathlib import Path

from vml.backends.ezkl import preflight
from vml.backends.ezkl.circuit import RunArgs
from vml.backends.ezkl.process import Engine, EngineFailed
from vml.backends.ezkl.statement import SALT_LANES
from vml.backends.ezkl.tuner import cheapest_rows
from vml.backends.ezkl.wrapper import wrap
from vml.backends.types import Estimate, Visibility
from vml.errors import ProvingError, UnsupportedModel

TYPICAL = RunArgs(
    input_scale=7,
    param_scale=7,
    scale_rebase_multiplier=4,
    decomp_base=1 << 12,
    decomp_legs=3,
    num_inner_cols=1,
    lookup_range=(-4096, 4096),
)
"""What tuning ends near to; an untuned layout is within a factor of two of the tuned one."""

_TIME_LIMIT_S = 120.0
_PROOF_BYTES = 3000
_SELECTOR_BITS = 12
_TRANSPORT = 4 / 3
"""Base64."""


def estimate(source: bytes, visibility: Visibility) -> Estimate:
    """Lay the circuit out and predict.

    Args:
        source: ONNX bytes with static shapes.
        visibility: what would be hidden.

    Returns:
        The estimate; ``fits`` is false, with reasons, where ezkl cannot express the model or memory is short.
    """
    limit = preflight.available_memory()
    salt = (0,) * SALT_LANES if visibility.model == "private" else ()
    try:
        wrapped = wrap(source, visibility, salt)
        preflight.require_products(wrapped.products, limit)
        with (
            tempfile.TemporaryDirectory(prefix="vml-ezkl-") as scratch,
            Engine(memory_limit_bytes=limit, time_limit_s=_TIME_LIMIT_S) as engine,
        ):
            model = Path(scratch) / "model.onnx"
            model.write_bytes(wrapped.onnx)
            settings = engine.call(
                "gen_settings",
                model=str(model),
                settings=str(Path(scratch) / "settings.json"),
                run_args=TYPICAL.seen(visibility).to_json(),
            )
    except EngineFailed as failure:
        return Estimate(fits=False, reasons=(f"ezkl refuses the model: {failure.message[:300]}",))
    except (UnsupportedModel, ProvingError) as error:
        return Estimate(fits=False, reasons=(str(error),))
    cost = cheapest_rows(settings)
    fits = cost.memory_bytes <= limit
    reasons = (
        ()
        if fits
        else (
            f"needs about {cost.memory_bytes / preflight.GIB:.1f} GiB of memory, "
            f"{limit / preflight.GIB:.1f} GiB may be taken",
        )
    )
    # The key's selectors dominate what a proof carries: measured, twelve bits a row and block.
    selectors = cost.blocks * (1 << cost.log_rows) * _SELECTOR_BITS // 8
    return Estimate(
        fits=fits,
        prove_s=cost.prove_s,
        setup_s=cost.setup_s,
        memory_bytes=cost.memory_bytes,
        proof_bytes=int((_PROOF_BYTES * (1 + cost.blocks) + selectors) * _TRANSPORT),
        reasons=reasons,
    )
