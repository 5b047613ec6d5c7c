"""What an auditor makes of a log: another model's decision, times that contradict each other, lists, honest growth."""

from __future__ import annotations

import base64
import gzip
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from vml import canonical
from vml.backends.types import VerifiedClaim
from vml.certificates.revocations import Revocations, Revoked
from vml.certificates.signing import new_key
from vml.certificates.statement import EXACT, CertifiedIdentity, Scope, Statement
from vml.claim import Claim
from vml.cli.audit import _grown, _keep, _search
from vml.client import receipts, server_log
from vml.client.auditing import SKEW_S, Judge, Seen
from vml.client.server_log import ServerLog
from vml.errors import CertificateRejected, ClaimMismatch, LogRejected, MalformedProof, ServerError
from vml.proof import Proof
from vml.tee.binding import Algorithm, Receipt, key_id
from vml.transparency import tree
from vml.transparency.audit import Evidence, audit_entry, context_of
from vml.transparency.checkpoint import Checkpoint, LogProof
from vml.transparency.note import NoteSigner

NOW = int(time.time())
MODEL, OTHER = b"\x11" * 32, b"\xaa" * 32
SIGNER = NoteSigner("log.example/vml", bytes(range(32)))
CASE = context_of("case 4711")
CLAIM = Claim(MODEL, b"\xbb" * 32, b"\xcc" * 32, CASE)
HOUSE = new_key("ed25519")[1]
SERIAL = b"\x01" * 32


def entry(claim: Claim = CLAIM, at: int = NOW, **changes: Any) -> bytes:
    said: dict[str, Any] = {
        "claim": claim.to_json(),
        "created_at": at,
        "model_name": "m",
        "receipt": None,
        "semantics": "vml-int/1",
    }
    return canonical.encode({**said, **changes})


class Log:
    """The log of these entries, as a server would show it."""

    def __init__(self, *entries: bytes) -> None:
        self.entries = entries
        self.nodes = tree.grown(0, {}, [tree.leaf_hash(each) for each in entries])

    def checkpoint(self, size: int | None = None) -> bytes:
        count = len(self.entries) if size is None else size
        root = tree.fold([self.nodes[node] for node in tree.full_ranges(0, count)])
        return Checkpoint(SIGNER.name, count, root).sign(SIGNER)

    def shown(self, index: int, size: int | None = None, **more: Any) -> Evidence:
        count = len(self.entries) if size is None else size
        hashes = tuple(tree.joined(tree.inclusion_ranges(index, count), self.nodes))
        return Evidence(self.entries[index], LogProof(index, hashes, self.checkpoint(size)).encode(), **more)

    def evidence(self, digest: bytes) -> Evidence | None:
        return self.shown(0)

    def asked_under(self, context: bytes) -> list[bytes]:
        return [number.to_bytes(32, "big") for number in range(len(self.entries))]

    def consistency(self, first: int, second: int) -> list[bytes]:
        return tree.joined(tree.consistency_ranges(first, second), self.nodes)

    def close(self) -> None:
        pass


def judge(**changes: Any) -> Judge:
    nothing: dict[str, Any] = dict.fromkeys(("model", "policy", "environment", "key", "server_key"))
    nothing |= dict.fromkeys(("authorities", "certificates", "revocations"), ())
    return Judge(**{**nothing, "now": NOW, **changes})


def decided(evidence: Evidence, **held: Any) -> dict[str, Any]:
    return judge(**held).decision(audit_entry(evidence, SIGNER.verifier, context=CASE), evidence)[0]


def statement(**changes: Any) -> Statement:
    said = Statement(
        "House",
        SERIAL,
        "m",
        (CertifiedIdentity(MODEL, EXACT, "vml-int/1"),),
        (),
        NOW - 10_000,
        NOW + 10_000,
        Scope("tests"),
    )
    return replace(said, **changes)


def listed(*revoked: Revoked, issuer: str = "House", number: int = 1) -> bytes:
    return HOUSE.revocations(Revocations(issuer, number, NOW - 5000, NOW + 5000, revoked)).to_bytes()


CERTIFICATE = HOUSE.certificate(statement()).to_bytes()


