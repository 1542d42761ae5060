"""cohort.csv and cohort.parquet: a row for each case, the failures too."""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.cohort.ledger import Ledger
from medseg.cohort.results import CaseResult, read_results
from medseg.io.atomic import atomic_files
from medseg.reports.record import plain

CSV, PARQUET = "cohort.csv", "cohort.parquet"
# The columns that are numbers, besides predictions and measurements; what else has no unit is text.
_WHOLE, _REAL = ("attempts", "warnings"), ("seconds",)

logger = logging.getLogger(__name__)


def write_tables(out: Path, ledger: Ledger) -> None:
    """Write cohort.csv, and cohort.parquet where pyarrow is installed, both or none.

    The columns: case; subject, if any is known; state, kind, text, attempts and seconds of the last attempt;
    verdict, reasons (joined by "; ") and the number of warnings; predicted_dice/LABEL, novelty_distance and
    novelty_percentile, where a quality is predicted; NAME[UNIT] for each measurement, those of sides and
    labels as NAME.LABEL[UNIT], texts as NAME[text]; bundle_version, method, weights_sha256, input_sha256.
    Lists, such as an entry for each lesion, stand in measurements.json alone. What is not known is empty.

    Args:
        out: the folder of the results.
        ledger: of this folder.

    Raises:
        MedsegError: the ledger can't be read.
        OSError: the files can't be written; those that were there stay.
    """
    rows = table_of(read_results(out, ledger), ledger.settings())
    columns = columns_of(rows)
    with atomic_files(out, [out / PARQUET], last=CSV) as stage:
        with (stage / CSV).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        _write_parquet(stage / PARQUET, columns, rows)


def table_of(results: Sequence[CaseResult], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows by column: str, int, float, or None for what is not known; of no row all columns."""
    origin = {
        "bundle_version": str(settings.get("bundle_version") or ""),
        "method": str(settings.get("method") or ""),
        "weights_sha256": " ".join(settings.get("weights_sha256") or ()),
    }
    has_subjects = any(result.row.subject for result in results)
    return [plain(_row_of(result, origin, has_subjects)) for result in results]


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of all columns: the measurements, which not all cases have, before those of the origin."""
    names = dict.fromkeys(name for row in rows for name in row)
    last = [name for name in names if name in _ORIGIN]
    return [name for name in names if name not in _ORIGIN] + last


_ORIGIN = ("bundle_version", "method", "weights_sha256", "input_sha256")


def _row_of(result: CaseResult, origin: Mapping[str, str], has_subjects: bool) -> dict[str, Any]:
    row = result.row
    was_tried = row.attempts > 0
    return {
        "case": row.case,
        **({"subject": row.subject} if has_subjects else {}),
        "state": row.state,
        "kind": row.kind,
        "text": row.text,
        "attempts": row.attempts,
        "seconds": row.seconds if was_tried else None,
        "verdict": result.verdict,
        "reasons": "; ".join(result.reasons),
        "warnings": len(result.warnings) if result.verdict else None,
        **{f"predicted_dice/{label}": float(entry["value"]) for label, entry in result.predicted.items()},
        **{f"novelty_{name}": float(value) for name, value in result.novelty.items()},
        **{f"{name}[{result.units[name]}]": value for name, value in result.numbers.items()},
        **{f"{name}[text]": text for name, text in result.texts.items()},
        **origin,
        "input_sha256": row.input_sha256,
    }


def _write_parquet(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        logger.warning("%s alone was written: %s needs pip install 'medseg[cohort]'.", CSV, PARQUET)
        return
    types = {name: _type_of(name, pyarrow) for name in columns}
    content = {name: pyarrow.array([row.get(name) for row in rows], types[name]) for name in columns}
    parquet.write_table(pyarrow.table(content), path)


def _type_of(column: str, pyarrow: Any) -> Any:
    """By the name, so that the types are those of other cohorts where a column is empty."""
    if column in _WHOLE:
        return pyarrow.int64()
    is_measure = column.endswith("]") and not column.endswith("[text]")
    is_number = is_measure or column in _REAL or column.startswith(("predicted_dice/", "novelty_"))
    return pyarrow.float64() if is_number else pyarrow.string()
