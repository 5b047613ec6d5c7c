"""Optional packages, imported where they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from vml.errors import BackendUnavailable


def compile_extra(module: str) -> Any:
    """A module of the ``compile`` extra.

    Args:
        module: dotted module name.

    Raises:
        BackendUnavailable: it is not installed; names the extra.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise BackendUnavailable(f"{package} is needed for this: pip install 'vml[compile]'") from error
