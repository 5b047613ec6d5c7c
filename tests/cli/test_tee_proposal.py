"""Keys that a contract checks itself, and keys to which nobody objects, by the command line on a real node."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from attested_world import OWNER, World, address, private

from tests.chain import tee_world
from tests.chain.chain_world import creation_of
from tests.chain.conftest import anvil as anvil
from tests.chain.test_tee_on_chain import attestation_of, output_of
from vml import canonical
from vml.chain import keys, tee_proposals
from vml.chain.client import connect
from vml.chain.tee_endorsement import Admission
from vml.chain.tee_evidence import Finding
from vml.chain.tee_proposals import TeeProposer
from vml.chain.tee_rules import Rules, Terms
from vml.claim import Claim
from vml.cli.tee_chain_work import place_of, read_deployment
from vml.errors import ChainError
from vml.model import Model
from vml.tee.appraisal import AppraisalPolicy

Vml = Callable[..., Any]
TERMS = ("--window", 600, "--decision", 600, "--bond", 10**15)


class Attester:
    """Answers requests for evidence as one inside would: a key of its own, whatever the nonce."""

    def __init__(self, model: bytes) -> None:
        self.model, self.inside = model, None
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                data = outer.answer(bytes.fromhex(canonical.decode(body, max_bytes=1 << 16)["nonce"][2:]))
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, nonce: bytes) -> bytes:
        inside = tee_world.enclave(at=int(time.time()), nonce=nonce, model=self.model)
        self.inside = inside
        return inside.shown.to_bytes()


@pytest.fixture
def attester(compiled: Path) -> Iterator[Attester]:
    made = Attester(Model.load(compiled).commitment)
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join(10)


@pytest.fixture
def world(
    vml: Vml, anvil: str, tmp_path: Path, compiled: Path, input_file: Path, monkeypatch: pytest.MonkeyPatch
) -> World:
    made = World(vml, anvil, tmp_path, compiled, monkeypatch)
    made.policy.parent.mkdir()
    write_policy(tee_world.policy(), made.policy)
    return made


def write_policy(policy: AppraisalPolicy, path: Path) -> None:
    path.write_text(yaml.safe_dump(policy.model_dump(mode="json", exclude_defaults=True)))


def make_rules(world: World, *more: object) -> None:
    named = [item for number in range(1, 6) for item in ("--attestor", address(number))]
    world.done("tee", "rules", world.policy, "-o", world.rules, "--threshold", 3, *named, *more)


def attest(world: World, attester: Attester) -> tuple[Path, int]:
    """An answer with the latest block's nonce, and that block."""
    answer = world.folder / "key.json"
    more = ("--latest-block", "--deployment", world.deployment, "--rpc", world.url)
    value = world.done("tee", "attest", attester.url, "-o", answer, *more)
    assert value["kind"] == "tdx"
    return answer, value["block"]


def proof_by(world: World, attester: Attester) -> None:
    claim = Claim(attester.model, bytes(32), bytes(32), bytes(32))
    attester.inside.sign(claim, issued_at=int(time.time())).save(world.proof)


SIMULATED = ("--allow-simulated", "--seed", tee_world.SEED)


def test_an_attesters_answer_is_endorsed(world: World, attester: Attester) -> None:
    make_rules(world)
    world.deploy()
    answer, block = attest(world, attester)
    for number in (1, 2, 3):
        more = ("--rules", world.rules, "--policy", world.policy, "--deployment", world.deployment, *SIMULATED)
        by_block = ("--block", block, "--rpc", world.url)
        world.done("tee", "endorse", answer, "-o", world.signed(number), *more, *by_block, by=number)
    signed = [world.signed(number) for number in (1, 2, 3)]
    assert world.done("tee", "admit", *signed, "--rpc", world.url, by=OWNER)["mode"] == "quorum"
    proof_by(world, attester)
    assert world.verify().code == 0
    # Evidence alone, with the answer that says for which key.
    evidence = canonical.decode(answer.read_bytes(), max_bytes=1 << 24)["evidence"]
    alone = world.folder / "key.evidence.json"
    alone.write_bytes(canonical.encode(evidence))
    more = ("--rules", world.rules, "--policy", world.policy, "--deployment", world.deployment, *SIMULATED)
    done = world("tee", "endorse", alone, "-o", world.signed(4), *more, "--nonce", "any", by=4)
    assert (done.code, "--certificate" in done.err) == (2, True)
    done = world("tee", "endorse", alone, "-o", world.signed(4), *more, "--nonce", "any", "--certificate", answer, by=4)
    assert done.code == 0, done.err


