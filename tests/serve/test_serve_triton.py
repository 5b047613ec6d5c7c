"""Triton's own clients, synchronous and asynchronous, against the server over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

from tests.serve.running import Running, X, running
from vml import api


@pytest.fixture(scope="module")
def served(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tiny, tmp_path_factory.mktemp("data")) as server:
        yield server


@pytest.fixture
def client(served: Running) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(served.url.removeprefix("http://")) as client:
        yield client


def given(binary: bool = True) -> list[triton.InferInput]:
    item = triton.InferInput("x", list(X.shape), "FP32")
    item.set_data_from_numpy(X, binary_data=binary)
    return [item]


def expected(model: Any) -> tuple[str, Any]:
    ((name, values),) = model.dequantize(model.run(model.quantize({"x": X}))).items()
    return name, values


def test_health_and_metadata(client: triton.InferenceServerClient, tiny: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert not client.is_model_ready("nobody")
    server = client.get_server_metadata()
    assert server["name"] == "vml"
    assert "binary_tensor_data" in server["extensions"]
    model = client.get_model_metadata("tiny", model_version="0x" + tiny.commitment.hex())
    assert model["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [1, 4]}]
    assert model["versions"] == ["0x" + tiny.commitment.hex()]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_tensors_in_both_forms(
    client: triton.InferenceServerClient, tiny: Any, binary_in: bool, binary_out: bool | None
) -> None:
    name, values = expected(tiny)
    outputs = None if binary_out is None else [triton.InferRequestedOutput(name, binary_data=binary_out)]
    result = client.infer("tiny", given(binary_in), outputs=outputs, request_id="17")
    assert np.array_equal(result.as_numpy(name), values)
    answer = result.get_response()
    assert answer["id"] == "17"
    assert answer["parameters"]["vml_model"] == "0x" + tiny.commitment.hex()
    assert ("data" in answer["outputs"][0]) is (binary_out is False)


def test_parameters_priority_and_timeout(served: Running, client: triton.InferenceServerClient) -> None:
    result = client.infer("tiny", given(), priority=1, timeout=50_000, parameters={"prove": "sync", "nonce": "triton"})
    said = result.get_response()["parameters"]
    assert said["vml_state"] == "queued"
    job = served.server.store.job(said["vml_job"])
    assert job is not None
    assert job.priority == 49


def test_errors_reach_the_client(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="no such model"):
        client.infer("nobody", given())
    wrong = triton.InferInput("x", [2, 4], "FP32")
    wrong.set_data_from_numpy(np.zeros((2, 4), np.float32))
    with pytest.raises(InferenceServerException, match="one by one"):
        client.infer("tiny", [wrong])
    with pytest.raises(InferenceServerException, match="not compressed"):
        client.infer("tiny", given(), request_compression_algorithm="gzip")
    with pytest.raises(InferenceServerException, match="sequence_"):
        client.infer("tiny", given(), sequence_id=5)


def test_concurrent_requests(client: triton.InferenceServerClient, served: Running, tiny: Any) -> None:
    name, values = expected(tiny)
    address = served.url.removeprefix("http://")
    with triton.InferenceServerClient(address, concurrency=4) as many:
        pending = [many.async_infer("tiny", given(), parameters={"nonce": f"n{k}"}) for k in range(20)]
        results = [one.get_result() for one in pending]
    assert all(np.array_equal(result.as_numpy(name), values) for result in results)
    assert len({result.get_response()["parameters"]["vml_claim"] for result in results}) == 20


def test_the_asynchronous_client(served: Running, tiny: Any) -> None:
    name, values = expected(tiny)

    async def ask() -> Any:
        async with triton_aio.InferenceServerClient(served.url.removeprefix("http://")) as client:
            assert await client.is_server_ready()
            item = triton_aio.InferInput("x", list(X.shape), "FP32")
            item.set_data_from_numpy(X)
            return await asyncio.gather(*[client.infer("tiny", [item], request_id=str(k)) for k in range(5)])

    results = asyncio.run(ask())
    assert [result.get_response()["id"] for result in results] == list("01234")
    assert all(np.array_equal(result.as_numpy(name), values) for result in results)


KINDS = {
    "FP32": np.float32, "BOOL": np.bool_, "UINT8": np.uint8,
    "INT8": np.int8, "INT32": np.int32, "INT64": np.int64,
}  # fmt: skip


def cast_model(kind: str, folder: Any) -> Any:
    """An input of any type, as a number, twice."""
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(KINDS[kind]))
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["f", "f"], ["y"]),
        ],
        "cast",
        [helper.make_tensor_value_info("x", dtype, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    rows = np.array([[0, 1, 1], [1, 0, 0]] * 20, KINDS[kind])
    return api.compile(model.SerializeToString(), calibration={"x": rows}).save(folder / f"{kind}.vml")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_number_types(kind: str, tmp_path: Any) -> None:
    model = cast_model(kind, tmp_path)
    x = np.array([[0, 1, 1]], KINDS[kind])
    with running(model, tmp_path / "data") as server, triton.InferenceServerClient(server.url[7:]) as client:
        assert client.get_model_metadata("tiny")["inputs"][0]["datatype"] == kind
        for binary in (True, False):
            item = triton.InferInput("x", [1, 3], kind)
            item.set_data_from_numpy(x, binary_data=binary)
            result = client.infer("tiny", [item])
            assert np.allclose(result.as_numpy("y"), [[0, 2, 2]], atol=1e-2)
