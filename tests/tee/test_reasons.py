"""Codes: documented word for word, complete, and every error has one."""

from __future__ import annotations

import pytest

from tests.tee.reason_table import PAGE, with_table
from vml.errors import EvidenceRejected, MalformedProof, NotFinal
from vml.tee.anchors import SIMULATOR_NAME, SIMULATOR_OID, VENDOR_ROOTS
from vml.tee.reasons import Reason, code_of, malformed, rejected

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_page_lists_every_code() -> None:
    assert with_table(TEXT) == TEXT, "python -m tests.tee.reason_table"


def test_the_page_names_every_root() -> None:
    for root in VENDOR_ROOTS:
        assert f"`{root.family}`" in TEXT
        assert f"`{root.certificate.hex()[:8]}`" in TEXT
    assert SIMULATOR_OID in TEXT
    assert SIMULATOR_NAME in TEXT


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
