"""cohort.html: the ledger and the records of a cohort as texts, numbers and pictures of a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from medseg.cohort.ledger import PENDING, RUNNING, SET_ASIDE, CaseRow, Ledger
from medseg.cohort.outliers import FEWEST, LIMIT, modified_z
from medseg.cohort.results import CaseResult, read_results
from medseg.drift.records import kind_of
from medseg.reports.cohort import CaseLink, Failure, Measure, Picture, Row, write_cohort_page
from medseg.reports.histogram import number_text
from medseg.reports.measurement_rows import is_listed, row_of
from medseg.reports.page import readable, rounded
from medseg.reports.record import plain
from medseg.review.order import BROKEN, expected_error, lowest_predicted
from medseg.workers.job import DONE, FAILED, REFUSED

PAGE = "cohort.html"
_TEXTS = {SET_ASIDE: "set aside"}
_FAILED = (REFUSED, FAILED, SET_ASIDE)
_RULE = (
    f"An outlier lies more than {LIMIT} robust standard deviations from the median (z: 0.6745 times the "
    "distance, divided by the median absolute deviation: Iglewicz and Hoaglin 1993).",
    f"Not judged: measures of fewer than {FEWEST} cases, and those of which more than half are equal. In a "
    "skewed distribution the long side has more outliers. An outlier is a case to look at: it may be a "
    "wrong mask, or a patient unlike the others.",
)


def write_page(out: Path, ledger: Ledger) -> None:
    """Write cohort.html, in full or not at all.

    Args:
        out: the folder of the results.
        ledger: of this folder.

    Raises:
        MedsegError: the ledger can't be read.
        OSError: the page can't be written.
    """
    results, settings = read_results(out, ledger), ledger.settings()
    done = sorted((result for result in results if result.verdict), key=_urgency)
    judged = [_judged(out, *measure) for measure in _measures_of(done)]
    counts = ledger.counts()
    write_cohort_page(
        out / PAGE,
        subject=_subject(settings),
        summary=_summary(counts),
        colour=_colour(counts, done),
        concerns=_concerns(counts, done),
        counts=[(_TEXTS.get(state, state), n) for state, n in counts.items() if n or state == DONE],
        failures=_failures([result.row for result in results if result.row.state in _FAILED]),
        measures=[measure for measure, _ in judged if len(set(measure.values)) > 1],
        constants=[_constant(measure) for measure, _ in judged if len(set(measure.values)) == 1],
        outliers=_outliers([found for _, found in judged]),
        outlier_rule=_RULE,
        order=[_order_row(out, result) for result in done] if any(each.predicted for each in done) else [],
        pictures=[_picture(out, each) for each in done if (out / each.row.case / "overlay.png").is_file()],
        origin=_origin(settings),
    )


def _urgency(result: CaseResult) -> tuple[Any, ...]:
    found = expected_error(result.verdict, result.predicted, len(result.warnings))
    return (*found, result.row.case)


def _link(out: Path, case: str) -> CaseLink:
    report = quote(f"{case}/report.html", errors="surrogateescape")
    return CaseLink(plain(case), f"./{report}" if (out / case / "report.html").is_file() else "")


def _subject(settings: Mapping[str, Any]) -> str:
    task, method = str(settings.get("task", "")), str(settings.get("method", ""))
    return ", ".join(filter(None, (readable(task), method)))


def _summary(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    return f"{counts[DONE]:,} of {total:,} {'case' if total == 1 else 'cases'} done"


def _colour(counts: Mapping[str, int], done: Sequence[CaseResult]) -> str:
    if not counts[DONE]:
        return "reject"
    is_whole = counts[DONE] == sum(counts.values())
    return "pass" if is_whole and all(result.verdict == "pass" for result in done) else "warn"


def _concerns(counts: Mapping[str, int], done: Sequence[CaseResult]) -> list[str]:
    verdicts = Counter(result.verdict for result in done)
    said = {
        f"{counts[REFUSED]:,} refused: unreadable, or not what the task was made for.": counts[REFUSED],
        f"{counts[FAILED]:,} failed by an error.": counts[FAILED],
        f"{counts[SET_ASIDE]:,} set aside: the process ended twice, or it took too long.": counts[SET_ASIDE],
        f"{counts[PENDING] + counts[RUNNING]:,} not tried yet: go on with --resume.": counts[PENDING]
        + counts[RUNNING],
        f"{verdicts['reject']:,} done with the verdict “reject”.": verdicts["reject"],
        f"{verdicts['warn']:,} done with the verdict “warn”.": verdicts["warn"],
        f"{verdicts[BROKEN]:,} done, but the record can't be read any more.": verdicts[BROKEN],
    }
    return [text for text, count in said.items() if count]


def _failures(rows: Sequence[CaseRow]) -> list[Failure]:
    """Alike texts together, the most frequent kinds and texts first."""
    groups: dict[tuple[str, str, str], list[CaseRow]] = {}
    for row in rows:
        alike = kind_of(row.text.replace(Path(row.source[0]).name, "…").replace(row.case, "…"))
        groups.setdefault((row.state, row.kind, alike), []).append(row)
    sizes: Counter[tuple[str, str]] = Counter((row.state, row.kind) for row in rows)
    order = sorted(groups.items(), key=lambda item: (-sizes[item[0][:2]], item[0][:2], -len(item[1])))
    return [
        Failure(
            _TEXTS.get(state, state),
            kind,
            ("" if len({row.text for row in found}) == 1 else "Such as: ") + plain(found[0].text),
            tuple(CaseLink(plain(row.case)) for row in found),
        )
        for (state, kind, _), found in order
    ]


def _measures_of(done: Sequence[CaseResult]) -> list[tuple[str, str, list[tuple[str, float]], int]]:
    """Name, unit, case and value of each that is known, number of those not known."""
    found: dict[tuple[str, str], list[tuple[str, float | None]]] = {}
    for result in done:
        for name, unit, value in _numbers_of(result):
            found.setdefault((name, unit), []).append((result.row.case, value))
    measures = [
        (name, unit, [(case, value) for case, value in pairs if value is not None], pairs)
        for (name, unit), pairs in found.items()
    ]
    known = {name for name, _, values, _ in measures if values}
    return [
        (name, unit, values, len(pairs) - len(values))
        for name, unit, values, pairs in measures
        if values and is_listed(name, known)
    ]


def _numbers_of(result: CaseResult) -> list[tuple[str, str, float | None]]:
    found = [(name, result.units[name], value) for name, value in result.numbers.items()]
    dice = [(f"predicted_Dice.{label}", "1", entry["value"]) for label, entry in result.predicted.items()]
    novelty = [(f"novelty_{name}", "1", value) for name, value in result.novelty.items()]
    return [*dice, *novelty, *found, ("seconds_per_case", "s", result.row.seconds)]


def _judged(
    out: Path, name: str, unit: str, pairs: Sequence[tuple[str, float]], unknown: int
) -> tuple[Measure, dict[CaseLink, tuple[float, str]]]:
    """A measure for the page, and its outliers: case to z and text."""
    values = np.array([value for _, value in pairs], float)
    z = modified_z(values)
    shown = row_of(name, {"value": float(values[0]), "unit": unit})
    title, sign = str(shown["name"]), str(shown["unit"]).partition(",")[0]
    outliers = {n: far for n, far in enumerate([] if z is None else z.tolist()) if abs(far) > LIMIT}
    low, middle, high = (number_text(float(value)) for value in np.percentile(values, (25, 50, 75)))
    facts = [f"Median {middle} {sign}".strip() + f", middle half {low} to {high}."]
    facts += [f"{len(values):,} cases" + (f", {unknown:,} without a value." if unknown else ".")]
    if outliers:
        facts.append(f"{len(outliers):,} {'outlier' if len(outliers) == 1 else 'outliers'}.")
    named = {
        _link(out, pairs[n][0]): (
            far,
            f"{title} {f'{number_text(pairs[n][1])} {sign}'.strip()} (z {far:.1f})",
        )
        for n, far in outliers.items()
    }
    return Measure(
        title, str(shown["unit"]), tuple(facts), values, tuple(float(values[n]) for n in outliers)
    ), named


def _constant(measure: Measure) -> str:
    return f"{measure.title}: {number_text(float(measure.values[0]))} {measure.unit}".strip()


def _outliers(found: Sequence[Mapping[CaseLink, tuple[float, str]]]) -> list[Row]:
    """The outlying values of each case, the farthest first."""
    by_case: dict[CaseLink, list[tuple[float, str]]] = {}
    for each in found:
        for case, value in each.items():
            by_case.setdefault(case, []).append(value)
    sorted_values = {case: sorted(values, key=lambda v: -abs(v[0])) for case, values in by_case.items()}
    order = sorted(sorted_values.items(), key=lambda item: (-abs(item[1][0][0]), item[0].name))
    return [Row(case, ("; ".join(text for _, text in values),)) for case, values in order]


def _order_row(out: Path, result: CaseResult) -> Row:
    dice, _ = lowest_predicted(result.predicted)
    told = "" if dice is None else rounded(dice, 2)
    return Row(_link(out, result.row.case), (told, result.verdict, "; ".join(result.reasons)))


def _picture(out: Path, result: CaseResult) -> Picture:
    dice, _ = lowest_predicted(result.predicted)
    caption = result.verdict if dice is None else f"predicted Dice {rounded(dice, 2)}"
    flag = {"warn": "warn", "reject": "reject", BROKEN: "reject"}.get(result.verdict, "")
    return Picture(_link(out, result.row.case), out / result.row.case / "overlay.png", caption, flag)


def _origin(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    versions = settings.get("versions") or {}
    texts = {
        "Bundle": " ".join(str(settings.get(name) or "") for name in ("task", "bundle_version")).strip(),
        "Method": str(settings.get("method") or ""),
        "Weights (SHA-256)": " ".join(settings.get("weights_sha256") or ()) or "none",
        "Mode": str(settings.get("mode") or ""),
        "Changed settings": ", ".join(f"{key}={value}" for key, value in (settings.get("set") or {}).items()),
        "Part": str(settings.get("part") or ""),
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    return [(name, text) for name, text in texts.items() if text]
