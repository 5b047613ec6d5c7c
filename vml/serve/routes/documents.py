"""What the OpenAPI document says of inference, whose bodies no model of this package reads: speed, and binary data."""

from __future__ import annotations

from typing import Any

from vml.client.tensors import DATATYPES
from vml.serve.sampling import MAX_NONCE_BYTES, MAX_SAMPLE, MAX_TIMEOUT_US, PRIORITIES, Prove, Sampling
from vml.serve.wire import MAX_ID

_SIZE = {"type": "integer", "minimum": 0}
_TENSOR: dict[str, Any] = {
    "name": {"type": "string"},
    "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
    "datatype": {"type": "string", "enum": sorted(DATATYPES)},
    "data": {"type": "array", "items": {}},
    "parameters": {"type": "object", "properties": {"binary_data_size": _SIZE}, "additionalProperties": False},
}


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    form: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**form, "required": list(required)} if required else form


REQUEST = _object(
    {
        "id": {"type": "string", "maxLength": MAX_ID},
        "parameters": _object(
            {
                "prove": {"type": "string", "enum": list(Prove)},
                "sample": {"type": "integer", "minimum": 1, "maximum": MAX_SAMPLE},
                "sampling": {"type": "string", "enum": list(Sampling)},
                "backend": {"type": "string"},
                "context": {"type": "string", "pattern": "^0x[0-9a-fA-F]{64}$"},
                "nonce": {"type": "string", "minLength": 1, "maxLength": MAX_NONCE_BYTES},
                "priority": {"type": "integer", "minimum": 0, "maximum": PRIORITIES},
                "timeout": {"type": "integer", "minimum": 0, "maximum": MAX_TIMEOUT_US},
                "binary_data_output": {"type": "boolean"},
            }
        ),
        "inputs": {"type": "array", "minItems": 1, "items": _object(_TENSOR, "name", "shape", "datatype")},
        "outputs": {
            "type": "array",
            "items": _object(
                {"name": {"type": "string"}, "parameters": _object({"binary_data": {"type": "boolean"}})}, "name"
            ),
        },
    },
    "inputs",
)

ANSWER = _object(
    {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "parameters": {"type": "object", "additionalProperties": {"type": ["string", "integer", "boolean"]}},
        "outputs": {"type": "array", "items": _object(_TENSOR, "name", "shape", "datatype")},
    },
    "model_name",
    "model_version",
    "parameters",
    "outputs",
)

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_LENGTH = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "required": False,
    "description": "Bytes of the JSON at the body's beginning, where binary tensor data follow.",
    "schema": {"type": "integer", "minimum": 0},
}
_IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A request that is sent again under its key is answered from what was recorded the first time.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


SCHEMES = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of the accepted issuer."},
}


def say_who_may(document: dict[str, Any], public: tuple[str, ...], guarded: bool) -> None:
    """Write into the document what clients have to show.

    Args:
        document: OpenAPI, changed here.
        public: beginnings of the paths that everybody may ask.
        guarded: whether the others take a key or a token.
    """
    document["components"]["securitySchemes"] = SCHEMES
    for path, operations in document["paths"].items():
        for operation in operations.values():
            asked = guarded and not path.startswith(public)
            operation["security"] = [{name: []} for name in SCHEMES] if asked else []


INFER_DOCUMENT: dict[str, Any] = {
    "parameters": [_LENGTH, _IDEMPOTENCY],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": REQUEST}, "application/octet-stream": _BINARY},
    },
    "responses": {
        "200": {
            "description": "The model's outputs, and the claim of the run.",
            "content": {"application/json": {"schema": ANSWER}, "application/octet-stream": _BINARY},
            "headers": {"Vml-Claim": {"description": "Digest of the claim.", "schema": {"type": "string"}}},
        }
    },
}
