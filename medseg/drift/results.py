"""What was found as sentences, as a record for programs, and as files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from medseg import __version__
from medseg.drift.check import Drift
from medseg.drift.comparison import RATE, Finding
from medseg.drift.months import FEWEST_OF_A_MONTH, Month
from medseg.io.atomic import atomic_files, require_folder
from medseg.reports.drift import Card, Point, write_drift_page
from medseg.reports.page import readable

RECORD, PAGE = "drift.json", "drift.html"
HEADER = ("measure", "cases", "reference", "now", "shift (95% interval)", "KS", "p corrected")
RIGHT = ("cases", "reference", "now", "KS", "p corrected")


def record_of(drift: Drift) -> dict[str, Any]:
    """What was found as plain values, as drift.json has it."""
    found = drift.comparison
    return {
        "format": "medseg-drift",
        "version": 1,
        "drift": bool(found.called),
        "alpha": found.alpha,
        "smallest_statistic": found.smallest,
        "of": dataclasses.asdict(drift.kind),
        "reference": {"source": drift.source, "persons": drift.reference.persons},
        "now": {
            "persons": drift.now.persons,
            "first_day": drift.days[0].isoformat() if drift.days else None,
            "last_day": drift.days[1].isoformat() if drift.days else None,
            "dated_by_study": drift.by_study,
        },
        "findings": [dataclasses.asdict(finding) for finding in found.findings],
        "untested": found.untested,
        "months": [dataclasses.asdict(month) for month in drift.months],
        "notes": list(drift.notes),
        "broken": list(drift.broken),
        "medseg": __version__,
    }


def save_drift(drift: Drift, folder: str | Path) -> Path:
    """Write drift.json and drift.html, both or none; returns the folder.

    Args:
        drift: what was found.
        folder: created if it is missing.

    Raises:
        MedsegError: the folder can't be written to.
    """
    folder = Path(folder)
    require_folder(folder)
    with atomic_files(folder, (), RECORD) as stage:
        write_drift_page(
            stage / PAGE,
            subject=str(drift.kind),
            compared=compared(drift),
            summary=summary(drift),
            called=[sentence(finding) for finding in drift.comparison.called],
            table={"name": "Measures", "header": HEADER, "right": RIGHT, "rows": rows(drift), "best": None},
            cards=[_card(drift, finding) for finding in drift.comparison.findings],
            months=_month_table(drift),
            untested=[(readable(name), reason) for name, reason in drift.comparison.untested.items()],
            notes=[f"{note[:1].upper()}{note[1:]}." for note in drift.notes],
            broken=drift.broken,
            how=how(drift),
        )
        text = json.dumps(record_of(drift), indent=2, ensure_ascii=False, allow_nan=False)
        (stage / RECORD).write_text(text + "\n", encoding="utf-8")
    return folder


def compared(drift: Drift) -> str:
    """What was compared with what."""
    days = f" ({drift.days[0]} to {drift.days[1]})" if drift.days else ""
    return f"{drift.now.persons} cases now{days} against {drift.reference.persons} of {drift.source}"


def summary(drift: Drift) -> str:
    """Whether there is drift, in one sentence."""
    called, tests = len(drift.comparison.called), len(drift.comparison.findings)
    measures = f"{tests} {'measure' if tests == 1 else 'measures'}"
    if called:
        return f"drift in {called} of {measures}"
    return f"no drift shown in {measures}"


def sentence(finding: Finding) -> str:
    """A finding in words."""
    return f"{readable(finding.name)}: {change(finding)}"


def change(finding: Finding) -> str:
    """What has changed, without the measure's name."""
    if finding.sort == RATE:
        text = f"{finding.reference:.0%} of cases in the reference, {finding.now:.0%} now"
    elif finding.shift or not finding.called:
        text = f"median {_number(finding.reference)} in the reference, {_number(finding.now)} now"
    else:
        text = f"median {_number(finding.now)} as in the reference, but another distribution"
    return f"{text} (KS {finding.statistic:.2f}, p {_p(finding.corrected)})"


def rows(drift: Drift) -> list[tuple[str, ...]]:
    """The findings as a table of texts with the columns of HEADER, what is called first."""
    return [_row(finding) for finding in drift.comparison.findings]


