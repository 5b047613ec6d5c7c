"""The tamper manifest of a float run, and of the GPUs that either engine's run may carry.

What a signed run of the exact model has as well (certificate, receipt, policy, evidence) is in test_tee_manifest.py,
and tried here once a field; description, specs, values and the evidence of GPUs in every field. A field that is missing
here fails the suite.
"""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.backends.tee import float_runs, gpu_runs
from tests.backends.tee.float_runs import honest, other_run, runtime
from tests.backends.tee.signed_runs import AT, altered, certified, decoded, pins
from tests.tampering.exact_envelope import flipped
from vml import canonical
from vml.backends.tee.floats import Runtime, decode_specs, encode_specs
from vml.backends.tee.payload import SignedRun
from vml.backends.types import ANY_NONCE, TEE_ANCHORS, TEE_NONCE, TEE_POLICIES
from vml.claim import Claim
from vml.errors import ClaimMismatch, EvidenceRejected, MalformedProof, ProofRejected, VerificationError
from vml.proof import Proof
from vml.tee.binding import Algorithm, KeyCertificate
from vml.tee_sim import matching_policy

MALFORMED, MISMATCH, REJECTED, EVIDENCE = MalformedProof, ClaimMismatch, ProofRejected, EvidenceRejected
EITHER = (MALFORMED, EVIDENCE)
Case = tuple[str, Callable[[], Proof], Any]


def field(**change: Any) -> Callable[[], Proof]:
    return lambda: altered(honest(), **change)


def turned(name: str, error: Any) -> tuple[Case, ...]:
    return (("a bit", lambda: altered(honest(), **{name: flipped(getattr(decoded(honest()), name))}), error),)


def described(**change: Any) -> Callable[[], Proof]:
    return lambda: altered(honest(), description=replace(runtime(), **change).encode())


def spec(side: str, **change: Any) -> Callable[[], Proof]:
    def make() -> Proof:
        first, *rest = decode_specs(getattr(decoded(honest()), side))
        return altered(honest(), **{side: encode_specs((replace(first, **change), *rest))})

    return make


def cert(**change: Any) -> Callable[[], Proof]:
    return lambda: certified(honest(), **change)


PAYLOAD: dict[str, tuple[Case, ...]] = {
    "certificate": (("of the exact model", lambda: of_the_exact_model(), MISMATCH),),
    "nonce": turned("nonce", EVIDENCE),
    "sequence": (("another", field(sequence=2), EVIDENCE),),
    "issued_at": (("later", field(issued_at=AT + 1), EVIDENCE),),
    "signature": turned("signature", EVIDENCE),
    "source": turned("source", MISMATCH),
    "inputs": (
        *turned("inputs", MISMATCH),
        ("another name", spec("inputs", name="z"), MISMATCH),
        ("another type", spec("inputs", dtype="float64"), MISMATCH),
        ("another shape", spec("inputs", shape=(3, 1)), MISMATCH),
        ("nothing", field(inputs=b""), MISMATCH),
    ),
    "outputs": (*turned("outputs", MISMATCH), ("another type", spec("outputs", dtype="uint8"), MISMATCH)),
    "policy": turned("policy", REJECTED),
    "evidence": turned("evidence", MALFORMED),
    "description": (
        ("a bit", lambda: altered(honest(), description=flipped(decoded(honest()).description)), MALFORMED),
        ("nothing", lambda: altered(honest(), description=b""), MALFORMED),
    ),
    "gpus": (("some", lambda: with_gpus(honest()), EVIDENCE),),
}
CERTIFICATE: dict[str, tuple[Case, ...]] = {
    "algorithm": (("the other", cert(algorithm=Algorithm.P256), EVIDENCE),),
    "public_key": (("zeros", cert(public_key=bytes(64)), EVIDENCE),),
    "model": (("another", cert(model=b"\1" * 32), MISMATCH),),
    "policy_id": (("another", cert(policy_id=b"\1" * 32), REJECTED),),
    "epoch": (("the next", cert(epoch=2), EVIDENCE),),
    "not_after": (("never", cert(not_after=(1 << 64) - 1), EVIDENCE),),
    "gpus": (("some", lambda: with_gpus(honest()), EVIDENCE),),
}
RUNTIME: dict[str, tuple[Case, ...]] = {
    "version": (("the next", described(version="99.0.0"), MISMATCH),),
    "build": (("another", described(build="another"), MISMATCH),),
    "providers": (
        ("another", described(providers=(("CUDAExecutionProvider", {}),)), MISMATCH),
        ("one more", described(providers=(("X", {}), ("CPUExecutionProvider", {}))), MISMATCH),
        ("options", described(providers=(("CPUExecutionProvider", {"a": "b"}),)), MISMATCH),
    ),
    "optimization": (("another", described(optimization="basic"), MISMATCH),),
    "threads": (("more", described(threads=(3, 1)), MISMATCH), ("between", described(threads=(1, 3)), MISMATCH)),
    "deterministic": (("not", described(deterministic=False), MISMATCH),),
    "machine": (("another", described(machine=("riscv64",)), MISMATCH),),
    "config": (("other", described(config={"session.load_model_format": "ORT"}), MISMATCH),),
}


