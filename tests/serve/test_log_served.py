"""The log over HTTP and `vml audit`: what it shows, and that an edited database, log or split view is refused."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.serve.running import INPUT, Running, X, running
from vml import canonical
from vml.certificates.revocations import Revocations, Revoked
from vml.certificates.signing import new_key
from vml.certificates.statement import EXACT, CertifiedIdentity, Scope, Statement
from vml.claim import parse_bytes32
from vml.keccak import keccak256
from vml.serve import log
from vml.serve.checkpoints import KEY_FILE, load_log_key
from vml.serve.proving import Prover
from vml.serve.sampling import nonce_context
from vml.transparency import tree
from vml.transparency.audit import context_of
from vml.transparency.checkpoint import open_checkpoint
from vml.transparency.note import NoteSigner, VerifierKey

CASE = "case 4711"
HOUSE = "Example Testing House"
DAY = 86_400


def certificate(key: Any, model: bytes, now: int, serial: int = 1, **changes: Any) -> bytes:
    said = {
        "issuer": HOUSE,
        "serial": serial.to_bytes(32, "big"),
        "subject": "tiny",
        "identities": (CertifiedIdentity(model, EXACT, "vml-int/1"),),
        "accuracy": (),
        "not_before": now - DAY,
        "not_after": now + DAY,
        "scope": Scope("tests"),
    }
    made: bytes = key.certificate(Statement(**{**said, **changes})).to_bytes()
    return made


@pytest.fixture(scope="module")
def world(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Path, dict[str, Any]]]:
    """A server with a decision about a case that was proved, others, and certificates."""
    folder = tmp_path_factory.mktemp("audit")
    shown = folder / "shown"
    shown.mkdir()
    now, key, stranger = int(time.time()), new_key("ed25519")[1], new_key("eip712")[1]
    (folder / "house.pub").write_text(str(key.authority))
    (shown / "good.json").write_bytes(certificate(key, tiny.commitment, now))
    (shown / "old.json").write_bytes(certificate(key, tiny.commitment, now, 2, not_before=0, not_after=now - DAY))
    (shown / "strange.json").write_bytes(certificate(stranger, tiny.commitment, now, 3))
    (shown / "other.json").write_bytes(certificate(key, bytes(32), now, 4))
    listed = Revocations(HOUSE, 1, now - DAY, now + DAY, ())
    (shown / "list.json").write_bytes(key.revocations(listed).to_bytes())
    (shown / "noise.json").write_bytes(b"noise")
    with running(tiny, folder / "data", certificates=shown, log_name="log.example/tiny") as server:
        for number in range(3):
            server.said({"nonce": f"case {number}"})
        said = server.said({"nonce": CASE, "prove": "on-demand"})
        claim = said["vml_claim"]
        assert server.http.post(f"/v1/proofs/{claim}", json={"backend": "optimistic"}).status_code == 202
        lease = server.server.store.lease("a test", seconds=60)
        assert lease is not None
        server.server.store.finish(lease, Prover({"tiny": str(tiny.folder)}, {}).prove(lease, lambda *_: None))
        server.said({"nonce": "after"})
        yield server, folder, said


@pytest.fixture(scope="module")
def pin(world: Any) -> str:
    server, _, _ = world
    return str(server.http.get("/v1/log/key").json()["key"])


def asking(world: Any, pin: str) -> tuple[str, ...]:
    return "--server", world[0].url, "--log-key", pin


def test_the_key_is_made_once_for_its_owner_alone(world: Any, pin: str) -> None:
    server, folder, _ = world
    file = folder / "data" / KEY_FILE
    assert file.stat().st_mode & 0o777 == 0o600
    assert str(NoteSigner.parse(file.read_text().strip()).verifier) == pin
    assert pin.startswith("log.example/tiny+")
    assert pin in server.http.get("/v2").text


def test_the_log_over_http(world: Any, pin: str) -> None:
    server, _, said = world
    key = VerifierKey.parse(pin)
    response = server.http.get("/v1/log/checkpoint")
    assert response.headers["content-type"].startswith("text/plain")
    time.sleep(1.1)
    found = open_checkpoint(server.http.get("/v1/log/checkpoint").content, key)
    assert found.size >= 5
    inclusion = server.http.get(f"/v1/log/inclusion/{said['vml_claim']}").json()
    assert inclusion["index"] == said["vml_log_index"]
    under = open_checkpoint(inclusion["checkpoint"].encode(), key)
    leaf = tree.leaf_hash(base64.b64decode(inclusion["entry"]))
    hashes = [parse_bytes32(each) for each in inclusion["hashes"]]
    tree.verify_inclusion(leaf, inclusion["index"], under.size, hashes, under.root)
    earlier = server.http.get(f"/v1/log/inclusion/{said['vml_claim']}?size=4").json()
    assert (earlier["size"], earlier["checkpoint"]) == (4, None)
    way = server.http.get("/v1/log/consistency?first=2&second=4").json()
    assert len(way["hashes"]) == 1
    entries = server.http.get("/v1/log/entries?start=3&limit=1").json()["entries"]
    assert entries == [inclusion["entry"]]
    assert canonical.decode(base64.b64decode(entries[0]), max_bytes=4096)["model_name"] == "tiny"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/log/inclusion/0x" + "00" * 32, 404),
        ("/v1/log/inclusion/0x00", 422),
        ("/v1/log/consistency?first=3&second=2", 422),
        ("/v1/log/consistency?first=3&second=4611686018427387904", 404),
        ("/v1/log/consistency", 422),
        ("/v1/log/entries?limit=1001", 422),
        ("/v1/log/contexts/noise", 422),
    ],
)
def test_what_the_log_does_not_have(world: Any, path: str, status: int) -> None:
    response = world[0].http.get(path)
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"}


def test_a_size_before_the_entry(world: Any) -> None:
    server, _, said = world
    assert server.http.get(f"/v1/log/inclusion/{said['vml_claim']}?size=1").status_code == 422


def test_certificates_over_http_are_files(world: Any, tiny: Any) -> None:
    found = world[0].http.get("/v1/certificates").json()
    assert [each["issuer"] for each in found["certificates"]] == [HOUSE] * 4
    good = found["certificates"][0]
    assert good["models"] == ["0x" + tiny.commitment.hex()]
    assert (good["accuracy"], good["revoked"]) == (None, False)
    assert found["revocations"][0]["number"] == 1


def test_the_context_of_a_case_is_that_of_its_nonce() -> None:
    assert context_of(CASE) == nonce_context(CASE) == keccak256(b"vml/serve-nonce/v1" + CASE.encode())


def test_which_model_decided_case_4711_and_who_certified_it(world: Any, pin: str, tiny: Any, vml: Any) -> None:
    _, folder, said = world
    code, found, err = vml(
        "audit", CASE, *asking(world, pin), "--model", tiny.folder, "--authority", folder / "house.pub", "--json"
    )
    assert code == 0, err
    (decision,) = found["decisions"]
    assert decision["digest"] == said["vml_claim"]
    assert decision["claim"]["model"] == "0x" + tiny.commitment.hex()
    assert (decision["model_name"], decision["log_index"]) == ("tiny", 3)
    assert abs(decision["created_at"] - time.time()) < 600
    assert decision["receipt"]["pinned"] is False
    assert decision["time"] == decision["certificates"][0]["time"] == "the server's word"
    assert any("same log" in each for each in found["not_shown"])
    assert decision["proof"]["verified"] is True
    assert [each["issuer"] for each in decision["certificates"]] == [HOUSE]
    assert "not revoked by list 1" in decision["certificates"][0]["remark"]
    assert len(decision["certificates_refused"]) == 2  # expired, and another's
    code, told, _ = vml("audit", CASE, *asking(world, pin), "--authority", folder / "house.pub")
    assert code == 0
    for text in (HOUSE, "tiny", "a key that nobody pinned", "no --model was given", "the server's word", "Not shown"):
        assert text in told


def test_by_digest_by_context_and_by_proof_file(world: Any, pin: str, tmp_path: Path, vml: Any) -> None:
    server, _, said = world
    proof = tmp_path / "p.json"
    proof.write_bytes(server.http.get(f"/v1/proofs/{said['vml_claim']}").content)
    for arguments in ((said["vml_claim"],), (proof,), ("--context", said["vml_context"])):
        code, found, err = vml("audit", *arguments, *asking(world, pin), "--json")
        assert code == 0, err
        assert found["decisions"][0]["digest"] == said["vml_claim"]


def test_one_case_asked_twice_is_two_decisions(world: Any, pin: str, tmp_path: Path, vml: Any) -> None:
    server, _, _ = world
    for value in (0.5, 0.25):
        body = {"inputs": [{**INPUT, "data": np.full_like(X, value).ravel().tolist()}]}
        server.said({"nonce": "twice"}, body=body)
    code, found, err = vml("audit", "twice", *asking(world, pin), "--json")
    assert code == 0, err
    assert len(found["decisions"]) == 2
    assert vml("audit", "twice", *asking(world, pin), "-o", tmp_path / "e.json")[0] == 2


def test_a_flood_under_a_case_hides_nothing(world: Any, pin: str, vml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may ask under a case's text: what was asked first is shown, and too much is refused."""
    server, _, _ = world
    monkeypatch.setattr(log, "MAX_ASKED", 2)
    said = []
    for number in range(5):
        body = {"inputs": [{**INPUT, "data": np.full_like(X, number / 8).ravel().tolist()}]}
        said.append(server.said({"nonce": "flood"}, body=body)["vml_claim"])
    database = f"sqlite:///{next((world[1] / 'data').glob('*.db'))}"
    for place in (("--server", server.url), ("--database", database)):
        time.sleep(1.1)
        code, found, err = vml("audit", "flood", *place, "--log-key", pin, "--json")
        assert (code, [each["digest"] for each in found["decisions"]]) == (0, said), err
    for module in ("vml.client.server_log", "vml.serve.auditing"):
        monkeypatch.setattr(f"{module}.MAX_DECISIONS", 3)
    for place in (("--server", server.url), ("--database", database)):
        code, found, _ = vml("audit", "flood", *place, "--log-key", pin, "--json")
        assert (code, found["error"]["reason"]) == (1, "crowded")
        assert vml("audit", said[0], *place, "--log-key", pin)[0] == 0


