"""Claims around a server that was there before: three lines, real HTTP, and what happens where the two disagree."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

import vml
from tests.cli.stand_in import tiny_onnx
from vml import api
from vml.client import tensors
from vml.serve import auth
from vml.serve.middleware import ClaimMiddleware, Route, _asked, _inputs
from vml.serve.settings import Access

OPEN = Access(unsafe_open=True)
INPUT = {"x": np.array([[0.5, -0.25, 1.0, 0.125]], dtype=np.float32)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("middleware") / "tiny.vml"
    vml.compile(tiny_onnx(), input_range=(-2.0, 2.0)).save(target)
    return target


def float_server(folder: Path, change: Callable[[Any], Any] = lambda y: y) -> FastAPI:
    """An inference server as people have them: onnxruntime behind two paths, one of the protocol and one of its own."""
    import onnxruntime

    session = onnxruntime.InferenceSession((folder / "source.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    app = FastAPI()

    @app.post("/v2/models/tiny/infer")
    async def infer(request: Request) -> Response:
        value, rest = tensors.split_body(await request.body(), request.headers.get(tensors.HEADER_LENGTH))
        given = tensors.decode(value["inputs"], rest)
        outputs = {"y": change(session.run(["y"], given)[0])}
        return JSONResponse({"model_name": "tiny", "outputs": tensors.encode_json(outputs)})

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        value = json.loads(await request.body())
        (y,) = session.run(["y"], {"x": np.array(value["features"], dtype=np.float32)})
        return JSONResponse({"scores": change(y).tolist()})

    @app.post("/elsewhere")
    async def elsewhere() -> Response:
        return JSONResponse({"untouched": True})

    return app


@contextmanager
def listening(app: Any) -> Iterator[httpx.Client]:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        for _ in range(600):
            if server.started:
                break
            thread.join(0.05)
        (socket,) = server.servers[0].sockets
        with httpx.Client(base_url=f"http://127.0.0.1:{socket.getsockname()[1]}", timeout=60) as client:
            for _ in range(600):
                if client.get("/vml/v2/health/ready").status_code == 200:
                    break
                thread.join(0.05)
            yield client
    finally:
        server.should_exit = True
        thread.join(30)


def infer(client: httpx.Client, **headers: str) -> httpx.Response:
    return client.post("/v2/models/tiny/infer", json={"inputs": tensors.encode_json(INPUT)}, headers=headers)


def test_three_lines_add_claims(folder: Path, tmp_path: Path) -> None:
    app = float_server(folder)
    app.add_middleware(ClaimMiddleware, models={"tiny": folder}, data=tmp_path / "data", workers=0, access=OPEN)
    with listening(app) as client:
        answer = infer(client, **{"Vml-Nonce": "case 4711"})
        assert answer.status_code == 200
        assert 0 <= float(answer.headers["vml-difference"]) < 0.01
        digest = answer.headers["vml-claim"]
        record = client.get(f"/vml/v1/claims/{digest}").json()
        model = api.load_model(folder)
        assert record["claim"]["model"] == "0x" + model.commitment.hex()
        exact = model.dequantize(model.run(model.quantize(INPUT)))["y"]
        np.testing.assert_allclose(record["outputs"][0]["values"], exact[0], rtol=1e-6)
        assert client.get(answer.headers["vml-proof"]).status_code == 404, "nobody has asked for it"
        assert client.post("/elsewhere").json() == {"untouched": True}
        assert "vml-claim" not in client.post("/elsewhere").headers
        assert client.get("/vml", follow_redirects=True).headers["content-type"].startswith("text/html")


def test_a_protocol_of_ones_own(folder: Path, tmp_path: Path) -> None:
    app = float_server(folder)
    route = Route(
        "tiny",
        inputs=lambda body, headers: {"x": json.loads(body)["features"]},
        outputs=lambda body, headers: {"y": json.loads(body)["scores"]},
    )
    app.add_middleware(
        ClaimMiddleware,
        models={"tiny": folder},
        data=tmp_path / "data",
        workers=0,
        access=OPEN,
        routes={"/predict": route},
    )
    with listening(app) as client:
        answer = client.post("/predict", json={"features": INPUT["x"].tolist()})
        assert float(answer.headers["vml-difference"]) < 0.01
        # What the model was not made for has an answer of the wrapped server, and no claim.
        wild = client.post("/predict", json={"features": [[9.0, 0, 0, 0]]})
        assert wild.status_code == 200
        assert wild.headers["vml-refused"] == "422"
        assert "vml-claim" not in wild.headers
        other = client.post("/predict", json={"features": [[0.0, 0, 0, 0]], "more": 1})
        assert "vml-claim" in other.headers


def test_an_answer_too_far_off_is_not_sent(folder: Path, tmp_path: Path) -> None:
    app = float_server(folder, change=lambda y: y + np.float32(0.5))
    app.add_middleware(
        ClaimMiddleware, models={"tiny": folder}, data=tmp_path / "data", workers=0, access=OPEN, max_difference=0.01
    )
    with listening(app) as client:
        answer = infer(client)
        assert answer.status_code == 502
        assert "differs by 0.5" in answer.json()["error"]
        # Neither is one that cannot be compared.
        assert (
            client.post(
                "/v2/models/tiny/infer", json={"inputs": [tensors.encode_json({"x": INPUT["x"] * 99})[0]]}
            ).status_code
            == 502
        )


def test_errors_of_the_wrapped_server_stay_its_own(folder: Path, tmp_path: Path) -> None:
    app = FastAPI()

    @app.post("/v2/models/tiny/infer")
    async def fail() -> Response:
        return JSONResponse({"error": "out of order"}, 418)

    app.add_middleware(ClaimMiddleware, models={"tiny": folder}, data=tmp_path / "data", workers=0, access=OPEN)
    with listening(app) as client:
        answer = infer(client)
        assert (answer.status_code, answer.json()) == (418, {"error": "out of order"})
        assert "vml-claim" not in answer.headers
        assert client.get("/vml/v1/claims").json()["total"] == 0


def test_a_route_of_no_model_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names the model 'other'"):
        ClaimMiddleware(
            FastAPI(), models={"tiny": folder}, data=tmp_path, routes={"/predict": Route("other")}, access=OPEN
        )


# ---- who comes in


def keys_of(tmp_path: Path, *roles: str) -> tuple[str, Access]:
    key, entry = auth.new_key("clinic", roles or ("infer", "read"))
    (tmp_path / "keys.json").write_text(f'{{"keys": [{entry}]}}')
    return key, Access(keys_file=tmp_path / "keys.json")


def test_it_does_not_start_open_unless_told_to(folder: Path, tmp_path: Path) -> None:
    def made(access: Access) -> ClaimMiddleware:
        return ClaimMiddleware(FastAPI(), models={"tiny": folder}, data=tmp_path / "data", workers=0, access=access)

    with pytest.raises(ValueError, match="nothing says who may come in"):
        made(Access())
    file = tmp_path / "missing.pem"
    with pytest.raises(ValueError, match="certificates"):
        made(Access(certificate=file, private_key=file, client_ca=file))
    _, access = keys_of(tmp_path)
    made(access)
    made(OPEN)


def test_keys_guard_what_is_mounted_and_claims_are_made_for_all(folder: Path, tmp_path: Path) -> None:
    key, access = keys_of(tmp_path, "infer", "read", "audit")
    app = float_server(folder)
    app.add_middleware(ClaimMiddleware, models={"tiny": folder}, data=tmp_path / "data", workers=0, access=access)
    with listening(app) as client:
        for host in ("localhost", "public.example"):
            for path in ("/v1/claims", "/metrics", "/v2"):
                assert client.get("/vml" + path, headers={"Host": host}).status_code == 401
        for headers in ({}, {"Authorization": "Bearer one of the wrapped server's"}, {"Host": "public.example"}):
            assert "vml-claim" in infer(client, **headers).headers
        for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}):
            digest = infer(client, **headers, **{"Vml-Nonce": str(headers)}).headers["vml-claim"]
            record = client.get(f"/vml/v1/claims/{digest}", headers=headers)
            assert record.status_code == 200
        rows = client.get("/vml/v1/claims", headers={"X-API-Key": key}).json()["claims"]
        assert {row["client"] for row in rows} == {"", "clinic"}


# ---- what cannot be got round


def forging(status: int) -> FastAPI:
    """A server that answers wrongly, under a claim that nobody made."""
    app = FastAPI()

    @app.post("/{path:path}")
    async def forge(path: str) -> Response:
        wrong = {"outputs": tensors.encode_json({"y": np.array([[9.0, 9.0]], dtype=np.float32)})}
        return JSONResponse(wrong, status, headers={"Vml-Claim": "0x" + "ee" * 32, "Vml-Difference": "0"})

    return app


@pytest.mark.parametrize("status", [200, 201, 203])
def test_every_answer_of_success_is_compared(folder: Path, tmp_path: Path, status: int) -> None:
    app = forging(status)
    app.add_middleware(
        ClaimMiddleware, models={"tiny": folder}, data=tmp_path / "data", workers=0, access=OPEN, max_difference=0.01
    )
    with listening(app) as client:
        for path in ("/v2/models/tiny/infer", "/v2/models/tiny/infer/", "/v2//models/tiny/infer"):
            answer = client.post(path, json={"inputs": tensors.encode_json(INPUT)})
            assert answer.status_code == 502, path
            assert answer.headers.get_list("vml-claim") != ["0x" + "ee" * 32]


def test_the_wrapped_servers_own_claims_are_dropped(folder: Path, tmp_path: Path) -> None:
    app = forging(200)
    app.add_middleware(ClaimMiddleware, models={"tiny": folder}, data=tmp_path / "data", workers=0, access=OPEN)
    with listening(app) as client:
        refused = client.post("/v2/models/tiny/infer", json={"inputs": []})
        assert (refused.status_code, refused.headers["vml-refused"]) == (200, "400")
        elsewhere = client.post("/elsewhere", json={})
        for answer in (refused, elsewhere):
            assert "vml-claim" not in answer.headers
            assert "vml-difference" not in answer.headers
        (claim,) = infer(client).headers.get_list("vml-claim")
        assert claim != "0x" + "ee" * 32


@pytest.mark.parametrize("features", [[["0.5", 0, 0, 0]], [[True, 0, 0, 0]], [[0.5, 0, 0]], [[None, 0, 0, 0]], "0"])
def test_an_input_is_not_bent_until_it_fits(folder: Path, tmp_path: Path, features: Any) -> None:
    app = FastAPI()

    @app.post("/predict")
    async def predict() -> Response:
        return JSONResponse({"y": [[0.0, 0.0]]})

    route = Route("tiny", inputs=lambda body, headers: {"x": json.loads(body)["features"]})
    app.add_middleware(
        ClaimMiddleware,
        models={"tiny": folder},
        data=tmp_path / "data",
        workers=0,
        access=OPEN,
        routes={"/predict": route},
    )
    with listening(app) as client:
        assert "vml-claim" in client.post("/predict", json={"features": [[0.5, 0, 0, 0]]}).headers
        answer = client.post("/predict", json={"features": features})
        assert (answer.status_code, answer.headers["vml-refused"]) == (200, "400")


def test_numbers_are_taken_as_they_are() -> None:
    def spec(dtype: str) -> Any:
        return SimpleNamespace(name="x", shape=(2,), onnx_dtype=dtype)

    for dtype, numbers in (("int64", [1.7, 2]), ("int64", [True, 2]), ("uint8", [300, 2]), ("bool", [1, 0])):
        with pytest.raises(ValueError):
            _inputs({"x": numbers}, [spec(dtype)])
        with pytest.raises(ValueError, match="the model takes"):
            _inputs({"x": np.array(numbers, dtype=np.float64)}, [spec(dtype)])
    assert _inputs({"x": [1, 2]}, [spec("int64")])["x"].dtype == np.int64
    with pytest.raises(ValueError, match="other inputs"):
        _inputs({"x": [1, 2], "z": [1, 2]}, [spec("int64")])


def test_an_application_hears_that_the_client_went_away_and_no_earlier() -> None:
    """An answer that waits for its proof waits for a client that is there."""
    gone = asyncio.Event()

    async def more() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == b"body"
        waiting = asyncio.create_task(receive())
        done, _ = await asyncio.wait([waiting], timeout=0.05)
        assert not done
        gone.set()
        assert (await waiting)["type"] == "http.disconnect"
        await send({"type": "http.response.start", "status": 204, "headers": []})

    assert asyncio.run(_asked(app, {}, b"body", more)).status == 204


def test_a_body_that_no_input_needs_is_not_read(folder: Path, tmp_path: Path) -> None:
    app = forging(200)
    app.add_middleware(ClaimMiddleware, models={"tiny": folder}, data=tmp_path / "data", workers=0, access=OPEN)
    with listening(app) as client:
        body = b'{"inputs":[' + b"[]," * 100_000 + b"[]]}"
        assert client.post("/v2/models/tiny/infer", content=body).headers["vml-refused"] == "413"
        assert client.post("/vml/v2/models/tiny/infer", content=body).status_code == 413
