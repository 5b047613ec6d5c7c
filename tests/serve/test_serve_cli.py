"""`vml serve` as a process: how it says where it is, what it refuses to start with, how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.running import INPUT
from vml.cli import main
from vml.serve.store import Store

BODY = {"inputs": [INPUT]}


@contextmanager
def process(*arguments: object, **environment: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A server of its own process that listens, and what it said."""
    command = [sys.executable, "-m", "vml", "serve", *map(str, arguments), "--port", "0", "--json"]
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line, server.stderr.read() if server.stderr else ""
        said = json.loads(line)
        deadline = time.monotonic() + 120
        while httpx.get(said["url"] + "/v2/health/ready").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield server, said
    finally:
        if server.poll() is None:
            server.kill()
        server.communicate(timeout=30)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """How a server that cannot start ends, in this process."""
    code = main(["serve", *map(str, arguments)])
    return code, capsys.readouterr().err


def test_it_says_where_it_listens_proves_and_ends_when_told(tiny: Any, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with process(f"a={tiny.folder}", f"b={tiny.folder}", "--data", data, "--log", "json") as (server, said):
        assert said["error"] is None
        assert set(said["models"].values()) == {"0x" + tiny.commitment.hex()}
        assert said["pid"] == server.pid
        assert httpx.get(said["url"] + "/v2").json()["parameters"]["vml_key_id"] == said["key_id"]
        asked = {**BODY, "parameters": {"prove": "sync", "backend": "sumcheck"}}
        answer = httpx.post(said["url"] + "/v2/models/b/infer", json=asked, timeout=120).json()["parameters"]
        assert answer["vml_state"] == "proved", answer
        server.send_signal(signal.SIGTERM)
        out, err = server.communicate(timeout=60)
        assert (server.returncode, out) == (0, "")
        events = [json.loads(line) for line in err.splitlines()]
        assert {"request", "model ready"} <= {event["event"] for event in events}
        assert not [event for event in events if event["level"] == "ERROR"]


def test_a_job_that_was_going_on_is_handed_back(tiny: Any, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with process(tiny.folder, "--data", data, "--workers", 0, "--quiet") as (server, said):
        asked = {**BODY, "parameters": {"prove": "always", "nonce": "later"}}
        job = httpx.post(said["url"] + "/v2/models/tiny/infer", json=asked).json()["parameters"]["vml_job"]
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=60)
        assert (server.returncode, out, err) == (0, "", "")
    store = Store.open(f"sqlite:///{data / 'vml.db'}")
    found = store.job(job)
    store.close()
    assert found is not None
    assert found.state == "queued"
    with process(tiny.folder, "--data", data) as (_, said):
        deadline = time.monotonic() + 120
        while (state := httpx.get(f"{said['url']}/v1/jobs/{job}").json()["state"]) != "proved":
            assert state in ("queued", "running")
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_a_server_that_was_killed_starts_again(tiny: Any, tmp_path: Path) -> None:
    data = tmp_path / "data"
    seen = []
    for _ in range(2):
        with process(tiny.folder, "--data", data, "--workers", 0) as (server, said):
            answer = httpx.post(said["url"] + "/v2/models/tiny/infer", json=BODY).json()["parameters"]
            seen.append((answer["vml_claim"], answer["vml_log_index"], json.loads(answer["vml_receipt"])["sequence"]))
            server.send_signal(signal.SIGKILL)
            server.wait(30)
    assert seen[0][:2] == seen[1][:2]
    assert seen[0][2] < seen[1][2]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--host", "0.0.0.0"], "--unsafe-open"),
        (["--database", "postgresql://ada:secret@localhost/vml"], "VML_SERVE_DATABASE"),
        (["--beacon-rpc", "https://ada:secret@node.test"], "password"),
        (["--beacon-rpc", "ftp://node.test"], "http"),
        (["--beacon-rpc", "http://node.test", "--beacon-file", "rounds"], "one beacon"),
        (["--sampling", "beacon"], "beacon"),
        (["--sampling", "dice"], "--sampling"),
        (["--prove", "perhaps"], "--prove"),
        (["--policies", "never", "--prove", "always"], "policies"),
        (["--backend", "magic"], "magic"),
        (["--log", "xml"], "--log"),
        (["--tls-cert", "x.pem"], "private key"),
        (["--client-ca", "x.pem"], "TLS"),
        (["--oidc-issuer", "https://issuer.test"], "--oidc-keys"),
        (["--executor", "moon"], "moon"),
        (["--max-body", "0"], "positive"),
        (["--keys", "/nowhere/keys.json"], "/nowhere"),
    ],
)
def test_what_it_does_not_start_with(
    tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], word: str
) -> None:
    code, err = refused(capsys, tiny.folder, "--data", tmp_path / "data", *arguments)
    assert code == 2
    assert word in err
    assert "secret" not in err


def test_models_it_does_not_start_with(tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    data = ["--data", tmp_path / "data"]
    assert refused(capsys, tmp_path / "empty", *data)[0] == 3
    assert refused(capsys, tmp_path / "nowhere", *data)[0] == 2
    assert refused(capsys, tiny.folder, tiny.folder, *data)[0] == 2
    assert refused(capsys, f"a/b={tiny.folder}", *data)[0] == 2


def test_an_address_that_is_taken(tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, err = refused(capsys, tiny.folder, "--data", tmp_path / "data", "--port", other.getsockname()[1])
    assert code == 2
    assert "in use" in err


def test_a_key_that_others_can_read_is_refused(tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, mode, word in (("x", 0o644, "chmod"), ("x", 0o600, "PEM")):
        key = tmp_path / f"key-{mode}"
        key.write_text(text)
        key.chmod(mode)
        code, err = refused(capsys, tiny.folder, "--data", tmp_path / "data", "--signing-key", key)
        assert code == 2
        assert word in err


def test_a_client_gets_a_key(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["serve", "key", "new", "clinic", "--role", "audit", "--rate", "5", "--burst", "10", "--json"]
    assert main(arguments) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["key"].startswith("vml_")
    assert value["entry"]["roles"] == ["audit"]
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [value["entry"]]}))
    assert main(["serve", "key", "new", "clinic", "--role", "root"]) == 2


def test_help_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--help"]) == 0
    assert "Open Inference Protocol" in capsys.readouterr().out
