"""`vml certify` and `vml verify --certificate` on a real small model."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from stand_in import tiny_onnx

from tests.certificates.certifying import NAME, authorities, pem_of, x509_house
from vml import api
from vml.certificates.statement import Certificate

HOUSE = "Example Testing House"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled model, a proof about it, and rows with labels."""
    folder = tmp_path_factory.mktemp("certify")
    model = api.compile(tiny_onnx(), input_range=(-4.0, 4.0)).save(folder / "tiny.vml")
    spec = model.inputs[0]
    shape = tuple(spec.shape)
    rng = np.random.default_rng(7)
    rows = rng.uniform(-3, 3, (6, *shape)).astype(np.float32)
    outputs = [model.dequantize(model.run(model.quantize({spec.name: row})))[model.outputs[0].name] for row in rows]
    decisions = np.array([int(np.argmax(output)) for output in outputs])
    decisions[0] += 1
    np.savez(folder / "labelled.npz", **{spec.name: rows, "labels": decisions})
    np.savez(folder / "numbers.npz", **{spec.name: rows, "y": np.stack(outputs) + np.float32(0.5)})
    np.savez(folder / "rows.npz", **{spec.name: rows})
    np.savez(folder / "input.npz", **{spec.name: rows[0]})
    from vml.cli import main

    proof = folder / "p.json"
    command = ["prove", folder / "tiny.vml", folder / "input.npz", "-o", proof, "--backend", "optimistic", "-q"]
    assert main(list(map(str, command))) == 0
    assert main(["certify", "key", "new", "-o", str(folder / "k.pem"), "-q"]) == 0
    return folder


def certificate(world: Path, vml: Callable[..., Any], name: str, *more: object) -> Path:
    path = world / name
    common = ("--key", world / "k.pem", "--issuer", HOUSE, "-o", path)
    done = vml("certify", world / "tiny.vml", *common, *more, "--json")
    assert done.code == 0, done.err
    return path


def verify(world: Path, vml: Callable[..., Any], *more: object) -> Any:
    return vml("verify", world / "p.json", "--model", world / "tiny.vml", *more, "--json")


def test_a_key_is_its_owners_alone(world: Path, vml: Callable[..., Any]) -> None:
    assert stat.S_IMODE((world / "k.pem").stat().st_mode) == 0o600
    assert (world / "k.pem.pub").read_text().startswith("ed25519:0x")
    again = vml("certify", "key", "new", "-o", world / "k.pem")
    assert again.code == 2
    assert "not overwritten" in again.err


def test_the_verdict_says_whose_certificate_of_what_until_when(world: Path, vml: Callable[..., Any]) -> None:
    path = certificate(world, vml, "c.json", "--holdout", world / "labelled.npz", "--labels", "labels", "--days", 30)
    done = verify(world, vml, "--certificate", path, "--authority", world / "k.pem.pub")
    assert done.code == 0, done.err
    (found,) = done.json["certificates"]
    assert found["issuer"] == HOUSE
    assert found["authority"] == (world / "k.pem.pub").read_text().strip()
    assert (found["accuracy"][0]["metric"], found["accuracy"][0]["value"]) == ("accuracy", "5/6")
    assert found["not_after"] - found["not_before"] == 30 * 86400
    assert "no revocation list was given" in found["remark"]
    told = vml(
        "verify", world / "p.json", "--model", world / "tiny.vml", "--explain", "--certificate", path,
        "--authority", (world / "k.pem.pub").read_text().strip(),
    )  # fmt: skip
    for text in (
        HOUSE,
        "5/6 on 6 rows",
        "against labels",
        "no revocation list was given",
        "that the authority is right",
    ):
        assert text in told.out


def test_what_is_measured(world: Path, vml: Callable[..., Any]) -> None:
    path = certificate(world, vml, "m.json", "--holdout", world / "numbers.npz", "--labels", "y")
    (measure,) = Certificate.from_bytes(path.read_bytes()).statement.accuracy
    assert (measure.metric, measure.reference, measure.rows) == ("mean-absolute-error", "labels", 6)
    assert abs(float(measure.value) - 0.5) < 1e-4
    path = certificate(world, vml, "f.json", "--holdout", world / "rows.npz")
    measures = Certificate.from_bytes(path.read_bytes()).statement.accuracy
    assert {each.metric for each in measures} >= {"max-error", "mean-error"}
    assert {each.reference for each in measures} == {"float model"}
    path = certificate(world, vml, "s.json")
    stated = Certificate.from_bytes(path.read_bytes()).statement.accuracy
    assert stated
    assert all("certificate.json" in each.command for each in stated)


def test_mistakes_of_the_caller(world: Path, vml: Callable[..., Any]) -> None:
    common = ("certify", world / "tiny.vml", "--key", world / "k.pem", "-o", world / "x.json")
    for more, text in (
        ((), "--issuer"),
        (("--issuer", HOUSE, "--labels", "y"), "--holdout"),
        (("--issuer", HOUSE, "--holdout", world / "labelled.npz"), "--labels says"),
        (("--issuer", HOUSE, "--holdout", world / "rows.npz", "--labels", "none"), "--labels says"),
        (("--issuer", HOUSE, "--from", "2030-01-01T00:00:00Z", "--until", "2029-01-01T00:00:00Z"), "before it begins"),
        (("--issuer", "x" * 300), "text of 1 to 200"),
    ):
        done = vml(*common, *more)
        assert done.code == 2, done.err
        assert text in done.err
    assert not (world / "x.json").exists()
    assert verify(world, vml, "--certificate", world / "c.json").code == 2
    assert verify(world, vml, "--authority", world / "k.pem.pub").code == 2
    assert verify(world, vml, "--require-revocation").code == 2


