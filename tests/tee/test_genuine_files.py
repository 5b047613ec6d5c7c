"""Genuine evidence as files: kept as a file or a folder and read back, the command line finds in it what it says."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.tee.genuine import VENDORS, require
from vml.cli import main
from vml.errors import EvidenceRejected
from vml.tee import verify_evidence
from vml.tee.files import SUFFIX, read, write_folder, write_json

require()

from tests.tee.test_appraise_genuine import JUDGED, evidence_of  # noqa: E402 - it needs the vectors, too


def genuine(item: dict[str, Any]) -> bool:
    evidence, at = evidence_of(item)
    with suppress(EvidenceRejected):
        verify_evidence(evidence, VENDORS, at)
        return True
    return False


GENUINE = [item for item in JUDGED if genuine(item)]


@pytest.mark.parametrize("item", GENUINE, ids=lambda item: item["id"])
def test_kept_as_files_it_is_the_same(item: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evidence, at = evidence_of(item)
    claims = verify_evidence(evidence, VENDORS, at)
    file = tmp_path / ("x" + SUFFIX)
    file.write_bytes(write_json(evidence))
    write_folder(evidence, tmp_path / "folder")
    for path in (file, tmp_path / "folder"):
        assert read(path) == evidence
        assert main(["tee", "verify", str(path), "--at", str(at), "--claims-only", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["evidence_id"] == "0x" + claims.evidence_id.hex()
        assert (told["simulated"], told["not_after"]) == (False, claims.not_after)


def test_every_kind_is_among_them() -> None:
    assert {str(evidence_of(item)[0].kind) for item in GENUINE} == {"sgx", "tdx", "snp", "nitro", "nvidia"}
