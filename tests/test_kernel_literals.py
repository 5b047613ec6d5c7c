"""No bare integer meets a word in a numba kernel.

numba types a literal, and a global that is a plain int, as int64; uint64 mixed with int64 is no longer uint64, and
shifts, comparisons and products go wrong without a word: in a prover or a hash that is a soundness bug. So in every
function under ``@njit`` or ``@inlined`` each integer that is an operand of arithmetic, of a comparison or of an
augmented assignment is a typed constant, as np.uint64(1) or np.int64(1).

Bare integers are allowed where they cannot reach a word: inside a subscript (``x[i, 0]``, ``t[j - 1]``: an index of
the wrong type is refused by numba), in the arguments of range, prange and of the functions that make arrays, and in
arguments of typed constants themselves.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FREE_CALLS = {"range", "prange", "empty", "zeros", "ones", "full", "arange"}
TYPED_CALLS = {"uint64", "int64", "uint32", "int32", "uint8", "int8", "float64"}


def compiled(function: ast.FunctionDef) -> bool:
    return any(word in ast.unparse(decorator) for decorator in function.decorator_list for word in ("njit", "inlined"))


def plain(node: ast.AST, ints: set[str]) -> bool:
    """Whether an expression is an int without a type: a literal, a global int, or arithmetic of these."""
    if isinstance(node, ast.Constant):
        return type(node.value) is int
    if isinstance(node, ast.Name):
        return node.id in ints
    if isinstance(node, ast.UnaryOp):
        return plain(node.operand, ints)
    return isinstance(node, ast.BinOp) and plain(node.left, ints) and plain(node.right, ints)


def global_ints(tree: ast.Module) -> set[str]:
    ints: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and plain(statement.value, ints):
            ints |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
    return ints


def bare(node: ast.AST, ints: set[str]) -> Iterator[str]:
    """The expressions below a node in which a bare integer is an operand."""
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in FREE_CALLS | TYPED_CALLS:
            return
    if isinstance(node, ast.Subscript):
        yield from bare(node.value, ints)
        return
    operands: list[ast.AST] = []
    if isinstance(node, ast.BinOp):
        operands = [node.left, node.right]
    elif isinstance(node, ast.Compare):
        operands = [node.left, *node.comparators]
    elif isinstance(node, ast.AugAssign):
        operands = [node.value]
    if any(plain(operand, ints) for operand in operands):
        yield f"line {node.lineno}: {ast.unparse(node)}"  # type: ignore[attr-defined]
    for child in ast.iter_child_nodes(node):
        yield from bare(child, ints)


def violations(source: str) -> list[str]:
    tree = ast.parse(source)
    ints = global_ints(tree)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and compiled(node)]
    return [found for function in functions for statement in function.body for found in bare(statement, ints)]


KERNELS = [path for path in sorted((ROOT / "vml").rglob("*.py")) if "njit" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: str(path.relative_to(ROOT)))
def test_kernels_have_no_bare_integers(path: Path) -> None:
    assert violations(path.read_text(encoding="utf-8")) == []


def test_kernels_are_found() -> None:
    found = {str(path.relative_to(ROOT)) for path in KERNELS}
    assert {"vml/kernels_keccak.py", "vml/field/kernels.py", "vml/field/kernels_ntt.py"} <= found


@pytest.mark.parametrize(
    "statement",
    [
        "b = a + 1",
        "b = 1 - a",
        "b = a >> 32",
        "b = a < 0",
        "a += 1",
        "b = -1 * a",
        "b = a & MASK",
        "b = x[0] * (2 + 3)",
        "b = x[0] + x[1] % 7",
        "f(a - 1)",
        "b = 0 if a == 0 else a",
        "return a * 2",
        "b = a ^ (MASK << 1)",
    ],
)
@pytest.mark.parametrize("decorator", ["njit", "njit(cache=True)", "numba.njit(inline='always')", "inlined"])
def test_the_rule_catches(statement: str, decorator: str) -> None:
    source = f"MASK = 2**32 - 1\n@{decorator}\ndef f(a, x):\n    {statement}\n"
    assert violations(source)


@pytest.mark.parametrize(
    "statement",
    [
        "b = a + ONE",
        "b = x[i, 0] + x[j - 1, 1]",
        "b = np.empty(n + 1, np.uint64)",
        "for i in range(n - 1, -1, -1): pass",
        "b = a + np.uint64(1)",
        "b = x.shape[0] >> ONE",
        "b = 0",
        "x[:, 0] = a",
    ],
)
def test_the_rule_allows(statement: str) -> None:
    assert violations(f"ONE = np.uint64(1)\n@njit(cache=True)\ndef f(a, x):\n    {statement}\n") == []


def test_other_functions_are_free() -> None:
    assert violations("def f(a):\n    return a + 1\n") == []
