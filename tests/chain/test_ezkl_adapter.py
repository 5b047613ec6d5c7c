"""EzklAdapter with real proofs and real generated verifiers, against what `vml.verify` says of the same proofs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.backends.ezkl.conftest import Case
from tests.chain.ezkl_world import REUSABLE_ABI, Entry, Refused, World, address_of, enter, on_chain_case, raw
from vml.backends.ezkl.bn254 import R
from vml.backends.ezkl.commitments import element_of
from vml.backends.types import Visibility
from vml.chain import abi
from vml.chain.ezkl_adapter import Layout, Metadata, data_contract, encode_proof, layout_of
from vml.chain.generate import generate
from vml.errors import MalformedProof, VerificationError
from vml.proof import Proof

FORMS = ("public plain", "public reusable", "hashed plain", "hashed reusable")
FIELDS = ("model", "input", "output", "context")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vml-cache")


@pytest.fixture(autouse=True, scope="module")
def _own_cache(cache: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VML_CACHE_DIR", str(cache))
        yield


@pytest.fixture(scope="module")
def cases(cache: Path, _own_cache: None) -> dict[str, Case]:
    visibilities = {"public": Visibility(), "hashed": Visibility(input="hashed")}
    return {name: on_chain_case(cache, visibility) for name, visibility in visibilities.items()}


@pytest.fixture(scope="module")
def entries(cases: dict[str, Case], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Entry]:
    found, folder = {}, tmp_path_factory.mktemp("generated")
    for form in FORMS:
        name, _, kind = form.partition(" ")
        generated = generate(cases[name].circuit, folder / form.replace(" ", "-"), reusable=kind == "reusable")
        found[form] = enter(World(), cases[name], generated)
    return found


@pytest.fixture(params=FORMS)
def entry(request: pytest.FixtureRequest, entries: dict[str, Entry]) -> Entry:
    return entries[request.param]


def flipped(data: bytes, at: int = 0, bits: int = 1) -> bytes:
    return data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]


def increased(word: bytes) -> bytes:
    return ((element_of(word) + 1) % R).to_bytes(32, "big")


def both(entry: Entry, proof: Proof) -> bool:
    """The answer of the chain, which must be that of Python."""
    on_chain = entry.holds(proof.claims[0], raw(proof))
    try:
        entry.case.verify(proof, entry.case.expectation(context=proof.claims[0].context))
    except VerificationError:
        assert not on_chain, "the chain accepts what Python refuses"
    else:
        assert on_chain, "the chain refuses what Python accepts"
    return on_chain


# ---- what is accepted ----------------------------------------------------------------------------------------------


def test_an_honest_proof_is_accepted(entry: Entry) -> None:
    proof = entry.case.proof
    assert both(entry, proof)
    assert encode_proof(proof) == raw(proof)
    assert entry.ask(proof.claims[0], raw(proof)[4:])


def test_the_manifest_and_the_proof_tell_one_layout(entry: Entry) -> None:
    assert entry.generated.layout == layout_of(entry.case.proof) == entry.metadata.layout
    assert Layout.from_json(entry.generated.layout.to_json()) == entry.generated.layout
    assert Metadata.from_bytes(entry.metadata.to_bytes()) == entry.metadata


# ---- claims and instances ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", FIELDS)
def test_another_claim_is_refused(entry: Entry, field: str) -> None:
    proof = entry.case.with_claim(**{field: flipped(getattr(entry.case.claim, field), 31)})
    assert not both(entry, proof)
    with pytest.raises(Refused, match="Mismatch"):
        entry.ask(proof.claims[0], raw(proof)[4:])


def test_every_altered_instance_is_refused(entry: Entry) -> None:
    """Altered alone it does not fit the claim; with the claim made to fit, the proof does not hold."""
    case = entry.case
    words = case.payload.instances
    for index, word in enumerate(words):
        altered = (*words[:index], increased(word), *words[index + 1 :])
        proof = case.with_payload(instances=altered)
        assert not entry.holds(proof.claims[0], raw(proof)), index
        proof = case.relabelled(altered)
        # Python's answer does not depend on the form, and takes a process of ezkl's.
        assert not (entry.holds(proof.claims[0], raw(proof)) if entry.generated.vka else both(entry, proof)), index


def test_instances_are_canonical_and_of_the_format(entry: Entry) -> None:
    """A word plus the field's order proves the same to a careless verifier; a value of 2^53 has no envelope."""
    case = entry.case
    words = case.payload.instances
    for index in range(len(words)):
        word = (element_of(words[index]) + R).to_bytes(32, "big")
        proof = case.with_payload(instances=(*words[:index], word, *words[index + 1 :]))
        assert not both(entry, proof)
    first = entry.case.circuit.statement.instance_count - 18
    for value in (1 << 53, R - (1 << 53)):
        altered = (*words[:first], value.to_bytes(32, "big"), *words[first + 1 :])
        claim = replace(case.claim, output=case.circuit.statement.commit_output(altered[first : first + 2]))
        proof = replace(case.with_payload(instances=altered), claims=(claim,))
        assert not both(entry, proof)
        with pytest.raises(Refused, match="InstanceOutOfRange"):
            entry.ask(claim, raw(proof)[4:])


