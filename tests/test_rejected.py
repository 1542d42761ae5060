"""A mask whose predicted Dice is too low is written, and goes to an archive only on demand."""

import dataclasses
import json

import pytest

import medseg
from medseg.errors import UnsuitableError
from medseg.phantoms.dicom_series import write_series

pytestmark = pytest.mark.seconds


@pytest.fixture(scope="module")
def rejected(chest_phantom, tmp_path_factory):
    study = tmp_path_factory.mktemp("study")
    write_series(chest_phantom, study)
    result = medseg.segment(study, "lung_ct", "cpu", method="classical")
    dice = {"left_lung": {"value": 0.3, "interval": [0.1, 0.5]}}
    quality = {"verdict": "reject", "reasons": ["too low"], "predicted_dice": dice}
    return dataclasses.replace(result, quality=quality, warnings=["too low"])


def test_seg_and_rtstruct_are_left_out(rejected, tmp_path):
    rejected.save(tmp_path / "case", ["nifti", "dicom-seg", "rtstruct"])
    assert sorted(path.name for path in (tmp_path / "case").iterdir()) == [
        "measurements.json",
        "segmentation.nii.gz",
    ]
    record = json.loads((tmp_path / "case" / "measurements.json").read_text())
    assert record["quality"]["verdict"] == "reject"
    assert any("dicom-seg and rtstruct not written" in text for text in record["warnings"])


def test_on_demand(rejected, tmp_path):
    rejected.save(tmp_path / "case", ["dicom-seg"], even_rejected=True)
    assert (tmp_path / "case" / "segmentation.dcm").is_file()


def test_nothing_else_was_asked_for(rejected, tmp_path):
    with pytest.raises(UnsuitableError, match="--even-rejected"):
        rejected.save(tmp_path / "case", ["dicom-seg"])
    assert not (tmp_path / "case").exists()


def test_a_person_has_looked_at_it(rejected, tmp_path):
    review = {"review": [{"decision": "accept", "reviewer": "a reader", "date": "2026-01-01"}]}
    seen = dataclasses.replace(rejected, provenance={**rejected.provenance, **review})
    seen.save(tmp_path / "case", ["dicom-seg"])
    assert (tmp_path / "case" / "segmentation.dcm").is_file()
