"""A change against repeatability."""

import pytest

from medseg.errors import BundleError
from medseg.follow_up.change import Limit, change_of, limits_of, repeatability

RELATIVE, ABSOLUTE = Limit("relative", 0.25, "a test"), Limit("absolute", 10, "a test")


@pytest.mark.parametrize(
    ("earlier", "later", "limit", "verdict"),
    [
        (1.0, 1.24, RELATIVE, "unchanged"),
        (1.0, 1.26, RELATIVE, "increased"),
        (1.26, 1.0, RELATIVE, "decreased"),  # the same ratio the other way round
        (1.24, 1.0, RELATIVE, "unchanged"),
        (0.0, 0.1, RELATIVE, "increased"),
        (0.0, 0.0, RELATIVE, "unchanged"),
        (-850.0, -841.0, ABSOLUTE, "unchanged"),
        (-850.0, -839.0, ABSOLUTE, "increased"),
        (-850.0, -861.0, ABSOLUTE, "decreased"),
        (1.0, 9.0, None, "not assessed"),
        (None, 9.0, RELATIVE, "not assessed"),
    ],
)
def test_verdicts(earlier, later, limit, verdict):
    found = change_of("measure", "ml", earlier, later, limit)
    assert found.verdict == verdict
    assert bool(found.reason) == (verdict == "not assessed")


def test_difference_and_share():
    found = change_of("measure", "HU", -800.0, -700.0, ABSOLUTE)
    assert (found.difference, found.relative) == (100.0, 0.125)
    assert change_of("measure", "ml", 0.0, 1.0, RELATIVE).relative is None
    assert change_of("measure", "ml", None, 1.0, RELATIVE).difference is None


def test_each_shipped_limit_has_a_source():
    assert all(limit.source for limit in repeatability().values())
    assert repeatability()["dense_region_volume_ml"].limit >= 0.25


@pytest.mark.parametrize(
    "entry",
    [{}, {"kind": "other", "limit": 1, "source": "x"}, {"kind": "relative", "limit": 0, "source": "x"}],
    ids=["empty", "kind", "limit"],
)
def test_an_unsound_limit_is_refused(entry):
    with pytest.raises(BundleError, match="a source for each measure"):
        limits_of({"measure": entry})
