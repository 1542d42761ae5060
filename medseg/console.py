"""Tables and progress bars for people, drawn by rich, which is imported when the first one is drawn."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

_UNLIMITED = 1_000_000  # columns
_REFRESH_S = 0.1


def table(
    rows: Sequence[Sequence[str]],
    header: Sequence[str] = (),
    right: Collection[str] = (),
    width: int | None = None,
) -> str:
    """Lines of plain text, ready for a log or a file: no escape codes, and nothing is cut off.

    Args:
        rows: texts, one for each column.
        header: the names of the columns; empty for a table without a header.
        right: names of the columns that are aligned to the right, such as numbers.
        width: in characters; the last column is wrapped to fit. None for as wide as the texts are.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names = header or [""] * max(map(len, rows), default=0)
    grid = Table(box=None, pad_edge=False, padding=(0, 1), show_header=bool(header))
    for number, name in enumerate(names, 1):
        grid.add_column(
            Text(name),
            justify="right" if name in right else "left",
            no_wrap=width is None or number < len(names),
            overflow="fold",
        )
    for row in rows:
        grid.add_row(*map(Text, row))  # as Text, "[...]" is no markup
    console = Console(width=width or _UNLIMITED, color_system=None, force_jupyter=False)
    lines = console.render_lines(grid, pad=False)
    return "\n".join("".join(segment.text for segment in line).rstrip() for line in lines)


def terminal_width() -> int | None:
    """How many characters a line of standard output may have; None for a file or a pipe, which take all."""
    return shutil.get_terminal_size().columns if _is_terminal(sys.stdout) else None


@contextmanager
def progress_bar(
    description: str, unit: str, total: int, done: int = 0, disable: bool = False
) -> Iterator[Callable[[], None]]:
    """A bar on standard error with the time left, where that is a terminal; it is gone at the end.

    What is printed and logged meanwhile appears above it. It has no thread of its own, whose locks a process
    that is forked meanwhile (a worker that loads images) would inherit.

    Args:
        description: what goes on.
        unit: of what, in the plural.
        total: how many there are.
        done: how many were done before, such as of a resumed training; they don't count for the time left.
        disable: no bar even in a terminal.

    Yields:
        A function to call after each unit.
    """
    if disable or not _is_terminal(sys.stderr):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    progress = Progress(
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit)),
        *(TimeRemainingColumn(), TextColumn("left")),
        console=Console(stderr=True, soft_wrap=True),
        auto_refresh=False,
        transient=True,
        speed_estimate_period=3600,  # seconds: validations are part of a training's speed
        redirect_stdout=_is_terminal(sys.stdout),  # a file must get its lines itself
    )
    task = progress.add_task(description, total=total, completed=done)
    shown = 0.0

    def advance() -> None:
        nonlocal shown
        progress.advance(task)
        if time.monotonic() - shown >= _REFRESH_S:
            progress.refresh()
            shown = time.monotonic()

    stream = sys.stderr
    with progress, _logged_above(stream):
        progress.refresh()
        yield advance


@contextmanager
def _logged_above(stream: Any) -> Iterator[None]:
    """Log what goes to a stream through what stands in its place (sys.stderr) while a bar is drawn."""
    handlers = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is stream
    ]
    for handler in handlers:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler in handlers:
            handler.setStream(stream)


def _is_terminal(stream: Any) -> bool:
    return stream is not None and stream.isatty()  # None without a console, as under pythonw
