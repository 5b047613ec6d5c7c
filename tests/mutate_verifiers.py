"""Deletes each check of each verifier in turn and sees whether a test notices. Run by ``make check``.

Run: ``python -m tests.mutate_verifiers [--only GLOB] [--list] [--jobs N]``

A verifier is a numbered list of steps: a comment ``# step N: ...`` starts a block that lasts to the next such
comment or the end of its function. Taken out one at a time, in a copy of the package:

* a condition that raises (``if ...: raise``): its test becomes ``False``, as if the check had been forgotten;
  of ``a or b`` each part is dropped by itself;
* a raise that stands alone, or a call made for its effect alone in a step: it becomes ``pass``;
* a handler that turns one error into another: it lets the first error through;
* whatever the table `REWRITTEN` says.

What raises a `VerificationError`, or becomes one, counts in every function of these files, tagged or not.
Statements that define names used later are left alone. A step without anything to take out is an error: its
number promises a check. Each mutant runs the quick tests of its file, which must fail. Tests that take far longer than
they do without the mutation have noticed it, too: a reader without its check for the end never ends.
"""

from __future__ import annotations

import argparse
import ast
import fnmatch
import io
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tokenize
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.mutation_tables import NEEDED, QUICK_TESTS, REFUSALS, REPEATED, REWRITTEN

ROOT = Path(__file__).parents[1]

STEP = re.compile(r"#\s*step\s+(\d+[a-z]?)\b", re.IGNORECASE)
PYTEST_OPTIONS = ("-m", "not slow and not torch", "--hypothesis-profile=mutation")
SLOWER = 5
PATIENCE_S = 60
"""A mutant's tests may take `SLOWER` times as long as without it, and this long besides."""
UNCHANGED_S = 900
"""How long tests may take without any mutation."""
MEMORY_KIB = 12 << 20
"""Address space of one run: what never ends would take all there is."""


@dataclass(frozen=True)
class Mutant:
    """One check taken out of one file."""

    file: str
    function: str
    step: str | None
    step_line: int | None
    line: int
    what: str
    source: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line} {self.function}"
        return f"{place} {f'step {self.step}' if self.step else '(no step)'}: {self.what}"


class StepWithoutCheck(Exception):
    """A numbered step has nothing that could be taken out."""


def _replaced(source: str, node: ast.AST, text: str) -> str:
    """The source with one node's text exchanged; positions of `ast` count UTF-8 bytes."""
    assert isinstance(node, ast.expr | ast.stmt)
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    lines = source.encode().splitlines(keepends=True)
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
    data = b"".join(lines)
    return (data[:start] + text.encode() + data[end:]).decode()


def _steps(source: str) -> dict[int, str]:
    """Line to number of every step comment."""
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        match = STEP.match(token.string) if token.type == tokenize.COMMENT else None
        if match:
            found[token.start[0]] = match[1]
    return found


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    def inside(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield prefix + child.name, child
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from inside(child, f"{prefix}{child.name}.")

    return inside(tree, "")


def _raised(statement: ast.stmt) -> str | None:
    """The name of the error a statement raises, "" for a bare raise, None if it does not raise."""
    if not isinstance(statement, ast.Raise):
        return None
    error = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
    return ast.unparse(error).rpartition(".")[2] if error is not None else ""


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions inside it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _own(child)


def _edits(function: ast.AST, source: str, in_step: Callable[[int], bool]) -> Iterator[tuple[int, str, str]]:
    """Line, description and new source of everything that can be taken out of a function."""
    seen: set[ast.AST] = set()
    for node in _own(function):
        if isinstance(node, ast.If) and (error := _raised(node.body[-1])) is not None:
            seen.add(node.body[-1])
            if not in_step(node.lineno) and error not in REFUSALS:
                continue
            what = f"if {ast.unparse(node.test)}: raise {error}"
            if isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.Or):
                for part in node.test.values:
                    yield (
                        node.lineno,
                        f"{what}, without {ast.unparse(part)}",
                        _replaced(source, part, "False"),
                    )
            else:
                yield node.lineno, what, _replaced(source, node.test, "False")
        elif isinstance(node, ast.ExceptHandler) and (error := _raised(node.body[-1])):
            seen.add(node.body[-1])
            if in_step(node.lineno) or error in REFUSALS:
                kind = ast.unparse(node.type) if node.type else "everything"
                yield node.lineno, f"except {kind}: raise {error}", _replaced(source, node.body[-1], "raise")
        elif isinstance(node, ast.Raise) and node not in seen:
            if (error := _raised(node)) in REFUSALS:
                yield node.lineno, f"raise {error}", _replaced(source, node, "pass")
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and in_step(node.lineno):
            yield node.lineno, ast.unparse(node), _replaced(source, node, "pass")


