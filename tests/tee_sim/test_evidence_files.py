"""Evidence as files and folders: what is written is read, and nothing else is."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vml import canonical
from vml.errors import MalformedProof
from vml.tee import AzureCollateral, DcapCollateral, Evidence, Kind, NvidiaCollateral, SnpCollateral, verify_evidence
from vml.tee import files as evidence_files
from vml.tee.files import POLICY, read, read_collateral_of, read_json, read_raw, write_folder, write_json
from vml.tee_sim import DEFAULT_SEED, KINDS, anchors, simulate
from vml.tee_sim.faults import Fault

AT = 1_800_004_321
SGX, TDX, SNP, NITRO = (simulate(kind, report_data=bytes(64), seed=DEFAULT_SEED, at=AT) for kind in KINDS)
assert isinstance(SNP.collateral, SnpCollateral)
assert isinstance(TDX.collateral, DcapCollateral)
OTHERS = (
    replace(TDX, event_log=b"[]"),
    replace(TDX, collateral=None),
    replace(SNP, collateral=replace(SNP.collateral, crl=b"")),
    simulate(Kind.SGX, report_data=bytes(64), seed=DEFAULT_SEED, at=AT, fault=Fault.NO_CRL),
    Evidence(Kind.AZURE, b"{}", AzureCollateral(SNP.collateral)),
    Evidence(Kind.AZURE, b"{}", AzureCollateral(TDX.collateral)),
    Evidence(Kind.AZURE, b"{}"),
    Evidence(Kind.NVIDIA, b"report", NvidiaCollateral(b"chain", b"<driver/>", b"<vbios/>")),
    Evidence(Kind.NVIDIA, b"report", NvidiaCollateral(b"chain")),
    Evidence(Kind.NVIDIA, b""),
)
every = pytest.mark.parametrize("evidence", [SGX, TDX, SNP, NITRO, *OTHERS], ids=lambda item: item.kind)
GOOD: dict[str, Any] = json.loads(write_json(TDX))


@every
def test_what_is_written_is_read(evidence: Evidence, tmp_path: Path) -> None:
    data = write_json(evidence)
    assert read_json(data) == evidence
    assert canonical.encode(json.loads(data)) == data
    (tmp_path / "x.evidence.json").write_bytes(data)
    write_folder(evidence, tmp_path / "folder", {POLICY: b"version: 1\n"})
    assert read(tmp_path / "x.evidence.json") == read(tmp_path / "folder") == evidence


def test_a_file_is_enough_to_verify() -> None:
    assert verify_evidence(read_json(write_json(TDX)), anchors(DEFAULT_SEED), AT).simulated


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another format": lambda item: item | {"format": "vml-evidence/2"},
    "no format": lambda item: {name: value for name, value in item.items() if name != "format"},
    "another field": lambda item: item | {"more": 1},
    "another kind": lambda item: item | {"kind": "arm"},
    "a kind that is no text": lambda item: item | {"kind": ["tdx"]},
    "a list": lambda item: [item],
    "data that is no text": lambda item: item | {"data": 1},
    "data that is not base64": lambda item: item | {"data": "AA=A"},
    "data that is not ASCII": lambda item: item | {"data": "é"},
    "loose base64": lambda item: item | {"data": "AB=="},
    "base64 with a line end": lambda item: item | {"data": "AAAA\n"},
    "a log that is no text": lambda item: item | {"event_log": 0},
    "collateral of SNP": lambda item: item | {"kind": "snp"},
    "collateral of Nitro": lambda item: item | {"kind": "nitro"},
    "collateral of Azure": lambda item: item | {"kind": "azure"},
    "Azure without an object": lambda item: item | {"kind": "azure", "collateral": {"hardware": []}},
    "Azure in Azure": lambda item: item | {"kind": "azure", "collateral": {"hardware": {"hardware": {}}}},
    "Azure with null": lambda item: item | {"kind": "azure", "collateral": {"hardware": None}},
    "Azure with more": lambda item: (
        item | {"kind": "azure", "collateral": {"hardware": item["collateral"], "more": item["collateral"]}}
    ),
    "a number as collateral": lambda item: item | {"collateral": 1},
    "a number as Azure's collateral": lambda item: item | {"kind": "azure", "collateral": 1},
    "a list as collateral": lambda item: item | {"collateral": []},
    "a part more": lambda item: item | {"collateral": item["collateral"] | {"more": ""}},
    "a part less": lambda item: item | {"collateral": {"tcb_info": ""}},
    "a part that is null": lambda item: item | {"collateral": item["collateral"] | {"root_crl": None}},
}


@pytest.mark.parametrize("name", CHANGES)
def test_other_files_are_malformed(name: str) -> None:
    with pytest.raises(MalformedProof):
        read_json(canonical.encode(CHANGES[name](GOOD)))


def test_one_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    for other in (json.dumps(GOOD, indent=1).encode(), write_json(TDX) + b"\n", b"", b"{", b"[" * 100_000):
        with pytest.raises(MalformedProof):
            read_json(other)
    monkeypatch.setattr(evidence_files, "MAX_BYTES", 1000)
    with pytest.raises(MalformedProof):
        read_json(write_json(TDX))


@given(st.data())
def test_altered_files_raise_nothing_else(data: st.DataObject) -> None:
    raw = bytearray(write_json(NITRO))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(MalformedProof):
        read_json(bytes(raw))


def brief(held: Any) -> Any:
    """Collateral of the same class, of few bytes."""
    if isinstance(held, AzureCollateral):
        return AzureCollateral(brief(held.hardware))
    return None if held is None else type(held)(*(b"abc" for _ in fields(held)))


@pytest.mark.slow
def test_a_hundred_thousand_altered_files_raise_nothing_else() -> None:
    """Values put in the place of others, and bytes altered."""
    source, accepted = random.Random(6), 0
    odd = ["null", "true", "0", "-1", "1.5", '""', '"AA=="', '"AB=="', '"é"', "[]", "{}", '"tdx"', '{"hardware":{}}']
    texts = [
        write_json(replace(item, data=b"abc", collateral=brief(item.collateral)))
        for item in (SGX, TDX, SNP, NITRO, *OTHERS)
    ]
    for _ in range(100_000):
        item = json.loads(source.choice(texts))
        for _ in range(source.randrange(3)):
            place = source.choice([item, item.get("collateral")])
            if isinstance(place, dict) and place:
                name = source.choice([*place, "hardware", "more"])
                place[name] = json.loads(source.choice(odd))
                if source.random() < 0.2:
                    place.pop(source.choice(list(place)))
        raw = bytearray(json.dumps(item, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
        if source.random() < 0.3:
            raw[source.randrange(len(raw))] = source.randrange(256)
        try:
            read_json(bytes(raw))
            accepted += 1
        except MalformedProof:
            continue
    assert accepted > 10_000


def written(evidence: Evidence, path: Path) -> Path:
    write_folder(evidence, path / "folder")
    return path / "folder"


@pytest.mark.parametrize("name", ["vek.der", "evidence.json", "Event_log", "notes"])
def test_a_folder_has_no_other_files(name: str, tmp_path: Path) -> None:
    folder = written(TDX, tmp_path)
    (folder / name).write_bytes(b"")
    with pytest.raises(MalformedProof, match="has no file"):
        read(folder)


def test_a_folder_without_its_parts(tmp_path: Path) -> None:
    folder = written(TDX, tmp_path)
    (folder / "collateral.json").unlink()
    assert read(folder).collateral is None
    (folder / "collateral.json").write_bytes(b"{}")
    with pytest.raises(MalformedProof):
        read(folder)
    (folder / "evidence.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"evidence\.bin"):
        read(folder)
    (folder / "evidence.bin").write_bytes(TDX.data)
    for word in (b"arm", b"\xff", b""):
        (folder / "kind").write_bytes(word)
        with pytest.raises(MalformedProof, match="unknown kind"):
            read(folder)
    (folder / "kind").unlink()
    with pytest.raises(FileNotFoundError, match="kind"):
        read(folder)


def test_links_and_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(SNP, tmp_path)
    (folder / "crl.der").unlink()
    (folder / "crl.der").symlink_to(folder / "vek.der")
    with pytest.raises(ValueError, match="symbolic link"):
        read(folder)
    (folder / "crl.der").unlink()
    (folder / "crl.der").mkdir()
    with pytest.raises(ValueError, match="not a regular file"):
        read(folder)
    (folder / "crl.der").rmdir()
    (folder / "crl.der").write_bytes(bytes(6000))
    monkeypatch.setattr(evidence_files, "MAX_BYTES", 6500)
    with pytest.raises(ValueError, match="larger"):
        read(folder)
    monkeypatch.setattr(evidence_files, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match="larger"):
        read(folder / "vek.der")


def test_a_machine_has_one_maker(tmp_path: Path) -> None:
    folder = written(Evidence(Kind.AZURE, b"{}", AzureCollateral(SNP.collateral)), tmp_path)  # type: ignore[arg-type]
    (folder / "collateral.json").write_bytes(b"{}")
    with pytest.raises(MalformedProof, match="two makers"):
        read(folder)


def test_parts_by_themselves(tmp_path: Path) -> None:
    """A quote as an attester gives it, with collateral as a service gives it."""
    for evidence in (replace(TDX, event_log=b"[]"), SNP, NITRO):
        folder = written(evidence, tmp_path)
        raw, log = folder / "evidence.bin", folder / "event_log"
        parts = tmp_path / "parts"
        parts.mkdir(exist_ok=True)
        for file in folder.iterdir():
            if file.name in evidence_files.LAYOUT[evidence.kind] - {"event_log"}:
                (parts / file.name).write_bytes(file.read_bytes())
        made = read_raw(evidence.kind, raw, parts, log if log.exists() else None)
        assert made == evidence
        for file in parts.iterdir():
            file.unlink()
    assert read_raw(Kind.TDX, tmp_path / "folder" / "evidence.bin").collateral is None
    write_folder(TDX, tmp_path / "tdx")
    assert read_collateral_of(Kind.TDX, tmp_path / "tdx" / "collateral.json") == TDX.collateral
    with pytest.raises(ValueError, match=r"vek\.der"):
        read_collateral_of(Kind.SNP, tmp_path / "tdx" / "collateral.json")
    with pytest.raises(MalformedProof, match="has no file"):
        read_collateral_of(Kind.TDX, tmp_path / "tdx")


def test_collateral_that_is_no_text_has_no_folder(tmp_path: Path) -> None:
    assert isinstance(TDX.collateral, DcapCollateral)
    odd = replace(TDX, collateral=replace(TDX.collateral, tcb_info=b"\xff"))
    with pytest.raises(ValueError):
        write_folder(odd, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
    assert read_json(write_json(odd)) == odd
    assert base64.b64encode(b"\xff").decode() in write_json(odd).decode()
