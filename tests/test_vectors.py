"""Every vector file states its origin and is what the generator beside it makes today."""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

VECTORS = Path(__file__).parent / "vectors"
ROOT = VECTORS.parent.parent
FILES = sorted(VECTORS.glob("*.json"))


@cache
def loaded(generator: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(generator.stem, generator)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def generated(generator: Path) -> dict[str, dict[str, Any]]:
    built: dict[str, dict[str, Any]] = loaded(generator).build()
    return built


def test_there_are_vectors() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_vectors_are_what_their_generator_makes(path: Path) -> None:
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert stored["origin"].strip()
    generator = ROOT / stored["generator"]
    assert generator.parent == VECTORS
    assert generated(generator)[path.name] == stored, f"run python {stored['generator']}"


def test_the_worked_example_is_what_its_generator_makes() -> None:
    page = (ROOT / "docs" / "commitments.md").read_text(encoding="utf-8")
    assert page.count("<!-- worked example") == 1
    assert loaded(VECTORS / "make_commitments.py").documented(page) == page
    empties = json.loads((VECTORS / "commitments.json").read_text(encoding="utf-8"))
    assert empties["empty"][2:] in page
    assert empties["empty_descriptor"][2:] in page
