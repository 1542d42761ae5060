"""Results month by month."""

from datetime import date

from medseg.drift.months import MOST_MONTHS, months_of
from medseg.drift.records import CaseRecord, Kind


def case(day, value=None, verdict=None):
    events = {"reject": {"not pass", "reject"}, "warn": {"not pass"}}.get(verdict, set())
    return CaseRecord(
        "case",
        Kind(),
        numbers={"area": value},
        events=frozenset(("verdict", event) for event in events),
        asked=frozenset({"verdict"} if verdict else ()),
        day=day,
    )


def test_a_month_without_cases_is_listed():
    cases = [
        case(date(2025, 12, 31), 1.0, "pass"),
        case(date(2025, 12, 1), 3.0, "reject"),
        case(date(2026, 2, 1)),
        case(None, 100.0),
    ]
    found = months_of(cases, True, ["area"])
    assert [(month.name, month.cases) for month in found] == [("2025-12", 2), ("2026-01", 0), ("2026-02", 1)]
    assert (found[0].not_passed, found[0].rejected, found[0].medians) == (0.5, 0.5, {"area": (2.0, 2)})
    assert (found[1].not_passed, found[1].medians) == (None, {})
    assert found[2].not_passed is None


def test_a_date_that_is_wrong_by_centuries_makes_no_long_list():
    found = months_of([case(date(1, 1, 1)), case(date(9999, 12, 1))], False, [])
    assert [month.name for month in found] == ["0001-01", "9999-12"]
    assert len(found) < MOST_MONTHS


def test_no_dates_no_months():
    assert months_of([case(None)], True, ["area"]) == []
