"""The Open Inference Protocol v2 over HTTP, server's side: requests read strictly, answers written.

Sources: KServe, "Open Inference Protocol (V2), HTTP/REST"; Triton, "Binary Tensor Data Extension".
Triton's request without any JSON (header length 0) is taken for models with one input.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from vml.client import tensors
from vml.serve.sampling import Asked, read_parameters

if TYPE_CHECKING:
    from vml.serve.engine import Served

Array = np.ndarray[Any, np.dtype[Any]]

EXTENSIONS = ("binary_tensor_data", "vml_claims")
MAX_ID = 256
_FIELDS = frozenset({"id", "parameters", "inputs", "outputs"})
_TENSOR_FIELDS = frozenset({"name", "shape", "datatype", "parameters", "data"})
_OUTPUT_FIELDS = frozenset({"name", "parameters"})


class BadRequest(ValueError):
    """No request of the protocol, or none that this model takes; the message says why."""


@dataclass(frozen=True)
class InferenceRequest:
    """One request.

    Args:
        id: to be repeated; None where there is none.
        inputs: arrays by name, of the model's names, shapes and number types.
        outputs: names that are wanted, in their order, and whether as binary data.
        asked: what it asks for besides.
    """

    id: str | None
    inputs: Mapping[str, Array] = field(repr=False)
    outputs: Mapping[str, bool]
    asked: Asked


def read_request(body: bytes, header_length: str | None, served: Served, default: Asked) -> InferenceRequest:
    """Read a request.

    Args:
        body: all of it.
        header_length: of the header ``Inference-Header-Content-Length``; None where there is none.
        served: the model that is asked.
        default: what a request without parameters asks for.

    Raises:
        BadRequest, BadTensor, Refused: anything else than a request that this model takes.
    """
    if header_length == "0":
        return _raw_request(body, served, default)
    value, rest = tensors.split_body(body, header_length)
    _require_known("the request", value, _FIELDS)
    name = value.get("id")
    if name is not None and (not isinstance(name, str) or len(name) > MAX_ID):
        raise BadRequest(f"id is a text of at most {MAX_ID} characters")
    asked = read_parameters(value.get("parameters"), default)
    items = value.get("inputs")
    if not isinstance(items, list) or not items:
        raise BadRequest("inputs is a list of at least one tensor")
    for item in items:
        if isinstance(item, dict):
            _require_known("an input", item, _TENSOR_FIELDS)
            _require_known("parameters of an input", item.get("parameters"), {"binary_data_size"})
    _require_tensors(items, served)
    return InferenceRequest(name, tensors.decode(items, rest), _outputs(value.get("outputs"), served, asked), asked)


def write_outputs(request: InferenceRequest, outputs: Mapping[str, Array]) -> tuple[list[dict[str, Any]], bytes]:
    """The outputs that were asked for, in the forms that were asked for.

    Args:
        request: what was asked.
        outputs: the numbers, by name.

    Returns:
        What stands in the JSON, and the binary data behind it.

    Raises:
        BadRequest: a number that JSON cannot write.
    """
    items, chunks = [], []
    for name, binary in request.outputs.items():
        if binary:
            headers, chunk = tensors.encode_binary({name: outputs[name]})
            chunks.append(chunk)
        else:
            if outputs[name].dtype == np.float16:
                raise BadRequest(f"output {name!r} is FP16, which JSON has no form for: ask for binary data")
            try:
                headers = tensors.encode_json({name: outputs[name]})
            except tensors.BadTensor as error:
                raise BadRequest(str(error)) from None
        items += headers
    return items, b"".join(chunks)


def write_answer(
    served: Served, id: str | None, parameters: Mapping[str, Any], items: list[dict[str, Any]], data: bytes
) -> tuple[bytes, int | None]:
    """An answer's body, and the length of its JSON where binary data follow.

    Args:
        served: the model that was asked.
        id: of the request.
        parameters: scalars and texts.
        items, data: of `write_outputs`.
    """
    answer: dict[str, Any] = {"model_name": served.name, "model_version": served.version}
    if id is not None:
        answer["id"] = id
    text = json.dumps({**answer, "parameters": parameters, "outputs": items}, separators=(",", ":")).encode()
    return text + data, len(text) if data else None


def server_metadata(version: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What GET /v2 answers."""
    return {"name": "vml", "version": version, "extensions": list(EXTENSIONS), "parameters": dict(parameters)}


