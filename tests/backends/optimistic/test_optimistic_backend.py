"""The backend's face: what it says it can do, what it refuses before any work, what it predicts, what the API adds."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vml
from tests.backends.optimistic.bundles import (
    ALICE,
    CHAIN,
    CONTEXT,
    GAME,
    INPUTS,
    MALLORY,
    PINS,
    address_of,
    asserting,
    bundle,
    decoded,
    keys,
    model,
    says,
)
from vml import api
from vml.backends import BACKENDS, get_backend
from vml.backends.optimistic import OptimisticBackend
from vml.backends.optimistic import estimate as estimates
from vml.backends.optimistic.chain_record import Standing
from vml.backends.optimistic.payload import Bundle
from vml.backends.optimistic.profiles import PROFILES, resolution_bound_s, terms_for, worst_case
from vml.backends.optimistic.scheme import SCHEME
from vml.backends.types import Asserting, Environment, Keys, SetupOptions, Visibility
from vml.errors import BackendUnavailable, NotFinal, ProvingError, UnsupportedModel
from vml.model import compile_model
from vml.model.onestep import MAX_TERMS, step_bound
from vml.model.semantics import SEMANTICS
from vml.proof import Proof

CIRCUITS = Path(__file__).parents[3] / "circuits"
PRIVATE = [Visibility(input="private"), Visibility(input="hashed"), Visibility(model="private")]


class Nothing:
    """A model that must not be looked at."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def test_it_is_in_the_table() -> None:
    assert "optimistic" in BACKENDS
    assert isinstance(get_backend("optimistic"), OptimisticBackend)
    assert SCHEME == "optimistic/1"


def test_capabilities() -> None:
    able = OptimisticBackend().capabilities()
    assert (able.assurance, able.semantics) == ("economic", SEMANTICS)
    assert any("one honest watcher" in line for line in able.trusts)
    assert (able.inputs, able.models, able.batch) == (("public",), ("public",), False)
    assert (able.exact, able.pinned_key, able.needs_setup, able.on_chain, able.recomputes) == (
        True,
        False,
        False,
        True,
        True,
    )


@pytest.mark.parametrize("visibility", PRIVATE, ids=str)
def test_nothing_can_be_hidden(visibility: Visibility) -> None:
    backend = OptimisticBackend()
    for ask in (
        lambda: backend.setup(Nothing(), SetupOptions(visibility=visibility)),  # type: ignore[arg-type]
        lambda: backend.prove(keys(), {}, bytes(32), visibility=visibility),
        lambda: backend.estimate(Nothing(), visibility),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match="who challenges needs the model, the input and the output"):
            ask()