def test_an_attester_that_is_asked_wrongly(world: World, attester: Attester) -> None:
    out = ("-o", world.folder / "key.json")
    assert world.done("tee", "attest", attester.url, *out, "--nonce", "0x" + "11" * 32)["nonce"] == "0x" + "11" * 32
    assert len(world.done("tee", "attest", attester.url, *out)["nonce"]) == 66
    done = world("tee", "attest", attester.url, *out, "--latest-block")
    assert (done.code, "--rpc and --deployment" in done.err) == (2, True)
    done = world("tee", "attest", f"unix:{world.folder}/none", *out)
    assert (done.code, "does not answer" in done.err) == (5, True)


def deploy_with_quote(world: World, attester: Attester, simulated: bool = False) -> tuple[Path, int]:
    """Rules with a contract that says that this very quote is genuine."""
    make_rules(world)
    router = world.deploy()["contracts"]["router"]["address"]
    answer, block = attest(world, attester)
    chain = connect(world.url, signer=keys.from_private_key(private(OWNER)))
    output = output_of(attester.inside.shown.evidence.data)
    code = attestation_of(output[:5] + b"\xffSIMUL" + output[11:] if simulated else output)
    make_rules(world, "--attestation", chain.deploy(creation_of(code)), *TERMS)
    world.deployment = world.folder / "second.json"
    more = ("--router", router, "--resume", world.deployment, "--modes", "quorum,on-chain,zk,optimistic")
    world.done("contract", "deploy", world.model, "--rules", world.rules, "--rpc", world.url, *more, by=OWNER)
    return answer, block


def test_a_contract_lets_a_key_in(world: World, attester: Attester, tmp_path: Path) -> None:
    answer, block = deploy_with_quote(world, attester)
    common = ("--rules", world.rules, "--policy", world.policy, "--deployment", world.deployment, "--rpc", world.url)
    more = (*common, "--block", block)
    refused = world("tee", "admit", answer, *more, "--mode", "on-chain", by=1)
    assert (refused.code, "SIMULATED_EVIDENCE" in refused.err) == (1, True)
    value = world.done("tee", "admit", answer, *more, *SIMULATED, "--mode", "on-chain", by=1)
    assert (value["mode"], value["simulated"]) == ("on-chain", False)
    proof_by(world, attester)
    assert world.verify().code == 0
    zk = ("--mode", "zk", "--zk-journal", world.rules, "--zk-proof", world.rules)
    done = world("tee", "admit", answer, *more, *SIMULATED, *zk, by=1)
    assert (done.code, "--zk-system" in done.err) == (2, True)
    resume = ("--resume", tmp_path / "zk.json")
    assert world.done("tee", "admit", answer, *more, *SIMULATED, *zk, "--zk-system", 1, *resume, by=1)["mode"] == "zk"
    listed = world.done("tee", "status", world.deployment, "--rpc", world.url)["keys"]
    assert [key["mode"] for key in listed] == ["on-chain", "zk"]
    assert "accepted" in world.vml("tee", "status", world.deployment, "--rpc", world.url).out
    gone = world.done("tee", "revoke", answer, "--deployment", world.deployment, "--rpc", world.url, by=OWNER)
    assert set(gone["records"]) == {"quorum", "on-chain", "zk", "optimistic"}
    assert world.verify().json["error"]["error"] == "KeyIsRevoked"


