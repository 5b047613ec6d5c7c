"""The command line in this process, over a stand-in for a backend."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from stand_in import PlainBackend, tiny_onnx

from vml.cli import main

STAND_IN = "stand_in:PlainBackend"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.out)
        return value


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> type[PlainBackend]:
    """The only backend there is."""
    for module in ("vml.api.planning", "vml.backends"):
        monkeypatch.setattr(f"{module}.BACKENDS", {"plain": STAND_IN})
    monkeypatch.setattr(PlainBackend, "verdict_changes", {})
    return PlainBackend


@pytest.fixture
def pinned(plain: type[PlainBackend], monkeypatch: pytest.MonkeyPatch) -> type[PlainBackend]:
    """The same backend, proving the exact model under a key that verifiers pin."""
    monkeypatch.setattr(plain, "pinned", True)
    monkeypatch.setattr(plain, "remade", 0)
    return plain


@pytest.fixture
def vml(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run a command in this process."""

    def run(*arguments: object) -> Done:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return run


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_onnx())
    return path


@pytest.fixture
def compiled(onnx_file: Path, tmp_path: Path, vml: Callable[..., Done]) -> Path:
    folder = tmp_path / "tiny.vml"
    done = vml("compile", onnx_file, "-o", folder, "--input-range", -1, 1, "--quiet")
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def input_file(tmp_path: Path) -> Path:
    path = tmp_path / "in.json"
    path.write_text(json.dumps({"x": [[0.1, -0.2, 0.3, 0.4]]}))
    return path


@pytest.fixture
def proof_file(
    plain: type[PlainBackend], compiled: Path, input_file: Path, tmp_path: Path, vml: Callable[..., Done]
) -> Path:
    path = tmp_path / "tiny.proof.json"
    done = vml("prove", compiled, input_file, "-o", path, "--quiet")
    assert done.code == 0, done.err
    return path