def test_a_proof_is_bound_to_its_context(entry: Entry) -> None:
    """Replay: the same proof for another context, and with the limbs of another context written over."""
    case = entry.case
    other = flipped(case.claim.context, 5)
    assert not both(entry, case.with_claim(context=other))
    limbs = tuple(bytes(30) + other[i : i + 2] for i in range(0, 32, 2))
    words = case.payload.instances[:-16] + limbs
    if case.circuit.statement.visibility.input == "public":
        words = words[:4] + limbs + words[20:]
    assert not both(entry, case.relabelled(words, other))


def test_every_word_of_the_proof_counts(entry: Entry) -> None:
    payload = entry.case.payload
    for at in range(31, len(payload.proof), 128 if entry.generated.vka else 32):
        proof = entry.case.with_payload(proof=flipped(payload.proof, at))
        assert not entry.holds(proof.claims[0], raw(proof)), at
    assert not both(entry, entry.case.with_payload(proof=flipped(payload.proof, 63)))


@pytest.mark.parametrize("size", [0, -32, 32])
def test_a_proof_has_its_length(entry: Entry, size: int) -> None:
    honest = entry.case.payload.proof
    altered = honest[:size] if size <= 0 else honest + bytes(size)
    proof = entry.case.with_payload(proof=altered)
    assert not both(entry, proof)
    with pytest.raises(Refused, match="NotCanonical"):
        entry.ask(proof.claims[0], raw(proof)[4:])


def test_why_the_length_is_pinned(entries: dict[str, Entry]) -> None:
    """ezkl's verifier for all circuits accepts words behind the proof; the adapter does not."""
    entry = entries["public reusable"]
    words = [entry.generated.vka[i : i + 32] for i in range(0, len(entry.generated.vka), 32)]
    instances = [int.from_bytes(word, "big") for word in entry.case.payload.instances]
    verifier = "0x" + entry.metadata.verifier.hex()
    surplus = entry.case.payload.proof + bytes(32)
    accepted, digest = entry.world.call(verifier, REUSABLE_ABI, "verifyProof", surplus, instances, words)
    assert accepted
    assert digest == entry.metadata.vka_digest


# ---- encodings -----------------------------------------------------------------------------------------------------


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def other_encodings(data: bytes, proof_bytes: int) -> dict[str, bytes]:
    """Encodings of the same proof and instances that a lenient decoder takes, and a few that none takes."""
    head, size = data[:64], 96 + proof_bytes
    proof, instances = data[64:size], data[size:]
    return {
        "a word behind": data + bytes(32),
        "a byte behind": data + b"\0",
        "a gap behind the head": word(0x60) + word(size + 32) + bytes(32) + data[64:],
        "a gap between": head[:32] + word(size + 32) + proof + bytes(32) + instances,
        "the instances first": word(64 + len(instances)) + word(64) + instances + proof,
        "an offset with high bits": b"\x80" + data[1:],
        "a length with high bits": data[:64] + b"\x80" + data[65:],
        "a last byte less": data[:64] + word(proof_bytes - 1) + data[96:],
        "an instance less": data[: size + 31] + bytes([data[size + 31] - 1]) + data[size + 32 :],
        "a last word less": data[:-32],
        "nothing": b"",
    }


