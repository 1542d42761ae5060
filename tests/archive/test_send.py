"""Which files of folders are sent."""

import dicom_phantom
import pytest

from medseg.archive.send import PUT_AWAY, files_of
from medseg.errors import UnreadableError
from medseg.review.verdicts import AWAY


def test_a_folder_stands_for_its_dicom_files_that_are_no_others(tmp_path):
    folder = dicom_phantom.write(dicom_phantom.headers("axial")[:6], tmp_path / "out")
    good, rejected, listing, hidden, in_hidden, named = sorted(folder.iterdir())
    rejected.rename(folder / f"segmentation.dcm{AWAY}")
    listing.rename(folder / "DICOMDIR")
    hidden.rename(folder / ".medseg.dcm")
    (folder / ".medseg-1").mkdir()
    in_hidden.rename(folder / ".medseg-1" / "a.dcm")
    (folder / "case").mkdir()
    deep = named.rename(folder / "case" / "without an ending")
    (folder / "measurements.json").write_text("{}")
    assert files_of([folder, good]) == [good, deep]
    assert PUT_AWAY == AWAY


def test_nothing_to_send(tmp_path):
    (tmp_path / "empty").mkdir()
    for paths in ([], [tmp_path / "empty"], [tmp_path / "none"]):
        with pytest.raises(UnreadableError, match="expected DICOM files"):
            files_of(paths)