def test_the_decision_of_another_model(world: Any, pin: str, vml: Any) -> None:
    """It has no proof here, so that only its model can tell."""
    code, found, _ = vml("audit", "case 1", *asking(world, pin), "--model", "0x" + "11" * 32, "--json")
    assert code == 1
    assert found["error"]["type"] == "ClaimMismatch"


def test_a_revocation_after_the_decision_needs_a_checkpoint_of_before(
    world: Any, pin: str, tmp_path: Path, tiny: Any, vml: Any
) -> None:
    """The log's owner can give an entry of today any time: a revoked certificate holds only for what stood earlier."""
    server, _, _ = world
    key = new_key("ed25519")[1]
    now, files = int(time.time()), {"p": tmp_path / "pub", "c": tmp_path / "c", "l": tmp_path / "l"}
    files["p"].write_text(str(key.authority))
    files["c"].write_bytes(certificate(key, tiny.commitment, now - 100))
    server.said({"nonce": "revoked later"})
    evidence, since = tmp_path / "e", tmp_path / "s"
    asked = ("audit", "revoked later", "--log-key", pin)
    assert vml(*asked, "--server", server.url, "-o", evidence, "--since", since, "-q")[0] == 0
    time.sleep(2.1)
    gone = Revoked((1).to_bytes(32, "big"), int(time.time()), "wrong labels")
    files["l"].write_bytes(key.revocations(Revocations(HOUSE, 2, now - 100, now + DAY, (gone,))).to_bytes())
    judged = ("--authority", files["p"], "--certificate", files["c"], "--revocations", files["l"], "--json")
    for place in (("--server", server.url), ("--evidence", evidence), ("--server", server.url, "--since", since)):
        code, found, _ = vml(*asked, *place, *judged)
        assert (code, found["error"]["reason"]) == (1, "revoked"), place
    for place in (("--evidence", evidence), ("--server", server.url, "--since", since)):
        assert vml(*asked, *place, *judged, "--kept-at", gone.revoked_at)[0] == 1
        code, found, err = vml(*asked, *place, *judged, "--kept-at", gone.revoked_at - 1)
        assert code == 0, err
        assert "not after" in found["decisions"][0]["certificates"][0]["time"]
    late = server.said({"nonce": "after that"})["vml_claim"]
    kept = ("--since", since, "--kept-at", gone.revoked_at - 1)
    assert vml("audit", late, "--server", server.url, "--log-key", pin, *kept, *judged)[0] == 1
    for bad in (("--server", server.url), ("--evidence", evidence, "--kept-at", now + DAY)):
        assert vml(*asked, *bad, *(() if "--kept-at" in bad else ("--kept-at", now)))[0] == 2


