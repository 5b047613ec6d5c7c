"""Keys on a chain: in, proved by, prolonged, out; interrupted nothing happens twice; simulated ones on test nodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chain import tee_world as world
from tests.chain.chain_world import Liar, signer
from vml.chain import artifacts
from vml.chain.embedded import GENESIS_TIME, EmbeddedChain
from vml.chain.tee_endorsement import Endorsement, gather
from vml.chain.tee_evidence import certificate_words
from vml.chain.tee_keys import TeeKeys, acceptance_of, admitted, key_of, mode_of, record_of, time_of
from vml.chain.tee_receipt import encode_receipt
from vml.chain.tee_rules import Mode
from vml.chain.verify import verify_on
from vml.errors import ChainError, EvidenceRejected, ProofRejected
from vml.tee.binding import Algorithm

INSIDE = world.enclave()
FOUND = world.found(INSIDE)
TEE = artifacts.load("TeeVerifier").abi


class Stage:
    """A chain with a registry and a model whose receipts count."""

    def __init__(self, node: Any = None, **more: Any) -> None:
        self.node = node or world.node()
        self.state = world.deployed(self.node, **more)
        self.place = world.place(self.state)
        self.router, self.entry = self.state.contracts["router"].address, bytes.fromhex(self.state.model["key"][2:])

    def keys(self, file: Path | None = None, node: Any = None) -> TeeKeys:
        return TeeKeys(world.seen_through(node or self.node), file)

    def admit(self, inside: Any = INSIDE, found: Any = FOUND, file: Path | None = None, **more: Any) -> Any:
        return self.keys(file).admit_by_quorum(world.endorsed(self.place, inside, found), **more)

    def verify(self, proof: Any) -> Any:
        return verify_on(world.seen_through(self.node), self.router, self.entry, proof)

    def refused(self, proof: Any) -> str | None:
        with pytest.raises(ChainError) as caught:
            self.verify(proof)
        assert str(caught.value.error) in str(caught.value)
        return caught.value.error

    def later(self, seconds: int) -> None:
        self.node.make_request("evm_increaseTime", [seconds])
        self.node.make_request("evm_mine", [])


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_key_comes_in_and_proves(algorithm: Algorithm) -> None:
    stage, inside = Stage(), world.enclave(algorithm=algorithm)
    proof = inside.sign()
    assert stage.refused(proof) == "KeyUnknown"
    name, key = stage.admit(inside, world.found(inside))
    assert (key.mode, key.algorithm, key.simulated, key.revoked) == (Mode.QUORUM, algorithm, True, False)
    assert key.not_after == inside.certificate.not_after
    accepted = stage.verify(proof)
    assert (accepted.digest, accepted.selector) == (world.CLAIM.digest(), proof.selector)
    assert accepted.ours
    (seen,) = admitted(world.seen_through(stage.node), stage.place.contract, stage.place.owner, world.MODEL)
    assert (seen.record, seen.key, seen.mode, seen.epoch) == (name, key, Mode.QUORUM, 1)
    assert (seen.key_id, seen.rules) == (inside.certificate.key_id, world.rules().id)


def test_a_record_is_the_contracts() -> None:
    stage = Stage()
    name, _ = stage.admit()
    arguments = (stage.entry, world.rules().id, INSIDE.certificate.key_id, 1, 1)
    assert world.seen_through(stage.node).call(stage.place.contract, TEE, "recordOf", *arguments) == name


@pytest.mark.parametrize("field", ["input", "output", "context"])
@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_receipt_of_another_claim_is_refused(field: str, algorithm: Algorithm) -> None:
    stage, inside = Stage(), world.enclave(algorithm=algorithm)
    stage.admit(inside, world.found(inside))
    proof = inside.sign()
    other = replace(proof, claims=(replace(world.CLAIM, **{field: b"\xee" * 32}),))
    # What is known here already is said here; of P-256 the contract says it.
    with pytest.raises((EvidenceRejected, ProofRejected), match=r"RECEIPT_SIGNATURE|InvalidProof"):
        stage.verify(other)
    assert stage.verify(proof)


def test_what_a_key_may_not_do() -> None:
    stage = Stage()
    stage.admit()
    assert stage.refused(world.enclave(2).sign()) == "KeyUnknown"  # another key
    assert stage.refused(world.enclave(epoch=2).sign()) == "KeyUnknown"  # another epoch
    late = INSIDE.certificate.not_after + 1
    assert stage.refused(INSIDE.sign(issued_at=late)) == "IssuedOutOfTime"
    model = replace(world.CLAIM, model=bytes(32))
    with pytest.raises(ProofRejected, match="ModelMismatch"):
        stage.verify(INSIDE.sign(model))
    stage.later(86_500)
    assert stage.refused(INSIDE.sign()) == "KeyIsExpired"


def test_an_owner_who_wants_later_epochs_or_other_modes() -> None:
    stage = Stage(minimum_epoch=2)
    stage.admit()
    assert stage.refused(INSIDE.sign()) == "EpochRotated"
    second = world.enclave(3, epoch=2)
    stage.admit(second, world.found(second))
    assert stage.verify(second.sign())


def test_unknown_entries_say_what_they_lack() -> None:
    stage = Stage()
    chain, proof = world.seen_through(stage.node), INSIDE.sign()
    with pytest.raises(ChainError) as caught:
        verify_on(chain, stage.router, bytes(32), proof)
    assert caught.value.error in ("ModelUnknown", "BackendNotEnabled")
    with pytest.raises(ChainError) as caught:
        acceptance_of(chain, stage.router, bytes(32))
    assert caught.value.error == "BackendNotEnabled"


def test_the_mode_is_found_on_the_chain() -> None:
    stage = Stage(under=world.rules(attestation=signer().address), modes=(Mode.QUORUM, Mode.ON_CHAIN))
    chain = world.seen_through(stage.node)
    contract, acceptance = acceptance_of(chain, stage.router, stage.entry)
    assert acceptance.modes == (Mode.QUORUM, Mode.ON_CHAIN)
    assert mode_of(chain, contract, acceptance, world.MODEL, INSIDE.certificate) is Mode.QUORUM
    assert encode_receipt(INSIDE.sign(), Mode.ZK)[4:6] == bytes([1, 3])


def test_runs_of_another_engine_have_no_contract() -> None:
    stage = Stage()
    stage.admit()
    with pytest.raises(ChainError, match="not of tee/float/1"):
        stage.verify(replace(INSIDE.sign(), scheme="tee/float/1"))


# ---- twice, again, later


def test_again_sends_nothing(tmp_path: Path) -> None:
    stage, file = Stage(), tmp_path / "a.json"
    first = stage.admit(file=file)
    count = world.sent(stage.node)
    assert stage.admit(file=file) == first == stage.admit()
    assert world.sent(stage.node) == count


def admission_through(stage: Stage, node: Any, file: Path) -> Any:
    return stage.keys(file, node).admit_by_quorum(world.endorsed(stage.place, INSIDE, FOUND))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_an_interrupted_admission_goes_on(after: bool, tmp_path: Path) -> None:
    whole = Stage(Liar())
    whole.node.requests.clear()
    admission_through(whole, whole.node, tmp_path / "whole.json")
    for at in range(1, len(whole.node.requests) + 1, 2):
        stage, file = Stage(), tmp_path / f"{at}.json"
        count = world.sent(stage.node)
        with pytest.raises(ChainError, match="did not answer"):
            admission_through(stage, Liar(stage.node, dies_at=at, after=after), file)
        _, key = admission_through(stage, stage.node, file)
        assert (key.state_at(GENESIS_TIME), world.sent(stage.node)) == ("admitted", count + 1)


def test_a_renewal_ends_later(tmp_path: Path) -> None:
    stage = Stage(under=world.rules(lifetime_s=3600))
    endorsed = world.endorsed(stage.place, INSIDE, FOUND, under=world.rules(lifetime_s=3600))
    with pytest.raises(ChainError, match="to renew") as caught:
        stage.keys().admit_by_quorum(endorsed, renewal=True)
    assert caught.value.error == "KeyUnknown"
    _, first = stage.keys().admit_by_quorum(endorsed)
    stage.later(1800)
    # Admitted already: nothing to do; renewed: an hour from now.
    assert stage.keys().admit_by_quorum(endorsed)[1] == first
    file = tmp_path / "renewal.json"
    _, second = stage.keys(file).admit_by_quorum(endorsed, renewal=True)
    assert second.not_after > first.not_after
    stage.later(600)
    _, third = stage.keys(file).admit_by_quorum(endorsed, renewal=True)
    assert third.not_after > second.not_after


def test_a_renewal_of_a_key_that_ends_with_its_certificate() -> None:
    stage = Stage()
    stage.admit()
    with pytest.raises(ChainError, match="newer evidence") as caught:
        stage.admit(renewal=True)
    assert caught.value.error == "NotLater"


# ---- out


def test_revoked_is_for_good() -> None:
    stage = Stage()
    name, _ = stage.admit()
    arguments = (stage.place, world.MODEL, world.rules().id, INSIDE.certificate.key_id, 1, Mode.QUORUM)
    assert stage.keys().revoke(*arguments) == name
    count = world.sent(stage.node)
    assert stage.keys().revoke(*arguments) == name
    assert world.sent(stage.node) == count
    assert stage.refused(INSIDE.sign()) == "KeyIsRevoked"
    with pytest.raises(ChainError) as caught:
        stage.admit()
    assert caught.value.error == "KeyIsRevoked"
    (seen,) = admitted(world.seen_through(stage.node), stage.place.contract, stage.place.owner, world.MODEL)
    assert seen.key.state_at(GENESIS_TIME) == "revoked"


def test_only_the_owner_revokes() -> None:
    stage = Stage()
    other = replace(stage.place, owner=world.attestor(0).address)
    with pytest.raises(ChainError, match="only 0x") as caught:
        stage.keys().revoke(other, world.MODEL, world.rules().id, INSIDE.certificate.key_id, 1, Mode.QUORUM)
    assert caught.value.error == "NotOwner"


def test_an_epoch_is_over_for_all_its_keys() -> None:
    stage = Stage()
    stage.admit()
    stage.keys().raise_epoch(stage.place, world.MODEL, 2)
    count = world.sent(stage.node)
    stage.keys().raise_epoch(stage.place, world.MODEL, 2)
    assert world.sent(stage.node) == count
    assert stage.refused(INSIDE.sign()) == "EpochRotated"
    with pytest.raises(ChainError) as caught:
        stage.keys().raise_epoch(stage.place, world.MODEL, 1)
    assert caught.value.error == "EpochNotRaised"


def test_before_it_comes_in() -> None:
    stage = Stage()
    stage.keys().revoke(stage.place, world.MODEL, world.rules().id, INSIDE.certificate.key_id, 1, Mode.QUORUM)
    name = record_of(stage.place.owner, world.MODEL, world.rules().id, INSIDE.certificate.key_id, 1, Mode.QUORUM)
    key = key_of(world.seen_through(stage.node), stage.place.contract, name)
    assert (key.not_after, key.state_at(0)) == (0, "revoked")


# ---- refused before anything is sent


def unsent(stage: Stage, endorsed: list[Endorsement], error: str | None, words: str) -> None:
    count = world.sent(stage.node)
    with pytest.raises(ChainError, match=words) as caught:
        stage.keys().admit_by_quorum(endorsed)
    assert (caught.value.error, world.sent(stage.node)) == (error, count)


def test_admissions_that_are_refused() -> None:
    stage = Stage()
    unsent(stage, world.endorsed(replace(stage.place, chain_id=1337), INSIDE, FOUND), None, "for chain 1337")
    nobody = replace(stage.place, contract=signer().address)
    unsent(stage, world.endorsed(nobody, INSIDE, FOUND), None, "no contract at")
    over = replace(FOUND, deadline=GENESIS_TIME - 1)
    unsent(stage, world.endorsed(stage.place, INSIDE, over), "AdmissionIsExpired", "sign again")
    ended = replace(FOUND, collateral_end=GENESIS_TIME - 1)
    unsent(stage, world.endorsed(stage.place, INSIDE, ended), "KeyIsExpired", "KeyIsExpired")
    # Signed for another contract: the same key and evidence, elsewhere.
    other = world.endorsed(replace(stage.place, contract=stage.router), INSIDE, FOUND)
    moved = [replace(item, admission=replace(item.admission, place=stage.place)) for item in other]
    with pytest.raises(ChainError, match=r"another chain, contract or key|SignersNotAscending"):
        stage.keys().admit_by_quorum(moved)


def test_simulated_evidence_is_refused_elsewhere_before_anything_is_sent() -> None:
    """By this program; and by the contract, whatever a program does."""
    stage = Stage(EmbeddedChain(chain_id=10))
    honest = replace(FOUND, simulated=False)
    endorsed = world.endorsed(stage.place, INSIDE, honest)
    forced = [replace(item, admission=replace(item.admission, finding=FOUND)) for item in endorsed]
    asked = Liar(stage.node)
    with pytest.raises(ChainError, match="no test node's") as caught:
        stage.keys(node=asked).admit_by_quorum(forced)
    assert caught.value.error == "SimulatedEvidence"
    assert not {"eth_estimateGas", "eth_sendRawTransaction"} & set(asked.requests)
    with pytest.raises(ChainError) as caught:
        world.endorsed(stage.place, INSIDE, FOUND)
    assert caught.value.error == "SimulatedEvidence"

    class Careless(type(stage.place)):  # type: ignore[misc]
        def require_simulated_allowed(self, simulated: bool) -> None:
            """Looks away."""

    where = Careless(stage.place.chain_id, stage.place.contract, stage.place.owner)
    admission, signatures = gather(world.endorsed(where, INSIDE, FOUND))
    words = (certificate_words(admission.certificate), admission.finding.words, signatures)
    with pytest.raises(ChainError) as caught:
        world.seen_through(stage.node).transact(
            where.contract, TEE, "admitByQuorum", where.owner, admission.rules.words, *words
        )
    assert caught.value.error == "SimulatedEvidence"
    assert time_of(world.seen_through(stage.node)) > GENESIS_TIME
