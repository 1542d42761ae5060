"""Plans of the shipped bundles, and plans that are wrong."""

import shutil

import pytest
import yaml

from medseg.bundle import open_bundle
from medseg.errors import BundleError, UnsuitableError
from medseg.training.quality.plan import read_plan


@pytest.mark.parametrize(
    ("task", "method"),
    [("breast_ultrasound", None), ("lung_ct", None), ("lung_ct", "residual_unet"), ("retinal_vessel", None)],
)
def test_shipped_plans(task, method):
    plan = read_plan(open_bundle(task), method)
    assert plan.labels
    assert plan.per_case > 0


def test_a_method_without_a_plan():
    with pytest.raises(UnsuitableError, match=r"quality/kmeans\.yaml"):
        read_plan(open_bundle("retinal_vessel"), "kmeans")


@pytest.mark.parametrize(
    ("change", "word"),
    [({"changes": "cats"}, "cats"), ({"per_cases": 3}, "per_cases"), ({"labels": None}, "labels"),
     ({"foreign": [{"manifest": "busi", "look": "cat"}]}, "cat")],
    ids=["kind", "misspelt", "missing", "look"],
)  # fmt: skip
def test_a_wrong_plan(tmp_path, change, word):
    shutil.copytree(open_bundle("retinal_vessel").root / "configs", tmp_path / "retinal_vessel" / "configs")
    file = tmp_path / "retinal_vessel" / "configs" / "quality" / "residual_unet.yaml"
    content = {**yaml.safe_load(file.read_text()), **change}
    file.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    with pytest.raises(BundleError, match=word):
        read_plan(open_bundle(str(tmp_path / "retinal_vessel")), None)
