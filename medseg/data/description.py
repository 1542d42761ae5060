"""An object as bytes: all that determines what it does, the same in every process."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch


def describe(value: Any) -> bytes:
    """An object as pickle has it; lambdas and inner functions as their code and the values that they hold.

    Of classes and named functions the name alone is in it, not the source.

    Raises:
        Exception: it defies description, as a lock or a class typed into a notebook do.
    """
    file = io.BytesIO()
    _Pickler(file, protocol=4).dump(value)
    return file.getvalue()


class _Pickler(pickle._Pickler):  # the one in C asks no reducer_override for sets
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fast = True  # two equal objects are written as one object twice is

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, (type, FunctionType)) and not _is_expression(value):
            if not _has_source(value.__module__):
                raise pickle.PicklingError(f"{value.__qualname__} is not defined in a file")
            return NotImplemented
        parts = _parts(value)
        return NotImplemented if parts is None else (tuple, ([type(value).__qualname__, *parts],))

    def save_reduce(self, *made: Any, obj: Any = None) -> None:
        # Which a __reduce__ of its own may leave out.
        self.save(str(type(obj)))  # type: ignore[attr-defined]  # typeshed knows dump alone
        super().save_reduce(*made, obj=obj)  # type: ignore[misc]


def _parts(value: Any) -> list[Any] | None:
    """What stands for an object that pickle can't describe, or in each process otherwise."""
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    if isinstance(value, torch.Tensor):
        content = value.as_subclass(torch.Tensor).detach().cpu().contiguous().flatten().view(torch.uint8)
        return [str(value.dtype), tuple(value.shape), content.numpy().tobytes()]
    if isinstance(value, np.random.RandomState):
        return []  # of a random transform, seeded for each sample
    if isinstance(value, ModuleType):
        return [value.__name__]
    if isinstance(value, CodeType):
        code = [value.co_code, value.co_exceptiontable, value.co_names, value.co_freevars, value.co_consts]
        return [*code, value.co_argcount, value.co_kwonlyargcount, value.co_flags]  # *x and x are one code
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        made_with = [value.__defaults__, value.__kwdefaults__, cells, _globals_used(value)]
        return [value.__module__, value.__qualname__, value.__code__, *made_with]
    return None


def _is_expression(value: Any) -> bool:
    """A lambda or an inner function, which no name tells from another one."""
    return isinstance(value, FunctionType) and "<" in value.__qualname__


def _has_source(module: str) -> bool:
    found = sys.modules.get(module)
    return bool(getattr(found, "__spec__", None) or getattr(found, "__file__", None))


def _globals_used(function: FunctionType) -> dict[str, Any]:
    """Of an expression in a configuration: what it names, and MONAI's `__local_refs` by its @names."""
    if _has_source(function.__module__):
        return {}
    codes = list(_codes(function.__code__))
    known, names = function.__globals__, {name for code in codes for name in code.co_names}
    used = {name: known[name] for name in sorted(names & set(known))}
    if "__local_refs" in used:
        texts = {text for code in codes for text in code.co_consts if isinstance(text, str)}
        references = used["__local_refs"]
        used["__local_refs"] = {key: references[key] for key in sorted(texts & set(references))}
    return used


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)
