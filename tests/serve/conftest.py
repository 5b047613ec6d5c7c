"""Databases for tests of the server: every test that asks for `url` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.kit import Clock
from tests.serve.postgresql import MISSING, PostgreSQL, program
from vml.serve.executor import Work
from vml.serve.store import Store


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    if program("initdb") is None:
        pytest.skip(MISSING)
    server = PostgreSQL()
    server.start()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'vml.db'}"
    return str(request.getfixturevalue("postgresql").new_database())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(url: str, clock: Clock) -> Iterator[Store]:
    store = Store.open(url, clock=clock, patience_s=10.0)
    yield store
    store.close()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model of eight weights, compiled, in a folder."""
    from tests.cli.stand_in import tiny_onnx
    from vml import api

    return api.compile(tiny_onnx(), input_range=(-4.0, 4.0)).save(tmp_path_factory.mktemp("models") / "tiny.vml")


@pytest.fixture
def vml(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a command in this process: exit code, and what it printed."""
    from vml.cli import main

    def run(*arguments: object) -> tuple[int, Any, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        asked = "--json" in arguments and captured.out
        return code, json.loads(captured.out) if asked else captured.out, captured.err

    return run


@pytest.fixture
def live(url: str) -> Iterator[Store]:
    store = Store.open(url, retry_s=0.05)
    yield store
    store.close()


@pytest.fixture
def work(url: str, tiny: Any) -> Work:
    return Work(url, {"tiny": str(tiny.folder)}, lease_s=5.0, poll_s=0.05, retry_s=0.05)
