"""`vml doctor`: is this installation sound, and what can it do?"""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import typer

from vml.cli.output import Debug, Json, Output, Quiet, add, command_app, size, table
from vml.errors import BackendUnavailable

app = command_app()

BASE = ("numpy", "pycryptodome", "pydantic", "pyyaml", "rfc8785", "rich", "typer")
EXTRAS = {
    "compile": ("filelock", "numba", "onnx", "onnxruntime", "onnxslim", "platformdirs", "safetensors", "threadpoolctl"),
    "sumcheck": ("numba",),
    "ezkl": ("ezkl", "psutil"),
    "torch": ("torch",),
    "chain": ("pyrevm", "eth-abi", "eth-account", "web3"),
    "tee": ("cbor2", "cryptography", "lxml", "signxml"),
    "sim": ("cbor2", "cryptography"),
    "certificates": ("cryptography",),
    "client": ("httpx", "cryptography"),
    "serve": ("fastapi", "uvicorn", "sqlalchemy", "pg8000", "prometheus-client", "pyjwt"),
    "ray": ("ray",),
}
LITTLE_SPACE = 5 << 30


@dataclass(frozen=True)
class Check:
    """One finding: "ok", "missing" (an extra, or a note), or "broken" (results cannot be trusted)."""

    name: str
    state: str
    detail: str


@app.command()
def doctor(as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """Check versions, extras, exact arithmetic, backends, memory, disk and set-up files.

    Ends with 4 if something is broken; a missing extra is not.
    """
    checks = [_python(), _packages("base", BASE)]
    checks += [_packages(f"extra {name}", packages) for name, packages in EXTRAS.items()]
    checks += [_run(name, check) for name, check in _PROBES.items()]
    sound = all(check.state != "broken" for check in checks)
    value = {"sound": sound, "checks": [asdict(check) for check in checks]}
    Output(as_json, quiet).result(value, lambda console: _show(console, checks))
    if not sound:
        raise typer.Exit(BackendUnavailable.exit_code)


def _python() -> Check:
    state = "ok" if sys.version_info >= (3, 11) else "broken"
    return Check("python", state, f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _packages(name: str, packages: tuple[str, ...]) -> Check:
    found, missing = [], []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(package)
    if not missing:
        return Check(name, "ok", ", ".join(found))
    state = "broken" if name == "base" else "missing"
    extra = "" if name == "base" else f"[{name.removeprefix('extra ')}]"
    return Check(name, state, f"{', '.join(missing)}: pip install 'vml{extra}'")


def _arithmetic() -> Check:
    from vml.model.executor import self_test

    try:
        self_test()
    except BackendUnavailable:
        raise
    except Exception as error:
        return Check("exact products", "broken", f"float64 products are not exact here: {error}")
    return Check("exact products", "ok", "integer matrix products through float64 BLAS are exact")


def _hashing() -> Check:
    from vml.claim import ZERO_CONTEXT
    from vml.keccak import keccak256

    # Keccak-256 of nothing; SHA3-256, which libraries confuse with it, gives another value.
    right = keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    return Check("keccak-256", "ok" if right and not any(ZERO_CONTEXT) else "broken", "agrees with Ethereum's")


def _backends() -> Check:
    from vml.backends import BACKENDS, get_backend

    states = []
    for name in BACKENDS:
        try:
            get_backend(name).available()
            states.append(f"{name}: ready")
        except BackendUnavailable as error:
            states.append(f"{name}: {error}")
    ready = any(state.endswith("ready") for state in states)
    return Check("backends", "ok" if ready else "missing", "; ".join(states))


def _memory() -> Check:
    import psutil

    memory = psutil.virtual_memory()
    detail = f"{size(memory.available)} free of {size(memory.total)}, {psutil.cpu_count()} cores"
    return Check("memory", "ok", detail)


def _cache() -> Check:
    from vml import api

    folder = api.cache_folder()
    standing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(standing).free
    entries = api.cache_entries()
    detail = f"{folder}: {len(entries)} entries, {size(sum(e.size_bytes for e in entries))}, {size(free)} free"
    return Check("cache", "ok" if free > LITTLE_SPACE else "missing", detail)


def _setups() -> Check:
    from vml import api
    from vml.backends.ezkl import srs

    safe = [record for record in srs.list_files(api.cache_folder()) if not record.unsafe]
    if not safe:
        return Check(
            "set-up files", "missing", "only the unsafe test set-up; docs/ezkl.md says how to import a real one"
        )
    return Check("set-up files", "ok", ", ".join(f"2^{record.log_rows} {record.source}" for record in safe))


_PROBES: dict[str, Callable[[], Check]] = {
    "keccak-256": _hashing,
    "exact products": _arithmetic,
    "backends": _backends,
    "memory": _memory,
    "cache": _cache,
    "set-up files": _setups,
}


def _run(name: str, probe: Callable[[], Check]) -> Check:
    """One probe; what it needs and does not find is a finding, not a failure."""
    try:
        return probe()
    except (BackendUnavailable, ImportError) as error:
        return Check(name, "missing", str(error))


def _show(console: Any, checks: list[Check]) -> None:
    colours = {"ok": None, "missing": "yellow", "broken": "bold red"}
    rows = table("", "", "")
    for check in checks:
        add(rows, check.name, check.state, check.detail, style=colours[check.state])
    console.print(rows)
