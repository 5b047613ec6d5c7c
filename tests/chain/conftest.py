"""Chains to test on: embedded, and a real node where the platform has one."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ANVIL = ROOT / "verifier_contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
NO_ANVIL = "anvil comes from npm for Linux on x86-64 only"
START_S = 30


@pytest.fixture(scope="session")
def anvil() -> Iterator[str]:
    """The address of a node of its own on a free loopback port; its process ends with the tests."""
    if not ANVIL.is_file():
        pytest.skip(NO_ANVIL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(ANVIL), "--host", "127.0.0.1", "--port", str(port), "--silent", "--hardfork", "osaka"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "anvil ended at once"
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("anvil does not listen")
