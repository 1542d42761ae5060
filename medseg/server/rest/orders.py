"""What a sender asks for: task, method, mode, formats and pixel size, each checked before the image is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medseg.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from medseg.bundle import Method

FIELDS = ("task", "method", "formats", "mode", "pixel_spacing_mm")


def check_fields(fields: Mapping[str, Sequence[str]]) -> None:
    """Check the names of fields, and that each but `formats` is given once.

    Raises:
        UsageError: a name is unknown, or a field has several values.
    """
    for name, values in fields.items():
        if name not in FIELDS:
            raise UsageError(
                "a field that medseg knows", got=_cut(name), advice=did_you_mean(name[:99], FIELDS)
            )
        if name != "formats" and len(set(values)) > 1:
            raise UsageError(f"one value of {name}", got=f"{len(values)}", advice="Give it once.")


def order_of(fields: Mapping[str, Sequence[str]]) -> tuple[str, dict[str, Any]]:
    """The task, and the settings of a job.

    Args:
        fields: name to values, of the query and the form together; `formats` may be repeated, or separated
            by commas.

    Returns:
        The task; and "method" (None for the task's own), "mode", "formats" (empty for the usual ones) and
        "pixel_spacing_mm" (None where it is not given).

    Raises:
        UsageError: a field is unknown, missing or has a value that medseg does not know.
    """
    from medseg.bundle import tasks
    from medseg.formats import check_formats
    from medseg.modes import SEMANTIC, check_mode

    check_fields(fields)
    task, method, mode = (next(iter(fields.get(name, ())), "") for name in ("task", "method", "mode"))
    known = tasks()
    if task not in known:  # a path of a bundle, which medseg segment takes, is no name
        got = _cut(task) if task else "none"
        raise UsageError("a task that has a bundle", got=got, advice=did_you_mean(task[:99], known))
    if method:
        _require_method(task, method)
    mode = mode or SEMANTIC
    check_mode(_cut(mode))
    formats = [name.strip() for value in fields.get("formats", ()) for name in value.split(",")]
    formats = list(dict.fromkeys(filter(None, formats)))
    check_formats([name[:99] for name in formats])
    spacing = next(iter(fields.get("pixel_spacing_mm", ())), "")
    settings = {"method": method or None, "mode": mode, "formats": formats}
    return task, {**settings, "pixel_spacing_mm": _positive(spacing) if spacing else None}


def _require_method(task: str, name: str) -> None:
    from medseg.bundle import method_names, open_bundle, read_method

    bundle = open_bundle(task)
    names = [each for each in method_names(bundle) if _can_run(read_method(bundle, each))]
    if name not in names:
        raise UsageError(
            f"a method of {task} that can run", got=_cut(name), advice=did_you_mean(name[:99], names)
        )


def _can_run(method: Method) -> bool:
    return method.weights is None or method.is_trained


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 < value < math.inf):
        raise UsageError(
            "a pixel size above 0 mm",
            got=_cut(text),
            advice="Give pixel_spacing_mm, such as 0.2, or leave it out.",
        )
    return value


def _cut(text: str) -> str:
    """Text of a sender for a message to the sender: short and printable."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:60])