def mutants_of(file: str, source: str, rewritten: Iterable[tuple[str, str]] = ()) -> list[Mutant]:
    """Every mutant of one file.

    Args:
        file: its name in the checkout.
        source: its text.
        rewritten: texts that stand in it once each, and what to put instead.

    Raises:
        StepWithoutCheck: a step has nothing to take out.
        ValueError: a text to rewrite does not stand in the source exactly once.
    """
    steps = _steps(source)
    functions = list(_functions(ast.parse(source)))
    found: list[Mutant] = []

    def step_line(function: ast.FunctionDef | ast.AsyncFunctionDef, line: int) -> int | None:
        return max((at for at in steps if function.lineno <= at < line), default=None)

    for name, function in functions:

        def in_step(line: int, function: ast.FunctionDef | ast.AsyncFunctionDef = function) -> bool:
            return step_line(function, line) is not None

        for line, what, text in _edits(function, source, in_step):
            at = step_line(function, line)
            found.append(Mutant(file, name, steps[at] if at else None, at, line, what, text))
    for old, new in rewritten:
        if source.count(old) != 1:
            raise ValueError(f"{file}: not there exactly once: {old}")
        line = source[: source.index(old)].count("\n") + 1
        inner = [(n, f) for n, f in functions if f.lineno <= line <= (f.end_lineno or 0)]
        name, function = inner[-1]
        at = step_line(function, line)
        what = f"{old} -> {new}"
        found.append(Mutant(file, name, steps[at] if at else None, at, line, what, source.replace(old, new)))
    empty = [line for line in steps if all(line != mutant.step_line for mutant in found)]
    bare = [f"{file}:{line} step {steps[line]}" for line in empty if (file, steps[line]) not in NEEDED]
    if bare:
        raise StepWithoutCheck("nothing to take out: " + ", ".join(bare))
    return sorted(found, key=lambda mutant: mutant.line)


def quick_tests(file: str) -> tuple[str, ...]:
    """The tests that must notice a mutant of a file.

    Raises:
        ValueError: the file has steps and no tests in the table.
    """
    if file not in QUICK_TESTS:
        raise ValueError(f"{file} has numbered steps and no entry in QUICK_TESTS")
    return QUICK_TESTS[file]


