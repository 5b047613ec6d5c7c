"""From ONNX to exact integers. The public names are loaded when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vml.model.compiled import Model
    from vml.model.compiler import compile_model

__all__ = ["Model", "compile_model"]

_HOME = {"Model": "vml.model.compiled", "compile_model": "vml.model.compiler"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'vml.model' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