def test_evidence_verifies_later_without_the_server(world: Any, pin: str, tmp_path: Path, tiny: Any, vml: Any) -> None:
    _, folder, _ = world
    file = tmp_path / "evidence.json"
    assert vml("audit", CASE, *asking(world, pin), "-o", file, "--quiet")[0] == 0
    offline = ("--evidence", file, "--log-key", pin, "--model", tiny.folder, "--authority", folder / "house.pub")
    code, found, err = vml("audit", CASE, *offline, "--json")
    assert code == 0, err
    assert found["decisions"][0]["proof"]["verified"] is True
    assert vml("audit", "case 1", *offline)[0] == 1
    stranger = NoteSigner("log.example/tiny", bytes(32)).verifier
    assert vml("audit", CASE, "--evidence", file, "--log-key", stranger)[0] == 1
    value = json.loads(file.read_bytes())
    entry = canonical.decode(base64.b64decode(value["entry"]), max_bytes=4096)
    forged = canonical.encode({**entry, "model_name": "better"})
    file.write_bytes(canonical.encode({**value, "entry": base64.b64encode(forged).decode()}))
    code, found, _ = vml("audit", CASE, *offline, "--json")
    assert code == 1
    assert found["error"]["reason"] == "inclusion"


def test_a_proof_of_another_answer_is_refused(world: Any, pin: str, tmp_path: Path, tiny: Any, vml: Any) -> None:
    """Evidence whose envelope was exchanged: the entry stands, the proof is not about it."""
    from vml import api

    file = tmp_path / "evidence.json"
    assert vml("audit", CASE, *asking(world, pin), "-o", file, "--quiet")[0] == 0
    other = api.prove(tiny, {"x": np.full_like(X, 0.25)}, backend="optimistic", context=context_of(CASE))
    value = json.loads(file.read_bytes())
    value["envelope"] = base64.b64encode(other.to_bytes()).decode()
    file.write_bytes(canonical.encode(value))
    code, found, _ = vml("audit", CASE, "--evidence", file, "--log-key", pin, "--model", tiny.folder, "--json")
    assert code == 1
    assert found["error"]["type"] == "ClaimMismatch"


