"""Who may come in: API keys, and what an open server takes; what nobody may see."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.running import INPUT, Running, bearer, running
from vml.serve import auth, logs
from vml.serve.app import create_app
from vml.serve.settings import Access, Limits, Settings

# ---- API keys


@pytest.fixture(scope="module")
def keys() -> dict[str, str]:
    return {}


@pytest.fixture(scope="module")
def guarded(tiny: Any, keys: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("guarded")
    entries = []
    for name, roles in {
        "clinic": [auth.INFER, auth.READ],
        "other": [auth.INFER, auth.READ],
        "auditor": [auth.READ, auth.AUDIT],
        "operator": [auth.INFER, auth.OPERATE],
        "reader": [auth.READ],
    }.items():
        keys[name], entry = auth.new_key(name, roles)
        entries.append(json.loads(entry))
    (folder / "keys.json").write_text(json.dumps({"keys": entries}))
    with running(tiny, folder / "data", access=Access(keys_file=folder / "keys.json")) as server:
        yield server


def test_nobody_comes_in_without_a_key(guarded: Running) -> None:
    for headers in ({}, bearer("vml_wrong"), {"X-API-Key": ""}, bearer("x" * 20_000), {"Authorization": "Basic abc"}):
        for path in ("/v2", "/v2/models/tiny", "/v1/claims", "/metrics", "/openapi.json", "/v1/jobs/" + "0" * 32):
            refused = guarded.http.get(path, headers=headers)
            assert refused.status_code == 401
            assert refused.headers["WWW-Authenticate"] == "Bearer"
            assert set(refused.json()) == {"error"}
    assert guarded.infer().status_code == 401
    assert guarded.http.get("/v2/health/live").status_code == 200
    assert guarded.http.get("/v2/health/ready").status_code == 200


def test_a_key_comes_in_either_header(guarded: Running, keys: dict[str, str]) -> None:
    assert guarded.http.get("/v2", headers=bearer(keys["clinic"])).status_code == 200
    assert guarded.http.get("/v2", headers={"X-API-Key": keys["clinic"]}).status_code == 200
    assert guarded.http.get("/v2", headers={"Authorization": f"bearer {keys['clinic']}"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v2", {"clinic", "auditor", "reader"}),
        ("POST", "/v2/models/tiny/infer", {"clinic", "operator"}),
        ("GET", "/v1/models", {"clinic", "auditor", "reader"}),
        ("GET", "/v1/claims", {"auditor"}),
        ("GET", "/v1/claims/0x" + "00" * 32, {"clinic", "auditor", "reader"}),
        ("GET", "/v1/proofs/0x" + "00" * 32, {"clinic", "auditor", "reader"}),
        ("POST", "/v1/proofs/0x" + "00" * 32, {"clinic", "operator"}),
        ("GET", "/v1/jobs", {"auditor"}),
        ("GET", "/v1/jobs/" + "0" * 32, {"clinic", "auditor", "reader"}),
        ("DELETE", "/v1/jobs/" + "0" * 32, {"clinic", "operator"}),
        ("GET", "/v1/jobs/" + "0" * 32 + "/events", {"clinic", "auditor", "reader"}),
        ("POST", "/v1/verify?model=tiny", {"clinic", "auditor", "reader"}),
        ("GET", "/metrics", {"operator"}),
    ],
)
def test_roles(guarded: Running, keys: dict[str, str], method: str, path: str, allowed: set[str]) -> None:
    for name in ("clinic", "auditor", "operator", "reader"):
        response = guarded.http.request(method, path, headers=bearer(keys[name]))
        assert (response.status_code == 403) is (name not in allowed), name
        assert response.status_code != 401


def test_every_route_asks_who_it_is(guarded: Running, keys: dict[str, str]) -> None:
    """Also those that are added later."""
    document = guarded.http.get("/openapi.json", headers=bearer(keys["reader"])).json()
    for path, operations in document["paths"].items():
        if path.startswith(("/v2/health/", "/console")) or path == "/":
            continue
        for method in operations:
            place = path.replace("{", "").replace("}", "")
            assert guarded.http.request(method, place).status_code == 401, (method, path)


def test_somebody_elses_job_is_not_cancelled(guarded: Running, keys: dict[str, str]) -> None:
    said = guarded.said({"prove": "always", "nonce": "mine"}, headers=bearer(keys["clinic"]))
    path = f"/v1/jobs/{said['vml_job']}"
    assert guarded.http.delete(path, headers=bearer(keys["other"])).status_code == 403
    assert guarded.http.delete(path, headers=bearer(keys["clinic"])).json()["state"] == "cancelled"
    rows = guarded.http.get("/v1/claims", headers=bearer(keys["auditor"])).json()["claims"]
    assert rows[0]["client"] == "clinic"


def test_a_job_is_of_who_asked_for_it_and_of_nobody_where_several_did(guarded: Running, keys: dict[str, str]) -> None:
    """Whoever had the claim first has no say in a proof that somebody else wants."""

    def asked(name: str, **parameters: str) -> str:
        return str(guarded.said(parameters, headers=bearer(keys[name])).get("vml_job", ""))

    def cancelled(name: str, job: str) -> int:
        return guarded.http.delete(f"/v1/jobs/{job}", headers=bearer(keys[name])).status_code

    asked("clinic", nonce="whose")
    job = asked("other", nonce="whose", prove="always")
    assert cancelled("clinic", job) == 403
    assert cancelled("other", job) == 200
    assert asked("clinic", nonce="whose", prove="always") == job  # anew: now it is the clinic's
    assert asked("other", nonce="whose", prove="always") == job
    assert (cancelled("clinic", job), cancelled("other", job), cancelled("operator", job)) == (403, 403, 200)


def test_one_client_does_not_take_all_places(guarded: Running, tiny: Any, keys: dict[str, str], tmp_path: Path) -> None:
    access = guarded.server.settings.access
    with running(tiny, tmp_path / "data", access=access, limits=Limits(jobs=4)) as server:

        def asked(name: str, nonce: str) -> httpx.Response:
            return server.infer({"prove": "always", "nonce": nonce, "priority": 1}, headers=bearer(keys[name]))

        statuses = [asked("clinic", str(number)).status_code for number in range(3)]
        assert statuses == [200, 200, 429]
        refused = asked("clinic", "2")
        assert "2 proofs of this client" in refused.json()["error"]
        assert int(refused.headers["Retry-After"]) > 0
        assert asked("clinic", "1").status_code == 200  # the same job
        assert [asked("other", f"other {number}").status_code for number in range(2)] == [200, 200]
        digest = server.said({"nonce": "2"}, headers=bearer(keys["clinic"]))["vml_claim"]
        assert server.http.post(f"/v1/proofs/{digest}", headers=bearer(keys["clinic"])).status_code == 429


def test_idempotency_keys_are_each_clients_own(guarded: Running, keys: dict[str, str]) -> None:
    mine = guarded.said({"nonce": "a"}, headers={**bearer(keys["clinic"]), "Idempotency-Key": "same"})
    yours = guarded.said({"nonce": "b"}, headers={**bearer(keys["other"]), "Idempotency-Key": "same"})
    assert mine["vml_claim"] != yours["vml_claim"]


def test_the_file_holds_no_key_and_other_files_are_refused(tmp_path: Path) -> None:
    key, entry = auth.new_key("clinic", [auth.READ], 5.0, 10)
    assert key.startswith("vml_")
    assert key not in entry
    good = json.loads(entry)
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [good]}))
    (principal,) = auth.read_keys(path).values()
    assert principal == auth.Principal("clinic", frozenset({"read"}), 5.0, 10)
    for wrong in (
        "", "[]", '{"keys": []}', '{"keys": [1]}', json.dumps({"keys": [good, good]}), "[" * 100_000,
        *(json.dumps({"keys": [{**good, **change}]}) for change in (
            {"key": "x"}, {"sha256": "00"}, {"sha256": good["sha256"].upper()}, {"roles": []}, {"roles": ["root"]},
            {"roles": "read"}, {"name": ""}, {"name": "a\nb"}, {"name": "oidc:ada"}, {"burst": 0},
            {"requests_per_second": -1}, {"requests_per_second": True},
        )),
    ):  # fmt: skip
        path.write_text(wrong)
        with pytest.raises(ValueError):
            auth.read_keys(path)


# ---- an open server


def test_an_open_server_answers_under_local_names_only(tiny: Any, tmp_path: Path) -> None:
    with running(tiny, tmp_path) as server:
        for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", ""):
            assert server.http.get("/v2", headers={"Host": host}).status_code in (400, 403)
        for host in ("localhost", "127.0.0.1:1234", "[::1]:80"):
            assert server.http.get("/v2", headers={"Host": host}).status_code == 200
        # What a page of another site can send without asking first.
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            refused = server.http.post("/v2/models/tiny/infer", content=b"{}", headers={"Content-Type": kind})
            assert refused.status_code == 415


CROSS_SITE = [
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    {"Origin": "http://localhost:9999", "Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost.evil.example"},
]


def test_a_page_of_another_site_asks_for_nothing(tiny: Any, tmp_path: Path) -> None:
    """Also without a Content-Type, which a page may leave out, and where everybody may come in."""
    body = json.dumps({"inputs": [INPUT]}).encode()
    for number, access in enumerate((Access(), Access(unsafe_open=True))):
        with running(tiny, tmp_path / str(number), access=access) as server:
            for headers in CROSS_SITE:
                refused = server.http.post("/v2/models/tiny/infer", content=body, headers=headers)
                assert (refused.status_code, refused.json()) == (403, {"error": "a page of another site asks"}), headers
            assert server.server.store.count_claims() == 0
            own = server.url.removeprefix("http://")
            for headers in (
                {"Origin": f"http://{own}"},
                {"Origin": f"http://{own}", "Sec-Fetch-Site": "same-origin"},
                {"Sec-Fetch-Site": "none"},
                {},
            ):
                assert server.http.post("/v2/models/tiny/infer", content=body, headers=headers).status_code == 200
            # Links may lead here: nobody but the reader sees the answer.
            assert server.http.get("/v1/claims", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_who_shows_a_key_may_ask_from_anywhere(guarded: Running, keys: dict[str, str]) -> None:
    for headers in CROSS_SITE:
        assert guarded.infer(headers={**bearer(keys["clinic"]), **headers}).status_code == 200


def test_an_open_application_answers_this_machine_only(tiny: Any, tmp_path: Path) -> None:
    """Under whatever server it runs, and behind whatever proxy: `Host: localhost` opens nothing."""
    app = create_app(Settings(models={"tiny": tiny.folder}, data=tmp_path, workers=0))

    async def asked(client: str, **headers: str) -> int:
        transport = httpx.ASGITransport(app, client=(client, 4444))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as http:
            return (await http.get("/v2")).status_code

    async def go() -> list[int]:
        async with app.router.lifespan_context(app):
            return [
                await asked("127.0.0.1"),
                await asked("::1"),
                await asked("203.0.113.9"),
                await asked("127.0.0.1", **{"X-Forwarded-For": "203.0.113.9"}),
                await asked("127.0.0.1", Via="1.1 proxy"),
            ]

    assert asyncio.run(go()) == [200, 200, 403, 403, 403]


def test_certificates_of_clients_are_believed_where_they_were_asked_for(tiny: Any, tmp_path: Path) -> None:
    """Another server than our own asks nobody for one."""
    file = tmp_path / "missing.pem"
    access = Access(certificate=file, private_key=file, client_ca=file)
    app = create_app(Settings(models={"tiny": tiny.folder}, data=tmp_path / "data", workers=0, access=access))

    async def begin() -> None:
        async with app.router.lifespan_context(app):
            pass

    with pytest.raises(ValueError, match="only `vml serve` asks clients for certificates"):
        asyncio.run(begin())


def test_a_server_that_others_reach_needs_to_know_them(tmp_path: Path) -> None:
    models = {"m": tmp_path}
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(ValueError, match="unsafe-open"):
            Settings(models=models, data=tmp_path, host=host)
        Settings(models=models, data=tmp_path, host=host, access=Access(unsafe_open=True))
        Settings(models=models, data=tmp_path, host=host, access=Access(keys_file=tmp_path / "keys.json"))
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        Settings(models=models, data=tmp_path, host=host)


# ---- the log


def test_the_log_holds_no_input_path_or_key(tiny: Any, tmp_path: Path) -> None:
    key, entry = auth.new_key("clinic", list(auth.ROLES))
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [json.loads(entry)]}))
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.Lines(as_json=True))
    loggers = [logging.getLogger(name) for name in (*logs.LOGGERS, "asyncio", "sqlalchemy", "filelock")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    secret = 0.123456789
    try:
        with running(tiny, tmp_path / "data", access=Access(keys_file=tmp_path / "keys.json")) as server:
            server.http.headers.update(bearer(key))
            body = {"inputs": [{**INPUT, "data": [secret, 99.875, 0, 0]}]}
            assert server.infer(body=body).status_code == 422
            body["inputs"][0]["data"][1] = 0
            assert server.infer({"nonce": "hush-hush"}, body=body).status_code == 200
            assert server.infer({"colour": "hush-hush"}, body=body).status_code == 400
            server.http.get("/v1/claims/hush-hush")
            server.http.get("/hush-hush?hush=hush-hush")
            server.server.models["tiny"].answer = lambda *_: 1 / 0  # type: ignore[method-assign,assignment]
            assert server.infer({"nonce": "hush-hush"}, body=body).json() == {
                "error": "a defect of the server; its log says where"
            }
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
    text = stream.getvalue()
    events = [json.loads(line) for line in text.splitlines()]
    assert {"method": "POST", "route": "/v2/models/{name}/infer", "status": 200, "client": "clinic"}.items() <= next(
        event for event in events if event.get("status") == 200 and event.get("method") == "POST"
    ).items()
    assert [event["kind"] for event in events if event["event"] == "defect"] == ["ZeroDivisionError"]
    for word in ("0.1234", "99.875", "hush", key, key[4:12], "division"):
        assert word not in text, word


def test_words_of_errors_stay_out_of_the_log() -> None:
    try:
        raise ValueError("the secret 4711")
    except ValueError:
        record = logging.getLogger("vml").makeRecord("vml", logging.ERROR, "f", 1, "it\nbroke", (), True)
        record.exc_info = sys.exc_info()
    for as_json in (True, False):
        line = logs.Lines(as_json).format(record)
        assert "4711" not in line
        assert "ValueError" in line
        assert "\n" not in line