def test_a_proposal_that_is_challenged(world: World, attester: Attester) -> None:
    make_rules(world, *TERMS)
    more = ("--modes", "quorum,optimistic")
    world.done("contract", "deploy", world.model, "--rules", world.rules, "--rpc", world.url, *more, by=OWNER)
    answer, block = attest(world, attester)
    where = ("--deployment", world.deployment, "--rpc", world.url)
    judging = ("--rules", world.rules, "--policy", world.policy, *SIMULATED)
    made = world.done("tee", "proposal", "propose", answer, *where, *judging, "--block", block, by=1)
    assert (made["status"], made["simulated"], made["proposer"]) == ("open", True, address(1))
    watching = ("--policy", world.policy, *SIMULATED)
    (row,) = world.done("tee", "proposal", "list", *where, *watching)["proposals"]
    assert (row["id"], row["judged"], row["fault"]) == (made["id"], True, None)
    early = world("tee", "proposal", "activate", made["id"], *where, by=2)
    assert (early.code, early.json["error"]["error"]) == (6, "TooEarly")

    # A watcher with other roots sees nothing genuine in it.
    other = world("tee", "proposal", "list", *where, "--policy", world.policy, "--allow-simulated", "--seed", "other")
    assert (other.code, other.json["proposals"][0]["fault"] is None) == (1, False)
    moved = world.done("tee", "proposal", "challenge", made["id"], *where, by=2)
    assert (moved["status"], moved["challenger"]) == ("challenged", address(2))
    files = []
    for number in (3, 4, 5):
        files.append(world.folder / f"{number}.decision.json")
        value = world.done("tee", "proposal", "judge", made["id"], "-o", files[-1], *where, *watching, by=number)
        assert (value["genuine"], value["fault"]) == (True, None)
    none = world("tee", "proposal", "judge", made["id"], "-o", world.folder / "x", *where, *watching, by=OWNER)
    assert (none.code, "no attestor" in none.err) == (2, True)
    assert world.done("tee", "proposal", "decide", made["id"], *files, *where, by=2)["status"] == "accepted"
    world.done("tee", "proposal", "activate", made["id"], *where, by=2)
    proof_by(world, attester)
    assert world.verify().code == 0
    assert int(world.done("tee", "proposal", "withdraw", *where, by=1)["wei"]) == 10**15 + 10**15 // 2
    assert world.done("tee", "proposal", "withdraw", *where, by=2)["wei"] == "0"
    # What is decided already is not sent again, and cannot be ended otherwise.
    assert world.done("tee", "proposal", "prove", made["id"], *where, by=2)["status"] == "accepted"
    done = world("tee", "proposal", "expire", made["id"], *where, by=2)
    assert (done.code, done.json["error"]["error"]) == (6, "WrongStatus")
    unknown = world("tee", "proposal", "challenge", "0x" + "11" * 32, *where, by=2)
    assert (unknown.code, "there is no proposal" in unknown.err) == (6, True)
    assert made["id"] in world.vml("tee", "proposal", "list", *where).out.replace("\n", "")


