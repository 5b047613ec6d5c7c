"""Lowerings of the softmax operators."""

from vml.model.lowering.base import Lowering

LOWERINGS: dict[str, Lowering] = {}
