"""Whatever fits the OpenAPI document, and whatever does not, sent to a listening server: its answers fit the document.

schemathesis makes the requests from `/openapi.json` as clients read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from tests.serve.postgresql import PostgreSQL
from tests.serve.running import Running, running
from vml.serve import auth
from vml.serve.settings import Access, Limits, Proving

load_all_checks()
ALL = {check.__name__: check for check in CHECKS.get_all()}
PUBLIC = {"/v2/health/live", "/v2/health/ready"}
NEEDED = {"/v1/verify": {"model": "tiny"}, "/v1/log/consistency": {"first": 0, "second": 0}}
FEW, MANY = 3, 100

UNSAID = ("positive_data_acceptance", "negative_data_rejection")
"""The document cannot say which tensors a model takes, nor what is a proof: what fits it may be refused."""


@contextmanager
def fuzzed(tiny: Any, data: Path, **settings: Any) -> Iterator[Running]:
    """A server with one claim and its proof. Nobody proves more, so that `prove: "sync"` soon waited long enough."""
    with running(tiny, data, limits=Limits(jobs=50), proving=Proving(sync_s=0.05), **settings) as server:
        server.said({"prove": "always"})
        server.work()
        yield server


@pytest.fixture(scope="module")
def served(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with fuzzed(tiny, tmp_path_factory.mktemp("data")) as server:
        yield server


def operations(server: Running, headers: dict[str, str] | None = None) -> list[Any]:
    """What the document names."""
    schema = schemathesis.openapi.from_url(server.url + "/openapi.json", headers=headers or {})
    found = [result.ok() for result in schema.get_all_operations()]
    assert len(found) > 20
    return found


def known(server: Running) -> dict[str, str]:
    """Names and digests that exist, for paths that would otherwise never be found."""
    (claim,) = server.server.store.claims(limit=1)
    (job,) = server.server.store.jobs(limit=1)
    version = server.server.models["tiny"].version
    return {
        "name": "tiny",
        "version": version,
        "digest": "0x" + claim.digest.hex(),
        "id": job.id,
        "context": "0x" + "00" * 32,
    }


def attack(server: Running, operation: Any, mode: GenerationMode, examples: int, there: dict[str, str] | None) -> None:
    """Send requests of one operation, and hold each answer against the document.

    Args:
        server: to be asked.
        operation: of the document.
        mode: requests that fit the document, or ones that do not.
        examples: how many.
        there: parameters of the path that exist; None lets schemathesis make them up.
    """
    checks = [check for name, check in ALL.items() if name not in UNSAID]

    @settings(
        max_examples=examples,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        if there is not None and case.path_parameters:
            case.path_parameters = {name: there[name] for name in case.path_parameters}
        response = case.call(timeout=30)
        case.validate_response(response, checks=checks)
        if response.status_code >= 400:
            assert set(response.json()) == {"error"}

    ask()


@pytest.mark.parametrize(
    ("mode", "exists"),
    [(GenerationMode.POSITIVE, True), (GenerationMode.POSITIVE, False), (GenerationMode.NEGATIVE, True)],
)
def test_requests_from_the_document(served: Running, mode: GenerationMode, exists: bool) -> None:
    attack_all(served, mode, FEW, exists)


@pytest.mark.slow
@pytest.mark.parametrize("mode", GenerationMode, ids=str)
@pytest.mark.parametrize("exists", [True, False])
def test_many_requests_from_the_document(served: Running, mode: GenerationMode, exists: bool) -> None:
    attack_all(served, mode, MANY, exists)


@pytest.mark.slow
@pytest.mark.parametrize("mode", GenerationMode, ids=str)
def test_many_requests_on_postgresql(tiny: Any, tmp_path: Path, postgresql: PostgreSQL, mode: GenerationMode) -> None:
    with fuzzed(tiny, tmp_path, database=postgresql.new_database()) as server:
        attack_all(server, mode, MANY, exists=False)


def attack_all(server: Running, mode: GenerationMode, examples: int, exists: bool) -> None:
    asked = 0
    for operation in operations(server):
        with suppress(Unsatisfiable):  # where there is nothing that could be wrong
            attack(server, operation, mode, examples, known(server) if exists else None)
            asked += 1
    assert asked >= 10
    assert server.infer().status_code == 200


def test_every_operation_asks_who_comes(tiny: Any, tmp_path: Path) -> None:
    """Without a key 401, with a key of other roles 403, and the document says both."""
    (infer, infer_entry), (audit, audit_entry) = auth.new_key("app", [auth.INFER]), auth.new_key("a", [auth.AUDIT])
    (tmp_path / "keys.json").write_text(f'{{"keys":[{infer_entry},{audit_entry}]}}')
    with running(tiny, tmp_path / "data", access=Access(keys_file=tmp_path / "keys.json")) as server:
        server.said(headers={"X-API-Key": infer}, parameters={"prove": "always"})
        server.work()
        there = known(server)
        seen, checks = set(), [ALL["status_code_conformance"], ALL["response_schema_conformance"]]
        for operation in operations(server, {"X-API-Key": infer}):
            asked = operation.definition.raw["security"]
            if operation.path in PUBLIC:
                assert asked == []
                continue
            assert asked == [{"key": []}, {"bearer": []}]
            path, may = {part.name: there[part.name] for part in operation.path_parameters}, []
            for headers in ({}, {"X-API-Key": "vml_" + "x" * 43}, {"X-API-Key": infer}, {"X-API-Key": audit}):
                case = operation.Case(path_parameters=path, query=NEEDED.get(operation.path, {}))
                if operation.method == "post":
                    case.media_type, case.body = "application/json", {}
                response = case.call(headers=headers, timeout=30)
                case.validate_response(response, checks=checks)
                may.append(response.status_code)
            assert may[:2] == [401, 401], operation.label
            # No operation is for both of these roles, so that one of them is refused.
            assert 403 in may[2:], (operation.label, may)
            assert 401 not in may[2:]
            seen.add(operation.label)
        assert len(seen) > 20
