"""Floor, Ceil, Round and Mod: exact on numbers that codes hold, and whole numbers stay whole at any scale."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from tests.model.lowering.exact import moved, refused
from tests.model.lowering.single_node import lower_and_run

QUARTERS = (np.arange(-31, 33) / 4).astype(np.float32)


@pytest.mark.parametrize("op", ["Floor", "Ceil", "Round"])
def test_exact_on_quarters(op: str) -> None:
    result = lower_and_run(helper.make_node(op, ["x"], ["y"]), {"x": QUARTERS})
    np.testing.assert_array_equal(result.got["y"], result.expected["y"])


@pytest.mark.parametrize("op", ["Floor", "Ceil", "Round"])
@pytest.mark.parametrize("reach", [3.7, 97.3, 5000.9])
def test_whole_numbers_survive_an_odd_scale(op: str, reach: float) -> None:
    x = np.append(np.arange(-3, 4), reach).astype(np.float32)
    node = helper.make_node(op, ["x"], ["y"])
    np.testing.assert_array_equal(lower_and_run(node, {"x": x}).got["y"][:7], x[:7])


@pytest.mark.parametrize("op", ["Floor", "Ceil", "Round"])
def test_fractions_away_from_the_edges(op: str) -> None:
    rng = np.random.default_rng(0)
    x = (rng.integers(-40, 40, 200) + rng.uniform(0.05, 0.45, 200)).astype(np.float32)
    result = lower_and_run(helper.make_node(op, ["x"], ["y"]), {"x": x})
    np.testing.assert_array_equal(result.got["y"], result.expected["y"])


@pytest.mark.parametrize("fmod", [0, 1])
def test_mod_of_integers(fmod: int) -> None:
    x, y = np.array([7, -7, 7, -7, 6, 0], np.int32), np.array([3, 3, -3, -3, -3, 5], np.int32)
    moved("Mod", {"a": x, "b": y}, fmod=fmod)
    moved("Mod", {"a": x}, {"c": np.array(4, np.int32)}, fmod=fmod)


def test_mod_of_floats() -> None:
    x, y = np.array([5.25, -5.25, 8], np.float32), np.array([2, 2, -3], np.float32)
    assert lower_and_run(helper.make_node("Mod", ["a", "b"], ["y"], fmod=1), {"a": x, "b": y}).error() < 1e-3


def test_refuses_integers() -> None:
    refused("takes floats", "Floor", {"x": np.array([1, 2], np.int32)})
