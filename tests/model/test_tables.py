"""The installed tables are the ones mpmath gives."""

from __future__ import annotations

import numpy as np
import pytest

from vml.model.tables import TABLES, load_table
from vml.model.tables.generate import generate


@pytest.mark.parametrize("name", TABLES)
def test_spot_values(name: str) -> None:
    length = TABLES[name].length
    positions = sorted({*range(0, length, 379), 1, length // 2, length - 1})
    assert np.array_equal(generate(name, positions), load_table(name)[positions])


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_every_value(name: str) -> None:
    assert np.array_equal(generate(name), load_table(name))
