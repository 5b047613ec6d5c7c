"""vml: prove that this model, on this input, gave this output, and let anybody check it.

The public names are loaded when they are first used, so that `import vml` costs nothing (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vml.api import compile, prove, verify
    from vml.claim import Claim
    from vml.policy import Policy
    from vml.proof import Proof

__all__ = ["Claim", "Policy", "Proof", "compile", "prove", "verify"]

_HOME = {
    "compile": "vml.api",
    "prove": "vml.api",
    "verify": "vml.api",
    "Claim": "vml.claim",
    "Proof": "vml.proof",
    "Policy": "vml.policy",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'vml' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
