"""The processing steps of a method, read from its configuration."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from medseg import console
from medseg.bundle.config import parse
from medseg.bundle.files import Bundle
from medseg.bundle.methods import inference_files, read_method
from medseg.bundle.step_order import in_order

_PARTS = ("preprocessing", "network_def", "inferer", "postprocessing", "result")


def describe_steps(bundle: Bundle, method: str | None = None, width: int | None = None) -> str:
    """A row for each step: its name, its function or class, and the first line of that docstring.

    Args:
        bundle: an opened bundle.
        method: by name; None for the default.
        width: of the table, in characters; None for as wide as its texts are.

    Raises:
        UsageError: the bundle has no such method.
    """
    about = read_method(bundle, method)
    config: Any = parse(bundle, *inference_files(bundle, method)).config
    files = ", ".join(str(bundle.config(name)) for name in inference_files(bundle, method))
    lines = [f"{bundle.task}, method {about.name}: {about.summary}", f"from {files}", ""]
    rows = [row for part in _PARTS for row in _rows(part, config[part])]
    return "\n".join([*lines, console.table(rows, width=width)])


def _rows(name: str, entry: Any) -> Iterator[tuple[str, str, str]]:
    """The rows of one part of a configuration and of the named steps in it."""
    if not isinstance(entry, dict) or entry.get("_disabled_") or "_target_" not in entry:
        return
    if entry["_target_"] != "medseg.transforms.steps":
        target = _resolved(entry["_target_"])
        yield name, *target
        if "measure" in entry:
            yield f"{name}::measure", str(entry["measure"]).removeprefix("$"), "mask to numbers with units"
        return
    steps = {step: inner for step, inner in entry.items() if isinstance(inner, dict) and "_target_" in inner}
    enabled = [step for step, inner in steps.items() if not inner.get("_disabled_")]
    for step in in_order(enabled, entry.get("after", {})):
        yield from _rows(f"{name}::{step}", entry[step])


def _resolved(target: str) -> tuple[str, str]:
    """The full name of a target, which may be MONAI's short name, and the first line of its docstring."""
    from monai.bundle import ComponentLocator

    if "." not in target:
        found = ComponentLocator().get_component_module_name(target)
        target = f"{found[0] if isinstance(found, list) else found}.{target}"
    module, _, name = target.rpartition(".")
    documented = getattr(import_module(module), name).__doc__ or ""
    return target, documented.strip().partition("\n")[0]
