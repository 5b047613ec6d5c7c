"""`vml tee`: evidence that the simulator makes, checked, judged, forecast and refused, with its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vml.tee.appraisal import AppraisalPolicy
from vml.tee.files import read
from vml.tee_sim import EXPECTED, KINDS, Fault, matching_policy

Vml = Callable[..., Any]
AT = 1_800_004_321
NONCE = "0x" + "5a" * 32
DATA = "0x" + "a5" * 32 + "5a" * 32


@pytest.fixture
def made(vml: Vml, tmp_path: Path) -> Callable[..., Path]:
    """Simulated evidence in a folder, or in a file where the name says so."""

    def make(kind: str, *options: object, name: str = "evidence") -> Path:
        out = tmp_path / "deep" / name
        done = vml("tee", "simulate", kind, "-o", out, "--at", AT, "--report-data", DATA, "--quiet", *options)
        assert done.code == 0, done.err
        assert done.out == ""
        return out

    return make


@pytest.fixture
def judge(vml: Vml) -> Callable[..., Any]:
    """`vml tee verify` with the policy beside the evidence."""

    def run(folder: Path, *options: object) -> Any:
        rules = ("--policy", folder / "policy.yaml", "--nonce", NONCE, "--at", AT)
        return vml("tee", "verify", folder, *rules, "--allow-simulated", *options)

    return run


@pytest.mark.parametrize("kind", KINDS)
def test_simulated_evidence_goes_through(kind: str, made: Callable[..., Path], judge: Callable[..., Any]) -> None:
    folder = made(kind)
    done = judge(folder, "--json")
    assert done.code == 0, done.err
    value = done.json
    assert value["error"] is None
    assert (value["genuine"], value["accepted"], value["simulated"], value["debug"]) == (True, True, True, False)
    assert (value["kind"], value["nonce"], value["bound_digest"]) == (kind, NONCE, "0x" + "a5" * 32)
    assert value["appraisal"]["simulated"] is True
    assert value["physical_adversary"] == value["appraisal"]["physical_adversary"] == "not covered"
    assert (value["tcb"] is None) == (kind == "nitro")
    assert value["not_after"] > AT
    spoken = judge(folder)
    assert spoken.code == 0
    for words in ("accepted", "simulated", "shows nothing", "this key dies in", "physical adversary: not covered"):
        assert words in spoken.out
    assert AppraisalPolicy.load(folder / "policy.yaml") == matching_policy(kind)


@pytest.mark.parametrize(("kind", "fault"), [(kind, fault) for kind in KINDS for fault in EXPECTED[kind]], ids=str)
def test_each_fault_ends_with_1_and_its_code(
    kind: str, fault: Fault, made: Callable[..., Path], judge: Callable[..., Any]
) -> None:
    done = judge(made(kind, "--fault", fault), "--json")
    assert done.code == 1
    error = done.json["error"]
    code = str(EXPECTED[kind][fault])  # type: ignore[index]
    assert code in error["message"]
    if code == "MALFORMED":
        assert error["type"] == "MalformedProof"
    else:
        assert (error["type"], error["reason"]) == ("EvidenceRejected", code)


def test_simulated_evidence_is_refused_by_default(vml: Vml, made: Callable[..., Path], tmp_path: Path) -> None:
    folder = made("tdx")
    rules = ("--policy", folder / "policy.yaml", "--nonce", NONCE, "--at", AT, "--json")
    for options in ((), ("--allow-simulated", "--seed", "another")):
        done = vml("tee", "verify", folder, *rules, *options)
        assert done.code == 1
        assert done.json["error"]["reason"] == "SIMULATED_EVIDENCE"
    strict = tmp_path / "strict.yaml"
    strict.write_text((folder / "policy.yaml").read_text().replace("allow_simulated: true\n", ""))
    done = vml("tee", "verify", folder, "--policy", strict, *rules[2:], "--allow-simulated")
    assert done.code == 1
    assert done.json["error"]["reason"] == "SIMULATED_EVIDENCE"
    own = made("tdx", "--seed", "another", name="own")
    assert vml("tee", "verify", own, *rules, "--allow-simulated", "--seed", "another").code == 0
    assert vml("tee", "verify", own, *rules, "--seed", "another").code == 2


def test_without_a_policy_nothing_is_accepted(vml: Vml, made: Callable[..., Path]) -> None:
    trust = ("--at", AT, "--allow-simulated")
    folder = made("snp")
    done = vml("tee", "verify", folder, *trust, "--json")
    assert done.code == 1
    assert done.json["error"]["reason"] == "POLICY_INCOMPLETE"
    done = vml("tee", "verify", folder, *trust, "--claims-only", "--json")
    assert done.code == 0
    assert (done.json["genuine"], done.json["accepted"], done.json["appraisal"]) == (True, None, None)
    spoken = vml("tee", "verify", folder, *trust, "--claims-only")
    assert "nothing is accepted" in spoken.out
    assert "physical adversary: not covered" in spoken.out
    for more in (("--nonce", NONCE), ("--policy", folder / "policy.yaml")):
        assert vml("tee", "verify", folder, *trust, "--claims-only", *more).code == 2


def test_another_nonce_or_none(vml: Vml, made: Callable[..., Path]) -> None:
    folder = made("sgx")
    rules = ("--policy", folder / "policy.yaml", "--at", AT, "--allow-simulated", "--json")
    assert vml("tee", "verify", folder, *rules).json["error"]["reason"] == "NONCE_MISSING"
    assert vml("tee", "verify", folder, *rules, "--nonce", "00" * 32).json["error"]["reason"] == "NONCE_MISMATCH"
    assert vml("tee", "verify", folder, *rules, "--nonce", "5a" * 32).code == 0
    assert vml("tee", "verify", folder, *rules, "--nonce", "xyz").code == 2


def test_the_age_by_the_time_of_the_nonce(vml: Vml, made: Callable[..., Path]) -> None:
    folder = made("snp")
    path = folder / "policy.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "max_age_s: 100\n", encoding="utf-8")
    rules = ("--policy", path, "--at", AT, "--allow-simulated", "--json", "--nonce", "5a" * 32)
    assert vml("tee", "verify", folder, *rules).json["error"]["reason"] == "EVIDENCE_TOO_OLD"
    found = vml("tee", "verify", folder, *rules, "--nonce-sent-at", AT - 100)
    assert found.json["appraisal"]["limited_by"] == "maximum age"
    late = vml("tee", "verify", folder, *rules, "--nonce-sent-at", AT - 101)
    assert late.json["error"]["reason"] == "EVIDENCE_TOO_OLD"
    assert vml("tee", "verify", folder, *rules, "--nonce-sent-at", "soon").code == 2
    assert vml("tee", "verify", folder, *rules[:-2], "--nonce-sent-at", AT).code == 2


def test_one_file_is_enough(vml: Vml, made: Callable[..., Path], tmp_path: Path) -> None:
    file = made("tdx", "--quote-version", 5, name="x.evidence.json")
    policy = made("tdx") / "policy.yaml"
    done = vml(
        "tee", "verify", file, "--policy", policy, "--nonce", NONCE, "--at", AT, "--allow-simulated", "--second-engine"
    )
    assert done.code == 0, done.err
    assert "dcap-qvl" in done.out
    file.write_bytes(file.read_bytes()[:-1])
    assert vml("tee", "verify", file, "--at", AT).code == 1
    assert vml("tee", "verify", tmp_path / "none.evidence.json").code == 2


def test_raw_bytes_and_collateral(vml: Vml, made: Callable[..., Path]) -> None:
    folder, trust = made("tdx"), ("--at", AT, "--allow-simulated", "--claims-only", "--json")
    raw, collateral = folder / "evidence.bin", folder / "collateral.json"
    assert vml("tee", "verify", raw, "--kind", "tdx", "--collateral", collateral, *trust).code == 0
    done = vml("tee", "verify", raw, "--kind", "tdx", *trust)
    assert done.json["error"]["reason"] == "COLLATERAL_MISSING"
    assert vml("tee", "verify", raw, *trust).code == 2
    assert vml("tee", "verify", raw, "--kind", "arm", *trust).code == 2
    assert vml("tee", "verify", folder, "--kind", "tdx", *trust).code == 2
    assert vml("tee", "verify", folder, "--event-log", raw, *trust).code == 2
    stale = made("tdx", "--fault", "expired", name="stale") / "collateral.json"
    done = vml("tee", "verify", folder, "--collateral", stale, *trust)
    assert done.json["error"]["reason"] == "COLLATERAL_EXPIRED"
    log = folder.parent / "log"
    log.write_bytes(b"[]")
    done = vml("tee", "verify", raw, "--kind", "tdx", "--collateral", collateral, "--event-log", log, *trust)
    assert done.json["error"]["reason"] == "EVENT_LOG_MISMATCH"


def test_times(vml: Vml, made: Callable[..., Path], tmp_path: Path) -> None:
    folder, trust = made("sgx"), ("--allow-simulated", "--claims-only", "--json")
    same = vml("tee", "verify", folder, "--at", "2027-01-15T09:12:01Z", *trust)
    assert same.json["at"] == AT
    for bad in ("tomorrow", "2027-01-15T09:12:01", "-1", "1e9", "9" * 13, "२"):
        assert vml("tee", "verify", folder, "--at", bad, *trust).code == 2, bad
    done = vml("tee", "verify", folder, "--at", AT + 40 * 86_400, *trust)
    assert done.json["error"]["reason"] == "COLLATERAL_EXPIRED"
    now = tmp_path / "now"
    assert vml("tee", "simulate", "nitro", "-o", now).code == 0
    assert abs(vml("tee", "verify", now, *trust).json["at"] - time.time()) < 60


def test_forecast(vml: Vml, made: Callable[..., Path]) -> None:
    folder, trust = made("tdx"), ("--allow-simulated", "--json")
    done = vml("tee", "forecast", folder, "--at", AT + 22 * 86_400, *trust)
    assert done.code == 0
    assert done.json["forecast"] == "this key dies in 6 days: TCB info"
    assert done.json["limited_by"] == "tcb_info"
    assert done.json["seconds_left"] == done.json["not_after"] - done.json["at"]
    assert done.json["simulated"] is True
    spoken = vml("tee", "forecast", folder, "--at", AT, "--allow-simulated")
    assert "this key dies in 28 days: TCB info" in spoken.out
    assert "shows nothing" in spoken.out
    assert vml("tee", "forecast", folder, "--at", AT, "--json").json["error"]["reason"] == "SIMULATED_EVIDENCE"
    assert vml("tee", "forecast", folder, "--at", AT + 40 * 86_400, *trust).code == 1


def test_policy_explain(vml: Vml, made: Callable[..., Path], tmp_path: Path) -> None:
    policy = made("nitro") / "policy.yaml"
    done = vml("tee", "policy", "explain", policy, "--json")
    assert done.code == 0
    assert done.json["kinds"] == ["nitro"]
    assert done.json["policy_id"] == "0x" + matching_policy("nitro").policy_id.hex()
    spoken = vml("tee", "policy", "explain", policy)
    assert spoken.out.splitlines() == done.json["lines"]
    assert "UNSAFE" in spoken.out
    bad = tmp_path / "bad.yaml"
    bad.write_text("nitro: {nonsense: 1}\n")
    assert vml("tee", "policy", "explain", bad).code == 2
    assert vml("tee", "policy", "explain", tmp_path / "none.yaml").code == 2
    assert vml("tee", "policy", "nothing").code == 2


def test_what_is_simulated(vml: Vml, made: Callable[..., Path], tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    log.write_text(
        json.dumps([{"imr": 3, "event_type": 0x08000001, "digest": "", "event": "app-id", "event_payload": "01"}])
    )
    value = "ab" * 48
    folder = made("tdx", "--measurement", f"mr_td={value}", "--event-log", log)
    assert read(folder).event_log == log.read_bytes()
    rules = ("--policy", folder / "policy.yaml", "--nonce", NONCE, "--at", AT)
    done = vml("tee", "verify", folder, *rules, "--allow-simulated", "--json")
    assert done.code == 0, done.err
    assert done.json["measurements"]["mr_td"] == "0x" + value
    nitro = made("nitro", "--public-key", "0x0102", name="nitro")
    assert b"\x42\x01\x02" in read(nitro).data
    first = read(made("snp", "--seed", "one", name="one"))
    assert first == read(made("snp", "--seed", "one", name="two")) != read(made("snp", name="three"))
    done = vml("tee", "simulate", "sgx", "-o", tmp_path / "s", "--at", AT, "--fault", "debug", "--json")
    assert (done.json["refused_as"], done.json["simulated"]) == ("DEBUG_ENABLED", True)
    spoken = vml("tee", "simulate", "sgx", "-o", tmp_path / "s", "--at", AT, "--fault", "debug")
    assert "refused as DEBUG_ENABLED" in spoken.out


@pytest.mark.parametrize(
    "options",
    [
        ("arm",),
        ("azure",),
        ("nitro", "--fault", "outofdate"),
        ("sgx", "--fault", "nonsense"),
        ("sgx", "--report-data", "00"),
        ("sgx", "--measurement", "mr_enclave"),
        ("sgx", "--measurement", "mr_td=00"),
        ("sgx", "--quote-version", "4"),
        ("sgx", "--at", "5"),
    ],
    ids=str,
)
def test_what_cannot_be_simulated_ends_with_2(options: tuple[str, ...], vml: Vml, tmp_path: Path) -> None:
    done = vml("tee", "simulate", *options, "-o", tmp_path / "out")
    assert done.code == 2, done.err
    assert not (tmp_path / "out").exists()


def test_the_second_engine_is_for_quotes(vml: Vml, made: Callable[..., Path]) -> None:
    trust = ("--at", AT, "--allow-simulated", "--claims-only", "--second-engine", "--json")
    assert vml("tee", "verify", made("snp"), *trust).code == 2
    found = vml("tee", "verify", made("sgx", name="sgx"), *trust).json["second_engine"]
    assert found == {"engine": "dcap-qvl", "status": "UpToDate", "refused": None, "disagreement": None}


def test_without_the_extras(made: Callable[..., Path]) -> None:
    folder = str(made("sgx"))
    for arguments in (
        ["simulate", "sgx", "-o", folder],
        ["verify", folder, "--allow-simulated"],
        ["verify", folder],
        ["forecast", folder],
    ):
        code = "import sys; sys.modules['cryptography'] = None; from vml.cli import main; sys.exit(main(sys.argv[1:]))"
        done = subprocess.run(
            [sys.executable, "-c", code, "tee", *arguments], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 4, done.stderr
        assert "pip install" in done.stderr
