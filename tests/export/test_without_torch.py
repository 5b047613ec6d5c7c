"""Where torch is not installed, `vml export` says which extra to install."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

from vml.errors import BackendUnavailable


def test_missing_torch_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from vml.model.export import export_factory

    real = builtins.__import__

    def without_torch(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "torch":
            raise ImportError("no module named torch")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_torch)
    with pytest.raises(BackendUnavailable, match=r"vml\[torch\]"):
        export_factory(str(tmp_path / "script.py"), "make", tmp_path / "model.onnx")
