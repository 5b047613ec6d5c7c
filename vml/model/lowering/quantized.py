"""Lowering of the quantized operators."""

from .base import Lowering

LOWERINGS: dict[str, Lowering] = {}
