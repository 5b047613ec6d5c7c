"""Lowerings of the nonlinear operators."""

from vml.model.lowering.base import Lowering

LOWERINGS: dict[str, Lowering] = {}
