"""Which answers are proved: by rule, by hash, by a beacon that comes later, and by what a server forbids."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serve.running import Running, running
from vml.claim import parse_bytes32
from vml.errors import ChainError
from vml.keccak import keccak256
from vml.serve import beacon as beacons
from vml.serve.beacon import SILENT_S, Beacon, ChainSource, FileSource
from vml.serve.limits import Rejected
from vml.serve.sampling import Asked, Prove, Refused, Sampling, chosen, read_parameters
from vml.serve.settings import Proving

DEFAULT = Asked(Prove.ON_DEMAND, 100, Sampling.HASH)


def value_of(number: int) -> bytes:
    return keccak256(b"beacon" + number.to_bytes(8, "big"))


# ---- the rule


def test_the_rule_is_the_one_in_the_document() -> None:
    digest, value = b"\x01" * 32, b"\x02" * 32
    number = int.from_bytes(keccak256(b"vml/serve-sample/v1" + value + digest), "big")
    for sample in (1, 2, 3, 7, 100):
        assert chosen(digest, sample, value) is (number % sample == 0)
    assert chosen(digest, 1)


def test_one_in_n_is_chosen() -> None:
    count = sum(chosen(keccak256(k.to_bytes(4, "big")), 10) for k in range(5000))
    assert 400 < count < 600


@given(st.dictionaries(st.text(max_size=20), st.none() | st.booleans() | st.integers() | st.text() | st.floats()))
def test_parameters_of_any_kind_are_read_or_refused(given_parameters: dict[str, Any]) -> None:
    with contextlib.suppress(Refused):
        read_parameters(given_parameters, DEFAULT)


def test_what_parameters_mean() -> None:
    assert read_parameters(None, DEFAULT) == DEFAULT
    asked = read_parameters(
        {"sample": 5, "sampling": "beacon", "backend": "tee", "priority": 1, "timeout": 2_000_000}, DEFAULT
    )
    assert (asked.prove, asked.sample, asked.sampling) == (Prove.SAMPLE, 5, Sampling.BEACON)
    assert (asked.backend, asked.priority, asked.timeout_s) == ("tee", 49, 2.0)
    assert read_parameters({"priority": 0}, DEFAULT).priority == 0
    assert read_parameters({"priority": 100}, DEFAULT).priority == -50


# ---- by hash


@pytest.fixture(scope="module")
def served(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tiny, tmp_path_factory.mktemp("data")) as server:
        yield server


def test_a_sample_by_hash_is_told_at_once(served: Running) -> None:
    seen = set()
    for k in range(24):
        said = served.said({"sample": 3, "nonce": f"hash {k}"})
        assert said["vml_sampling"] == "hash"
        assert said["vml_sampled"] is chosen(parse_bytes32(said["vml_claim"]), 3)
        assert ("vml_job" in said) is said["vml_sampled"]
        seen.add(said["vml_sampled"])
    assert seen == {True, False}


def test_without_a_beacon_nothing_is_sampled_by_one(served: Running) -> None:
    refused = served.infer({"sample": 3, "sampling": "beacon"})
    assert refused.status_code == 403
    assert "beacon" in refused.json()["error"]


# ---- by beacon


def test_a_sample_by_beacon_is_decided_afterwards(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beacons, "POLL_S", 0.05)
    monkeypatch.setattr(beacons, "SILENT_S", 0.5)
    rounds = tmp_path / "rounds"
    rounds.write_text(f"7 0x{value_of(7).hex()}\n")
    proving = Proving(beacon=str(rounds), beacon_rounds=2)
    with running(tiny, tmp_path / "data", proving=proving) as server:
        _until(lambda: server.server.beacon is not None and server.server.beacon.latest == 7)
        asked = {"sample": 3, "sampling": "beacon"}
        _until(lambda: server.infer({**asked, "nonce": "beacon 0"}).status_code == 200)  # its pace is known
        answers = [server.said({**asked, "nonce": f"beacon {k}"}) for k in range(12)]
        assert {said["vml_beacon_round"] for said in answers} == {9}
        assert not any("vml_sampled" in said for said in answers)
        store = server.server.store
        with rounds.open("a") as file:
            file.write(f"8 0x{value_of(8).hex()}\n")
        time.sleep(0.3)
        assert {str(job.state) for job in store.jobs(limit=50)} == {"waiting"}
        assert store.lease("a test", seconds=30) is None
        with rounds.open("a") as file:
            file.write(f"9 0x{value_of(9).hex()}\n")
        _until(lambda: all(str(job.state) != "waiting" for job in store.jobs(limit=50)))
        for said in answers:
            job = store.job(said["vml_job"])
            assert job is not None
            lucky = chosen(parse_bytes32(said["vml_claim"]), 3, value_of(9))
            assert (str(job.state), job.error_code) == (("queued", "") if lucky else ("cancelled", "NotSampled"))
        assert "vml_beacon_round 9.0" in server.http.get("/metrics").text


class Rounds:
    """Rounds that a test turns."""

    def __init__(self) -> None:
        self.number = 5

    def latest(self) -> int:
        return self.number

    def value(self, number: int) -> bytes | None:
        return value_of(number)


class NoJobs:
    """A store without jobs that wait."""

    def waiting_rounds(self) -> list[int]:
        return []


def test_a_silent_or_fast_beacon_decides_nothing() -> None:
    now, rounds = [0.0], Rounds()
    beacon = Beacon(rounds, 3, lambda: now[0])

    def look(seconds: float, new: int = 0) -> None:
        now[0] += seconds
        rounds.number += new
        beacon.poll(NoJobs())  # type: ignore[arg-type]

    def refused(why: str) -> None:
        with pytest.raises(Rejected, match=why) as caught:
            beacon.coming()
        assert caught.value.status == 503

    refused("silent")
    look(0)
    refused("not known yet")
    look(2)
    refused("not known yet")
    look(2)
    assert beacon.coming() == 8
    now[0] += 9
    refused("silent")
    look(0, new=3)
    refused("not known yet")  # nobody watched meanwhile
    for new in (0, 0, 1, 0, 0, 1, 0):
        look(2, new)
    assert beacon.coming() == 13
    look(2, new=3)
    refused("too fast")
    look(2, new=0)
    refused("too fast")  # it has been, lately
    for _ in range(40):
        look(2)
    assert beacon.coming() == 16


@pytest.mark.parametrize(("round_s", "taken"), [(12.0, True), (6.0, True), (2.6, False), (2.0, False), (0.25, False)])
def test_a_beacon_is_slow_enough_for_its_rounds(round_s: float, taken: bool) -> None:
    """Three rounds ahead, and a view that is as old as may be: the round is still to come, or nothing is sampled."""
    now, rounds = [0.0], Rounds()
    beacon = Beacon(rounds, 3, lambda: now[0])
    answers = []
    for step in range(60):
        now[0] = 2.05 * step
        rounds.number = int(now[0] / round_s)
        beacon.poll(NoJobs())  # type: ignore[arg-type]
        now[0] += 0.999 * SILENT_S
        try:
            assert beacon.coming() > now[0] / round_s
            answers.append(True)
        except Rejected:
            answers.append(False)
    assert all(answers[6:]) if taken else not any(answers)


@pytest.mark.parametrize("text", ["x", "5", "5 0x12", "5 0x" + "11" * 32 + "\n5 0x" + "22" * 32, "-1 0x" + "11" * 32])
def test_a_file_that_is_no_beacon(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rounds"
    path.write_text(text)
    with pytest.raises(ValueError):
        FileSource(path).latest()


def test_blocks_of_a_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    head = [100]

    def answer(request: httpx.Request) -> httpx.Response:
        call = json.loads(request.content)
        if call["method"] == "eth_blockNumber":
            return httpx.Response(200, json={"jsonrpc": "2.0", "id": call["id"], "result": hex(head[0])})
        if call["method"] == "eth_getBlockByNumber":
            number = int(call["params"][0], 16)
            block = {"hash": "0x" + value_of(number).hex()} if number <= head[0] else None
            return httpx.Response(200, json={"jsonrpc": "2.0", "id": call["id"], "result": block})
        return httpx.Response(500)

    source = ChainSource("http://node.test")
    source._http.close()
    source._http = httpx.Client(transport=httpx.MockTransport(answer))
    with source._http:
        assert source.latest() == 100
        assert source.value(101) is None
        assert source.value(99) is None  # one block behind it: it may still be replaced
        head[0] = 101
        assert source.value(99) == value_of(99)
    source._http = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(500)))
    with source._http, pytest.raises(ChainError, match="beacon"):
        source.latest()


# ---- what a server forbids


def test_a_server_forbids_policies_and_backends(tiny: Any, tmp_path: Path) -> None:
    proving = Proving(
        backend="sumcheck",
        backends=frozenset({"sumcheck"}),
        prove=Prove.ALWAYS,
        policies=frozenset({Prove.ALWAYS, Prove.SAMPLE}),
        sample=1,
    )
    with running(tiny, tmp_path, proving=proving) as server:
        assert server.said()["vml_job"]
        for prove in ("never", "sync", "on-demand"):
            assert server.infer({"prove": prove}).status_code == 403
        assert server.infer({"backend": "ezkl"}).status_code == 400
        digest = server.said({"prove": "sample", "nonce": "n"})["vml_claim"]
        assert server.http.post(f"/v1/proofs/{digest}").status_code == 403


def test_settings_that_contradict_themselves() -> None:
    for wrong in (
        {"backend": "magic"},
        {"backends": frozenset({"magic"})},
        {"backend": "tee", "backends": frozenset({"ezkl"})},
        {"prove": Prove.NEVER, "policies": frozenset({Prove.ALWAYS})},
        {"sampling": Sampling.BEACON},
        {"sample": 0},
    ):
        with pytest.raises(ValueError):
            Proving(**wrong)  # type: ignore[arg-type]


def _until(true: Any) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
