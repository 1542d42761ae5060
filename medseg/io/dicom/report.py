"""List the series of a study, as values, JSON or a text table, without any text that a person typed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from medseg import console
from medseg.io.dicom.series import kernel_of
from medseg.io.dicom.stacks import Stack, shown


@dataclass(frozen=True)
class Series:
    """One stack of slices in a study.

    Attributes:
        index: its number in the list, from 1.
        modality: such as CT.
        chosen: whether `read` would read it.
        usable: whether it can be read.
        reason: why it isn't read; empty for the chosen one and where nothing prevents it.
        warnings: the warnings of its reader.
        slices: the number of slices of a usable series, of files of any other.
        rows, columns: size of a slice in pixels.
        spacing_mm: between rows, columns and slices; None when it is not usable.
        thickness_mm: of a slice, as declared.
        kernel: reconstruction kernel.
        image_type: ImageType (0008,0008).
        transfer_syntax: name of the pixels' encoding.
    """

    index: int
    modality: str
    chosen: bool
    usable: bool
    reason: str
    warnings: tuple[str, ...]
    slices: int
    rows: int | None
    columns: int | None
    spacing_mm: tuple[float, float, float] | None
    thickness_mm: float | None
    kernel: str
    image_type: str
    transfer_syntax: str


def describe_stacks(stacks: Sequence[Stack], chosen: Stack | None) -> list[Series]:
    """The stacks of a study as Series, numbered from 1; `chosen` is the one to be read."""
    return [_describe(index, stack, stack is chosen) for index, stack in enumerate(stacks, 1)]


def to_json(series: Sequence[Series]) -> list[dict[str, Any]]:
    """One dictionary per series, for json.dumps."""
    return [asdict(one) for one in series]


def to_table(series: Sequence[Series]) -> str:
    """A text table, one line per series; an asterisk marks the chosen one, the others have a reason."""
    head = (
        "",
        "no",
        "kind",
        "slices",
        "size",
        "spacing mm",
        "thickness mm",
        "kernel",
        "image type",
        "transfer syntax",
        "remark",
    )
    return console.table([_cells(one) for one in series], head)


def _cells(one: Series) -> tuple[str, ...]:
    return (
        "*" if one.chosen else "",
        str(one.index),
        one.modality,
        str(one.slices),
        f"{one.rows}x{one.columns}" if one.rows and one.columns else "",
        "x".join(f"{s:.4g}" for s in one.spacing_mm) if one.spacing_mm else "",
        f"{one.thickness_mm:g}" if one.thickness_mm else "",
        one.kernel,
        one.image_type,
        one.transfer_syntax,
        one.reason or "; ".join(one.warnings) or ("read" if one.chosen else "usable"),
    )


def _describe(index: int, stack: Stack, chosen: bool) -> Series:
    grid = stack.grid
    spacing_mm = None
    if grid:
        rows_mm, columns_mm = (float(s) for s in grid.slices[0].spacing_mm)
        spacing_mm = (rows_mm, columns_mm, grid.step_mm)
    return Series(
        index=index,
        modality=shown(stack.modality),
        chosen=chosen,
        usable=chosen or (grid is not None and not stack.unfit),
        reason="" if chosen else stack.reason,
        warnings=(*stack.notes, *(grid.warnings if grid else ())),
        slices=len(grid.slices) if grid else len(stack.files),
        rows=_whole(stack.usual("Rows")),
        columns=_whole(stack.usual("Columns")),
        spacing_mm=spacing_mm,
        thickness_mm=_real(stack.usual("SliceThickness")),
        kernel=kernel_of(stack),
        image_type=shown(stack.usual("ImageType")),
        transfer_syntax=_syntax(stack),
    )


def _syntax(stack: Stack) -> str:
    syntax = stack.files[0].header.file_meta.get("TransferSyntaxUID")
    return shown(getattr(syntax, "name", "unknown"))


def _whole(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _real(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
