"""Imports point downward. Nothing is imported here: every file of vml is parsed.

The rules are the tables below; each test says which one it keeps.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Lowest first. A module imports from its own tier or a lower one, wherever in the file the import stands.
# The longest matching name counts.
TIERS = (
    ("vml.errors", "vml.threads"),
    ("vml.keccak", "vml.canonical", "vml.strictjson", "vml.files", "vml.cache", "vml.arrays", "vml.policyfile"),
    ("vml.claim", "vml.merkle", "vml.kernels_keccak", "vml.field", "vml.transcript"),
    ("vml.proof", "vml.identities", "vml.values", "vml.backends.types", "vml.model.codec", "vml.model.tensor"),
    ("vml.model.relation",),
    ("vml.model.tables",),
    ("vml.model.primitives",),
    ("vml.model.semantics", "vml.model.graph"),
    ("vml.model.builder", "vml.model.views", "vml.model.numbers", "vml.model.scales", "vml.model.partial"),
    ("vml.model.lowering",),
    ("vml.model",),
    ("vml.tee.reasons", "vml.tee.anchors", "vml.tee.evidence", "vml.tee.verified", "vml.tee.x509"),
    ("vml.tee",),
    ("vml.tee_sim",),
    ("vml.policy", "vml.certificates", "vml.transparency"),
    ("vml.backends",),
    ("vml.chain",),
    ("vml.dispute",),
    ("vml.api",),
    ("vml.client", "vml.ray"),
    ("vml.serve", "vml"),
    ("vml.cli", "vml.__main__"),
)

# What `pip install vml` brings, by import name. Everything else is an extra.
BASE = {"numpy", "Crypto", "pydantic", "yaml", "rfc8785", "rich", "typer", "click"}
EXTRAS = {
    "cbor2",
    "cryptography",
    "dcap_qvl",
    "eth_abi",
    "eth_account",
    "ezkl",
    "fastapi",
    "filelock",
    "google",  # protobuf, which onnx brings
    "h11",  # which uvicorn brings
    "hexbytes",
    "httpx",
    "jwt",
    "llvmlite",  # which numba brings
    "lxml",
    "mpmath",
    "numba",
    "onnx",
    "onnxruntime",
    "onnxslim",
    "pg8000",
    "platformdirs",
    "prometheus_client",
    "psutil",
    "pyrevm",
    "ray",
    "safetensors",
    "signxml",
    "sqlalchemy",
    "starlette",
    "threadpoolctl",
    "torch",
    "uvicorn",
    "web3",
}

# Loading these modules, with all they load in turn, loads no extra. Verifiers are added by their file names.
LIGHT = (
    *("vml", "vml.api", "vml.cli", "vml.proof", "vml.policy", "vml.claim", "vml.merkle", "vml.backends", "vml.tee"),
    *("vml.certificates.verify", "vml.transparency.audit"),
)

# What a verifier never loads, besides extras: modules with these last names.
PROVING = ("prover", "setup", "autotune")

# What backends share: they know these, and not each other.
SHARED = {"types", "exact"}

# Rooms that hold what is built, tested or measured. They import vml, never the reverse.
OUTSIDE = {"tests", "benchmarks", "circuits", "attestation"}


@dataclass(frozen=True)
class Import:
    """One imported module or name, and how it is reached."""

    module: str
    name: str | None
    line: int
    at_load: bool  # runs when the module is loaded: not in a function, not for type checkers only


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sorted((ROOT / "vml").rglob("*.py"))}


def _absolute(statement: ast.ImportFrom, package: str) -> str:
    """The module a `from` names, relative ones resolved against the package of the file."""
    if not statement.level:
        return statement.module or ""
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - statement.level + 1], *filter(None, [statement.module])])


def _visit(node: ast.AST, package: str, at_load: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, None, child.lineno, at_load)
        elif isinstance(child, ast.ImportFrom):
            for alias in child.names:
                yield Import(_absolute(child, package), alias.name, child.lineno, at_load)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for statement in child.body:
                yield from _visit(ast.Module([statement], []), package, False)
            for statement in child.orelse:
                yield from _visit(ast.Module([statement], []), package, at_load)
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _visit(child, package, at_load and not function)


@cache
def imports(module: str) -> tuple[Import, ...]:
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return tuple(_visit(ast.parse(path.read_text(encoding="utf-8")), package, True))


def targets(found: Import) -> list[str]:
    """The vml modules an import names: `from vml import merkle` names vml.merkle, not vml.

    A bare `import vml` names nothing: a package's parents are loaded before it anyway.
    """
    if found.module == "vml" and found.name is None:
        return []
    if found.name is not None and f"{found.module}.{found.name}" in MODULES:
        return [f"{found.module}.{found.name}"]
    return [found.module] if found.module.partition(".")[0] == "vml" else []


def tier(module: str) -> int:
    matches = [
        (len(prefix), level)
        for level, prefixes in enumerate(TIERS)
        for prefix in prefixes
        if module == prefix or (prefix != "vml" and module.startswith(prefix + "."))
    ]
    assert matches, f"{module} has no tier: give it one in TIERS"
    return max(matches)[1]


def backend_of(module: str) -> str | None:
    """The backend whose folder a module is in."""
    parts = module.split(".")
    inside = parts[:2] == ["vml", "backends"] and len(parts) > 2
    return parts[2] if inside and f"vml.backends.{parts[2]}" in MODULES and parts[2] not in SHARED else None


def loads(module: str) -> dict[str, str]:
    """Every module that loading `module` loads, by the chain of imports that leads to it."""
    chains = {module: module}
    todo = [module]
    while todo:
        current = todo.pop()
        parents = [current.rpartition(".")[0]] if "." in current else []
        found = [name for item in imports(current) if item.at_load for name in targets(item) or [item.module]]
        for name in parents + found:
            if name not in chains:
                chains[name] = f"{chains[current]} -> {name}"
                if name in MODULES:
                    todo.append(name)
    return chains


VERIFIERS = sorted(name for name in MODULES if name.rpartition(".")[2].startswith("verifier"))
every_module = pytest.mark.parametrize("module", sorted(MODULES))


@every_module
def test_imports_point_downward(module: str) -> None:
    for found in imports(module):
        for target in targets(found):
            assert target in MODULES, f"line {found.line}: there is no {target}"
            assert tier(target) <= tier(module), f"line {found.line}: {target} stands above {module}"


@every_module
def test_backends_do_not_know_each_other(module: str) -> None:
    for found in imports(module):
        for target in targets(found):
            other = backend_of(target)
            if other is not None and backend_of(module) is not None:
                assert other == backend_of(module), f"line {found.line}: {target}"


@every_module
def test_private_names_stay_in_their_module(module: str) -> None:
    """The command line, and everybody else, uses public names only."""
    for found in imports(module):
        if targets(found):
            names = [*found.module.split("."), found.name or ""]
            private = [name for name in names if name.startswith("_") and not name.startswith("__")]
            assert not private, f"line {found.line}: {private} of {found.module}"


@every_module
def test_every_import_is_declared_and_inside(module: str) -> None:
    for found in imports(module):
        package = found.module.partition(".")[0]
        assert package not in OUTSIDE, f"line {found.line}: vml imports {package}"
        known = package == "vml" or package in sys.stdlib_module_names or package in BASE | EXTRAS
        assert known, f"line {found.line}: {package} is in no list of this test and no list of pyproject.toml"


@pytest.mark.parametrize("module", [*LIGHT, *VERIFIERS])
def test_the_base_install_can_load_it(module: str) -> None:
    chains = loads(module)
    heavy = [chain for name, chain in chains.items() if name.partition(".")[0] in EXTRAS]
    assert not heavy, "\n".join(heavy)


@pytest.mark.parametrize("module", VERIFIERS)
def test_verifiers_do_not_load_provers(module: str) -> None:
    chains = loads(module)
    proving = [chain for name, chain in chains.items() if name.rpartition(".")[2] in PROVING]
    assert not proving, "\n".join(proving)


def reaches(module: str) -> dict[str, str]:
    """As `loads`, with what functions import when they are called."""
    chains = {module: module}
    todo = [module]
    while todo:
        current = todo.pop()
        for name in (name for item in imports(current) for name in targets(item)):
            if name not in chains:
                chains[name] = f"{chains[current]} -> {name}"
                todo.append(name)
    return chains


VERIFYING = sorted(
    {*VERIFIERS, "vml.policy", "vml.api.verifying"}
    | {name for name in MODULES if name == "vml.tee" or name.startswith("vml.tee.")}
)


@pytest.mark.parametrize("module", VERIFYING)
def test_verifiers_do_not_know_the_simulator(module: str) -> None:
    """Not even late: what accepts evidence has no way to make some."""
    found = [chain for name, chain in reaches(module).items() if name.startswith("vml.tee_sim")]
    assert not found, "\n".join(found)


def test_kernels_are_reached_late() -> None:
    """Files of numba kernels are the only ones that load numba, and nobody loads them without asking."""
    for module in MODULES:
        loaded = {found.module.partition(".")[0] for found in imports(module) if found.at_load}
        if module.rpartition(".")[2].startswith("kernels"):
            continue
        assert "numba" not in loaded, f"{module}: kernels live in files named kernels*"
