"""The contracts under forge: formatting, tests with the committed gas, long fuzzing, and what slither finds."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CONTRACTS = Path(__file__).parents[2] / "verifier_contracts"
FORGE = CONTRACTS / "node_modules" / "@foundry-rs" / "forge-linux-amd64" / "bin" / "forge"
SLITHER = CONTRACTS / "build" / "slither-venv" / "bin" / "slither"
NO_FORGE = "forge is pinned for Linux on x86-64 only; elsewhere FORGE names one"


def forge(*arguments: str, **environment: str) -> None:
    """Run the pinned forge.

    Raises:
        AssertionError: with what forge printed.
    """
    if "FORGE" not in os.environ and (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip(NO_FORGE)
    node = shutil.which("node")
    assert node, "Node 20 is needed to test the contracts"
    command = [node, "forge.mjs", *arguments]
    done = subprocess.run(
        command, cwd=CONTRACTS, env=os.environ | environment, capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, f"forge {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"


def test_sources_are_formatted() -> None:
    forge("fmt", "--check")


def test_contracts_hold_with_the_committed_gas() -> None:
    """Unit, fuzz and invariant tests; a measured gas differs from test/snapshots only if a commit says so."""
    forge("test", FORGE_SNAPSHOT_CHECK="true")


@pytest.mark.slow
def test_contracts_hold_over_ten_thousand_fuzz_runs() -> None:
    forge("test", FOUNDRY_PROFILE="long", FORGE_SNAPSHOT_CHECK="true")


@pytest.mark.slow
def test_forge_tests_the_code_that_ships(tmp_path: Path) -> None:
    """forge and compile.mjs are two ways to one bytecode."""
    forge("build")
    compiled = tmp_path / "contracts.json"
    subprocess.run(["node", "compile.mjs", str(compiled)], cwd=CONTRACTS, check=True, timeout=300)
    artifacts: dict[str, Any] = json.loads(compiled.read_text(encoding="utf-8"))
    assert "VmlRouter.sol:VmlRouter" in artifacts
    for key, artifact in artifacts.items():
        file, name = key.split(":")
        built = json.loads((CONTRACTS / "build" / "forge" / file / f"{name}.json").read_text(encoding="utf-8"))
        assert built["bytecode"]["object"] == artifact["bytecode"], key


def _subject(finding: dict[str, Any]) -> str:
    """What a finding is about, without line numbers: ``check: Contract.function(types)``."""
    element = finding["elements"][0]
    names = [element["name"]]
    parent = element.get("type_specific_fields", {}).get("parent")
    while parent and parent["type"] in ("contract", "function"):
        names.insert(0, parent["name"])
        parent = parent.get("type_specific_fields", {}).get("parent")
    return f"{finding['check']}: {'.'.join(names)}"


@pytest.mark.slow
def test_slither_finds_only_what_is_answered(tmp_path: Path) -> None:
    """Every finding has its answer in slither-answers.json, and every answer its finding."""
    if not FORGE.exists():
        pytest.skip(NO_FORGE)
    assert SLITHER.exists(), "make check installs slither"
    report = tmp_path / "slither.json"
    environment = os.environ | {
        "PATH": f"{SLITHER.parent}:{FORGE.parent}:{os.environ['PATH']}",
        "FOUNDRY_OUT": "build/slither/out",
        "FOUNDRY_CACHE_PATH": "build/slither/cache",
    }
    command = [str(SLITHER), ".", "--config-file", "slither.config.json", "--json", str(report)]
    done = subprocess.run(command, cwd=CONTRACTS, env=environment, capture_output=True, text=True, timeout=900)
    assert report.exists(), done.stderr
    result: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    assert result["success"], result["error"]
    answers: dict[str, str] = json.loads((CONTRACTS / "slither-answers.json").read_text(encoding="utf-8"))
    found = {_subject(finding): finding["description"] for finding in result["results"].get("detectors", [])}
    assert {subject: text for subject, text in found.items() if subject not in answers} == {}
    assert sorted(set(answers) - set(found)) == [], "answers to what slither no longer finds"