def test_the_decision_of_another_model_without_a_proof() -> None:
    shown = Log(entry(replace(CLAIM, model=OTHER))).shown(0)
    with pytest.raises(ClaimMismatch):
        decided(shown, model=MODEL)
    assert decided(Log(entry()).shown(0), model=MODEL)["claim"]["model"] == "0x" + MODEL.hex()


@pytest.mark.parametrize("exact", [True, False])
def test_a_proof_of_another_claim_of_the_model_is_not_shown_as_this_one(
    exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a backend's own arithmetic the claim is another one: nothing ties its input and output to the entry's."""
    other = replace(CLAIM, input=bytes(32))
    verdict = VerifiedClaim((other,), "ezkl", "ezkl/x", "cryptographic", "ezkl fixed point", 100)
    monkeypatch.setattr("vml.client.auditing.api.verify", lambda *_, **__: verdict)
    able = SimpleNamespace(capabilities=lambda: SimpleNamespace(exact=exact))
    monkeypatch.setattr("vml.client.auditing.get_backend", lambda _: able)
    shown = Log(entry()).shown(0, envelope=Proof("ezkl/x", (other,), {}, b"proof").to_bytes())
    if exact:
        with pytest.raises(ClaimMismatch, match="another claim"):
            decided(shown, model=MODEL)
    else:
        said = decided(shown, model=MODEL)["proof"]
        assert said["verified"] is False
        assert "was not compared" in said["why"]


def signed(at: int) -> dict[str, Any]:
    key = ec.generate_private_key(ec.SECP256K1())
    numbers = key.public_key().public_numbers()
    public = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    receipt = Receipt(CLAIM.digest(), key_id(Algorithm.SECP256K1, public), 1, 1, at)
    made = receipts.sign(receipt, Algorithm.SECP256K1, public, key).encode()
    value: dict[str, Any] = canonical.decode(made, max_bytes=4096)
    return value


@pytest.mark.parametrize("apart", [SKEW_S + 1, -SKEW_S - 1])
def test_a_receipt_of_another_time(apart: int) -> None:
    assert decided(Log(entry(receipt=signed(NOW - SKEW_S))).shown(0))["receipt"]["sequence"] == 1
    with pytest.raises(LogRejected, match="its receipt") as caught:
        decided(Log(entry(at=NOW - SKEW_S - 2, receipt=signed(NOW - SKEW_S - 2 + apart))).shown(0))
    assert caught.value.reason == "time"


def test_an_entry_without_a_receipt_where_one_is_expected() -> None:
    assert decided(Log(entry()).shown(0))["receipt"] is None
    with pytest.raises(ClaimMismatch, match="receipt"):
        decided(Log(entry()).shown(0), server_key=bytes(32))


def test_times_that_contradict_what_the_auditor_knows() -> None:
    with pytest.raises(LogRejected, match="still to come"):
        decided(Log(entry(at=NOW + SKEW_S + 1)).shown(0))
    with pytest.raises(LogRejected, match="it was there at"):
        decided(Log(entry()).shown(0), seen=Seen(1, NOW - SKEW_S - 1))
    assert decided(Log(entry()).shown(0), seen=Seen(1, NOW))["time"].startswith("the server's word; not after")
    assert decided(Log(entry()).shown(0), seen=Seen(0, NOW))["time"] == "the server's word"


def test_two_entries_of_one_claim_do_not_revive_a_revoked_certificate() -> None:
    """The owner of the log appends the claim once more, under the time that suits the certificate."""
    log = Log(entry(), entry(at=NOW - 9000))
    held = {"authorities": [HOUSE.authority], "revocations": [listed(Revoked(SERIAL, NOW - 6000, "bad"))]}
    for index in (0, 1):
        with pytest.raises(CertificateRejected, match="revoked"):
            decided(log.shown(index), certificates=[CERTIFICATE], **held)
        said = decided(log.shown(index, certificates=(CERTIFICATE,)), **held)
        assert said["certificates"] == []
        assert "revoked" in said["certificates_refused"][0]
    for seen, holds in ((Seen(2, NOW - 6001), True), (Seen(2, NOW - 6000), False), (Seen(1, NOW - 6001), False)):
        said = decided(log.shown(1, certificates=(CERTIFICATE,)), seen=seen, **held)
        assert bool(said["certificates"]) is holds
    soon = {**held, "revocations": [listed(Revoked(SERIAL, NOW + 1, "next week"))]}
    assert "revoked from" in decided(log.shown(0), certificates=[CERTIFICATE], **soon)["certificates"][0]["remark"]


def test_an_own_list_under_another_name_is_not_passed_over() -> None:
    revoked = Revoked(SERIAL, NOW - 6000, "bad")
    held = {"authorities": [HOUSE.authority], "revocations": [listed(revoked, issuer="House Ltd")]}
    with pytest.raises(CertificateRejected, match="'House Ltd'"):
        decided(Log(entry()).shown(0), certificates=[CERTIFICATE], **held)
    shown = Log(entry()).shown(0, certificates=(CERTIFICATE,), revocations=(listed(number=9),))
    assert "'House Ltd'" in decided(shown, **held)["certificates_refused"][0]
    said = decided(shown, authorities=[HOUSE.authority], revocations=[listed(issuer="House Ltd")])
    assert said["remarks"] == ["your revocation list of 'House Ltd' is of no certificate here"]
    assert len(said["certificates"]) == 1
    noisy = replace(shown, revocations=(b"noise", *shown.revocations))
    assert len(decided(noisy, authorities=[HOUSE.authority])["certificates"]) == 1


def test_a_time_beyond_the_calendar_is_refused() -> None:
    with pytest.raises(MalformedProof):
        decided(Log(entry(at=2**53 - 1)).shown(0))


def test_an_honest_log_that_grew_while_it_was_asked(tmp_path: Path) -> None:
    log, file = Log(*(entry(at=number) for number in range(10))), tmp_path / "since"
    found = _grown(log, SIGNER.verifier, file, [log.shown(3, 9)])
    assert (found["first"], found["second"]) == (None, 10)
    found = _grown(log, SIGNER.verifier, file, [log.shown(3, 9), log.shown(4)])
    assert (found["first"], found["second"]) == (10, 10)
    file.write_bytes(log.checkpoint(4))
    found = _grown(log, SIGNER.verifier, file, [log.shown(3, 9), log.shown(2, 3)])
    assert (found["first"], found["second"]) == (4, 10)


def test_a_log_that_shrank_or_was_rewritten(tmp_path: Path) -> None:
    log, file = Log(*(entry(at=number) for number in range(10))), tmp_path / "since"
    file.write_bytes(log.checkpoint())
    shorter, other = Log(*log.entries[:9]), Log(*log.entries[:8], entry(at=99), *log.entries[9:])
    shorter.nodes = log.nodes  # it still proves that 9 were the beginning of 10
    with pytest.raises(LogRejected, match="shrank"):
        _grown(shorter, SIGNER.verifier, file, [])
    for newest, shown in ((other, []), (log, [other.shown(3)]), (log, [other.shown(3, 9)])):
        with pytest.raises(LogRejected, match="consistency"):
            _grown(newest, SIGNER.verifier, file, shown)
    assert file.read_bytes() == log.checkpoint()


def test_evidence_that_could_not_be_read_again_is_not_kept(tmp_path: Path) -> None:
    too_many = Log(entry()).shown(0, certificates=tuple(b"x%d" % number for number in range(65)))
    with pytest.raises(MalformedProof):
        _keep(tmp_path / "evidence", [too_many])
    assert not (tmp_path / "evidence").exists()


def test_too_many_claims_for_one_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_log, "MAX_DECISIONS", 2)
    with pytest.raises(LogRejected, match="crowded"):
        _search(Log(*[entry()] * 3), None, CASE)
    assert len(_search(Log(*[entry()] * 2), None, CASE)) == 2


def reply(said: Any, status: int = 200, **more: Any) -> httpx.Response:
    """An answer as it comes from the wire: nothing of it was read yet."""
    data = said if isinstance(said, bytes) else json.dumps(said).encode()
    return httpx.Response(status, stream=httpx.ByteStream(data), **more)


def server(monkeypatch: pytest.MonkeyPatch, answer: Any) -> ServerLog:
    """A server log whose server answers a request with what `answer` makes of it."""

    class Library:
        HTTPError, InvalidURL = httpx.HTTPError, httpx.InvalidURL

        @staticmethod
        def Client(**options: Any) -> httpx.Client:
            return httpx.Client(transport=httpx.MockTransport(answer), **options)

    monkeypatch.setattr(server_log, "httpx", lambda: Library)
    return ServerLog("http://server.example")


def test_what_a_server_shows_beside_is_kept_only_where_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(entry())
    proof = LogProof.decode(log.shown(0).log_proof)
    unrelated = HOUSE.certificate(statement(identities=(CertifiedIdentity(OTHER, EXACT, "vml-int/1"),))).to_bytes()
    serials = (number.to_bytes(32, "big") for number in range(70))
    fitting = [HOUSE.certificate(statement(serial=serial)).to_bytes() for serial in serials]
    lists = [b"noise", listed(issuer="Somebody"), listed()]

    def files(items: list[bytes]) -> list[dict[str, str]]:
        return [{"file": base64.b64encode(data).decode()} for data in items]

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["accept-encoding"] == "identity"
        if "inclusion" in request.url.path:
            value: dict[str, Any] = {"index": 0, "hashes": [], "entry": base64.b64encode(log.entries[0]).decode()}
            return reply({**value, "checkpoint": proof.note.decode()})
        if "certificates" in request.url.path:
            shown = [b"noise", unrelated, bytes(1 << 19), *fitting]
            return reply({"certificates": files(shown), "revocations": files(lists)})
        return reply(b"", 404)

    found = server(monkeypatch, answer).evidence(CLAIM.digest())
    assert found is not None
    assert (list(found.certificates), found.revocations) == (fitting[:64], (lists[2],))
    assert Evidence.from_bytes(found.to_bytes()) == found


def test_nothing_compressed_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    small = gzip.compress(bytes(1 << 24))
    log = server(monkeypatch, lambda request: reply(small, headers={"content-encoding": "gzip"}))
    with pytest.raises(ServerError, match="compressed"):
        log.checkpoint()


def test_a_server_that_drips_or_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Drip(httpx.SyncByteStream):
        def __init__(self, part: bytes, pause_s: float) -> None:
            self.part, self.pause_s = part, pause_s

        def __iter__(self) -> Iterator[bytes]:
            for part in repeat(self.part):
                time.sleep(self.pause_s)
                yield part

    monkeypatch.setattr(server_log, "TIMEOUT_S", 0.2)
    with pytest.raises(ServerError, match="no whole answer"):
        server(monkeypatch, lambda request: httpx.Response(200, stream=Drip(b"x", 0.01))).checkpoint()
    monkeypatch.setattr(server_log, "TIMEOUT_S", 60.0)
    with pytest.raises(ServerError, match="larger than"):
        server(monkeypatch, lambda request: httpx.Response(200, stream=Drip(bytes(1 << 20), 0))).checkpoint()


@pytest.mark.parametrize("following", [0, -1, True, "1", 1.5, "missing"])
def test_a_listing_that_goes_round(following: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"claims": []} if following == "missing" else {"claims": [], "next": following}
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return reply(said)

    with pytest.raises(ServerError):
        server(monkeypatch, answer).asked_under(CASE)
    assert len(asked) == 1


def test_a_listing_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(range(1, 10**6))
    log = server(monkeypatch, lambda request: reply({"claims": [], "next": next(numbers)}))
    with pytest.raises(ServerError, match="too many answers"):
        log.asked_under(CASE)
    whole = ["0x" + number.to_bytes(32, "big").hex() for number in range(600)]
    more = iter(range(1, 10**6))
    log = server(monkeypatch, lambda request: reply({"claims": whole, "next": next(more)}))
    assert len(log.asked_under(CASE)) == 1200


def test_what_a_server_says_cannot_steer_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServerError) as caught:
        server(monkeypatch, lambda request: reply(b"\x1b[2Kfine\n", 500)).checkpoint()
    assert str(caught.value).isprintable()