def _row(finding: Finding) -> tuple[str, ...]:
    show = _percent if finding.sort == RATE else _number
    return (
        readable(finding.name) + (" (drift)" if finding.called else ""),
        f"{finding.cases[0]}, {finding.cases[1]}",
        show(finding.reference),
        show(finding.now),
        f"{_signed(finding.shift, show)} ({_signed(finding.low, show)} to {_signed(finding.high, show)})",
        f"{finding.statistic:.2f}",
        _p(finding.corrected),
    )


def how(drift: Drift) -> list[str]:
    """Sentences on how it was tested, and what can't be seen."""
    found = drift.comparison
    dated = "the days of the studies" if drift.by_study else "the days of the segmentations"
    if 0 < drift.by_study < drift.now.persons:
        dated = f"the days of the studies for {drift.by_study} results, of the segmentation for others"
    return [
        "Measures are compared by the two-sample Kolmogorov-Smirnov test. KS is the largest distance between "
        "the two cumulative distributions: 0 is equal, 1 apart. Rates of warnings, verdicts, texts and "
        "missing values are compared by Fisher's exact test; their KS is the difference of the rates.",
        f"p is corrected for all {len(found.findings)} tests (Holm 1979): of comparisons of equal samples, "
        f"{found.alpha:.0%} at most call anything drift. Measures that rank all cases alike are one test.",
        f"With so many cases a KS below about {found.smallest:.2f} is never called: “no drift shown” is no "
        "proof that nothing has changed. With thousands of cases small changes are called: read the shift.",
        "Reference and now are medians or rates. The interval of a shift of medians is a bootstrap interval, "
        "that of rates Newcombe's.",
        f"Months go by {dated}.",
        "That numbers have changed does not say why: other patients, another device, other settings, or a "
        "fault. Whether the masks are still right, only a reference mask or a reader can say.",
    ]


def _card(drift: Drift, finding: Finding) -> Card:
    unit = f" {finding.unit.partition(',')[0]}" if finding.unit not in ("", "count") else ""
    text = change(finding)
    facts = [f"{text[:1].upper()}{text[1:]}."]
    if finding.same:
        facts.append(f"The same test: {'; '.join(readable(name) for name in finding.same)}.")
    values = (np.empty(0), np.empty(0))
    if finding.sort != RATE:
        values = (drift.reference.numbers[finding.name], drift.now.numbers[finding.name])
    return Card(
        title=readable(finding.name),
        unit=unit.strip(),
        facts=tuple(facts),
        called=finding.called,
        reference=values[0][np.isfinite(values[0])],
        now=values[1][np.isfinite(values[1])],
        rates=(finding.reference, finding.now) if finding.sort == RATE else None,
        points=tuple(_points(drift.months, finding.name)),
    )


def _points(months: tuple[Month, ...], measure: str) -> list[Point]:
    return [
        Point(month.name, month.is_now, *month.medians[measure])
        for month in months
        if month.medians.get(measure, (0.0, 0))[1] >= FEWEST_OF_A_MONTH
    ]


def _month_table(drift: Drift) -> dict[str, Any]:
    shown = [f.name for f in drift.comparison.called if f.sort != RATE][:3]
    names = ("predicted_dice", "novelty.distance")
    shown += [f.name for f in drift.comparison.findings if f.name.startswith(names) and f.name not in shown]
    header = ("month", "side", "cases", "not passed", "rejected", *map(readable, shown))
    rows = [
        (
            month.name,
            "now" if month.is_now else "reference",
            str(month.cases),
            *("-" if share is None else _percent(share) for share in (month.not_passed, month.rejected)),
            *(_number(month.medians[name][0]) if name in month.medians else "-" for name in shown),
        )
        for month in drift.months
    ]
    return {"name": "Months", "header": header, "right": header[2:], "rows": rows, "best": None}


def _number(value: float) -> str:
    """Three significant digits, without an exponent where it reads well."""
    if value and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.2e}"
    digits = 3 if abs(value) < 1000 else 5 if abs(value) < 1e5 else 7
    text = np.format_float_positional(value, precision=digits, unique=False, fractional=False, trim="-")
    return f"{round(value):,}" if abs(value) >= 1000 else text


def _percent(value: float) -> str:
    return f"{value:.0%}" if abs(value) >= 0.1 or not value else f"{value:.1%}"


def _signed(value: float, show: Any) -> str:
    return f"+{show(value)}" if value > 0 else show(value)


def _p(value: float) -> str:
    return "<0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.01 else f"{value:.3f}"
