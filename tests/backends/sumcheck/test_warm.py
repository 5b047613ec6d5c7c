"""Kernels compiled ahead are those a proof uses, each in one form, and whoever waits is told."""

from __future__ import annotations

from typing import Any

import pytest

from tests.backends.sumcheck.runs import sample_rows, shipped
from vml.backends.sumcheck import warm


def kernels() -> dict[str, Any]:
    return {
        f"{module.__name__}.{name}": value
        for module in warm.kernel_modules()
        for name, value in vars(module).items()
        if hasattr(value, "signatures")
    }


@pytest.mark.parametrize("name", ["digits-mlp", "digits-cnn"])
def test_a_proof_compiles_nothing_more(name: str) -> None:
    warm.compile_kernels(None)
    before = {name: set(kernel.signatures) for name, kernel in kernels().items()}
    shipped(name).public_prove(sample_rows(name, 1), bytes(32))
    after = {name: set(kernel.signatures) for name, kernel in kernels().items()}
    assert after == before


def test_nothing_is_said_the_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    warm.compile_kernels(None)
    monkeypatch.setattr(warm, "_STEPS", ())
    told: list[float] = []
    warm.compile_kernels(lambda stage, done: told.append(done))
    assert told == []


@pytest.mark.parametrize("missing", [False, True])
def test_progress_is_told_if_something_was_missing(monkeypatch: pytest.MonkeyPatch, missing: bool) -> None:
    count = 0

    def step() -> None:
        nonlocal count
        count += missing

    monkeypatch.setattr(warm, "_done", [])
    monkeypatch.setattr(warm, "_STEPS", (step, step))
    monkeypatch.setattr(warm, "compiled", lambda: count)
    told: list[tuple[str, float]] = []
    warm.compile_kernels(lambda stage, done: told.append((stage, done)))
    assert told == ([(warm.STAGE, 0.5), (warm.STAGE, 1.0)] if missing else [])
