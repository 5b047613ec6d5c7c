"""From an ONNX file to "who certified the model that decided case 4711?": every step a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import tritonclient.http as triton

from tests.serve.running import INPUT
from tests.serve.test_serve_cli import process
from vml.client import Client

ROOT = Path(__file__).resolve().parents[2]
CIRCUIT = ROOT / "circuits" / "digits-cnn"
CASE = "case 4711"
PATIENCE_S = 120.0
GROWTH_BYTES = 30 << 20


def vml(*words: object, code: int = 0) -> dict[str, Any]:
    """Run a command to its end; what it said."""
    command = [sys.executable, "-m", "vml", *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, (words, done.stdout[-2000:], done.stderr[-2000:])
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_a_decision_is_made_proved_and_audited(tmp_path: Path) -> None:
    folder, house, shown = tmp_path / "digits-cnn.vml", tmp_path / "house.pem", tmp_path / "certificates"
    shown.mkdir()
    certificate = shown / "digits.cert.json"
    vml("compile", CIRCUIT / "model.onnx", "-o", folder, "--calibrate", CIRCUIT / "calibration.npz")
    vml("certify", "key", "new", "-o", house)
    vml(
        "certify", folder, "--key", house, "--issuer", "Example House", "--holdout", CIRCUIT / "holdout.npz",
        "--labels", "labels", "--scope", "reading digits", "-o", certificate,
    )  # fmt: skip
    image = np.load(CIRCUIT / "sample.npz")["image"]
    with process(folder, "--data", tmp_path / "data", "--certificates", shown) as (server, said):
        url = said["url"]
        job, decided = ask_triton(url, image)
        wait_until_proved(url, job)
        with Client(url, model=folder, server_key=said["key_id"]) as client:
            answer = client.infer({"image": image})
        assert int(np.argmax(answer.outputs["logits"])) == 7
        assert answer.verdict.assurance == "cryptographic"
        look_at_console(url)
        proof = tmp_path / "case.proof.json"
        proof.write_bytes(httpx.get(url + decided["vml_proof"]).content)
        pin = httpx.get(url + "/v2").json()["parameters"]["vml_log_key"]
        audited = vml(
            "audit", CASE, "--server", url, "--log-key", pin, "--model", folder, "--server-key", said["key_id"],
            "--authority", f"{house}.pub", "--since", tmp_path / "checkpoint", "-o", tmp_path / "evidence.json",
        )  # fmt: skip
        server.terminate()
        server.wait(60)
    (decision,) = audited["decisions"]
    assert decision["digest"] == decided["vml_claim"]
    assert decision["claim"]["model"] == said["models"]["digits-cnn"]
    assert decision["proof"]["verified"]
    (certified,) = decision["certificates"]
    assert certified["issuer"] == "Example House"
    assert certified["accuracy"][0]["value"] == "348/360"
    # Without the server: its proof, and what the log showed, convince anybody who holds the model and the keys.
    verdict = vml(
        "verify", proof, "--model", folder, "--context", decided["vml_context"], "--certificate", certificate,
        "--authority", f"{house}.pub",
    )  # fmt: skip
    assert verdict["verified"]
    assert verdict["claims"][0]["digest"] == decided["vml_claim"]
    assert verdict["certificates"][0]["issuer"] == "Example House"
    vml("verify", proof, "--model", folder, code=1)  # asked in a context, it does not count in another
    again = vml("audit", proof, "--evidence", tmp_path / "evidence.json", "--log-key", pin, "--model", folder)
    assert again["decisions"][0]["proof"]["verified"]


def ask_triton(url: str, image: Any) -> tuple[str, dict[str, Any]]:
    """Ask as a client of Triton's does; the job, and what the answer says of its claim."""
    item = triton.InferInput("image", list(image.shape), "FP32")
    item.set_data_from_numpy(image)
    with triton.InferenceServerClient(url.removeprefix("http://")) as client:
        result = client.infer("digits-cnn", [item], parameters={"prove": "always", "nonce": CASE})
    assert int(np.argmax(result.as_numpy("logits"))) == 7
    said = result.get_response()["parameters"]
    return said["vml_job"], said


def wait_until_proved(url: str, job: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (state := httpx.get(f"{url}/v1/jobs/{job}").json()["state"]) != "proved":
        assert state in ("queued", "running")
        assert time.monotonic() < deadline
        time.sleep(0.1)


def look_at_console(url: str) -> None:
    page = httpx.get(url, follow_redirects=True)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    (certificate,) = httpx.get(url + "/v1/certificates").json()["certificates"]
    assert certificate["issuer"] == "Example House"


@pytest.mark.slow
def test_memory_is_flat(tiny: Any, tmp_path: Path) -> None:
    """Twenty thousand answers with new claims, and the process is as large as before."""
    with process(tiny.folder, "--data", tmp_path / "data", "--workers", 0, "--quiet") as (server, said):
        memory = psutil.Process(server.pid).memory_info
        sizes = []
        with httpx.Client(base_url=said["url"], timeout=60) as http, ThreadPoolExecutor(16) as clients:

            def ask(number: int) -> int:
                asked = {"inputs": [INPUT], "parameters": {"prove": "never", "nonce": f"request {number}"}}
                return http.post("/v2/models/tiny/infer", json=asked).status_code

            for thousand in range(24):
                assert set(clients.map(ask, range(1000 * thousand, 1000 * thousand + 1000))) == {200}
                sizes.append(memory().rss)
        # The first thousands fill what is kept anyway: caches of statements, pages of the database.
        assert max(sizes[4:]) - sizes[3] < GROWTH_BYTES, sizes
