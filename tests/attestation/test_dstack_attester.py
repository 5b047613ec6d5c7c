"""The dstack attester over a fake guest agent: the request, the answers it refuses, and that quote and log verify."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attestation.attester import AttestationFailed
from attestation.dstack.attester import DstackAttester
from tests.attestation.fakes import AT, SEED, guest_agent
from vml.tee import TdxClaims, verify_evidence
from vml.tee.dcap.eventlog import DSTACK_EVENT, dstack_digest
from vml.tee.evidence import Evidence
from vml.tee_sim import anchors, simulate

DIGEST, NONCE, KEY = b"d" * 32, b"n" * 32, b"k" * 64
EVENTS: list[dict[str, Any]] = [
    {"imr": 0, "event_type": 1, "digest": "11" * 48, "event": "", "event_payload": ""},
    {
        "imr": 3,
        "event_type": DSTACK_EVENT,
        "digest": dstack_digest(DSTACK_EVENT, "compose-hash", b"c" * 32).hex(),
        "event": "compose-hash",
        "event_payload": (b"c" * 32).hex(),
    },
]
PLAIN = json.dumps(EVENTS).encode()


def whole(report_data: bytes) -> Evidence:
    return simulate("tdx", report_data=report_data, seed=SEED, at=AT, event_log=PLAIN)


def quote(path: str, asked: Any) -> tuple[int, bytes]:
    """As dstack 0.5 answers."""
    assert path == "/GetQuote"
    assert set(asked) == {"report_data"}
    data = bytes.fromhex(asked["report_data"])
    fields = {"quote": whole(data).data.hex(), "event_log": json.dumps(EVENTS), "report_data": data.hex()}
    return 200, json.dumps({**fields, "vm_config": ""}).encode()


def attest(tmp_path: Path, answer: Callable[[str, Any], tuple[int, bytes]]) -> Evidence:
    path = tmp_path / "dstack.sock"
    with guest_agent(path, answer):
        return DstackAttester(path).attest(DIGEST, NONCE, KEY)


def altered(**fields: Any) -> Callable[[str, Any], tuple[int, bytes]]:
    return lambda path, asked: (200, json.dumps({**json.loads(quote(path, asked)[1]), **fields}).encode())


def test_quote_and_log_verify(tmp_path: Path) -> None:
    evidence = attest(tmp_path, quote)
    complete = Evidence(evidence.kind, evidence.data, whole(bytes(64)).collateral, evidence.event_log)
    claims = verify_evidence(complete, anchors(SEED), AT)
    assert isinstance(claims, TdxClaims)
    assert (claims.bound_digest, claims.nonce) == (DIGEST, NONCE)
    assert [(event.name, event.content) for event in claims.events or () if event.bound][-1] == (
        "compose-hash",
        b"c" * 32,
    )


def test_names_that_later_agents_add_are_left_out(tmp_path: Path) -> None:
    later = [{**event, "version": None, "preimage": None} for event in EVENTS]
    assert attest(tmp_path, altered(event_log=json.dumps(later))).event_log == attest(tmp_path, quote).event_log


def test_events_of_the_second_form(tmp_path: Path) -> None:
    """They stay what they are, without the preimage that the verifier makes itself."""
    digest = dstack_digest(DSTACK_EVENT, "compose-hash", b"c" * 32, 2).hex()
    second = [EVENTS[0], {**EVENTS[1], "digest": digest, "version": 2}]
    log = json.dumps(second).encode()

    def answer(path: str, asked: Any) -> tuple[int, bytes]:
        data = bytes.fromhex(asked["report_data"])
        made = simulate("tdx", report_data=data, seed=SEED, at=AT, event_log=log)
        shown = json.dumps([second[0], {**second[1], "preimage": "00"}])
        return 200, json.dumps({"quote": made.data.hex(), "event_log": shown, "report_data": data.hex()}).encode()

    found = attest(tmp_path, answer).event_log
    assert found is not None
    assert json.loads(found) == second


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (altered(quote="zz"), "no quote"),
        (altered(quote=None), "no quote"),
        (altered(quote="00"), "cannot be read"),
        (altered(quote=whole(bytes(64)).data.hex()), "another question"),
        (altered(event_log="{}"), "no event log"),
        (altered(event_log=None), "no event log"),
        (altered(event_log="[1]"), "no event log"),
        (altered(event_log="[]"), "does not give"),
        (altered(event_log=json.dumps([{**EVENTS[0], "imr": 9}])), "no register"),
        (altered(event_log=json.dumps([{**EVENTS[1], "version": 2}])), "not its content's"),
        (altered(event_log=json.dumps([{**EVENTS[1], "version": 3}])), "another version"),
        (lambda *_: (400, b'{"error": "no TDX here"}'), "no TDX here"),
        (lambda *_: (200, b"[]"), "no object"),
        (lambda *_: (200, b"{"), "no JSON"),
        (lambda *_: (200, b"[" * 5000), "no JSON"),
    ],
)
def test_other_answers_are_refused(tmp_path: Path, answer: Callable[[str, Any], tuple[int, bytes]], match: str) -> None:
    with pytest.raises(AttestationFailed, match=match):
        attest(tmp_path, answer)


def test_without_the_socket_the_error_names_it(tmp_path: Path) -> None:
    with pytest.raises(AttestationFailed, match="missing"):
        DstackAttester(tmp_path / "missing").attest(DIGEST, NONCE, KEY)
