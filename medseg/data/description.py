"""An object as texts: all that determines what it does, the same in every process."""

from __future__ import annotations

import enum
import hashlib
import sys
from collections.abc import Iterator, Mapping
from functools import cache, singledispatch
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import torch

from medseg.bundle import sha256


@singledispatch
def describe(value: Any) -> Iterator[str]:
    """An object by its class, that class's source, and what pickle would make it from.

    Raises:
        Exception: it defies description, as a lock or a class typed into a notebook do.
    """
    try:
        made = value.__reduce_ex__(2)
    except TypeError:
        made = repr(value)
        if " at 0x" in made:  # an address: neither the same in another process nor surely another
            raise
    module = str(getattr(value, "__module__", ""))
    yield f"{module} {_source(module)}"
    yield from describe(type(value))
    yield from describe(made)


@describe.register(type(None))
@describe.register(int)
@describe.register(float)
@describe.register(complex)
@describe.register(str)
@describe.register(bytes)
@describe.register(enum.Enum)
def _(value: Any) -> Iterator[str]:
    yield f"{type(value).__qualname__} {value!r}"


@describe.register(list)
@describe.register(tuple)
@describe.register(set)
@describe.register(frozenset)
def _(value: Any) -> Iterator[str]:
    yield f"{type(value).__qualname__} of {len(value)}"
    for entry in sorted(value, key=str) if isinstance(value, (set, frozenset)) else value:
        yield from describe(entry)


@describe.register
def _(value: Mapping) -> Iterator[str]:
    yield f"{type(value).__qualname__} of {len(value)}"
    for key in sorted(value, key=str):
        yield from describe(key)
        yield from describe(value[key])


@describe.register(np.ndarray)
@describe.register(torch.Tensor)
def _(value: Any) -> Iterator[str]:
    if isinstance(value, torch.Tensor):
        tensor = value.as_subclass(torch.Tensor).cpu()
        data = tensor.contiguous().flatten().view(torch.uint8).numpy()
    else:
        data = value
    yield f"{value.dtype} {tuple(value.shape)}"
    if data.dtype.hasobject:
        yield from describe(data.tolist())
    else:
        yield hashlib.sha256(data.tobytes()).hexdigest()


@describe.register
def _(value: np.random.RandomState) -> Iterator[str]:
    yield "generator"  # of a random transform, seeded for each sample


@describe.register
def _(value: type) -> Iterator[str]:
    for kind in value.__mro__:
        typed_in = kind.__module__ == "__main__" and not _source("__main__")
        if typed_in or "<locals>" in kind.__qualname__:
            raise TypeError(f"{kind.__qualname__} is not defined in a file, or inside a function")
        yield f"{kind.__module__}.{kind.__qualname__} {_source(kind.__module__)}"


@describe.register
def _(value: FunctionType) -> Iterator[str]:
    source, found = _source(value.__module__), sys.modules.get(value.__module__)
    yield f"{value.__module__}.{value.__qualname__} {source}"
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    if source and found is value:
        return
    # Of a lambda or an inner function its name and its file do not tell what it was made with.
    cells = [cell.cell_contents for cell in value.__closure__ or ()]
    yield from describe([value.__code__, value.__defaults__, value.__kwdefaults__, cells])
    if not source:
        yield from describe(_globals_used(value))


@describe.register
def _(value: CodeType) -> Iterator[str]:
    yield f"{value.co_code.hex()} {value.co_names} {value.co_freevars}"
    yield from describe(value.co_consts)


def _globals_used(function: FunctionType) -> dict[str, Any]:
    """Of an expression in a configuration, MONAI's `__local_refs`: the values that its @names refer to."""
    codes = list(_codes(function.__code__))
    known, names = function.__globals__, {name for code in codes for name in code.co_names}
    used = {name: known[name] for name in names if name in known}
    if "__local_refs" in used:
        texts = {text for code in codes for text in code.co_consts if isinstance(text, str)}
        used["__local_refs"] = {key: entry for key, entry in used["__local_refs"].items() if key in texts}
    return used


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)


@cache
def _source(module: str | None) -> str:
    """A digest of a module's file; empty where there is none."""
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    return sha256(file) if file else ""