def test_a_proof_has_one_encoding(entry: Entry) -> None:
    case = entry.case
    honest = raw(case.proof)[4:]
    decoded = abi.decode(["bytes", "uint256[]"], honest)
    same = 0
    for name, data in other_encodings(honest, len(case.payload.proof)).items():
        with suppress(ValueError):
            same += abi.decode(["bytes", "uint256[]"], data) == decoded
        assert not entry.holds(case.claim, case.proof.selector + data), name
        with pytest.raises(Refused, match="NotCanonical"):
            entry.ask(case.claim, data)
    assert same >= 5, "most of them mean the same to a lenient decoder"


def test_metadata_has_one_form(entry: Entry) -> None:
    claim, proof, data = entry.case.claim, raw(entry.case.proof)[4:], entry.metadata.to_bytes()
    assert entry.ask(claim, proof, data)
    # The headers' lengths and offsets are dynamic: pointing outside of the metadata must not reach the proof.
    for broken in (data[:-32], data[:300], data[32:], word(0x40) + data[32:], data[:320] + word(1 << 12) + data[352:]):
        with pytest.raises(Refused, match=r"MetadataMalformed|no reason"):
            entry.ask(claim, proof, broken)
        if len(broken) > 352:
            with pytest.raises(ValueError):
                Metadata.from_bytes(broken)


# ---- verifiers and circuits ----------------------------------------------------------------------------------------


def test_the_verifier_is_pinned_by_its_code(entry: Entry) -> None:
    """One that always says yes, at another address or in the place of the real one."""
    claim, proof = entry.case.claim, raw(entry.case.proof)[4:]
    # PUSH1 1, PUSH0, MSTORE, digest, PUSH1 32, MSTORE, PUSH1 64, PUSH0, RETURN
    yes = bytes.fromhex("60015f527f") + entry.metadata.vka_digest + bytes.fromhex("60205260405ff3")
    if not entry.generated.vka:
        yes = bytes.fromhex("60015f5260205ff3")
    liar = address_of(entry.world.deploy(data_contract(yes)[:10] + yes + b"\0"))
    with pytest.raises(Refused, match="VerifierChanged"):
        entry.ask(claim, proof, entry.changed(verifier=liar))
    with pytest.raises(Refused, match="VerifierChanged"):
        entry.ask(claim, proof, entry.changed(verifier=b"\x77" * 20))
    with pytest.raises(Refused, match="VerifierChanged"):
        entry.ask(claim, proof, entry.changed(code_hash=flipped(entry.metadata.code_hash)))


def test_the_parts_of_the_layout_are_what_the_claim_is_made_of(entry: Entry) -> None:
    claim, proof = entry.case.claim, raw(entry.case.proof)[4:]
    one = entry.metadata.layout
    for changes in (
        {"input_header": flipped(one.input_header)},
        {"output_header": flipped(one.output_header, 8)},
        {"input_words": one.input_words + 1, "output_words": one.output_words - 1},
        {"input_words": one.input_words - 1, "output_words": one.output_words + 1},
        {"output_words": one.output_words + 1},
        {"proof_bytes": one.proof_bytes - 32},
        {"proof_bytes": one.proof_bytes + 1},
        {"model": flipped(one.model)},
    ):
        with pytest.raises(Refused, match=r"Mismatch|NotCanonical"):
            entry.ask(claim, proof, entry.changed(**changes))


@pytest.mark.slow
def test_a_circuit_that_anybody_registered_is_not_the_model(
    cache: Path, entries: dict[str, Entry], tmp_path: Path
) -> None:
    """Mallory's circuit has the model's layout; she registers it and proves with it."""
    entry = entries["public reusable"]
    mallory = on_chain_case(cache, Visibility(), seed=1)
    generated = generate(mallory.circuit, tmp_path / "other", reusable=True)
    assert generated.code_hash == entry.generated.code_hash, "one contract serves all circuits"
    words = [generated.vka[i : i + 32] for i in range(0, len(generated.vka), 32)]
    verifier = "0x" + entry.metadata.verifier.hex()
    claim = replace(mallory.claim, model=entry.case.circuit.identity)
    proof = raw(mallory.proof)
    assert not entry.holds(claim, proof)
    entry.world.call(verifier, REUSABLE_ABI, "registerVka", words)
    assert not entry.holds(claim, proof)
    assert not entry.holds(mallory.claim, proof)
    pointer = address_of(entry.world.deploy(data_contract(generated.vka)))
    swapped = entry.changed(vka=pointer, proof_bytes=generated.layout.proof_bytes)
    with pytest.raises(Refused, match="VkaMismatch"):
        entry.ask(claim, proof[4:], swapped)
    assert entry.ask(claim, proof[4:], replace(swapped, vka_digest=generated.metadata(b"", b"").vka_digest))
    assert entry.holds(entry.case.claim, raw(entry.case.proof)), "the honest proof holds as before"


