"""A comparison of losses as files: table, record, learning curves and page."""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.evaluation.comparison import COMPARISON_HTML, COMPARISON_JSON
from medseg.evaluation.losses_plot import History, draw_losses
from medseg.evaluation.losses_table import LossTable, losses_table, means_of, own_dice, tests_table
from medseg.evaluation.score_files import write_json
from medseg.io.atomic import atomic_path
from medseg.reports.ladder import Strip
from medseg.reports.losses import write_losses_page
from medseg.reports.record import plain

logger = logging.getLogger(__name__)

TABLE, CURVES = "table.csv", "curves.png"


def write_comparison(
    folder: Path, found: LossTable, about: str, histories: Mapping[str, History], strips: Sequence[Strip]
) -> list[Path]:
    """Write table.csv, comparison.json, curves.png and comparison.html.

    Args:
        folder: must exist.
        found: the comparison.
        about: what is the same in all trainings, as a sentence.
        histories: loss to its learning curves.
        strips: the cases to look at.

    Returns:
        The files.
    """
    files = [folder / name for name in (COMPARISON_HTML, COMPARISON_JSON, TABLE, CURVES)]
    page, record, table, curves = files
    _write_table(found, table)
    write_json(record, _record(found))
    with atomic_path(curves) as temporary:
        draw_losses(histories, temporary)
    write_losses_page(
        page,
        title=found.title,
        counts=found.counts,
        about=about,
        table={**losses_table(found), "name": "Losses", "best": found.best},
        tests={**tests_table(found), "name": "Tests", "best": None},
        plot=curves.read_bytes(),
        strips=strips,
        warnings=found.warnings,
    )
    logger.info("%s", page)
    return files


def _write_table(found: LossTable, path: Path) -> None:
    """Write the losses as CSV: the mean of every score at the bundle's threshold, and Dice at the own one."""
    means = {each.loss: means_of(each.rows) for each in found.scored}
    names = list(dict.fromkeys(name for scores in means.values() for name in scores))
    own = ["threshold", "dice_at_threshold", "low", "high"]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["loss", "status", *names, *own])
        writer.writeheader()
        for each in found.scored:
            dice = own_dice(each)
            row = {name: entry["mean"] for name, entry in means[each.loss].items()}
            row |= dict(zip(own, (each.threshold, dice["mean"], dice["low"], dice["high"]), strict=True))
            writer.writerow({"loss": each.loss, "status": "scored", **row})
        for loss in found.failures:
            writer.writerow({"loss": loss, "status": "failed"})


def _record(found: LossTable) -> Any:
    """The comparison for a program; the cases stand in the folders of the losses."""
    scored = {each.loss: {"threshold": each.threshold, "dice": own_dice(each)} for each in found.scored}
    tests = [
        {"loss": test.loss, **vars(test.paired), "p_holm": test.p, "result": test.verdict}
        for test in found.tests
    ]
    return plain(
        {
            "title": found.title,
            "reference": found.reference,
            "losses": scored,
            "tests": tests,
            "failures": found.failures,
            "warnings": found.warnings,
        }
    )