def test_receipts_of_the_pinned_key(world: Any, pin: str, vml: Any) -> None:
    server, _, _ = world
    mine = "0x" + server.server.signer.key_id.hex()
    code, found, err = vml("audit", CASE, *asking(world, pin), "--server-key", mine, "--json")
    assert code == 0, err
    assert found["decisions"][0]["receipt"]["pinned"] is True
    assert vml("audit", CASE, *asking(world, pin), "--server-key", "0x" + "00" * 32)[0] == 1


def test_an_own_certificate_has_to_hold(world: Any, pin: str, vml: Any) -> None:
    _, folder, _ = world
    with_house = (*asking(world, pin), "--authority", folder / "house.pub", "--certificate")
    assert vml("audit", CASE, *with_house, folder / "shown/good.json")[0] == 0
    for name in ("old", "strange", "other"):
        assert vml("audit", CASE, *with_house, folder / f"shown/{name}.json")[0] == 1
    alone = (*with_house, folder / "shown/good.json", "--require-revocation")
    assert vml("audit", CASE, *alone)[0] == 1
    assert vml("audit", CASE, *alone, "--revocations", folder / "shown/list.json")[0] == 0
    assert vml("audit", CASE, *asking(world, pin), "--certificate", folder / "shown/good.json")[0] == 2


def test_a_server_that_shows_an_older_list_is_remembered(world: Any, pin: str, tmp_path: Path, vml: Any) -> None:
    _, folder, _ = world
    memory = tmp_path / "memory.json"
    asked = ("audit", CASE, *asking(world, pin), "--authority", folder / "house.pub", "--json")
    remembering = (*asked, "--revocation-memory", memory)
    assert len(vml(*remembering)[1]["decisions"][0]["certificates"]) == 1
    (name,) = canonical.decode(memory.read_bytes(), max_bytes=4096)["lists"]
    memory.write_bytes(canonical.encode({"format": "vml-revocation-memory/1", "lists": {name: 2}}))
    (decision,) = vml(*remembering)[1]["decisions"]
    assert decision["certificates"] == []
    assert any("list 2 is known" in reason for reason in decision["certificates_refused"])


def test_what_is_not_in_the_log(world: Any, pin: str, vml: Any) -> None:
    for what in ("case 9999", "0x" + "00" * 32):
        code, found, _ = vml("audit", what, *asking(world, pin), "--json")
        assert code == 1
        assert found["error"]["reason"] == "absent"


