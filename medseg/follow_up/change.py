"""A change against repeatability: what two images of an unchanged patient differ by is called no change."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from medseg.errors import BundleError

INCREASED, DECREASED, UNCHANGED, NOT_ASSESSED = "increased", "decreased", "unchanged", "not assessed"
RELATIVE, ABSOLUTE = "relative", "absolute"
TABLE = "repeatability.json"


@dataclass(frozen=True)
class Limit:
    """The repeatability of a measure: 95% of unchanged pairs differ by less.

    Attributes:
        kind: relative, a share of the earlier value; or absolute, in the measure's unit.
        limit: above 0.
        source: where it comes from, as a sentence or a citation.
    """

    kind: str
    limit: float
    source: str


@dataclass(frozen=True)
class Change:
    """A measure at two times.

    Attributes:
        measure: its name in measurements.json.
        unit: of both values.
        earlier, later: None where it is not known.
        verdict: increased, decreased, unchanged (within the repeatability), or not assessed.
        limit: the repeatability; None where it is not known.
        reason: why it is not assessed; else empty.
    """

    measure: str
    unit: str
    earlier: float | None
    later: float | None
    verdict: str
    limit: Limit | None = None
    reason: str = ""

    @property
    def difference(self) -> float | None:
        """Later minus earlier, in the measure's unit."""
        return None if self.earlier is None or self.later is None else self.later - self.earlier

    @property
    def relative(self) -> float | None:
        """The difference as a share of the earlier value; None for one of 0."""
        if self.difference is None or not self.earlier:
            return None
        return self.difference / abs(self.earlier)


def change_of(
    measure: str,
    unit: str,
    earlier: float | None,
    later: float | None,
    limit: Limit | None,
    reason: str = "",
) -> Change:
    """Judge the change of a measure by its repeatability.

    A relative limit x is symmetric in the ratio: the later value is more than 1 + x times the earlier one, or
    the earlier one more than 1 + x times the later one.

    Args:
        measure, unit: name and unit.
        earlier, later: values; None where one is not known.
        limit: the repeatability; None where it is not known, and then nothing is called a change.
        reason: why a value is not known.
    """
    if earlier is None or later is None:
        return Change(
            measure, unit, earlier, later, NOT_ASSESSED, limit, reason or "it is not known at both times"
        )
    if limit is None:
        unknown = "its repeatability is not known"
        return Change(measure, unit, earlier, later, NOT_ASSESSED, None, reason or unknown)
    return Change(measure, unit, earlier, later, _verdict(earlier, later, limit), limit)


def _verdict(earlier: float, later: float, limit: Limit) -> str:
    if limit.kind == ABSOLUTE:
        beyond = abs(later - earlier) > limit.limit
    elif min(earlier, later) > 0:
        beyond = abs(math.log(later / earlier)) > math.log1p(limit.limit)
    else:
        beyond = abs(later - earlier) > limit.limit * abs(earlier)
    if not beyond:
        return UNCHANGED
    return INCREASED if later > earlier else DECREASED


@cache
def repeatability() -> Mapping[str, Limit]:
    """The limits that medseg ships: measure to limit; see TABLE."""
    return limits_of(json.loads(files("medseg.follow_up").joinpath(TABLE).read_text("utf-8")))


def limits_of(table: Mapping[str, Mapping[str, Any]]) -> dict[str, Limit]:
    """Limits from {measure: {"kind": "relative" or "absolute", "limit": number, "source": text}}.

    Raises:
        BundleError: an entry is of another form.
    """
    found = {}
    for measure, entry in table.items():
        limit = Limit(*(entry.get(key) for key in ("kind", "limit", "source")))  # type: ignore[arg-type]
        sound = limit.kind in (RELATIVE, ABSOLUTE) and isinstance(limit.limit, int | float)
        if not sound or not limit.limit > 0 or not limit.source:
            raise BundleError(
                "a kind (relative or absolute), a limit above 0 and a source for each measure",
                got=f"{measure}: {dict(entry)}",
                advice=f"Correct {TABLE}.",
            )
        found[measure] = limit
    return found
