"""`docs/integer-model.md` names every primitive, field type and table that there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from vml.model.codec import FIELD_TYPES
from vml.model.primitives import PRIMITIVES
from vml.model.primitives.rescale import SHIFTS
from vml.model.tables import TABLES

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "integer-model.md").read_text()


@pytest.mark.parametrize("name", PRIMITIVES)
def test_every_primitive_has_its_line(name: str) -> None:
    assert f"| {PRIMITIVES[name].kind} | `{name}` |" in PAGE


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_its_line_with_its_domain(name: str) -> None:
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
    first, length = TABLES[name].base, TABLES[name].length
    assert f"{first}..{first + length - 1}".replace("-", "−") in line


def test_every_field_type_is_described() -> None:
    assert all(f"`{name}`" in PAGE for name in FIELD_TYPES)


def test_the_shifts_are_the_stated_ones() -> None:
    assert f"s not {SHIFTS[0]}, {SHIFTS[1]} or {SHIFTS[2]}" in PAGE


def test_the_certificate_page_lists_every_field() -> None:
    from vml.model.certificate import Certificate

    page = (DOCS / "compile.md").read_text()
    unstated = {"format", "model", "semantics"}
    assert all(f"`{name}`" in page for name in Certificate.model_fields if name not in unstated)