def test_a_vka_that_is_missing_cut_or_not_registered(entries: dict[str, Entry]) -> None:
    entry = entries["hashed reusable"]
    claim, proof = entry.case.claim, raw(entry.case.proof)[4:]
    cut = address_of(entry.world.deploy(data_contract(entry.generated.vka[:-1])))
    for pointer in (b"\x77" * 20, cut):
        with pytest.raises(Refused, match="VkaMissing"):
            entry.ask(claim, proof, entry.changed(vka=pointer))
    with pytest.raises(Refused, match="VkaMismatch"):
        entry.ask(claim, proof, entry.changed(vka_digest=flipped(entry.metadata.vka_digest)))
    unknown = address_of(entry.world.deploy(data_contract(flipped(entry.generated.vka, 40))))
    assert not entry.ask(claim, proof, entry.changed(vka=unknown))
    # Metadata that mixes up the two kinds of verifiers.
    assert not entry.ask(claim, proof, entry.changed(vka=bytes(20), vka_digest=bytes(32)))
    plain = entries["hashed plain"]
    pointer = address_of(plain.world.deploy(data_contract(entry.generated.vka)))
    assert not plain.ask(claim, proof, plain.changed(vka=pointer, vka_digest=entry.metadata.vka_digest))


def test_schemes_are_not_interchangeable(entries: dict[str, Entry]) -> None:
    """A proof under another scheme's selector, and an adapter for a scheme that is none."""
    public, hashed = entries["public plain"], entries["hashed plain"]
    data = hashed.case.proof.selector + raw(public.case.proof)[4:]
    assert not public.holds(public.case.claim, data)
    with pytest.raises(Refused, match="NotCanonical"):
        hashed.ask(public.case.claim, raw(public.case.proof)[4:], public.metadata)
    for scheme in ("", "ezkl/23.0.5/kzg-bn254/input-public", "ezkl/23.0.4/kzg-bn254/input-public/model-public"):
        with pytest.raises(RuntimeError):
            public.world.create("EzklAdapter", scheme)


# ---- the Python half -----------------------------------------------------------------------------------------------


def test_what_cannot_be_encoded_is_refused(cases: dict[str, Case]) -> None:
    case = cases["public"]
    words = case.payload.instances
    for broken in (
        replace(case.proof, scheme="sumcheck/1"),
        replace(case.proof, claims=case.proof.claims * 2),
        replace(case.proof, scheme=case.proof.scheme.replace("input-public", "input-hashed")),
        case.with_payload(instances=words[:-1]),
        case.with_payload(instances=(b"\xff" * 32, *words[1:])),
        case.with_payload(proof=case.payload.proof[:-1]),
        case.with_payload(proof=b""),
    ):
        with pytest.raises(MalformedProof):
            encode_proof(broken)
    for size in (0, 24_576):
        with pytest.raises(ValueError, match="kept as code"):
            data_contract(bytes(size))
    with pytest.raises(ValueError, match="layout"):
        Layout.from_json({"model": "0x00"})


@pytest.mark.slow
def test_private_weights_are_pinned(cache: Path, tmp_path: Path) -> None:
    """Their digest is an instance: another set of weights is another model."""
    case = on_chain_case(cache, Visibility(input="private", model="private"))
    entry = enter(World(), case, generate(case.circuit, tmp_path / "private"))
    assert both(entry, case.proof)
    digest = entry.metadata.layout.parameter_digest
    assert digest in case.payload.instances
    proof = raw(case.proof)[4:]
    with pytest.raises(Refused, match="ParametersMismatch"):
        entry.ask(case.claim, proof, entry.changed(parameter_digest=flipped(digest, 31)))
    words = case.payload.instances
    for index, value in enumerate(words):
        altered = case.relabelled((*words[:index], increased(value), *words[index + 1 :]))
        assert not entry.holds(altered.claims[0], raw(altered)), index