@pytest.mark.parametrize(
    "change",
    [
        {"calibration": {}},
        {"max_error": 0.1},
        {"tune": False},
        {"on_chain": True},
        {"srs": Path("x")},
        {"time_limit_s": 1.0},
        {"memory_limit_bytes": 1},
        {"check": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_options_without_a_meaning_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="means nothing"):
        OptimisticBackend().setup(Nothing(), replace(SetupOptions(), **change))  # type: ignore[arg-type]


def test_other_backends_assert_nothing() -> None:
    for name in ("ezkl", "sumcheck"):
        with pytest.raises(ValueError, match="asserting means nothing"):
            get_backend(name).setup(model(), SetupOptions(asserting=asserting()))


def test_keys_of_others_are_refused() -> None:
    for other in (Keys("ezkl", "ezkl/1", bytes(32), b""), Keys("optimistic", SCHEME, bytes(32), b"")):
        with pytest.raises(ValueError, match="not optimistic keys"):
            OptimisticBackend().prove(other, {}, bytes(32), visibility=Visibility())


def test_one_input_at_a_time() -> None:
    with pytest.raises(ValueError, match="one input at a time"):
        OptimisticBackend().prove(keys(), [INPUTS], bytes(32), visibility=Visibility())


def test_a_model_without_an_input() -> None:
    class Closed:
        inputs = ()

    with pytest.raises(UnsupportedModel, match="no input"):
        OptimisticBackend().setup(Closed(), SetupOptions())  # type: ignore[arg-type]


def test_there_is_no_key_and_no_identity_of_a_file() -> None:
    with pytest.raises(ValueError, match="no verifying key"):
        OptimisticBackend().recompute_key(Nothing(), SetupOptions())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="compiled folder"):
        OptimisticBackend().recompute(b"", Nothing(), SetupOptions())  # type: ignore[arg-type]
    assert keys() == Keys("optimistic", SCHEME, model().commitment, b"", asserting=Asserting())


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    OptimisticBackend().available()
    monkeypatch.setattr("vml.backends.optimistic.NEEDED", ("numba", "no_such_package"))
    with pytest.raises(BackendUnavailable, match=r"no_such_package.*vml\[compile\]"):
        OptimisticBackend().available()


# ---- proving


def prove(where: Asserting | None) -> Proof:
    return OptimisticBackend().prove(keys(where), INPUTS, CONTEXT, visibility=Visibility())


def test_what_is_bundled() -> None:
    honest = decoded(bundle())
    assert (honest.chain_id, honest.game, honest.asserter, honest.nonce) == (CHAIN, GAME, address_of(ALICE), 7)
    assert honest.claim == bundle().claims[0].digest()
    assert prove(asserting()) == bundle()  # signatures are deterministic (RFC 6979)
    assert not any(decoded(prove(asserting(commit_trace=False))).trace)
    assert any(decoded(prove(Asserting(commit_trace=True))).trace)


def test_a_key_that_is_not_the_asserter_s() -> None:
    with pytest.raises(ProvingError, match="not the key of"):
        prove(asserting(MALLORY))


@pytest.mark.parametrize("change", [{"chain_id": 0}, {"game": bytes(20)}, {"terms": bytes(32)}, {"nonce": -1}])
def test_what_does_not_fit_together(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"all given, or none|below"):
        prove(asserting(None, **change))


def test_progress_is_told() -> None:
    told: list[tuple[str, float]] = []
    OptimisticBackend().prove(
        keys(), INPUTS, CONTEXT, visibility=Visibility(), progress=lambda stage, done: told.append((stage, done))
    )
    assert told == [("running the model", 0.0), ("running the model", 1.0)]


# ---- what it would cost


def shipped(name: str) -> Any:
    with np.load(CIRCUITS / name / "calibration.npz") as stored:
        return compile_model(CIRCUITS / name / "model.onnx", calibration=dict(stored))


def test_the_estimate() -> None:
    lenet = shipped("lenet5")
    found = OptimisticBackend().estimate(lenet, Visibility())
    assert found.fits
    assert not found.reasons
    assert found.prove_s is not None
    assert found.prove_s > 0
    assert found.setup_s == 0
    assert found.memory_bytes is not None
    assert found.memory_bytes > 1 << 20
    with np.load(CIRCUITS / "lenet5" / "calibration.npz") as stored:
        row = {name: values[:1] for name, values in stored.items()}
    signed = SetupOptions(asserting=asserting(nonce=0, commit_trace=False))
    made = OptimisticBackend().prove(OptimisticBackend().setup(lenet, signed), row, bytes(32), visibility=Visibility())
    assert found.proof_bytes == len(made.to_bytes())
    assert [worst.profile for worst in found.disputes] == ["fast-l2", "l1-safe"]
    steps = [k for k, node in enumerate(lenet.graph.nodes) if node.primitive not in ("input", "constant")]
    dearest = max(step_bound(lenet.graph, k).transaction_gas for k in steps)
    for worst in found.disputes:
        moves = worst_case(lenet.graph, dearest)
        terms = terms_for(PROFILES[worst.profile], moves)
        assert worst.step_gas == dearest
        assert (worst.asserter_gas, worst.challenger_gas) == (moves.asserter_gas, moves.challenger_gas)
        assert (worst.asserter_bond, worst.challenger_bond) == (terms.asserter_bond, terms.challenger_bond)
        assert (worst.window_s, worst.resolution_s) == (terms.window_s, resolution_bound_s(terms, moves))


def test_an_operator_that_no_step_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "MAX_TERMS", 2)
    found = OptimisticBackend().estimate(model(), Visibility())
    assert not found.fits
    assert not found.disputes
    assert any("reduce_sum" in reason and "at most 2" in reason for reason in found.reasons)
    assert MAX_TERMS > 2


def test_a_profile_that_cannot_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    short = replace(PROFILES["l1-safe"], retention_s=1)
    monkeypatch.setitem(PROFILES, "l1-safe", short)
    found = OptimisticBackend().estimate(model(), Visibility())
    assert found.fits
    assert [worst.profile for worst in found.disputes] == ["fast-l2"]
    assert any("blobs are gone" in reason for reason in found.reasons)


