"""No kind of genuine evidence, and no corruption case, is left without a test that reads it."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.tee.genuine import negatives, require, vector, vectors

require()

FOLDER = Path(__file__).parent
# What vml does not verify, and why.
NOT_VERIFIED = {"cca": "the only public token is a sample under a published test key"}


def asked_for(function: str) -> set[str]:
    """The kinds that test files of this folder name in calls of `function`."""
    found = set()
    for path in sorted(FOLDER.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function:
                found |= {str(item.value) for item in node.args if isinstance(item, ast.Constant)}
    return found


def test_every_kind_of_vector_has_a_test() -> None:
    kinds = {item["kind"] for item in vectors()}
    assert kinds - asked_for("vectors") == set(NOT_VERIFIED)


def test_every_corruption_has_a_test() -> None:
    kinds = {vector(row["base"])["kind"] for row in negatives()}
    assert kinds <= asked_for("negatives")
