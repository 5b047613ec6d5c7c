"""Inference over HTTP: claims of what was run, receipts that hold, requests that are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.serve.running import INPUT, Running, X, running
from vml.claim import Claim, parse_bytes32
from vml.client import receipts
from vml.merkle import tensor_root, tensors_root
from vml.serve import receipts as counting
from vml.serve.receipts import Signer, load_key
from vml.serve.refusals import StoreUnavailable
from vml.serve.routes import inference
from vml.serve.sampling import nonce_context


@pytest.fixture(scope="module")
def served(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tiny, tmp_path_factory.mktemp("data")) as server:
        yield server


def claim_of(said: dict[str, Any]) -> Claim:
    return Claim(*(parse_bytes32(said[f"vml_{name}"]) for name in ("model", "input", "output", "context")))


def test_an_answer_is_the_models_and_its_claim_commits_to_it(served: Running, tiny: Any) -> None:
    response = served.infer(body={"id": "42"})
    answer = response.json()
    codes = tiny.quantize({"x": X})
    made = tiny.run(codes)
    (output,) = answer["outputs"]
    expected = tiny.dequantize(made)[output["name"]]
    assert np.array_equal(np.array(output["data"], np.float32).reshape(output["shape"]), expected)
    assert (answer["id"], answer["model_name"], answer["model_version"]) == (
        "42", "tiny", "0x" + tiny.commitment.hex(),
    )  # fmt: skip
    said = answer["parameters"]
    claim = claim_of(said)
    assert claim == Claim(
        tiny.commitment,
        tensors_root([tensor_root(codes["x"])]),
        tensors_root([tensor_root(made[spec.name]) for spec in tiny.outputs]),
        bytes(32),
    )
    assert said["vml_claim"] == response.headers["Vml-Claim"] == "0x" + claim.digest().hex()
    assert said["vml_semantics"] == "vml-int/1"
    assert all(isinstance(value, str | int | bool) for value in said.values())


def test_the_receipt_is_the_servers_and_no_number_comes_twice(served: Running) -> None:
    key_id = parse_bytes32(served.http.get("/v2").json()["parameters"]["vml_key_id"])
    numbers = []
    for _ in range(5):
        said = served.said()
        signed = receipts.read(said["vml_receipt"])
        receipts.verify(signed, parse_bytes32(said["vml_claim"]), key_id)
        numbers.append(signed.receipt.sequence)
    assert numbers == sorted(set(numbers))


def test_a_context_or_a_nonce_binds_the_claim(served: Running) -> None:
    context = "0x" + "ab" * 32
    assert claim_of(served.said({"context": context})).context == bytes.fromhex("ab" * 32)
    assert claim_of(served.said({"nonce": "case 4711"})).context == nonce_context("case 4711")
    assert served.infer({"nonce": "a", "context": context}).status_code == 400
    assert served.infer({"nonce": "ü" * 129}).status_code == 400


def test_the_same_request_is_the_same_claim_and_log_entry(served: Running) -> None:
    first, again = served.said({"nonce": "once"}), served.said({"nonce": "once"})
    assert (first["vml_claim"], first["vml_log_index"]) == (again["vml_claim"], again["vml_log_index"])
    assert served.said({"nonce": "twice"})["vml_log_index"] > first["vml_log_index"]


def test_nothing_is_kept_of_an_input_that_is_never_to_be_proved(served: Running) -> None:
    said = served.said({"prove": "never", "nonce": "forget me"})
    assert "vml_proof" not in said
    assert served.server.store.inputs(parse_bytes32(said["vml_claim"])) is None
    kept = served.said({"nonce": "keep me"})
    arrays = served.server.store.inputs(parse_bytes32(kept["vml_claim"]))
    assert arrays is not None
    assert np.array_equal(arrays["x"], X)
    assert served.http.post(f"/v1/proofs/{said['vml_claim']}").status_code == 409


def test_an_idempotency_key_names_one_request(served: Running) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = served.said({"prove": "always", "nonce": "idem"}, headers=headers)
    again = served.said({"prove": "always", "nonce": "idem"}, headers=headers)
    assert (first["vml_job"], first["vml_claim"]) == (again["vml_job"], again["vml_claim"])
    other = served.infer({"prove": "always", "nonce": "another"}, headers=headers)
    assert other.status_code == 409
    assert set(other.json()) == {"error"}
    assert served.infer(headers={"Idempotency-Key": "k" * 300}).status_code == 400


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "JSON"),
        (b"[]", "object"),
        (b'{"inputs": []}', "inputs"),
        (b'{"inputs": [1]}', "inputs"),
        ({"inputs": [INPUT], "extra": 1}, "extra"),
        ({"inputs": [{**INPUT, "name": "y"}]}, "'x'"),
        ({"inputs": [INPUT, INPUT]}, "once"),
        ({"inputs": [{**INPUT, "shape": [2, 4], "data": [0.0] * 8}]}, "one by one"),
        ({"inputs": [{**INPUT, "shape": [4]}]}, "shape"),
        ({"inputs": [{**INPUT, "datatype": "FP64"}]}, "FP32"),
        ({"inputs": [{**INPUT, "data": [0.0] * 3}]}, "numbers"),
        ({"inputs": [{**INPUT, "data": ["a"] * 4}]}, "numbers"),
        ({"inputs": [{**INPUT, "data": [True] * 4}]}, "numbers"),
        ({"inputs": [{**INPUT, "colour": "red"}]}, "colour"),
        ({"inputs": [{**INPUT, "parameters": {"classification": 3}}]}, "classification"),
        ({"inputs": [INPUT], "outputs": [{"name": "nobody"}]}, "outputs"),
        ({"inputs": [INPUT], "parameters": {"proof": "always"}}, "proof"),
        ({"inputs": [INPUT], "parameters": {"prove": "maybe"}}, "prove"),
        ({"inputs": [INPUT], "parameters": {"sample": 0}}, "sample"),
        ({"inputs": [INPUT], "parameters": {"prove": "always", "sample": 5}}, "sample"),
        ({"inputs": [INPUT], "parameters": {"backend": "magic"}}, "backend"),
        ({"inputs": [INPUT], "parameters": {"context": "0x12"}}, "context"),
        ({"inputs": [INPUT], "parameters": {"priority": 101}}, "priority"),
        ({"inputs": [INPUT], "parameters": [1]}, "parameters"),
        ({"inputs": [INPUT], "id": 5}, "id"),
        (b'{"inputs": ' + b"[" * 5000 + b"]" * 5000 + b"}", ""),
    ],
)
def test_what_is_no_request_is_refused_with_a_reason(served: Running, body: Any, word: str) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = served.http.post("/v2/models/tiny/infer", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert set(response.json()) == {"error"}
    assert word in response.json()["error"]


def test_a_value_the_model_was_not_made_for_is_refused(served: Running) -> None:
    before = served.server.store.count_claims()
    response = served.infer(body={"inputs": [{**INPUT, "data": [100.0, 0, 0, 0]}]})
    assert response.status_code == 422
    assert served.server.store.count_claims() == before


@pytest.mark.parametrize("path", ["/v2/models/nobody/infer", "/v2/models/tiny/versions/1/infer"])
def test_an_unknown_model_or_version(served: Running, path: str) -> None:
    response = served.http.post(path, json={"inputs": [INPUT]})
    assert response.status_code == 404
    assert set(response.json()) == {"error"}


def test_a_version_is_the_commitment(served: Running, tiny: Any) -> None:
    version = "0x" + tiny.commitment.hex()
    assert served.http.post(f"/v2/models/tiny/versions/{version}/infer", json={"inputs": [INPUT]}).status_code == 200
    assert served.http.get(f"/v2/models/tiny/versions/{version}").json()["versions"] == [version]
    assert served.http.get(f"/v2/models/tiny/versions/{version}/ready").json() == {"name": "tiny", "ready": True}
    assert served.http.get("/v2/models/tiny/versions/7/ready").status_code == 404


@pytest.mark.parametrize(
    ("name", "length", "status"), [("all of it", None, 400), ("beyond", "9999", 400), ("no number", "-1", 400)]
)
def test_binary_bodies_with_a_wrong_length(served: Running, name: str, length: str | None, status: int) -> None:
    head = json.dumps({"inputs": [{**INPUT, "parameters": {"binary_data_size": 16}}]}).encode()
    headers = {"Content-Type": "application/octet-stream"}
    if length is not None:
        headers["Inference-Header-Content-Length"] = length
    body = head + X.tobytes()
    assert served.http.post("/v2/models/tiny/infer", content=body, headers=headers).status_code == status


def test_a_request_without_json_is_the_only_input(served: Running) -> None:
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": "0"}
    response = served.http.post("/v2/models/tiny/infer", content=X.tobytes(), headers=headers)
    assert response.status_code == 200
    length = int(response.headers["Inference-Header-Content-Length"])
    answer = json.loads(response.content[:length])
    assert answer["parameters"]["vml_claim"] == served.said()["vml_claim"]
    assert answer["outputs"][0]["parameters"]["binary_data_size"] == len(response.content) - length


def test_a_restarted_server_keeps_its_key_and_goes_on_counting(tiny: Any, tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        with running(tiny, tmp_path) as server:
            signed = receipts.read(server.said()["vml_receipt"])
            seen.append((signed.receipt.key_id, signed.receipt.sequence))
    (first, one), (second, two) = seen
    assert first == second
    assert two > one
    assert (tmp_path / "receipt-key.pem").stat().st_mode & 0o777 == 0o600


def test_two_servers_never_share_a_data_folder(tiny: Any, tmp_path: Path) -> None:
    with running(tiny, tmp_path), pytest.raises(ValueError, match="another server"), running(tiny, tmp_path):
        pass


def test_fp16_has_no_form_in_json(served: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    model = served.server.models["tiny"]
    monkeypatch.setitem(model.datatypes, "x", "FP16")
    refused = served.infer(body={"inputs": [{**INPUT, "datatype": "FP16"}]})
    assert refused.status_code == 400
    assert "binary" in refused.json()["error"]


def test_an_answer_that_json_cannot_write_leaves_no_trace(served: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def infinite(model: Any, made: Any) -> Any:
        return {name: np.full(codes.shape, np.inf, np.float32) for name, codes in made.items()}

    before = served.server.store.count_claims()
    monkeypatch.setattr(type(served.server.models["tiny"].model), "dequantize", infinite)
    refused = served.infer({"nonce": "infinite"})
    assert refused.status_code == 400
    assert "binary" in refused.json()["error"]
    assert served.server.store.count_claims() == before
    assert served.infer({"nonce": "infinite", "binary_data_output": True}).status_code == 200


def test_large_bodies_and_slow_models_are_run_aside(served: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = served.said()["vml_claim"]
    monkeypatch.setattr(inference, "QUICK_BYTES", 1 << 12)
    body = json.dumps({"inputs": [INPUT]}).encode() + b" " * (1 << 13)
    large = served.http.post("/v2/models/tiny/infer", content=body)
    assert large.json()["parameters"]["vml_claim"] == expected
    monkeypatch.setattr(served.server.models["tiny"], "run_s", 1.0)
    assert served.said()["vml_claim"] == expected


def test_a_body_is_no_longer_than_the_models_inputs_need(served: Running) -> None:
    """However much the server takes elsewhere: JSON of no tensors costs more memory than its bytes."""
    nothing = b'{"inputs":[' + b"[]," * 100_000 + b"[]]}"
    refused = served.http.post("/v2/models/tiny/infer", content=nothing)
    assert refused.status_code == 413
    assert refused.json() == {"error": f"a request has at most {served.server.models['tiny'].body_bytes} bytes"}
    wide = {**INPUT, "data": [[f"HERE{k}" for k in range(4)]]}
    body = json.dumps({"inputs": [wide]})
    for k in range(4):
        body = body.replace(f'"HERE{k}"', " " * 12 + f"{0.1234567890123456789:.40f}")
    assert served.http.post("/v2/models/tiny/infer", content=body.encode()).status_code == 200


def test_an_idempotency_key_names_one_way_to_read_a_body(served: Running) -> None:
    body = json.dumps({"inputs": [INPUT]}).encode()
    headers = {"Idempotency-Key": "read so", "Content-Type": "application/octet-stream"}
    length = {"Inference-Header-Content-Length": str(len(body))}
    assert served.http.post("/v2/models/tiny/infer", content=body, headers=headers | length).status_code == 200
    assert served.http.post("/v2/models/tiny/infer", content=body, headers=headers).status_code == 409
    assert served.http.post("/v2/models/tiny/infer", content=body, headers=headers | length).status_code == 200


@pytest.mark.parametrize(("curve", "algorithm"), [(ec.SECP256R1(), "p256"), (ec.SECP256K1(), "secp256k1")])
def test_a_key_of_ones_own(tiny: Any, tmp_path: Path, curve: ec.EllipticCurve, algorithm: str) -> None:
    path = tmp_path / "key.pem"
    pem = ec.generate_private_key(curve).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.touch(mode=0o600)
    path.write_bytes(pem)
    with running(tiny, tmp_path / "data", signing_key=path, epoch=7) as server:
        said = server.said()
        key_id = parse_bytes32(server.http.get("/v2").json()["parameters"]["vml_key_id"])
    signed = receipts.read(said["vml_receipt"])
    receipts.verify(signed, parse_bytes32(said["vml_claim"]), key_id)
    assert (json.loads(said["vml_receipt"])["algorithm"], signed.receipt.epoch) == (algorithm, 7)
    assert not (tmp_path / "data" / "receipt-key.pem").exists()


def test_two_who_count_in_one_folder_use_no_number_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with processes forked from one application: each began with the same count in memory."""
    monkeypatch.setattr(counting, "BLOCK", 3)
    key = ec.generate_private_key(ec.SECP256R1())
    one, two = Signer(key, tmp_path), Signer(key, tmp_path)
    numbers = [signer.sign(bytes(32)).receipt.sequence for _ in range(5) for signer in (one, two)]
    assert len(set(numbers)) == len(numbers)
    (tmp_path / "receipt-count.json").write_text("[]")
    with pytest.raises(StoreUnavailable, match="damaged"):
        [one.sign(bytes(32)) for _ in range(4)]
    with pytest.raises(ValueError, match="--epoch"):
        Signer(key, tmp_path)


def test_one_key_does_not_sign_for_two_data_folders(tiny: Any, tmp_path: Path) -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = tmp_path / "key.pem"
    path.touch(mode=0o600)
    path.write_bytes(pem)
    how: dict[str, Any] = {"database": f"sqlite:///{tmp_path / 'shared.db'}", "signing_key": path}
    with running(tiny, tmp_path / "one", **how) as first:
        first.said()
        with pytest.raises(ValueError, match="--epoch 2"), running(tiny, tmp_path / "two", **how):
            pass
        with running(tiny, tmp_path / "two", epoch=2, **how) as second:
            second.said()
    with running(tiny, tmp_path / "one", **how) as again:  # it stays its own
        again.said()


def test_keys_on_other_curves_are_refused(tmp_path: Path) -> None:
    pem = ec.generate_private_key(ec.SECP384R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ValueError, match="P-256"):
        load_key(tmp_path, None, {"VML_SERVE_KEY": pem.decode()})