def verifier_files() -> list[str]:
    """Every file of vml with a numbered step, and those of the table that have none."""
    files = []
    for path in sorted((ROOT / "vml").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name in QUICK_TESTS or _steps(path.read_text(encoding="utf-8")):
            files.append(name)
    return files


def _copy(target: Path) -> None:
    """A checkout in which vml can be changed; what is only read is linked."""
    for entry in ROOT.iterdir():
        if entry.name in ("vml", "tests"):
            ignore = shutil.ignore_patterns("__pycache__") if entry.name == "tests" else None
            shutil.copytree(entry, target / entry.name, ignore=ignore)
        elif entry.name == "pyproject.toml":
            shutil.copy2(entry, target)
        elif not entry.name.startswith(".") and entry.name != "out":
            (target / entry.name).symlink_to(entry)


def _run(checkout: Path, tests: tuple[str, ...], limit_s: float) -> tuple[int, str]:
    """pytest's exit status and the last line that says why; 1 where it took longer than `limit_s`."""
    command = ["sh", "-c", f'ulimit -v {MEMORY_KIB}; exec "$0" "$@"', sys.executable, "-m", "pytest"]
    command += ["-x", "-q", "--no-header", "-p", "no:cacheprovider", *PYTEST_OPTIONS, *tests]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        return 1, f"TIME RAN OUT after {limit_s:.0f} s"
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return done.returncode, lines[0] if lines else done.stdout[-2000:]


def notice(checkout: Path, mutant: Mutant, limit_s: float = UNCHANGED_S) -> tuple[bool, str]:
    """Run the tests of a mutant; whether one failed or did not end within `limit_s`, and which."""
    path = checkout / mutant.file
    original = path.read_text(encoding="utf-8")
    path.write_text(mutant.source, encoding="utf-8")
    try:
        status, detail = _run(checkout, quick_tests(mutant.file), limit_s)
    finally:
        path.write_text(original, encoding="utf-8")
    if status not in (0, 1, 2):  # 2: the module no longer loads, which no test can miss
        raise RuntimeError(f"pytest ended with {status} on {mutant}: {detail}")
    return status != 0, detail


def _check_baseline(checkout: Path, files: list[str]) -> dict[tuple[str, ...], float]:
    """That every test passes without mutation, and how long a mutant's may take, in seconds."""
    where = subprocess.run(
        [sys.executable, "-c", "import vml; print(vml.__file__)"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if not where.startswith(str(checkout)):
        raise RuntimeError(f"the copy is not what is tested: {where}")
    limits = {}
    for tests in dict.fromkeys(quick_tests(file) for file in files):
        start = time.monotonic()
        status, detail = _run(checkout, tests, UNCHANGED_S)
        if status:
            raise RuntimeError(f"{' '.join(tests)} fail without any mutation: {detail}")
        limits[tests] = SLOWER * (time.monotonic() - start) + PATIENCE_S
    return limits


def main() -> int:
    """Run every mutant; 0 when all were noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", metavar="GLOB", help="files to take, such as 'vml/proof.py'")
    parser.add_argument("--list", action="store_true", help="list the mutants and stop")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), metavar="N")
    options = parser.parse_args()

    files = [file for file in verifier_files() if fnmatch.fnmatch(file, options.only)]
    mutants = []
    for file in files:
        rewritten = [(old, new) for name, old, new in REWRITTEN if name == file]
        mutants += mutants_of(file, (ROOT / file).read_text(encoding="utf-8"), rewritten)
    known = {(mutant.file, mutant.function, mutant.what) for mutant in mutants}
    stale = [key for key in REPEATED if fnmatch.fnmatch(key[0], options.only) and key not in known]
    if options.list or stale:
        print(*(mutants if options.list else [f"not in its file any more: {key}" for key in stale]), sep="\n")
        return 1 if stale else 0
    mutants = [mutant for mutant in mutants if (mutant.file, mutant.function, mutant.what) not in REPEATED]

    unnoticed = []
    with tempfile.TemporaryDirectory(prefix="vml-mutants-") as folder:
        free: queue.Queue[Path] = queue.Queue()
        for job in range(options.jobs):
            checkout = Path(folder).resolve() / str(job)
            checkout.mkdir()
            _copy(checkout)
            free.put(checkout)
        limits = _check_baseline(free.queue[0], files)

        def judged(mutant: Mutant) -> tuple[Mutant, bool, str, float]:
            checkout, start = free.get(), time.monotonic()
            try:
                noticed = notice(checkout, mutant, limits[quick_tests(mutant.file)])
                return (mutant, *noticed, time.monotonic() - start)
            finally:
                free.put(checkout)

        with ThreadPoolExecutor(options.jobs) as pool:
            for mutant, noticed, detail, seconds in pool.map(judged, mutants):
                print(f"{'noticed' if noticed else 'MISSED '} {seconds:6.1f} s  {mutant}", flush=True)
                print(f"                  {detail.splitlines()[-1] if detail else ''}"[:200], flush=True)
                if not noticed:
                    unnoticed.append(mutant)
    print(f"{len(mutants)} checks taken out, {len(unnoticed)} missed by every test")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
