"""The tool that takes checks out of verifiers finds them, and says so where there are none."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

import pytest

from tests import mutate_verifiers
from tests.mutate_verifiers import Mutant, StepWithoutCheck, mutants_of


def found(source: str, **options: object) -> list[tuple[str | None, str, str]]:
    """Step, description and the changed line of every mutant."""
    source = textwrap.dedent(source)
    lines = source.splitlines()
    result = []
    for mutant in mutants_of("file.py", source, **options):  # type: ignore[arg-type]
        ast.parse(mutant.source)
        changed = mutant.source.splitlines()
        assert len(changed) == len(lines)
        (difference,) = [new.strip() for old, new in zip(lines, changed, strict=True) if old != new]
        result.append((mutant.step, mutant.what, difference))
    return result


def test_conditions_calls_and_handlers_of_steps() -> None:
    source = '''
        def verify(proof):
            """Words."""
            size = len(proof)  # a name used later stays
            # step 1: size
            if size > 5:
                raise ValueError("größer")
            # Step 2a: signature
            check(proof)
            try:
                parsed = parse(proof)
            except KeyError as error:
                raise MalformedProof from error
            return parsed
        '''
    assert found(source) == [
        ("1", "if size > 5: raise ValueError", "if False:"),
        ("2a", "check(proof)", "pass"),
        ("2a", "except KeyError: raise MalformedProof", "raise"),
    ]


def test_each_part_of_an_or_is_dropped() -> None:
    source = """
        def verify(ä, b):
            if ä == "ü" or not b:  # no step: counts for its error
                raise vml.errors.ProofRejected("1")
            elif b == 3:
                raise ClaimMismatch("input", 1, 2)
            if b:
                raise ValueError("a caller's mistake is not a check of the proof")
        """
    lines = [line for _, _, line in found(source)]
    assert lines == [
        "if False or not b:  # no step: counts for its error",
        'if ä == "ü" or False:  # no step: counts for its error',
        "elif False:",
    ]


def test_raises_that_stand_alone() -> None:
    source = """
        def verify(kind):
            for known in kind:
                if known:
                    break
            else:
                raise MalformedProof("unknown")
            raise PolicyRejected("rule")
        """
    assert [line for _, _, line in found(source)] == ["pass", "pass"]


def test_functions_inside_functions_have_their_own_steps() -> None:
    source = """
        def outer(a):
            # step 1: outside
            if a:
                raise ProofRejected("1")
            def inner(b):
                # step 2: inside
                if b:
                    raise ProofRejected("2")
            # step 3: outside again
            inner(a)
        """
    assert [(step, line) for step, _, line in found(source)] == [
        ("1", "if False:"),
        ("2", "if False:"),
        ("3", "pass"),
    ]


def test_a_step_must_have_a_check() -> None:
    source = """
        def verify(a):
            # step 1: nothing
            b = compute(a)
            # step 2: something
            if b:
                raise ProofRejected("2")
            return b
        """
    with pytest.raises(StepWithoutCheck, match=r"file.py:3 step 1$"):
        mutants_of("file.py", textwrap.dedent(source))
    rewritten = [("b = compute(a)", "b = a")]
    assert found(source, rewritten=rewritten)[0] == ("1", "b = compute(a) -> b = a", "b = a")
    with pytest.raises(ValueError, match="not there exactly once"):
        mutants_of("file.py", textwrap.dedent(source), [("gone", "")])


@pytest.mark.slow
def test_a_mutant_that_never_ends_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file.py").write_text("", encoding="utf-8")
    (tmp_path / "test_it.py").write_text("def test_it():\n    import file\n", encoding="utf-8")
    monkeypatch.setitem(mutate_verifiers.QUICK_TESTS, "file.py", ("test_it.py",))
    monkeypatch.setattr(mutate_verifiers, "PYTEST_OPTIONS", ())

    def judged(source: str, limit_s: float) -> tuple[bool, str]:
        mutant = Mutant("file.py", "f", None, None, 1, "taken out", source)
        return mutate_verifiers.notice(tmp_path, mutant, limit_s)

    noticed, detail = judged("while True:\n    pass\n", 3)
    assert noticed
    assert detail == "TIME RAN OUT after 3 s"
    noticed, _ = judged("taken = 1\n", 60)
    assert not noticed
    noticed, detail = judged("bytes(1 << 40)\n", 60)
    assert noticed
    assert "MemoryError" in detail
    assert (tmp_path / "file.py").read_text(encoding="utf-8") == ""


def test_every_file_with_steps_has_quick_tests() -> None:
    for file in mutate_verifiers.verifier_files():
        for test in mutate_verifiers.quick_tests(file):
            assert (mutate_verifiers.ROOT / test).exists(), f"{test} of {file}"


def test_no_two_test_files_share_a_name() -> None:
    """pytest imports test files by their base name: two of one name cannot be collected in one run."""
    names = [path.name for path in (mutate_verifiers.ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names)), sorted(name for name in set(names) if names.count(name) > 1)
