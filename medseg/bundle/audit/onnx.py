"""ONNX models: do they name files outside of their folder, or operators that need a library of their own?

A model is a message of protocol buffers. The few fields that matter are read here, so that nothing has to be
installed or loaded: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from medseg.bundle.audit.findings import printable
from medseg.bundle.audit.source import leaves

MOST_BYTES = 2 * 2**30  # the limit of protocol buffers
_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "com.microsoft"}
# Message to the fields that are followed: number to (name, message, or None for the bytes themselves).
_FIELDS: dict[str, dict[int, tuple[str, str | None]]] = {
    "Model": {7: ("graph", "Graph"), 25: ("functions", "Function")},
    "Graph": {1: ("node", "Node"), 5: ("initializer", "Tensor")},
    "Function": {7: ("node", "Node")},
    "Node": {5: ("attribute", "Attribute"), 7: ("domain", None), 4: ("operator", None)},
    "Attribute": {
        5: ("tensor", "Tensor"), 6: ("graph", "Graph"), 10: ("tensors", "Tensor"), 11: ("graphs", "Graph"),
    },
    "Tensor": {13: ("external", "Entry")},
    "Entry": {1: ("key", None), 2: ("value", None)},
}  # fmt: skip
_MOST_DEPTH = 30


def onnx_faults(stream: IO[bytes]) -> list[str]:
    """What is wrong with a model; empty if nothing is."""
    content = memoryview(stream.read(MOST_BYTES))
    found: dict[str, None] = {}
    try:
        for fault in _faults(content, "Model", 0):
            found[fault] = None
            if len(found) > 20:
                break
    except (IndexError, ValueError):
        return [*found, "no complete ONNX model"]
    return list(found)


def _faults(content: memoryview, message: str, depth: int) -> Iterator[str]:
    if depth > _MOST_DEPTH:
        raise ValueError("too deep")
    texts: dict[str, str] = {}
    for number, value in _fields(content):
        name, inner = _FIELDS[message].get(number, ("", None))
        if inner is not None:
            yield from _faults(value, inner, depth + 1)
        elif name:
            texts[name] = bytes(value).decode("utf-8", "replace")
    if texts.get("key") == "location" and (leaves(texts.get("value", "")) or texts["value"].startswith("~")):
        yield f"weights in a file outside of its folder: {printable(texts['value'], 80)}"
    if texts.get("domain", "") not in _DOMAINS:
        operator = f"{texts['domain']}.{texts.get('operator', '')}"
        yield f"the operator {printable(operator, 80)}, which needs a library of its own"


def _fields(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of a message that have a length, by their numbers.

    Raises:
        ValueError, IndexError: it is no message.
    """
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            _, at = _varint(content, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        elif kind == 2:
            length, at = _varint(content, at)
            if at + length > len(content):
                raise ValueError("a field longer than its message")
            yield number, content[at : at + length]
            at += length
        else:
            raise ValueError(f"wire type {kind}")


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("no number")
