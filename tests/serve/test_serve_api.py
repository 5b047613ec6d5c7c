"""Claims, proofs, jobs and their events, verdicts, figures, the OpenAPI document: over HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.serve.running import Running, X, running
from vml.backends import BACKENDS, get_backend
from vml.backends.types import Attesting, SetupOptions
from vml.proof import Proof
from vml.serve import differences
from vml.serve.records import NewJob, ProofRecord


@pytest.fixture(scope="module")
def served(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tiny, tmp_path_factory.mktemp("data")) as server:
        yield server


def test_a_claim_is_read_by_its_digest(served: Running, tiny: Any) -> None:
    said = served.said({"nonce": "read me"})
    shown = served.http.get(f"/v1/claims/{said['vml_claim']}").json()
    assert shown["digest"] == said["vml_claim"]
    assert shown["claim"]["model"] == said["vml_model"]
    assert shown["log_index"] == said["vml_log_index"]
    assert shown["receipt"] == json.loads(said["vml_receipt"])
    made = tiny.run(tiny.quantize({"x": X}))
    ((name, codes),) = made.items()
    (output,) = shown["outputs"]
    assert (output["name"], output["codes"]) == (name, codes.ravel().tolist())
    assert np.allclose(output["values"], tiny.dequantize(made)[name].ravel())
    assert "client" not in shown
    assert served.http.get("/v1/claims/0x" + "00" * 32).status_code == 404
    assert served.http.get("/v1/claims/nonsense").status_code == 422


def test_claims_are_listed_the_newest_first(served: Running) -> None:
    made = [served.said({"nonce": f"list {k}"})["vml_claim"] for k in range(5)]
    first = served.http.get("/v1/claims", params={"limit": 3, "name": "tiny"}).json()
    rest = served.http.get("/v1/claims", params={"limit": 2, "before": first["next"]}).json()
    assert [row["digest"] for row in (*first["claims"], *rest["claims"])] == made[::-1]
    assert first["total"] >= 5
    assert served.http.get("/v1/claims", params={"model": "0x" + "11" * 32}).json()["claims"] == []
    for wrong in ({"limit": 0}, {"limit": 501}, {"before": -1}, {"model": "0x12"}, {"colour": "red"}):
        refused = served.http.get("/v1/claims", params=wrong)
        assert refused.status_code == 422
        assert set(refused.json()) == {"error"}


def test_a_proof_is_asked_for_afterwards(served: Running) -> None:
    digest = served.said({"nonce": "later"})["vml_claim"]
    assert served.http.get(f"/v1/proofs/{digest}").status_code == 404
    asked = served.http.post(f"/v1/proofs/{digest}", json={"backend": "sumcheck", "priority": 1})
    assert asked.status_code == 202
    job = asked.json()
    assert asked.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert (job["state"], job["backend"], job["claim"], job["priority"]) == ("queued", "sumcheck", digest, 49)
    assert served.http.post(f"/v1/proofs/{digest}").json()["id"] == job["id"]
    assert served.work() == job["id"]
    done = served.http.get(f"/v1/jobs/{job['id']}").json()
    assert (done["state"], done["proof_claims"], done["max_difference"]) == ("proved", [digest], 0.0)
    proof = served.http.get(done["proof"])
    assert Proof.from_bytes(proof.content).claims[0].digest().hex() == digest[2:]
    assert served.http.get(f"/v1/proofs/{digest}", params={"backend": "ezkl"}).status_code == 404
    for body in (b"[]", b'{"colour": 1}', b'{"backend": "magic"}', b'{"priority": "high"}', b"{"):
        refused = served.http.post(f"/v1/proofs/{digest}", content=body)
        assert refused.status_code == 422, body
    assert served.http.post("/v1/proofs/0x" + "00" * 32).status_code == 404


def test_a_job_is_cancelled(served: Running) -> None:
    job = served.said({"prove": "always", "nonce": "cancel me"})["vml_job"]
    assert served.http.get("/v1/jobs", params={"state": "queued"}).json()["jobs"][0]["id"] == job
    assert served.http.delete(f"/v1/jobs/{job}").json()["state"] == "cancelled"
    listed = served.http.get("/v1/jobs", params={"limit": 500}).json()
    assert job in [row["id"] for row in listed["jobs"]]
    assert listed["counts"]["cancelled"] >= 1
    assert served.http.delete("/v1/jobs/" + "0" * 32).status_code == 404
    assert served.http.get("/v1/jobs/..%2f..").status_code == 404


def events_of(response: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    name = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_a_job_is_followed_live(served: Running) -> None:
    job = served.said({"prove": "always", "nonce": "follow me"})["vml_job"]
    store = served.server.store
    with served.http.stream("GET", f"/v1/jobs/{job}/events") as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        events = events_of(response)
        assert next(events)[1]["state"] == "queued"
        lease = store.lease("a test", seconds=30)
        assert lease is not None
        assert next(events)[1]["state"] == "running"
        store.beat(lease, seconds=30, stage="half way", fraction=0.5)
        name, shown = next(events)
        assert (name, shown["stage"], shown["fraction"]) == ("progress", "half way", 0.5)
        store.finish(lease, Proof("sumcheck/1", (lease.claim,), {}, b"proof"))
        assert [(name, shown["state"]) for name, shown in events] == [("progress", "proved"), ("end", "proved")]
    with served.http.stream("GET", f"/v1/jobs/{job}/events") as response:
        assert [name for name, _ in events_of(response)] == ["progress", "end"]
    assert served.http.get("/v1/jobs/" + "0" * 32 + "/events").status_code == 404


def test_an_answer_that_waits_for_its_proof(served: Running) -> None:
    def work() -> None:
        deadline = time.monotonic() + 30
        while served.server.store.depth() == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        served.work()

    worker = threading.Thread(target=work)
    worker.start()
    said = served.said({"prove": "sync", "nonce": "wait"})
    worker.join()
    assert said["vml_state"] == "proved"
    assert served.http.get(said["vml_proof"]).status_code == 200


def test_an_answer_waits_no_longer_than_it_may(served: Running) -> None:
    said = served.said({"prove": "sync", "nonce": "impatient", "timeout": 100_000})
    assert said["vml_state"] == "queued"
    lease = served.server.store.lease("a test", seconds=30)
    assert lease is not None
    served.server.store.fail(lease, ValueError("the secret 4711"), retry=False)
    again = served.said({"prove": "sync", "nonce": "impatient", "timeout": 0})
    assert again["vml_state"] in ("queued", "running")
    served.work()


def test_a_real_proof_from_the_server_verifies(tiny: Any, tmp_path: Path) -> None:
    with running(tiny, tmp_path, workers=1) as server:
        said = server.said({"prove": "sync", "nonce": "prove me", "backend": "sumcheck"})
        assert said["vml_state"] == "proved", said
        proof = server.http.get(said["vml_proof"]).content
        asked = {"model": "tiny", "context": said["vml_context"]}
        verdict = server.http.post("/v1/verify", params=asked, content=proof).json()
        assert verdict["verified"]
        assert verdict["claims"][0]["digest"] == said["vml_claim"]
        assert verdict["error"] is None
        assert any("only that it was run as claimed" in line for line in verdict["explanation"])
        assert server.http.post("/v1/verify", params={**asked, "model": said["vml_model"]}, content=proof).json()[
            "verified"
        ]
        for wrong in (
            {"model": "tiny"},
            {"model": "0x" + "11" * 32, "context": said["vml_context"], "key": "0x" + "22" * 32},
        ):
            refused = server.http.post("/v1/verify", params=wrong, content=proof).json()
            assert not refused["verified"]
            assert refused["error"]["type"] in ("ClaimMismatch", "ProofRejected")
            assert refused["claims"] == []
        bent = server.http.post("/v1/verify", params=asked, content=proof[:-2] + b"x}").json()
        assert (bent["verified"], bent["error"]["type"]) == (False, "MalformedProof")
        assert server.http.post("/v1/verify", params={"model": "nobody"}, content=proof).status_code == 404
        assert server.http.post("/v1/verify", content=proof).status_code == 422
        # An identity alone has no verifying key: that is said, not guessed.
        assert server.http.post("/v1/verify", params={"model": "0x" + "11" * 32}, content=proof).status_code == 422


def test_models_are_listed(served: Running, tiny: Any) -> None:
    listed = served.http.get("/v1/models").json()
    (model,) = listed["models"]
    assert (model["name"], model["model"], model["ready"]) == ("tiny", "0x" + tiny.commitment.hex(), True)
    assert listed["prove"] == "on-demand"
    assert "sumcheck" in listed["backends"]


def test_figures(served: Running) -> None:
    served.said({"nonce": "count me"})
    text = served.http.get("/metrics").text
    assert 'vml_http_requests_total{method="POST",route="/v2/models/{name}/infer",status="200"}' in text
    assert 'vml_claims_total{model="tiny"}' in text
    assert "vml_ready 1.0" in text
    assert "vml_executor_workers 0.0" in text


def test_every_answer_carries_security_headers(served: Running) -> None:
    for path in ("/v2", "/v2/health/live", "/nowhere"):
        headers = served.http.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["Cache-Control"] == "no-store"
        assert "server" not in headers


def test_errors_have_one_form(served: Running) -> None:
    for response in (
        served.http.get("/nowhere"),
        served.http.put("/v2/models/tiny/infer"),
        served.http.post("/v1/jobs"),
        served.http.get("/v1/jobs", params={"state": "asleep"}),
    ):
        assert response.status_code in (404, 405, 422)
        assert set(response.json()) == {"error"}


def test_the_openapi_document_lists_every_route_and_refusal(served: Running) -> None:
    document = served.http.get("/openapi.json").json()
    for path in ("/v2/models/{name}/infer", "/v1/claims/{digest}", "/v1/jobs/{id}/events", "/v1/verify", "/metrics"):
        (operation,) = document["paths"][path].values() if path != "/v1/jobs/{id}" else ()
        assert {"401", "403", "429", "503"} <= set(operation["responses"])
    infer = document["paths"]["/v2/models/{name}/infer"]["post"]
    assert {p["name"] for p in infer["parameters"]} >= {"name", "Idempotency-Key", "Inference-Header-Content-Length"}
    assert infer["requestBody"]["content"]["application/json"]["schema"]["required"] == ["inputs"]
    assert served.http.get("/docs").status_code == 404


def test_how_far_a_backend_with_other_arithmetic_is_from_the_answer(served: Running) -> None:
    said = served.said({"nonce": "compare"})
    digest = bytes.fromhex(said["vml_claim"][2:])
    store = served.server.store
    store.ask(digest, NewJob("ezkl"))
    lease = store.lease("a test", seconds=30, backends=["ezkl"])
    record = store.claim(digest)
    assert lease is not None
    assert record is not None
    (output,) = served.http.get(f"/v1/claims/{said['vml_claim']}").json()["outputs"]
    values = [round(value * 1024) for value in output["values"]]
    values[0] += 512
    claim = type(lease.claim)(b"\x07" * 32, lease.claim.input, lease.claim.output, lease.claim.context)
    public = {"output": [{"name": "y", "shape": output["shape"], "scale": 10, "values": values}], "hidden": []}
    store.finish(lease, Proof("ezkl/1", (claim,), public, b"proof"))
    shown = served.http.get(f"/v1/jobs/{lease.job}").json()
    assert shown["proof_claims"] == ["0x" + claim.digest().hex()]
    assert shown["max_difference"] == pytest.approx(0.5, abs=0.01)
    proof = store.proof(digest, "ezkl")
    assert proof is not None
    odd = ProofRecord(**{**vars(proof), "data": b"nonsense"})
    assert differences.max_difference(record, odd) is None


@pytest.mark.slow
def test_every_backend_proves_for_the_server(tiny: Any, tmp_path: Path) -> None:
    """Those about the exact model the answered claim, ezkl one of its own, close to it; none needs code of its own."""
    options = {"tee": SetupOptions(attesting=Attesting(simulate="tdx", at=int(time.time())))}
    with running(tiny, tmp_path, workers=1, options=options) as server:
        for name in BACKENDS:
            said = server.said({"prove": "sync", "backend": name, "nonce": "all of them"})
            assert said["vml_state"] == "proved", (name, said)
            job = server.http.get(f"/v1/jobs/{said['vml_job']}").json()
            exact = get_backend(name).capabilities().exact
            assert (job["proof_claims"] == [said["vml_claim"]]) is exact
            assert job["max_difference"] == 0.0 if exact else 0 < job["max_difference"] < 0.1
            proof = server.http.get(job["proof"])
            assert proof.headers["Vml-Claim"] == job["proof_claims"][0]
            assert server.http.get(f"/v1/proofs/{job['proof_claims'][0]}", params={"backend": name}).status_code == 200
            if name == "tee":
                continue  # its verifier brings appraisal policies, which no query holds
            asked = {"model": "tiny", "context": said["vml_context"], "allow_unsafe_setup": "true"}
            assert server.http.post("/v1/verify", params=asked, content=proof.content).json()["verified"], name
