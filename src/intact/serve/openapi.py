"""The description of the HTTP interface: what FastAPI cannot tell of routes that it does not answer itself."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from intact.serve.protocol.tensors import DATATYPES, MOST_AXES

_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"error": {"type": "string"}},
    "required": ["error"],
    "additionalProperties": False,
}
_REASONS: Final = {
    400: "Not what the protocol or the model wants",
    401: "No credential, or none that is good",
    403: "Not granted",
    404: "Nothing there",
    405: "Not with this method",
    408: "Too slow",
    413: "Too large",
    415: "With a Content-Encoding",
    422: "Refused by the guard, or an address that is none",
    429: "Too many, or used up",
    503: "Not now",
}
ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": reason, "content": {"application/json": {"schema": _ERROR}}}
    for status, reason in _REASONS.items()
}
RESPONSES: Final[dict[int | str, dict[str, Any]]] = {status: ERRORS[status] for status in (400, 401, 405, 413, 415)}
"""What any route may say."""

_TENSOR: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 256},
        "datatype": {"enum": list(DATATYPES)},
        "shape": {"type": "array", "items": {"type": "integer"}, "maxItems": MOST_AXES},
        "parameters": {"type": "object"},
        "data": {"type": "array"},
    },
    "required": ["name", "datatype", "shape"],
}
_WANTED: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}},
    "required": ["name"],
}
_REQUEST: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "maxLength": 256},
        "parameters": {"type": "object"},
        "inputs": {"type": "array", "items": _TENSOR, "minItems": 1, "maxItems": 64},
        "outputs": {"type": "array", "items": _WANTED, "maxItems": 64},
    },
    "required": ["inputs"],
}
_RESPONSE: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {"type": "array", "items": _TENSOR},
    },
    "required": ["model_name", "model_version", "outputs"],
}
_BINARY: Final = {"type": "string", "format": "binary"}
_NAME: Final = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
_VERSION: Final = {
    "name": "version",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[0-9]+$", "maxLength": 20},
}
_NONCE: Final = {
    "name": "Intact-Nonce",
    "in": "header",
    "required": False,
    "description": "Repeated in the receipt.",
    "schema": {"type": "string", "maxLength": 64, "pattern": "^[ -~]*$"},
}
_RECEIPT: Final = {
    "description": "Base64 of the signed receipt, a DSSE envelope over the exact bytes of request and response.",
    "schema": {"type": "string"},
}


def _infer(operation: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the description of an inference route."""
    content = {
        "application/json": {"schema": _RESPONSE},
        "application/octet-stream": {"schema": _BINARY},
    }
    answered = {"description": "The answer", "content": content, "headers": {"Intact-Receipt": _RECEIPT}}
    return {
        "post": {
            "tags": ["inference"],
            "summary": "Infer",
            "description": "With the header Inference-Header-Content-Length, so many bytes of JSON come first and the"
            " binary data of tensors after.",
            "operationId": operation,
            "parameters": [*parameters, _NONCE],
            "requestBody": {"required": True, "content": {"application/json": {"schema": _REQUEST}}},
            "responses": {"200": answered, **{str(status): error for status, error in ERRORS.items()}},
        }
    }


def describe(app: FastAPI) -> None:
    """Have `app` describe inference too, and that every route needs a credential."""

    def whole() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, routes=app.routes)
            found["paths"]["/v2/models/{name}/infer"] = _infer("infer", _NAME)
            found["paths"]["/v2/models/{name}/versions/{version}/infer"] = _infer("infer_revision", _NAME, _VERSION)
            found.setdefault("components", {})["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
            found["security"] = [{"bearer": []}]
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = whole  # type: ignore[method-assign]  # as FastAPI's documentation says to extend it
