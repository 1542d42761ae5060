"""How /openapi.json describes what a request to POST /jobs may hold, which is read by hand."""

from __future__ import annotations

from typing import Any

from medseg.server.rest.orders import FIELDS

_PARAMETERS = [
    {"name": name, "in": "query", "schema": {"type": "string"}, "description": text}
    for name, text in zip(
        FIELDS,
        (
            "such as lung_ct; needed, here or in the form",
            "how to segment; default: the task's own",
            "output formats, separated by commas; default: the usual ones",
            "semantic, object, instance or panoptic",
            "size of a pixel, for pictures that do not tell it",
        ),
        strict=True,
    )
]
_BINARY = {"schema": {"type": "string", "format": "binary"}}
POST_JOB: dict[str, Any] = {
    "parameters": _PARAMETERS,
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        **{name: {"type": "string"} for name in FIELDS},
                    },
                }
            },
            **dict.fromkeys(
                ("multipart/related", "application/dicom", "application/zip", "image/*"), _BINARY
            ),
        },
    },
}
