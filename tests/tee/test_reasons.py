"""Codes: documented word for word, complete, and every error has one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vml.errors import EvidenceRejected, MalformedProof, NotFinal
from vml.tee.anchors import SIMULATOR_NAME, SIMULATOR_OID, VENDOR_ROOTS
from vml.tee.reasons import Reason, code_of, malformed, rejected

PAGE = (Path(__file__).parents[2] / "docs" / "tee.md").read_text(encoding="utf-8")


def test_the_page_lists_every_code() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+) \|$", PAGE, re.MULTILINE)
    assert rows == [(reason.value, reason.meaning) for reason in Reason]


def test_the_page_names_every_root() -> None:
    for root in VENDOR_ROOTS:
        assert f"`{root.family}`" in PAGE
        assert f"`{root.certificate.hex()[:8]}`" in PAGE
    assert SIMULATOR_OID in PAGE
    assert SIMULATOR_NAME in PAGE


@pytest.mark.parametrize("reason", Reason)
def test_a_code_is_its_name(reason: Reason) -> None:
    assert reason.name == reason.value == str(reason)
    assert reason.meaning
    assert Reason(reason.value) is reason


def test_every_error_has_a_code() -> None:
    error = rejected(Reason.PCK_CHAIN, "why")
    assert isinstance(error, EvidenceRejected)
    assert str(error) == "PCK_CHAIN: why"
    assert code_of(error) is Reason.PCK_CHAIN
    broken = malformed("quote", "cut off")
    assert isinstance(broken, MalformedProof)
    assert str(broken) == "MALFORMED: quote: cut off"
    assert str(malformed("quote")) == "MALFORMED: quote"
    assert code_of(broken) is Reason.MALFORMED
    assert code_of(NotFinal(None)) is None
