"""A chest phantom is judged as it is and made worse; an interrupted collection goes on."""

import dataclasses

import numpy as np
import pytest

from medseg.bundle import open_bundle
from medseg.errors import UsageError
from medseg.training.quality.collect import REAL, collect, read_rows
from medseg.training.quality.plan import read_plan

pytestmark = pytest.mark.seconds


@pytest.fixture
def plan(lung_data):
    plan = read_plan(open_bundle("lung_ct"), None)
    return dataclasses.replace(plan, manifests=[str(lung_data)], splits=["validation"], per_case=2, real=1)


def test_rows_of_a_phantom(plan, tmp_path):
    file = tmp_path / "rows.jsonl"
    rows = collect(open_bundle("lung_ct"), None, plan, None, file)
    assert 1 <= len(rows) <= 3
    first = rows[0]
    assert first.change == REAL
    assert first.dice["left_lung"] > 0.9
    assert np.isfinite(first.signals["left_lung"]["fill"])
    assert first.features is None
    text = file.read_text()
    file.write_text(text.splitlines(keepends=True)[0] + '{"case": "cut off')
    again = collect(open_bundle("lung_ct"), None, plan, None, file)
    assert [row.case for row in again] == [row.case for row in rows]
    assert len(read_rows(file)) == len(rows)


def test_networks_that_are_missing(plan, tmp_path):
    folds = dataclasses.replace(plan, folds=2)
    with pytest.raises(UsageError, match="--folds 2"):
        collect(open_bundle("lung_ct"), "residual_unet", folds, None, tmp_path / "rows.jsonl")
