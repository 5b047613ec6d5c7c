"""`vml dispute` on a real node: assert, watch, challenge, status, and how they refuse."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backends.optimistic.dispute_world import CIRCUITS, flipped, with_false_output
from tests.chain.conftest import anvil as anvil
from tests.dispute.dispute_chain import STEP_GAS, ZERO_ADDRESS, Liars, assertion_of, signer
from vml.backends.optimistic.trace import Trace
from vml.chain import artifacts
from vml.chain.client import connect
from vml.chain.keys import PRIVATE_KEY
from vml.cli import main
from vml.dispute.asserting import settle_terms
from vml.dispute.follower import Follower
from vml.dispute.journal import Journal
from vml.dispute.player import Habits, Player
from vml.dispute.sender import Budget, Sender
from vml.dispute.store import Store
from vml.model import Model, compile_model
from vml.model.semantics import semantics_digest

FUNDS = hex(10**24)
ASSERTER, WATCHER, LIAR = 11, 12, 13
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled folder, with a row of input beside it."""
    source, folder = CIRCUITS / "digits-mlp", tmp_path_factory.mktemp("model")
    with np.load(source / "calibration.npz") as stored:
        calibration = {name: stored[name] for name in stored.files}
    compile_model(source / "model.onnx", calibration=calibration).save(folder / "digits.vml")
    np.savez(folder / "row.npz", **{name: rows[:1] for name, rows in calibration.items()})
    return folder


@pytest.fixture(scope="module")
def game(anvil: str) -> str:
    for number in (0, ASSERTER, WATCHER, LIAR):
        connect(anvil).rpc.ask("anvil_setBalance", signer(number).address, FUNDS)
    chain = connect(anvil, signer=signer(0))
    registry, contract = artifacts.load("GraphRegistry"), artifacts.load("DisputeGame")
    graphs = chain.deploy(registry.bytecode, registry.abi, [semantics_digest(), STEP_GAS])
    steps = chain.deploy(artifacts.load("StepVerifier").bytecode)
    return chain.deploy(contract.bytecode, contract.abi, [graphs, steps, ZERO_ADDRESS])


