"""Attested keys on a real node by the command line: rules, deployment, endorsements, admission, a proof, its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attested_world import ATTESTORS, NONCE, OWNER, World, address

from tests.chain.conftest import anvil as anvil

Vml = Callable[..., Any]


@pytest.fixture
def world(
    vml: Vml, anvil: str, tmp_path: Path, compiled: Path, input_file: Path, monkeypatch: pytest.MonkeyPatch
) -> World:
    made = World(vml, anvil, tmp_path, compiled, monkeypatch)
    made.prove(input_file)
    made.make_rules()
    made.deploy()
    return made


def test_a_key_from_its_evidence_to_its_end(world: World) -> None:
    early = world.verify()
    assert (early.code, early.json["error"]["error"]) == (6, "KeyUnknown")
    assert "vml tee admit" in early.err

    for number in (4, 2, 5):
        value = world.endorse(number).json
        assert (value["attestor"], value["simulated"], value["threshold"]) == (address(number), True, 3)
    signed = [world.signed(number) for number in (4, 2, 5)]
    value = world.done("tee", "admit", *signed, "--rpc", world.url, by=1)
    assert (value["admitted"], value["mode"], value["simulated"]) == (True, "quorum", True)
    assert value["physical_adversary"] == "not covered"
    assert world.done("tee", "admit", *signed, "--rpc", world.url, by=1) == value

    proved = world.verify()
    assert proved.code == 0, proved.err
    assert (proved.json["accepted"], proved.json["router_is_ours"]) == (True, True)
    assert (proved.json["scheme"], proved.json["calldata_bytes"]) == ("tee/1", 356)

    listed = world.done("tee", "status", world.deployment, "--rpc", world.url)
    (key,) = listed["keys"]
    assert (key["state"], key["accepted"], key["mode"], key["simulated"]) == ("admitted", True, "quorum", True)
    assert (key["record"], key["not_after"]) == (value["record"], value["not_after"])

    refused = world("tee", "revoke", world.proof, "--deployment", world.deployment, "--rpc", world.url, by=1)
    assert (refused.code, "that account's key" in refused.err) == (6, True)
    gone = world.done("tee", "revoke", world.proof, "--deployment", world.deployment, "--rpc", world.url, by=OWNER)
    assert gone["records"] == {"quorum": value["record"]}
    again = world.done("tee", "revoke", world.proof, "--deployment", world.deployment, "--rpc", world.url, by=OWNER)
    assert again == gone
    late = world.verify()
    assert (late.code, late.json["error"]["error"]) == (6, "KeyIsRevoked")
    (key,) = world.done("tee", "status", world.deployment, "--rpc", world.url)["keys"]
    assert (key["state"], key["accepted"]) == ("revoked", False)
    back = world("tee", "admit", *signed, "--rpc", world.url, by=1)
    assert (back.code, back.json["error"]["error"]) == (6, "KeyIsRevoked")


def test_a_deployment_is_rehearsed_listed_and_taken_again(world: World) -> None:
    rehearsed = world.done("contract", "deploy", world.model, "--rules", world.rules)
    assert (rehearsed["kept"], set(rehearsed["contracts"])) == (False, {"registry", "router", "adapter", "ledger"})
    again = world.deploy()
    assert again["model"]["scheme"] == "tee/1"
    listed = world.done("contract", "list", world.model, "--rpc", world.url)
    assert (listed["problems"], listed["contracts"].keys()) == ([], again["contracts"].keys())
    shown = world.vml("contract", "list", world.model)
    assert again["model"]["rules"] in shown.out.replace("\n", "")
    # Later epochs only, from now on: the entry's metadata changes, and nothing else.
    later = world("contract", "deploy", world.model, "--rules", world.rules, "--rpc", world.url, "--min-epoch", 2, by=0)
    assert later.json["contracts"] == again["contracts"]
    assert world.done("tee", "status", world.deployment, "--rpc", world.url)["minimum_epoch"] == 2
    refused = world.verify()
    assert (refused.code, refused.json["error"]["error"]) == (6, "EpochRotated")


def test_rules_by_the_command_line(world: World) -> None:
    value = world.make_rules()
    assert (value["modes"], value["threshold"], len(value["attestors"])) == (["quorum"], 3, 5)
    assert value["error"] is None
    one = ("--attestor", address(1), "--threshold", 1)
    for more, words in (
        ((*one, "--attestation", address(2)), "tdx.min_evaluation_number"),
        ((), "no key comes in"),
        ((*one, "--threshold", 2), "threshold of 2 of 1"),
        (("--attestor", "0x12", "--threshold", 1), "--attestor"),
        ((*one, "--bond", 5), "give a --window"),
        ((*one, "--window", 5), "give --decision and --bond"),
        ((*one, "--window", 5, "--decision", 5, "--bond", 1, "--reward", 1), "half of either"),
    ):
        done = world("tee", "rules", world.policy, "-o", world.folder / "other.json", *more)
        assert (done.code, words in done.err) == (2, True), (more, done.err)
    assert not (world.folder / "other.json").exists()
    shown = world.vml("tee", "rules", world.policy, "-o", world.folder / "other.json", *one)
    assert "3 of" not in shown.out
    assert address(1) in shown.out


def test_what_an_attestor_does_not_sign(world: World, vml: Vml) -> None:
    common = ("--rules", world.rules, "--policy", world.policy)
    here, out = ("--deployment", world.deployment), ("-o", world.folder / "x.json")
    nonce, simulated = ("--nonce", NONCE), ("--allow-simulated",)
    other = world.folder / "other.rules.json"
    world.done("tee", "rules", world.policy, "-o", other, "--attestor", address(1), "--threshold", 1)
    vml("tee", "simulate", "snp", "-o", world.folder / "sim.snp")
    somewhere = ("--contract", address(2), "--owner", address(3))
    policies = ("--rules", world.rules, "--policy", world.folder / "sim.snp" / "policy.yaml")
    for code, words, by, more in (
        (1, "SIMULATED_EVIDENCE", 1, (*common, *here, *nonce)),
        (1, "NONCE_MISMATCH", 1, (*common, *here, *simulated, "--nonce", "0x" + "11" * 32)),
        (1, "appraisal policy", 1, (*policies, *here, *nonce, *simulated)),
        (1, "EXPIRED", 1, (*common, *here, *nonce, *simulated, "--at", "2040-01-01T00:00:00Z")),
        (2, "what did the attester repeat", 1, (*common, *here, *simulated)),
        (2, "give its --rpc", 1, (*common, *here, *simulated, "--block", 3)),
        (2, "that you sent", 1, (*common, *here, *simulated, "--nonce", "any", "--nonce-sent-at", 5)),
        (2, "is no attestor", OWNER, (*common, *here, *nonce, *simulated)),
        (2, "say where", 1, (*common, *nonce, *simulated)),
        (2, "says where", 1, (*common, *here, "--chain", 1, *nonce, *simulated)),
        (2, "under the rules", 1, ("--rules", other, "--policy", world.policy, *here, *nonce, *simulated)),
        (6, "nobody can sign", None, (*common, *here, *nonce, *simulated)),
        (6, "no test node", 1, (*common, "--chain", 1, *somewhere, *nonce, *simulated)),
    ):
        done = world("tee", "endorse", world.proof, *out, *more, by=by)
        assert (done.code, words in done.err) == (code, True), (more, done.err)
        assert done.json["error"]["exit_code"] == code
    assert not (world.folder / "x.json").exists()
    for source in (world.policy.parent, world.rules, world.policy):
        done = world("tee", "endorse", source, *out, *common, *here, *nonce, *simulated, by=1)
        assert done.code in (1, 2), done.err


def test_what_is_not_admitted(world: World) -> None:
    for number in ATTESTORS:
        assert world.endorse(number).code == 0
    signed = [world.signed(number) for number in ATTESTORS]
    send = ("--rpc", world.url)
    few = world("tee", "admit", *signed[:2], *send, by=1)
    assert (few.code, "2 attestors signed, the rules want 3 of 5" in few.err) == (2, True)
    twice = world("tee", "admit", signed[0], signed[0], signed[1], *send, by=1)
    assert twice.code == 2
    assert world.endorse(5, "--deadline", "2040-01-01T00:00:00Z").code == 0
    mixed = world("tee", "admit", *signed[2:], *send, by=1)
    assert (mixed.code, "one --deadline" in mixed.err) == (2, True)
    nobody = world("tee", "admit", *signed[:3], *send)
    assert (nobody.code, "nobody can sign" in nobody.err) == (6, True)
    for more, words in (
        (("--mode", "on-chain"), "--deployment"),
        (("--mode", "zk", "--nonce", NONCE), "one attested key"),
        (("--mode", "some"), "modes are"),
        (("--mode", "optimistic"), "vml tee proposal"),
        (("--mode", "quorum,zk"), "one mode at a time"),
        (("--block", 5), "not for --mode quorum"),
    ):
        done = world("tee", "admit", *signed[:3], *send, *more, by=1)
        assert (done.code, words in done.err) == (2, True), (more, done.err)
    altered = signed[0].read_bytes().replace(b'"simulated":true', b'"simulated":false')
    signed[0].write_bytes(altered)
    done = world("tee", "admit", *signed[:3], *send, by=1)
    assert (done.code, "no endorsement" in done.err) == (2, True)
    early = world("tee", "renew", *signed[1:4], *send, by=1)
    assert (early.code, early.json["error"]["error"]) == (6, "KeyUnknown")
    assert world.done("tee", "status", world.deployment, *send)["keys"] == []


def test_what_is_not_revoked(world: World) -> None:
    common = ("--deployment", world.deployment, "--rpc", world.url)
    for key, words in (("0x" + "11" * 32, "--epoch"), ("0x12", "--epoch"), (world.rules, "attested key")):
        done = world("tee", "revoke", key, *common, by=OWNER)
        assert (done.code in (1, 2), words in done.err) == (True, True), done.err
    done = world("tee", "revoke", world.proof, *common, "--epoch", 1, by=OWNER)
    assert (done.code, "the file says it" in done.err) == (2, True)
    # Before it ever comes in, by its id.
    value = world.done("tee", "revoke", "0x" + "11" * 32, "--epoch", 4, "--mode", "quorum,zk", *common, by=OWNER)
    assert set(value["records"]) == {"quorum", "zk"}
    done = world("tee", "rotate", 3, *common, by=1)
    assert (done.code, "that account's key" in done.err) == (6, True)
    assert world.done("tee", "rotate", 3, *common, by=OWNER)["minimum_epoch"] == 3
    assert world.done("tee", "status", world.deployment, "--rpc", world.url)["minimum_epoch"] == 3
    assert world.verify().json["error"]["error"] == "EpochRotated"
    done = world("tee", "recheck", world.proof, "--rules", world.rules, *common, by=1)
    assert (done.code, done.json["error"]["error"]) == (6, "KeyUnknown")


def test_what_does_not_go_together(world: World, tmp_path: Path) -> None:
    deploy = ("contract", "deploy", world.model)
    for more, words in (
        (("--modes", "quorum"), "--rules"),
        (("--min-epoch", 1), "--rules"),
        (("--rules", world.rules, "--profile", "local"), "one deployment for each"),
        (("--rules", world.rules, "--modes", "zk"), "no key comes in by zk"),
        (("--rules", world.rules, "--modes", "all"), "modes are"),
        (("--rules", world.policy), "not JSON"),
    ):
        done = world(*deploy, *more)
        assert (done.code, words in done.err) == (2, True), (more, done.err)
    done = world("contract", "deploy", tmp_path, "--rules", world.rules)
    assert (done.code, "about a compiled model" in done.err) == (2, True)
    done = world("contract", "verify", world.proof)
    assert (done.code, "give --rpc" in done.err) == (2, True)
    missing = world("tee", "status", tmp_path / "none.json", "--rpc", world.url)
    assert missing.code == 2