def test_mistakes_of_the_caller(world: Any, pin: str, tmp_path: Path, vml: Any) -> None:
    for arguments in (
        ("audit", CASE, "--log-key", pin),
        ("audit", CASE, "--server", "http://127.0.0.1:1"),
        ("audit", "--server", "http://127.0.0.1:1", "--log-key", pin),
        ("audit", CASE, "--evidence", tmp_path / "e", "--log-key", pin, "--since", tmp_path / "c"),
        ("audit", CASE, "--database", f"sqlite:///{tmp_path}/none.db", "--log-key", pin),
        ("audit", CASE, *asking(world, "noise+00+AAAA")),
    ):
        assert vml(*arguments)[0] == 2, arguments
    assert vml("audit", CASE, "--server", "http://127.0.0.1:1", "--log-key", pin)[0] == 4


def test_the_log_only_grew(world: Any, pin: str, tmp_path: Path, vml: Any) -> None:
    server, _, _ = world
    kept = tmp_path / "checkpoint"
    code, found, err = vml("audit", *asking(world, pin), "--since", kept, "--json")
    assert (code, found["grown"]["first"]) == (0, None), err
    before = found["grown"]["second"]
    server.said({"nonce": "growing"})
    time.sleep(1.1)
    code, found, _ = vml("audit", "growing", *asking(world, pin), "--since", kept, "--json")
    assert (code, found["grown"]["first"], found["grown"]["second"]) == (0, before, before + 1)
    assert open_checkpoint(kept.read_bytes(), VerifierKey.parse(pin)).size == before + 1
    assert vml("audit", *asking(world, pin), "--since", kept)[0] == 0


def test_checkpoints_are_signed_at_most_once_a_second(world: Any) -> None:
    server, _, _ = world
    began, notes = time.monotonic(), set()
    for number in range(20):
        server.said({"nonce": f"burst {number}"})
        notes.add(server.http.get("/v1/log/checkpoint").text)
    assert len(notes) <= 2 + (time.monotonic() - began)


def test_a_key_from_a_file_or_the_environment(tmp_path: Path) -> None:
    signer = NoteSigner("log.example/tiny", bytes(range(32)))
    assert load_log_key(tmp_path, None, None, {"VML_LOG_KEY": signer.private_text() + "\n"}) == signer
    file = tmp_path / "given"
    file.write_text(signer.private_text())
    file.chmod(0o644)
    with pytest.raises(ValueError, match="others can read"):
        load_log_key(tmp_path, file, None, {})
    file.chmod(0o600)
    assert load_log_key(tmp_path, file, None, {}) == signer
    with pytest.raises(ValueError, match="keeps its name"):
        load_log_key(tmp_path, file, "another.example", {})
    assert not (tmp_path / KEY_FILE).exists()
    made = load_log_key(tmp_path, None, None, {})
    assert load_log_key(tmp_path, None, None, {}) == made
    assert os.stat(tmp_path / KEY_FILE).st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "body",
    [
        b"noise",
        b"[]",
        b"{}",
        b'{"index":-1,"size":1,"entry":"","hashes":[],"checkpoint":"x"}',
        b'{"index":0,"entry":"*","hashes":[],"checkpoint":"x"}',
        b'{"index":0,"entry":"","hashes":[5],"checkpoint":"x"}',
        b'{"index":0,"entry":"","hashes":[],"checkpoint":null}',
        b'{"index":1e999,"entry":"","hashes":[],"checkpoint":"x"}',
        b'{"index":true,"entry":"","hashes":[],"checkpoint":"x"}',
        b'{"index":0,"entry":"","hashes":[],"checkpoint":"\\ud800"}',
        '{"index":0,"entry":"","hashes":[],"checkpoint":"x"}'.encode("utf-16"),
    ],
)
def test_answers_that_are_none(body: bytes, monkeypatch: pytest.MonkeyPatch, pin: str, vml: Any) -> None:
    from vml.client import server_log

    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=httpx.ByteStream(body)))

    class Library:
        HTTPError, InvalidURL = httpx.HTTPError, httpx.InvalidURL

        @staticmethod
        def Client(**options: Any) -> httpx.Client:
            return httpx.Client(transport=transport, **options)

    monkeypatch.setattr(server_log, "httpx", lambda: Library)
    code = vml("audit", "0x" + "00" * 32, "--server", "http://server.example", "--log-key", pin)[0]
    assert code in (1, 4)