def test_revocation_from_beginning_to_end(world: Path, vml: Callable[..., Any]) -> None:
    path = certificate(world, vml, "r.json")
    key = ("--key", world / "k.pem", "--issuer", HOUSE)
    asked = ("--certificate", path, "--authority", world / "k.pem.pub")
    assert verify(world, vml, *asked, "--require-revocation").json["error"]["type"] == "PolicyRejected"
    first, second = world / "list1.json", world / "list2.json"
    assert vml("certify", "revoke", *key, "-o", first).code == 0
    memory = ("--revocation-memory", world / "memory.json")
    done = verify(world, vml, *asked, "--revocations", first, "--require-revocation", *memory)
    assert done.code == 0, done.err
    assert done.json["certificates"][0]["revocations"] == 1
    assert vml("certify", "revoke", path, *key, "--list", first, "-o", second, "--reason", "wrong data").code == 0
    shown = vml("certify", "show", second, "--json").json
    assert (shown["kind"], shown["number"], shown["revoked"][0]["reason"]) == ("revocations", 2, "wrong data")
    gone = verify(world, vml, *asked, "--revocations", second, *memory)
    assert gone.code == 1
    assert gone.json["error"]["reason"] == "revoked"
    other = certificate(world, vml, "r2.json")
    still = verify(
        world, vml, "--certificate", other, "--authority", world / "k.pem.pub", "--revocations", second, *memory
    )
    assert still.json["certificates"][0]["revocations"] == 2
    replayed = verify(world, vml, *asked, "--revocations", first, *memory)
    assert replayed.json["error"]["reason"] == "stale"
    (world / "memory.json").write_text("{}")
    assert verify(world, vml, *asked, "--revocations", first, *memory).code == 2


def test_a_list_goes_on_from_ones_own_only(world: Path, vml: Callable[..., Any]) -> None:
    assert vml("certify", "key", "new", "-o", world / "k2.pem", "--kind", "eip712").code == 0
    foreign = world / "foreign.json"
    assert vml("certify", "revoke", "--key", world / "k2.pem", "--issuer", HOUSE, "-o", foreign).code == 0
    mine = ("--key", world / "k.pem", "--issuer", HOUSE, "-o", world / "x.json")
    assert vml("certify", "revoke", *mine, "--list", foreign).code == 1
    assert vml("certify", "revoke", *mine[:3], "Another", *mine[4:], "--list", foreign).code == 2


def test_judged_for_another_time(world: Path, vml: Callable[..., Any]) -> None:
    path = certificate(world, vml, "t.json", "--from", "2027-01-01T00:00:00Z", "--until", "2027-12-31T00:00:00Z")
    asked = ("--certificate", path, "--authority", world / "k.pem.pub", "--at")
    assert verify(world, vml, *asked, "2027-06-01T00:00:00Z").code == 0
    for moment, reason in (("2026-06-01T00:00:00Z", "not_yet_valid"), ("2028-06-01T00:00:00Z", "expired")):
        assert verify(world, vml, *asked, moment).json["error"]["reason"] == reason


def test_an_x509_authority(world: Path, vml: Callable[..., Any]) -> None:
    """The whole way with a chain: the issuer is who the certificate of the key names."""
    key = ec.generate_private_key(ec.SECP256R1())
    by = x509_house(key, begins=1_700_000_000, ends=1_900_000_000)
    from cryptography import x509

    pems = [x509.load_der_x509_certificate(each).public_bytes(serialization.Encoding.PEM) for each in by.key.keys]
    (world / "chain.pem").write_bytes(b"".join(pems))
    (world / "x.pem").write_bytes(pem_of(key))
    (world / "root.pem").write_bytes(authorities()[1].public_bytes(serialization.Encoding.PEM))
    done = vml(
        "certify", world / "tiny.vml", "--key", world / "x.pem", "--chain", world / "chain.pem", "-o", world / "x.json",
        "--from", "1800000000",
    )  # fmt: skip
    assert done.code == 0, done.err
    asked = ("--certificate", world / "x.json", "--authority", world / "root.pem", "--at", "1800000000")
    found = verify(world, vml, *asked)
    assert found.code == 0, found.err
    assert found.json["certificates"][0]["issuer"] == NAME
    wrong = vml(
        "certify", world / "tiny.vml", "--key", world / "x.pem", "--chain", world / "chain.pem", "-o", world / "y.json",
        "--issuer", "Another",
    )  # fmt: skip
    assert wrong.code == 2
    assert "certified for" in wrong.err


def test_show_verifies_nothing_and_says_so(world: Path, vml: Callable[..., Any]) -> None:
    path = certificate(world, vml, "shown.json", "--scope", "only digits", "--for-context", "0x" + "11" * 32)
    shown = vml("certify", "show", path, "--json").json
    assert shown["verified"] is None
    assert shown["scope"] == {"contexts": ["0x" + "11" * 32], "text": "only digits"}
    assert "not verified" in vml("certify", "show", path).out
    done = verify(world, vml, "--certificate", path, "--authority", world / "k.pem.pub")
    assert done.json["error"]["reason"] == "scope"
    value = json.loads(path.read_bytes())
    value["certificate"]["subject"] = "other"
    path.write_text(json.dumps(value))
    assert vml("certify", "show", path).code == 1
