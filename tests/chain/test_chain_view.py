"""A chain as a verifier reads it, through a real EVM: a contract's answer, none, and a refusal."""

from __future__ import annotations

import sys
from dataclasses import astuple, replace

import pytest

from tests.backends.optimistic.bundles import ALICE as ASSERTER
from tests.backends.optimistic.bundles import CONTEXT, INPUTS, PINS, bundle, check, decoded, keys, record, signed_by
from vml import api
from vml.backends.optimistic import OptimisticBackend
from vml.backends.optimistic.chain_record import RECORD_OF, Standing
from vml.backends.optimistic.records import Terms
from vml.backends.types import DISPUTE_GAMES, DISPUTE_TERMS, Asserting, ChainView, Visibility
from vml.chain import artifacts
from vml.chain.client import Chain, connect
from vml.claim import parse_address
from vml.errors import BackendUnavailable, ChainError, NotFinal, ProofRejected

REVERTS = bytes.fromhex("60006000fd")


def answering(data: bytes) -> bytes:
    """Code that answers every call with the same bytes: copies them from behind itself and returns them."""
    size = len(data).to_bytes(2, "big").hex()
    return bytes.fromhex(f"61{size}600e60003961{size}6000f3") + data


def put_up(chain: Chain, runtime: bytes) -> str:
    """The address of a contract with this code."""
    return chain.deploy(answering(runtime))


@pytest.fixture(scope="module")
def chain() -> Chain:
    return connect(None)


@pytest.fixture
def view(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> ChainView:
    monkeypatch.setattr("vml.chain.client.connect", lambda rpc: chain)
    return api.chain_view("http://node")


def test_a_contract_s_answer(chain: Chain, view: ChainView) -> None:
    address = put_up(chain, answering(b"\5" * 40))
    assert view.call(address, RECORD_OF + bytes(32)) == b"\5" * 40
    assert view.chain_id == chain.chain_id


def test_nothing_there(view: ChainView) -> None:
    assert view.call("0x" + "12" * 20, RECORD_OF) == b""


def test_a_refusal(chain: Chain, view: ChainView) -> None:
    with pytest.raises(ChainError, match="a call to 0x"):
        view.call(put_up(chain, REVERTS), RECORD_OF)


@pytest.mark.parametrize("standing", [Standing.FINAL, Standing.OPEN])
def test_a_bundle_against_a_record(chain: Chain, view: ChainView, standing: Standing) -> None:
    game = parse_address(put_up(chain, answering(record(standing))))
    moved = signed_by(ASSERTER, bundle(), chain_id=chain.chain_id, game=game)
    pins = {**PINS, DISPUTE_GAMES: frozenset({(chain.chain_id, game)})}
    if standing is Standing.FINAL:
        assert check(moved, chain=view, pins=pins).assurance == "economic"
    else:
        with pytest.raises(NotFinal):
            check(moved, chain=view, pins=pins)
    nobody = replace(decoded(moved), game=b"\x12" * 20)
    pins = {**PINS, DISPUTE_GAMES: frozenset({(chain.chain_id, nobody.game)})}
    with pytest.raises(ChainError, match="recordOf"):
        check(signed_by(ASSERTER, moved, game=nobody.game), chain=view, pins=pins)


def test_a_bundle_against_the_game_itself(chain: Chain, view: ChainView) -> None:
    """Asserted, open, and settled: the contract knows the bundle by the name that the verifier computes."""
    shipped = artifacts.load("DisputeGame")
    graphs = put_up(chain, answering(bytes(2048)))  # a registry that knows every model
    game = chain.deploy(shipped.bytecode, shipped.abi, (graphs, graphs, graphs))
    terms = Terms(3600, 300, 200, 20, 1000, 300, 400, 150, 90)
    chain.transact(game, shipped.abi, "offerTerms", astuple(terms))
    assert chain.sender is not None
    asserter, address = parse_address(chain.sender), parse_address(game)
    where = Asserting(chain.chain_id, address, asserter, terms.digest(), 3)
    made = OptimisticBackend().prove(keys(where), INPUTS, CONTEXT, visibility=Visibility())
    (claim,) = made.claims
    words = (claim.model, claim.input, claim.output, claim.context)
    assertion = (words, chain.sender, terms.digest(), bytes(32), 3)
    assert chain.call(game, shipped.abi, "idOf", assertion) == decoded(made).id
    pins = {DISPUTE_GAMES: frozenset({(chain.chain_id, address)}), DISPUTE_TERMS: frozenset({terms.digest()})}
    with pytest.raises(ProofRejected, match="none"):
        check(made, chain=view, pins=pins)
    chain.transact(game, shipped.abi, "assertClaim", assertion, [], value=terms.asserter_bond)
    with pytest.raises(NotFinal) as caught:
        check(made, chain=view, pins=pins)
    record_ = chain.call(game, shipped.abi, "recordOf", decoded(made).id)
    assert caught.value.until == record_[1]
    chain.rpc.ask("evm_increaseTime", 3700)
    chain.rpc.ask("evm_mine")
    chain.transact(game, shipped.abi, "settle", assertion, 1, [])
    verdict = check(made, chain=view, pins=pins)
    assert (verdict.assurance, verdict.final) == ("economic", True)
    assert str(record_[1]) in verdict.remarks[1]


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vml.chain.client", None)  # type: ignore[arg-type]
    with pytest.raises(BackendUnavailable, match=r"vml\[chain\]"):
        api.chain_view("http://node")


def test_an_address_that_is_none() -> None:
    with pytest.raises(ValueError, match="http"):
        api.chain_view("node")
