"""What the results of a cohort say: the ledger's rows with the numbers of their records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medseg.cohort.ledger import CaseRow, Ledger
from medseg.drift.records import measured
from medseg.reports.record import plain
from medseg.review.order import BROKEN, is_number
from medseg.sources import RECORD
from medseg.workers.job import DONE


@dataclass(frozen=True)
class CaseResult:
    """A case of the ledger, and what the record in its folder says; of a case that is not done, nothing.

    Attributes:
        row: of the ledger.
        numbers: measure to value; None where it could not be known.
        units: measure to unit.
        texts: measures that are texts.
        verdict: pass, warn or reject; broken for a done case without a readable record; "" if it is not done.
        reasons, warnings: sentences.
        predicted: label to {"value": Dice, "interval": [low, high]}.
        novelty: how unusual the image is: "distance" and "percentile" among the training images.
    """

    row: CaseRow
    numbers: Mapping[str, float | None] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    verdict: str = ""
    reasons: Sequence[str] = ()
    warnings: Sequence[str] = ()
    predicted: Mapping[str, Any] = field(default_factory=dict)
    novelty: Mapping[str, float] = field(default_factory=dict)


def read_results(out: Path, ledger: Ledger) -> list[CaseResult]:
    """All cases of a ledger in their order; the results lie in the folders of `out`."""
    return [_read(out, row) if row.state == DONE else CaseResult(row) for row in ledger.cases()]


def _read(out: Path, row: CaseRow) -> CaseResult:
    try:
        return _result_of(row, json.loads((out / row.case / RECORD).read_text("utf-8")))
    except (OSError, ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError):
        return CaseResult(row, verdict=BROKEN, reasons=[f"its {RECORD} is missing or can't be read"])


def _result_of(row: CaseRow, record: Mapping[str, Any]) -> CaseResult:
    numbers, units, texts = measured(record["measurements"])
    quality = record["quality"]
    novelty = quality.get("novelty") or {}
    predicted = quality.get("predicted_dice") or {}
    return CaseResult(
        row,
        numbers,
        units,
        dict(sorted(texts)),
        str(quality["verdict"]),
        plain(list(quality["reasons"])),
        plain(list(record["warnings"])),
        {name: entry for name, entry in predicted.items() if is_number(entry["value"])},
        {name: novelty[name] for name in ("distance", "percentile") if is_number(novelty.get(name))},
    )