def of_the_exact_model() -> Proof:
    from tests.backends.tee import signed_runs

    return altered(honest(), certificate=decoded(signed_runs.honest()).certificate)


def with_gpus(proof: Proof) -> Proof:
    beside = decoded(gpu_runs.honest("float"))
    run = decoded(proof)
    named = replace(run.certificate, gpus=beside.certificate.gpus)
    return replace(proof, payload=replace(run, certificate=named, gpus=beside.gpus).encode())


# The envelope.


def replaced(**change: Any) -> Callable[[], Proof]:
    return lambda: replace(honest(), **change)


def claimed(name: str) -> Callable[[], Proof]:
    (claim,) = honest().claims
    return replaced(claims=(replace(claim, **{name: flipped(getattr(claim, name))}),))


def published(alter: Callable[[Any], Any]) -> Callable[[], Proof]:
    def make() -> Proof:
        public = copy.deepcopy(dict(honest().public))
        alter(public)
        return replace(honest(), public=public)

    return make


def entry(name: str, value: Any, side: str = "output", place: int = 1) -> Callable[[], Proof]:
    return published(lambda public: public[side][place].__setitem__(name, value))


def values(data: bytes, side: str = "output", place: int = 1) -> Callable[[], Proof]:
    return entry("data", [base64.b64encode(data).decode()], side, place)


NAN = bytes.fromhex("7fc00000")
CLAIM: dict[str, tuple[Case, ...]] = {
    name: (("a bit", lambda name=name: claimed(name)(), VerificationError),)  # type: ignore[misc]
    for name in ("model", "input", "output", "context")
}
ENVELOPE: dict[str, tuple[Case, ...]] = {
    "scheme": (
        ("another version", replaced(scheme="tee/float/2"), MALFORMED),
        ("the other engine's", replaced(scheme="tee/1"), MALFORMED),
    ),
    "claims": (("those of another run", lambda: replace(honest(), claims=other_run().claims), MISMATCH),),
    "public": (("that of another run", lambda: replace(honest(), public=other_run().public), MISMATCH),),
    "payload": (
        ("that of another run", lambda: replace(honest(), payload=other_run().payload), EVIDENCE),
        ("more", lambda: replace(honest(), payload=honest().payload + b"\0"), MALFORMED),
    ),
}
PUBLIC: dict[str, tuple[Case, ...]] = {
    "hidden": (("something", published(lambda public: public.update(hidden=["input"])), MALFORMED),),
    "input": (("missing", published(lambda public: public.pop("input")), MALFORMED),),
    "output": (("missing", published(lambda public: public.pop("output")), MALFORMED),),
}
ENTRY: dict[str, tuple[Case, ...]] = {
    "name": (("another", entry("name", "z"), MALFORMED),),
    "dtype": (("another", entry("dtype", "int32"), MALFORMED),),
    "shape": (("another", entry("shape", [3, 2]), MALFORMED),),
    "data": (
        ("other values", values(bytes(24)), MISMATCH),
        ("other inputs", values(bytes(12), "input"), MISMATCH),
        ("zeros of the other sign", values(bytes(20) + bytes.fromhex("80000000")), MISMATCH),
        ("NaN", values(bytes(20) + NAN), MALFORMED),
        ("NaN that went in", values(NAN * 3, "input"), MALFORMED),
        ("a truth value of 2", values(b"\0\1\0\1\2\1", place=0), MALFORMED),
        ("other truth values", values(b"\0\1\0\1\0\1", place=0), MISMATCH),
        ("too few", values(bytes(20)), MALFORMED),
        ("none", entry("data", []), MALFORMED),
        ("two texts", entry("data", ["AAAA", "AAAA"]), MALFORMED),
        ("a number", entry("data", [5]), MALFORMED),
        (
            "as codes",
            published(lambda public: public["output"][1].update(codes=public["output"][1].pop("data"))),
            MALFORMED,
        ),
    ),
}
TABLES = {
    "payload": PAYLOAD,
    "certificate": CERTIFICATE,
    "runtime": RUNTIME,
    "claim": CLAIM,
    "envelope": ENVELOPE,
    "public": PUBLIC,
    "entry": ENTRY,
}
CASES = [(f"{group} {name}", *row) for group, table in TABLES.items() for name, rows in table.items() for row in rows]
VERIFIERS: dict[str, dict[str, Any]] = {
    "nonce and policy": {},
    "any nonce, policy by its id": {TEE_NONCE: ANY_NONCE, TEE_POLICIES: (matching_policy("tdx").policy_id,)},
}


@pytest.mark.parametrize(("name", "how", "make", "error"), CASES, ids=[f"{n}: {h}" for n, h, *_ in CASES])
@pytest.mark.parametrize("verifier", VERIFIERS)
def test_altered(name: str, how: str, make: Callable[[], Proof], error: Any, verifier: str) -> None:
    with pytest.raises(error):
        float_runs.check(make(), held=pins(**VERIFIERS[verifier]))