def model_metadata(served: Served) -> dict[str, Any]:
    """What GET /v2/models/NAME answers. The one version is the model's commitment."""

    def tensor(spec: Any) -> dict[str, Any]:
        return {"name": spec.name, "datatype": served.datatypes[spec.name], "shape": list(spec.shape)}

    return {
        "name": served.name,
        "versions": [served.version],
        "platform": served.semantics,
        "inputs": [tensor(spec) for spec in served.inputs],
        "outputs": [tensor(spec) for spec in served.outputs],
        "parameters": {"vml_model": served.version, "vml_backend": served.backend or ""},
    }


def _raw_request(body: bytes, served: Served, default: Asked) -> InferenceRequest:
    """Nothing but the bytes of the only input."""
    if len(served.inputs) != 1:
        raise BadRequest("a request without JSON is for models with one input")
    (spec,) = served.inputs
    header = {
        "name": spec.name,
        "shape": list(spec.shape),
        "datatype": served.datatypes[spec.name],
        "parameters": {"binary_data_size": len(body)},
    }
    return InferenceRequest(None, tensors.decode([header], body), {spec.name: True for spec in served.outputs}, default)


def _require_tensors(items: list[Any], served: Served) -> None:
    """The model's inputs, each once, as the model takes them: looked at before their numbers are."""
    specs = {spec.name: spec for spec in served.inputs}
    names = [item.get("name") if isinstance(item, dict) else None for item in items]
    wrong = [name for name in names if name not in specs] or [name for name in specs if name not in names]
    if wrong or len(names) != len(specs):
        raise BadRequest(f"inputs: the model takes {', '.join(map(repr, specs))}, each once")
    for item in items:
        spec, kind = specs[item["name"]], served.datatypes[item["name"]]
        if item.get("shape") != list(spec.shape):
            raise BadRequest(
                f"input {spec.name!r} has the shape {list(spec.shape)}: one claim is about one row, so send rows "
                "one by one"
            )
        if item.get("datatype") != kind:
            raise BadRequest(f"input {spec.name!r} is {kind}")
        if kind == "FP16" and "data" in item:
            raise BadRequest(f"input {spec.name!r} is FP16, which JSON has no form for: send binary data")


def _outputs(items: Any, served: Served, asked: Asked) -> dict[str, bool]:
    """Which outputs are wanted, and how."""
    names = [spec.name for spec in served.outputs]
    if items is None or items == []:
        return dict.fromkeys(names, asked.binary)
    if not isinstance(items, list):
        raise BadRequest("outputs is a list")
    wanted: dict[str, bool] = {}
    for item in items:
        if not isinstance(item, dict):
            raise BadRequest("an output is an object with a name")
        _require_known("an output", item, _OUTPUT_FIELDS)
        name, parameters = item.get("name"), item.get("parameters")
        _require_known("parameters of an output", parameters, {"binary_data"})
        binary = asked.binary if parameters is None else parameters.get("binary_data", asked.binary)
        if name not in names or name in wanted:
            raise BadRequest(f"outputs: the model gives {', '.join(map(repr, names))}, each once")
        if type(binary) is not bool:
            raise BadRequest("binary_data is true or false")
        wanted[name] = binary
    return wanted


def _require_known(what: str, value: Any, names: frozenset[str] | set[str]) -> None:
    """Refuse fields that nobody would look at."""
    if value is None:
        return
    if not isinstance(value, dict):
        raise BadRequest(f"{what}: an object is expected")
    unknown = value.keys() - names
    if unknown:
        raise BadRequest(f"{what}: unknown field {min(unknown)[:64]!r}; there are {', '.join(sorted(names))}")
