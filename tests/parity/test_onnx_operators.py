"""The integer model agrees with onnxruntime on every single-operator test that onnx generates."""

from __future__ import annotations

import fnmatch
import math

import pytest

from tests.parity import operator_table
from tests.parity.onnx_bounds import BOUNDS
from tests.parity.onnx_cases import EXCLUDED, collect
from tests.parity.onnx_conformance import exclusion, older, outcomes, run
from vml.errors import VmlError
from vml.model.lowering import LOWERINGS


@pytest.mark.parametrize("operator", sorted(BOUNDS))
def test_operator(operator: str) -> None:
    found = outcomes(operator)
    assert found, "onnx generates no test for it"
    problems = [f"{outcome.case.name}: {outcome.problem}" for outcome in found if outcome.problem]
    assert not problems, "\n".join(problems)


def test_every_lowered_operator_is_compared() -> None:
    """Upsample is deprecated, so onnx generates no test for it; Constant is folded before it is lowered."""
    assert set(LOWERINGS) - set(BOUNDS) == {"Upsample"}
    assert set(BOUNDS) - set(LOWERINGS) == {"Constant"}


@pytest.mark.parametrize("pattern", EXCLUDED)
def test_exclusion_is_needed(pattern: str) -> None:
    """Every case it names fails: a typed error, or an error beyond the bound."""
    names = [case for case in collect() if exclusion(case) == pattern]
    assert names, "it excludes nothing"
    for case in names:
        try:
            outcome = run(case)
        except (VmlError, ValueError):
            continue
        assert outcome.problem, f"{case.name} works; take it out of EXCLUDED"


def test_patterns_do_not_overlap() -> None:
    for case in collect():
        names = [p for p in EXCLUDED if fnmatch.fnmatchcase(case.name.split("/")[0], p)]
        assert len(names) <= 1, f"{case.name} is excluded by {names}"


def test_document_is_what_is_generated() -> None:
    """Measured errors may differ in their last digits between machines; everything else may not."""
    written, now = operator_table.DOCUMENT.read_text().splitlines(), operator_table.render().splitlines()
    assert len(written) == len(now), "run python -m tests.parity.operator_table"
    for old, new in zip(written, now, strict=True):
        before, after = old.split(" | "), new.split(" | ")
        if new.startswith("| `") and after[operator_table.MEASURED].strip():
            column = operator_table.MEASURED
            assert math.isclose(float(before.pop(column)), float(after.pop(column)), rel_tol=0.5)
        assert before == after, "run python -m tests.parity.operator_table"


@pytest.mark.slow
@pytest.mark.parametrize("operator", sorted(BOUNDS))
def test_interpreter_agrees_on_large_cases_too(operator: str) -> None:
    for case in collect():
        if case.operator == operator and exclusion(case) is None:
            assert not run(case, every_step=True).problem


@pytest.mark.slow
@pytest.mark.parametrize("operator", sorted(BOUNDS))
def test_older_opsets_agree(operator: str) -> None:
    for case in collect():
        if case.operator == operator and exclusion(case) is None:
            for version in older(case):
                problem = run(version).problem
                assert not problem, f"{case.name} at opset {version.opset}: {problem}"