def test_auto_takes_proofs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = shipped("breast-cancer-mlp")
    options = api.plan(compiled)
    assert api.choose_backend(compiled).backend == "sumcheck"
    assert "optimistic" not in api.choose_backend(compiled).why
    ranked = [option.backend for option in options if option.serves]
    assert ranked[-2:] == ["optimistic", "tee"]
    monkeypatch.setattr(api.planning, "BACKENDS", {"optimistic": BACKENDS["optimistic"]})
    with pytest.raises(BackendUnavailable, match="with a bond: --backend optimistic"):
        api.choose_backend(compiled)
    assert api.picked(api.plan(compiled)) is None


# ---- through the public interface


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("optimistic") / "m.vml"
    shipped("breast-cancer-mlp").save(path)
    return path


@pytest.fixture(scope="module")
def made(folder: Path) -> Proof:
    with np.load(CIRCUITS / "breast-cancer-mlp" / "calibration.npz") as stored:
        row = {name: values[:1] for name, values in stored.items()}
    options = SetupOptions(asserting=asserting())
    return api.prove(folder, row, backend="optimistic", context=CONTEXT, options=options)


def test_a_folder_is_run_again(folder: Path, made: Proof) -> None:
    for held in (folder, str(folder), api.load_model(folder)):
        verdict = vml.verify(made.to_bytes(), model=held, context=CONTEXT)
        assert verdict.assurance == "recomputed"
    assert not (folder / "identities.json").exists()


def test_an_identity_is_not_run(folder: Path, made: Proof) -> None:
    identity = made.claims[0].model
    for named in (identity, "0x" + identity.hex(), frozenset({identity})):
        with pytest.raises(NotFinal):
            vml.verify(made, model=named, context=CONTEXT)
    held = api.load_model(folder)
    assert vml.verify(made, model=identity, context=CONTEXT, environment=Environment(model=held)).final


def test_a_chain_that_is_handed_in(made: Proof) -> None:
    chain = replace(says(Standing.FINAL), known=Bundle.decode(made.payload).id)
    told = Environment(chain=chain, pins=PINS)
    verdict = vml.verify(made, model=made.claims[0].model, context=CONTEXT, environment=told)
    assert (verdict.assurance, len(chain.asked)) == ("economic", 1)


def test_a_chain_is_made_of_an_address(made: Proof, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def view(rpc: str) -> Any:
        asked.append(rpc)
        return replace(says(Standing.OPEN), known=Bundle.decode(made.payload).id)

    monkeypatch.setattr("vml.api.verifying.chain_view", view)
    with pytest.raises(NotFinal):
        vml.verify(
            made, model=made.claims[0].model, context=CONTEXT, environment=Environment(rpc="http://node", pins=PINS)
        )
    assert asked == ["http://node"]


def test_an_onnx_file_is_refused(made: Proof) -> None:
    with pytest.raises(ValueError, match="compiled folder"):
        vml.verify(made, model=CIRCUITS / "breast-cancer-mlp" / "model.onnx", context=CONTEXT)


def test_the_base_install_reads_a_final_record() -> None:
    """An unsigned bundle and a chain: neither numpy's friends nor the chain's software are loaded."""
    code = f"""
import sys
for name in ("numba", "onnx", "onnxruntime", "safetensors", "filelock", "platformdirs", "threadpoolctl", "web3",
             "eth_account", "eth_abi", "hexbytes"):
    sys.modules[name] = None
from vml.backends import get_backend
from vml.backends.types import ClaimExpectation, Environment
from vml.errors import BackendUnavailable, NotFinal
from vml.policy import Policy
from vml.proof import Proof

class Chain:
    chain_id = {CHAIN}
    def call(self, to, data):
        return bytes.fromhex({says(Standing.FINAL).answer.hex()!r})

def ask(data, **told):
    proof = Proof.from_bytes(data)
    expected = ClaimExpectation(frozenset({{proof.claims[0].model}}), context=proof.claims[0].context)
    return get_backend("optimistic").verify(proof, expected, Policy.default(), Environment(**told))

pins = {PINS!r}
print(ask({bundle("unsigned").to_bytes()!r}, chain=Chain(), pins=pins).assurance)
for data in ({bundle("unsigned").to_bytes()!r}, {bundle("signed").to_bytes()!r}):
    try:
        ask(data, pins=pins)
    except (NotFinal, BackendUnavailable) as error:
        print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["economic", "NotFinal", "BackendUnavailable"], done.stderr
