"""What goes wrong inside ezkl's process comes out as a typed error, and nothing it prints gets in the way."""

from __future__ import annotations

import builtins
import time
from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest

from vml.backends.ezkl import process
from vml.backends.ezkl.process import Engine, EngineFailed, require_engine
from vml.backends.ezkl.statement import ENGINE_VERSION
from vml.errors import BackendUnavailable


def test_the_engine_answers_with_the_tested_version() -> None:
    with Engine() as engine:
        assert engine.call("version") == ENGINE_VERSION
        assert engine.call("version") == ENGINE_VERSION


def test_a_refusal_is_an_error_and_the_engine_lives_on() -> None:
    with Engine() as engine:
        with pytest.raises(EngineFailed) as failure:
            engine.call("compile", model="/nonexistent", compiled="/nonexistent", settings="/nonexistent")
        assert failure.value.kind == "error"
        assert engine.call("version") == ENGINE_VERSION


def test_a_crash_is_an_error() -> None:
    with Engine() as engine:
        engine._process.kill()
        engine._process.wait()
        with pytest.raises(EngineFailed) as failure:
            engine.call("version")
        assert failure.value.kind == "crash"
        assert "SIGKILL" in str(failure.value)


def poseidon_of(count: int) -> list[list[str]]:
    return [["01" + "00" * 31] * count]


def test_time_and_memory_are_limited() -> None:
    started = time.monotonic()
    with pytest.raises(EngineFailed) as failure, Engine(time_limit_s=0.3) as engine:
        engine.call("poseidon", messages=poseidon_of(300_000))
    assert failure.value.kind == "time"
    with pytest.raises(EngineFailed) as failure, Engine(memory_limit_bytes=1 << 20) as engine:
        engine.call("poseidon", messages=poseidon_of(300_000))
    assert failure.value.kind == "memory"
    assert time.monotonic() - started < 30


def test_progress_is_reported() -> None:
    seen: list[tuple[str, float]] = []
    with Engine(progress=lambda stage, fraction: seen.append((stage, fraction))) as engine:
        engine.call("poseidon", stage="hashing", predicted_s=0.2, messages=poseidon_of(1000))
    assert seen[-1] == ("hashing", 1.0)
    assert all(0.0 <= fraction <= 1.0 for _, fraction in seen)


def test_a_missing_or_other_release_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "version", lambda name: "22.0.0")
    with pytest.raises(BackendUnavailable, match=r"vml\[ezkl\]"):
        require_engine()

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(process, "version", missing)
    with pytest.raises(BackendUnavailable, match=r"vml\[ezkl\]"):
        require_engine()


@pytest.mark.parametrize("package", ["filelock", "platformdirs"])
def test_missing_libraries_name_the_extra(package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from vml import cache

    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == package:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.delenv("VML_CACHE_DIR", raising=False)
    use = cache.folder if package == "platformdirs" else cache.lock(tmp_path, "x").__enter__
    with pytest.raises(BackendUnavailable, match=r"vml\[compile\]"):
        use()