def test_the_manifest_has_every_field() -> None:
    assert {item.name for item in dataclasses.fields(SignedRun)} == PAYLOAD.keys()
    assert {item.name for item in dataclasses.fields(KeyCertificate)} == CERTIFICATE.keys()
    assert {item.name for item in dataclasses.fields(Runtime)} == RUNTIME.keys()
    assert {item.name for item in dataclasses.fields(Proof)} == ENVELOPE.keys()
    assert {item.name for item in dataclasses.fields(Claim)} == CLAIM.keys()
    assert honest().public.keys() == PUBLIC.keys()
    for side in ("input", "output"):
        assert all(item.keys() == ENTRY.keys() for item in honest().public[side])


@pytest.mark.parametrize("verifier", VERIFIERS)
def test_what_is_not_altered_is_accepted(verifier: str) -> None:
    assert altered(honest()) == honest() == published(lambda public: None)()
    assert described()() == honest()
    assert float_runs.check(honest(), held=pins(**VERIFIERS[verifier])).final


# GPUs, beside either engine.


def gpu_field(alter: Callable[[Any], Any]) -> Callable[[str], Proof]:
    """Another file of evidence of the GPU."""

    def make(engine: str) -> Proof:
        item = json.loads(decoded(gpu_runs.honest(engine)).gpus[0])
        alter(item)
        return gpu_runs.showing(gpu_runs.honest(engine), canonical.encode(item))

    return make


def spoiled(name: str, share: float = 0.5) -> Callable[[str], Proof]:
    def alter(item: Any) -> None:
        holder = item if name in item else item["collateral"]
        data = bytearray(base64.b64decode(holder[name]))
        data[int(len(data) * share)] ^= 1
        holder[name] = base64.b64encode(bytes(data)).decode()

    return gpu_field(alter)


def gpu_named(engine: str) -> Proof:
    run = decoded(gpu_runs.honest(engine))
    named = replace(run.certificate, gpus=b"\1" * 32)
    return replace(gpu_runs.honest(engine), payload=replace(run, certificate=named).encode())


GpuCase = tuple[str, Callable[[str], Proof], Any]
GPUS: dict[str, tuple[GpuCase, ...]] = {
    "certificate.gpus": (
        ("another digest", gpu_named, EVIDENCE),
        ("none", lambda engine: gpu_runs.stripped(gpu_runs.honest(engine)), EVIDENCE),
    ),
    "gpus": (
        (
            "twice",
            lambda engine: gpu_runs.showing(gpu_runs.honest(engine), gpu_runs.answer(), gpu_runs.answer()),
            EVIDENCE,
        ),
        ("nothing in it", lambda engine: gpu_runs.showing(gpu_runs.honest(engine), b""), MALFORMED),
        (
            "for another nonce",
            lambda engine: gpu_runs.showing(gpu_runs.honest(engine), gpu_runs.answer(nonce=bytes(32))),
            EVIDENCE,
        ),
    ),
    "file.format": (("another", gpu_field(lambda item: item.update(format="vml-evidence/2")), MALFORMED),),
    "file.kind": (("another", gpu_field(lambda item: item.update(kind="snp")), MALFORMED),),
    "file.data": (("a bit", spoiled("data"), EITHER), ("its nonce", spoiled("data", 0.02), EITHER)),
    "file.event_log": (("one", gpu_field(lambda item: item.update(event_log="e30=")), EITHER),),
    "file.collateral": (("none", gpu_field(lambda item: item.update(collateral=None)), EITHER),),
    "collateral.chain": (
        ("a bit", spoiled("chain"), EITHER),
        ("nothing", gpu_field(lambda item: item["collateral"].update(chain="")), EITHER),
    ),
    "collateral.driver_rim": (
        ("a bit", spoiled("driver_rim"), EITHER),
        ("nothing", gpu_field(lambda item: item["collateral"].update(driver_rim="")), EITHER),
    ),
    "collateral.vbios_rim": (
        ("a bit", spoiled("vbios_rim"), EITHER),
        ("nothing", gpu_field(lambda item: item["collateral"].update(vbios_rim="")), EITHER),
    ),
}
GPU_CASES = [(name, *row) for name, rows in GPUS.items() for row in rows]


@pytest.mark.parametrize(("name", "how", "make", "error"), GPU_CASES, ids=[f"{n}: {h}" for n, h, *_ in GPU_CASES])
@pytest.mark.parametrize("engine", gpu_runs.ENGINES)
def test_altered_gpus(name: str, how: str, make: Callable[[str], Proof], error: Any, engine: str) -> None:
    held = pins(**{TEE_POLICIES: (gpu_runs.policy(),), TEE_ANCHORS: gpu_runs.ROOTS, TEE_NONCE: ANY_NONCE})
    with pytest.raises(error):
        gpu_runs.check(make(engine), held=held)


def test_the_manifest_has_every_field_of_a_gpus_evidence() -> None:
    item = json.loads(decoded(gpu_runs.honest()).gpus[0])
    named = {f"file.{name}" for name in item} | {f"collateral.{name}" for name in item["collateral"]}
    assert named | {"certificate.gpus", "gpus"} == GPUS.keys()
    assert gpu_field(lambda item: None)("exact") == gpu_runs.honest("exact")
