"""The stamp in DICOM: an item of the Contributing Equipment Sequence."""

import highdicom as hd
import pytest
from pydicom.dataset import Dataset
from stamped_results import PROVENANCE, VOLUME_FORMATS, lungs

from medseg.io.dicom.equipment import stamp_dataset, stamp_in
from medseg.io.stamps import read_stamp
from medseg.stamp import new_stamp


def test_an_item_tells_who_made_it():
    dataset, stamp = Dataset(), new_stamp({"task": "lung_ct", **PROVENANCE})
    stamp_dataset(dataset, stamp)
    (item,) = dataset.ContributingEquipmentSequence
    assert item.PurposeOfReferenceCodeSequence[0].CodeMeaning == "Processing Equipment"
    assert item.ManufacturerModelName == "medseg lung_ct classical"
    assert list(item.SoftwareVersions) == ["medseg 0.1.0", "monai 1.6.1", "torch 2.13.0"]
    assert len(item.ContributionDescription) <= 1024
    assert stamp_in(dataset) == stamp


def test_without_a_stamp_nothing_is_added():
    dataset = Dataset()
    stamp_dataset(dataset, None)
    assert len(dataset) == 0
    assert stamp_in(dataset) is None
    dataset.ContributingEquipmentSequence = [Dataset()]
    assert stamp_in(dataset) is None


@pytest.mark.seconds
def test_an_archive_gives_back_the_same_stamp(tmp_path):
    """Encoded anew by highdicom, as an archive may do; SEG, RTSTRUCT and report name one result."""
    folder = lungs().save(tmp_path / "out", VOLUME_FORMATS)
    stamp = read_stamp(folder / "segmentation.nii.gz")
    seg = hd.seg.segread(folder / "segmentation.dcm")
    seg.save_as(tmp_path / "sent_back.dcm")
    assert read_stamp(tmp_path / "sent_back.dcm") == stamp
    for name in ("segmentation.dcm", "rtstruct.dcm", "report.dcm"):
        assert read_stamp(folder / name) == stamp
