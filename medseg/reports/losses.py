"""comparison.html of several losses: table, learning curves, tests, and cases side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from medseg.reports.ladder import Strip, write_side_by_side


def write_losses_page(
    path: str | os.PathLike[str],
    *,
    title: str,
    counts: str,
    about: str,
    table: Mapping[str, Any],
    tests: Mapping[str, Any],
    plot: bytes,
    strips: Sequence[Strip],
    warnings: Sequence[str],
) -> None:
    """Write the page, in full or not at all.

    Args:
        path: the file; its folder must exist.
        title: task, data and split.
        counts: how many cases and subjects.
        about: what is the same in all trainings.
        table: "header", "rows" and "right" of the losses, as text; the row that begins with "best" is marked.
        tests: the same of the tests.
        plot: a PNG of the learning curves.
        strips: the cases to look at.
        warnings: sentences.
    """
    write_side_by_side(
        path,
        "losses.html.j2",
        plot,
        title=title,
        counts=counts,
        about=about,
        table=table,
        tests=tests,
        strips=strips,
        warnings=warnings,
    )