def test_a_quote_is_watched(world: World, attester: Attester, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a policy or without: what nobody could have accepted is never a clean list."""
    answer, block = deploy_with_quote(world, attester, simulated=True)
    where = ("--deployment", world.deployment, "--rpc", world.url)
    judging = ("--rules", world.rules, "--policy", world.policy, *SIMULATED, "--block", block, "--quote")
    made = world.done("tee", "proposal", "propose", answer, *where, *judging, by=1)
    assert made["quote"]
    watching = ("--policy", world.policy, *SIMULATED)
    for more in (watching, ()):
        (row,) = world.done("tee", "proposal", "list", *where, *more)["proposals"]
        assert (row["judged"], row["fault"]) == (True, None)

    # Another key, and bytes that are no quote; a careful proposer is stopped, another is not.
    attest(world, attester)
    inside = attester.inside
    garbage = replace(inside.shown, evidence=replace(inside.shown.evidence, data=b"garbage"))
    rules = Rules.load(world.rules)
    place = place_of(read_deployment(world.deployment))
    chain = connect(world.url, signer=keys.from_private_key(private(2)))
    latest = chain.rpc.number("eth_blockNumber")
    admission = Admission(place, rules, inside.certificate, Finding(bytes(32), 1 << 40, True, 0))
    with pytest.raises(ChainError, match="the bond would be lost"):
        TeeProposer(chain).propose(admission, garbage, latest, is_quote=True)
    monkeypatch.setattr(tee_proposals, "quote_fault", lambda *_: None)
    bad = TeeProposer(chain).propose(admission, garbage, latest, is_quote=True)
    for more in (watching, ()):
        done = world("tee", "proposal", "list", *where, *more)
        assert (done.code, done.json["unread_blocks"]) == (1, [])
        faults = {row["id"]: row["fault"] for row in done.json["proposals"]}
        assert faults[made["id"]] is None
        assert "Mismatch" in faults["0x" + bad.id.hex()]


def test_a_lapse_is_not_free(world: World) -> None:
    make_rules(world, *TERMS)
    assert Rules.load(world.rules).terms == Terms(600, 600, 10**15, 10**15, 10**15 // 2, 10**14)
    make_rules(world, *TERMS, "--lapse", 0)
    terms = Rules.load(world.rules).terms
    assert terms is not None
    assert terms.lapse_wei == 0
    done = world("tee", "rules", world.policy, "-o", world.rules, "--attestor", address(1), "--lapse", 0)
    assert (done.code, "give a --window" in done.err) == (2, True)


def test_a_list_goes_on_past_what_it_cannot_judge(world: World, attester: Attester) -> None:
    make_rules(world, *TERMS)
    more = ("--modes", "quorum,optimistic")
    world.done("contract", "deploy", world.model, "--rules", world.rules, "--rpc", world.url, *more, by=OWNER)
    where, made = ("--deployment", world.deployment, "--rpc", world.url), []
    for number in (1, 2):
        answer, block = attest(world, attester)
        judging = ("--rules", world.rules, "--policy", world.policy, *SIMULATED, "--block", block)
        resume = ("--resume", world.folder / f"{number}.json")
        made.append(world.done("tee", "proposal", "propose", answer, *where, *judging, *resume, by=number)["id"])
    aged = world.folder / "aged.yaml"
    write_policy(tee_world.policy().model_copy(update={"max_age_s": 5}), aged)
    done = world("tee", "proposal", "list", *where, "--policy", aged, *SIMULATED)
    rows = done.json["proposals"]
    assert (done.code, [row["id"] for row in rows]) == (1, made)
    assert all(row["fault"].startswith("not judged: ") and not row["judged"] for row in rows)
    assert world.done("tee", "proposal", "list", *where)["proposals"][0]["judged"] is False


def test_a_proposal_to_which_nobody_objects(world: World, attester: Attester) -> None:
    make_rules(world, *TERMS)
    more = ("--modes", "optimistic")
    world.done("contract", "deploy", world.model, "--rules", world.rules, "--rpc", world.url, *more, by=OWNER)
    answer, block = attest(world, attester)
    where = ("--deployment", world.deployment, "--rpc", world.url)
    judging = ("--rules", world.rules, "--policy", world.policy, *SIMULATED, "--block", block)
    made = world.done("tee", "proposal", "propose", answer, *where, *judging, by=1)
    assert world.done("tee", "proposal", "propose", answer, *where, *judging, by=1)["id"] == made["id"]
    rpc = connect(world.url).rpc
    rpc.ask("evm_increaseTime", 601)
    rpc.ask("evm_mine")
    assert world.done("tee", "proposal", "activate", made["id"], *where, by=2)["status"] == "accepted"
    proof_by(world, attester)
    assert world.verify().code == 0