@pytest.fixture
def run(
    anvil: str, game: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """A command as some account, which has its file in this test's folder."""

    def call(command: str, *arguments: object, who: int | None = None, code: int = 0, db: str = "") -> dict[str, Any]:
        monkeypatch.delenv(PRIVATE_KEY, raising=False)
        if who is not None:
            monkeypatch.setenv(PRIVATE_KEY, f"{who + 1:064x}")
        given = [*map(str, arguments), "--rpc", anvil, "--game", game, "--json"]
        if command != "status":
            given += ["--db", str(tmp_path / (db or f"{who}.sqlite"))]
        capsys.readouterr()
        ended = main(["dispute", command, *given])
        captured = capsys.readouterr()
        assert ended == code, captured.err
        value: dict[str, Any] = json.loads(captured.out)
        return value

    return call


def later(anvil: str, seconds: int) -> None:
    rpc = connect(anvil).rpc
    rpc.ask("evm_increaseTime", seconds)
    rpc.ask("evm_mine")


def test_a_claim_is_asserted_watched_and_settled(anvil: str, run: Run, model: Path, tmp_path: Path) -> None:
    given = (model / "digits.vml", model / "row.npz", "--profile", "local")
    made = run("assert", *given, "--publish-trace", tmp_path / "trace", who=ASSERTER)
    assert made["transaction"]
    assert len((tmp_path / "trace" / "roots").read_bytes()) % 32 == 0
    name = made["assertion"]
    again = run("assert", *given, "--publish-trace", tmp_path / "trace", who=ASSERTER)
    assert (again["assertion"], again["transaction"]) == (name, None)

    seen = run("status", name, code=7)
    assert [row["status"] for row in seen["assertions"]] == ["open"]
    watched = run("watch", "--model", model, "--once", "--dry-run")
    assert name in {row["assertion"] for row in watched["assertions"]}
    refused = run("challenge", name, "--model", model, who=WATCHER, code=2)
    assert "would lose its bond" in refused["error"]["message"]

    later(anvil, 10_000)
    run("watch", "--once", "--withdraw", who=ASSERTER)
    run("watch", "--once", "--withdraw", who=ASSERTER)
    assert run("status", name)["assertions"][0]["status"] == "final"


def test_a_false_claim_is_challenged_to_its_end(anvil: str, game: str, run: Run, model: Path) -> None:
    chain, compiled = connect(anvil, signer=signer(LIAR)), Model.load(model / "digits.vml")
    terms, _ = settle_terms(chain, game, compiled, "fast-l2")
    with np.load(model / "row.npz") as stored:
        codes = compiled.quantize({name: stored[name] for name in stored.files})
    honest = Trace(compiled.executor, codes)
    computed = next(i for i, node in enumerate(compiled.graph.nodes) if node.primitive == "dot")
    lie = with_false_output(honest, codes, {computed: flipped(honest.tensor(computed), 1)})
    name: list[bytes] = []
    told, over = threading.Event(), threading.Event()

    def lying() -> None:
        store = Store(None)
        sender = Sender(chain, game, store, Budget())
        one = Player(Follower(chain, game, store), sender, store, Liars({}), Habits(watch=False), Journal())
        one.library.add(compiled)
        name.append(assertion_of(one, lie, terms))
        one.library.lies[name[0]] = lie  # type: ignore[attr-defined]
        told.set()
        while not over.wait(0.05):
            one.round()
        store.close()

    thread = threading.Thread(target=lying)
    thread.start()
    try:
        assert told.wait(60)
        shown, given = "0x" + name[0].hex(), ("--model", model / "digits.vml", "--poll", "0.05")
        refused = run("challenge", shown, *given, who=WATCHER, code=2)
        assert "are not acceptable: local: reward of a defence" in refused["error"]["message"]
        ended = run("challenge", shown, "--profile", "fast-l2", *given, who=WATCHER)
    finally:
        over.set()
        thread.join(60)
    (row,) = ended["assertions"]
    assert row["status"] == "slashed"
    assert [dispute["result"] for dispute in row["disputes"]] == ["won"]
    assert run("status", shown, code=1)["assertions"][0]["status"] == "slashed"


def test_a_proof_is_asserted(run: Run, model: Path, tmp_path: Path) -> None:
    proof = tmp_path / "bundle.vmlp"
    given = str(model / "digits.vml"), str(model / "row.npz")
    assert main(["prove", *given, "-o", str(proof), "--backend", "optimistic", "-q"]) == 0
    made = run("assert", proof, "--model", model, "--profile", "local", "--nonce", 5, "--no-input", who=ASSERTER)
    seen = run("status", made["assertion"], code=7)
    assert seen["assertions"][0]["claim"]["model"] == made["claim"]["model"]
    assert "local, fast-l2" in run("assert", proof, "--model", model, who=ASSERTER, code=2)["error"]["message"]
    assert (
        "holds the proof's model"
        in (
            run("assert", proof, "--model", _other(tmp_path), "--profile", "local", who=ASSERTER, code=2)["error"][
                "message"
            ]
        )
    )


def test_a_signed_bundle_is_asserted_as_it_says(
    anvil: str, game: str, run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vml.backends.optimistic.payload import Bundle
    from vml.proof import Proof

    terms, digest = settle_terms(connect(anvil, signer=signer(0)), game, Model.load(model / "digits.vml"), "local")
    proof = tmp_path / "bundle.vmlp"
    monkeypatch.setenv(PRIVATE_KEY, f"{ASSERTER + 1:064x}")
    given = [model / "digits.vml", model / "row.npz", "-o", proof, "--backend", "optimistic", "--game", game]
    given += ["--chain-id", 31337, "--terms", "0x" + digest.hex(), "--nonce", 77, "--commit-trace", "-q"]
    assert main(["prove", *map(str, given)]) == 0
    made = run("assert", proof, "--model", model, who=ASSERTER)
    assert made["assertion"] == "0x" + Bundle.decode(Proof.load(proof).payload).id.hex()
    assert made["bond"] == str(terms.asserter_bond)
    wrong = run("assert", proof, "--model", model, who=WATCHER, code=2)
    assert "another chain, game or asserter" in wrong["error"]["message"]


def test_a_bundle_s_terms_are_looked_at_before_its_bond_is_at_stake(
    anvil: str, game: str, run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, contract = connect(anvil, signer=signer(0)), artifacts.load("DisputeGame").abi
    good, _ = settle_terms(chain, game, Model.load(model / "digits.vml"), "local")
    hasty = replace(good, asserter_clock_s=1)
    chain.transact(game, contract, "offerTerms", astuple(hasty))
    proof, name = tmp_path / "bundle.vmlp", "0x" + hasty.digest().hex()
    monkeypatch.setenv(PRIVATE_KEY, f"{ASSERTER + 1:064x}")
    given = [model / "digits.vml", model / "row.npz", "-o", proof, "--backend", "optimistic", "--game", game]
    given += ["--chain-id", 31337, "--terms", name, "--nonce", 78, "-q"]
    assert main(["prove", *map(str, given)]) == 0
    refused = run("assert", proof, "--model", model, who=ASSERTER, code=2)
    assert "local: asserter clock is 1" in refused["error"]["message"]
    refused = run("assert", proof, "--model", model, "--profile", "fast-l2", who=ASSERTER, code=2)
    assert "fast-l2: asserter clock" in refused["error"]["message"]
    refused = run("assert", proof, "--model", model, "--profile", "0x" + "11" * 32, who=ASSERTER, code=2)
    assert "not --profile" in refused["error"]["message"]
    assert run("assert", proof, "--model", model, "--profile", name, who=ASSERTER)["terms"] == name


def test_a_trace_replaces_nothing_but_a_trace(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "letter.txt").write_text("dear")
    given = (model / "digits.vml", model / "row.npz", "--profile", "local")
    refused = run("assert", *given, "--publish-trace", tmp_path / "kept", who=ASSERTER, code=2)
    assert "letter.txt" in refused["error"]["message"]
    run("assert", *given, "--publish-trace", model / "row.npz", who=ASSERTER, code=2)
    assert (tmp_path / "kept" / "letter.txt").read_text() == "dear"


def _other(folder: Path) -> Path:
    source, place = CIRCUITS / "breast-cancer-mlp", folder / "other.vml"
    with np.load(source / "calibration.npz") as stored:
        calibration = {name: stored[name] for name in stored.files}
    compile_model(source / "model.onnx", calibration=calibration).save(place)
    return place


@pytest.mark.parametrize(
    ("command", "arguments", "who", "code", "message"),
    [
        ("watch", ("--once",), None, 6, "nobody can sign"),
        ("watch", ("--once",), WATCHER, 2, "nothing to watch with"),
        ("watch", ("--once", "--model", "/nowhere"), WATCHER, 2, "no compiled model"),
        ("watch", ("--once", "--chain", 5), WATCHER, 6, "the node is on chain"),
        ("watch", ("--once", "--model", "/nowhere", "--profile", "fast"), WATCHER, 2, "a profile is one of"),
        ("watch", ("--once", "--model", "/nowhere", "--terms", "0x12"), WATCHER, 2, "64 hex digits"),
        ("challenge", ("0x12",), WATCHER, 2, "64 hex digits"),
        ("challenge", ("0x" + "12" * 32,), WATCHER, 6, "has no assertion"),
        ("status", ("0x" + "12" * 32,), None, 6, "has no assertion"),
    ],
)
def test_how_commands_refuse(
    run: Run, command: str, arguments: tuple[object, ...], who: int | None, code: int, message: str
) -> None:
    assert message in run(command, *arguments, who=who, code=code)["error"]["message"]


def test_more_refusals(anvil: str, run: Run, model: Path, tmp_path: Path) -> None:
    given = (model / "digits.vml", model / "row.npz")
    for profile, code in (("fast", 2), ("0x" + "13" * 32, 6)):
        run("assert", *given, "--profile", profile, who=ASSERTER, code=code)
    run("assert", model / "digits.vml", "--profile", "local", who=ASSERTER, code=2)
    stake = run("assert", *given, "--profile", "local", "--nonce", 9, "--max-stake", 1, who=ASSERTER, code=6)
    assert "are allowed" in stake["error"]["message"]
    run("watch", "--once", "--model", model, who=WATCHER, db="shared")
    assert "another sender" in run("watch", "--once", who=ASSERTER, code=6, db="shared")["error"]["message"]
    main(["dispute", "status", "--rpc", anvil, "--game", "0x" + "11" * 20])
    assert main(["dispute", "status", "--rpc", anvil, "--game", "0x" + "11" * 20, "-q"]) == 6
    assert main(["dispute", "status", "--rpc", anvil, "--game", str(tmp_path / "none.json"), "-q"]) == 2
