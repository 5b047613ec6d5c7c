"""The backend's face: what it says it can do, and what it refuses before any work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vml.backends import BACKENDS, get_backend
from vml.backends.sumcheck import SumcheckBackend
from vml.backends.sumcheck.scheme import REVEALED, SCHEME
from vml.backends.types import Keys, SetupOptions, Visibility
from vml.errors import BackendUnavailable
from vml.model.semantics import SEMANTICS

PRIVATE = [Visibility(input="private"), Visibility(input="hashed"), Visibility(model="private")]


class Nothing:
    """A model that must not be looked at."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def test_it_is_in_the_table() -> None:
    assert "sumcheck" in BACKENDS
    assert isinstance(get_backend("sumcheck"), SumcheckBackend)
    assert SCHEME.startswith(SumcheckBackend.name + "/")


def test_capabilities() -> None:
    able = SumcheckBackend().capabilities()
    assert (able.assurance, able.semantics) == ("cryptographic", SEMANTICS)
    assert able.trusts == ("keccak-256 as a random oracle",)
    assert (able.inputs, able.models) == (("public",), ("public",))
    assert (able.batch, able.exact, able.pinned_key) == (True, True, True)
    assert (able.needs_setup, able.on_chain) == (False, False)


@pytest.mark.parametrize("visibility", PRIVATE, ids=str)
def test_nothing_can_be_hidden(visibility: Visibility) -> None:
    backend, keys = SumcheckBackend(), Keys("sumcheck", SCHEME, bytes(32), b"")
    with pytest.raises(ValueError, match="hide nothing"):
        backend.setup(Nothing(), SetupOptions(visibility=visibility))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="hide nothing"):
        backend.prove(keys, {}, bytes(32), visibility=visibility)
    with pytest.raises(ValueError, match="hide nothing"):
        backend.estimate(Nothing(), visibility)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [{"calibration": {}}, {"max_error": 0.1}, {"tune": False}, {"srs": Path("x")}, {"time_limit_s": 1.0}],
    ids=lambda change: next(iter(change)),
)
def test_options_without_a_meaning_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        SumcheckBackend().setup(Nothing(), replace(SetupOptions(), **change))  # type: ignore[arg-type]


def test_keys_of_others_are_refused() -> None:
    for keys in (Keys("ezkl", "ezkl/1", bytes(32), b""), Keys("sumcheck", SCHEME, bytes(32), b"")):
        with pytest.raises(ValueError, match="not sumcheck keys"):
            SumcheckBackend().prove(keys, {}, bytes(32), visibility=Visibility())


def test_an_onnx_file_has_no_identity() -> None:
    with pytest.raises(ValueError, match="compiled folder"):
        SumcheckBackend().recompute(b"", Nothing(), SetupOptions())  # type: ignore[arg-type]


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vml.backends.sumcheck.NEEDED", ("numba", "no_such_package"))
    with pytest.raises(BackendUnavailable, match=r"no_such_package.*vml\[sumcheck\]"):
        SumcheckBackend().available()


def test_what_is_revealed_is_said() -> None:
    assert any("not zero-knowledge" in line for line in REVEALED)
    assert any("input and output" in line for line in REVEALED)
