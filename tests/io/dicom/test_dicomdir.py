"""Media with a DICOMDIR, written by pydicom: which studies they hold, and what is wrong with them."""

import shutil

import dicom_writer
import numpy as np
import pydicom
import pytest
from pydicom.fileset import FileSet

from medseg.errors import UnreadableError
from medseg.io import case_names, dicom, find_inputs, is_study, read_volume, search_inputs
from medseg.io.inputs import MediumStudy


def medium(folder, *studies):
    """A medium with a CT study of eight slices for each number."""
    content = FileSet()
    for number in studies:
        tags = {"StudyInstanceUID": f"1.2.{number}", "StudyDate": "20260101", "StudyTime": "120000"}
        tags |= {
            "StudyID": str(number),
            "SeriesInstanceUID": f"1.2.{number}.1",
            "PatientID": f"SECRET{number}",
        }
        for k, values in enumerate(dicom_writer.ct_slices(dicom_writer.body_hu() + number, **tags)):
            values.SOPInstanceUID = f"1.2.{number}.1.{k + 1}"
            content.add(dicom_writer.as_file(values))
    content.write(folder)
    return folder


def edited(folder, change):
    """Change the records of a DICOMDIR in place; the lengths stay, and so the offsets."""
    path = folder / "DICOMDIR"
    content = pydicom.dcmread(path)
    for record in content.DirectoryRecordSequence:
        change(record)
    content.save_as(path)
    return folder


def images(record):
    return record.DirectoryRecordType == "IMAGE"


def test_one_study_is_one_image_with_the_name_of_its_folder(tmp_path):
    folder = medium(tmp_path / "mary", 1)
    for source in (folder, folder / "DICOMDIR"):
        (found,) = find_inputs([source])
        assert isinstance(found, MediumStudy)
        assert list(case_names([found]).values()) == ["mary"]
        assert is_study(found)
        volume = read_volume(found, "CT")
        assert np.array_equal(volume.array[0].T, (dicom_writer.body_hu() + 1))
    assert np.array_equal(read_volume(folder / "DICOMDIR").array, volume.array)


def test_each_study_is_an_image_of_its_own(tmp_path):
    folder = medium(tmp_path / "disc", 1, 2)
    found = find_inputs([folder])
    names = list(case_names(found).values())
    assert len(set(names)) == 2
    assert all(name.startswith("disc-") and len(name) == len("disc-") + 8 for name in names)
    assert not any("SECRET" in name for name in names)
    for number, source in enumerate(found, start=1):
        assert np.array_equal(read_volume(source, "CT").array[0].T, dicom_writer.body_hu() + number)
    # As a pattern, and with a name that programs give.
    assert find_inputs([f"{tmp_path}/d*"]) == found
    generic = medium(tmp_path / "DICOM", 3)
    assert [name[:6] for name in case_names(find_inputs([generic])).values()] == ["DICOM-"]


def test_small_letters_as_linux_mounts_discs(tmp_path):
    folder = medium(tmp_path / "disc", 1)
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rename(path.with_name(path.name.lower()))
    (found,) = find_inputs([folder])
    assert read_volume(found, "CT").array.shape[-1] == 8


def test_missing_files_are_named(tmp_path):
    folder = medium(tmp_path / "disc", 1, 2)
    whole, torn = find_inputs([folder])
    torn[0].unlink()
    torn[3].unlink()
    found = find_inputs([folder])
    assert read_volume(found[0], "CT").array.shape == read_volume(whole, "CT").array.shape
    with pytest.raises(UnreadableError, match=f"{torn[0].name}, {torn[3].name}, which do not exist"):
        read_volume(found[1], "CT")


def test_files_that_are_not_listed_are_told(tmp_path, caplog):
    folder = medium(tmp_path / "disc", 1)
    dicom_writer.save(folder / "later", dicom_writer.ct_slices()[:2])
    (found,) = find_inputs([folder])
    assert len(found) == 8
    assert "2 DICOM files were skipped, because its DICOMDIR does not list them" in caplog.text


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize("name", ["..", "../secret", "/etc", "a\\..\\..", "C:", "."])
def test_a_list_never_leads_out_of_its_folder(name, tmp_path, caplog):
    folder = medium(tmp_path / "disc", 1)
    (tmp_path / "secret").write_bytes(b"x")

    def change(record):
        if images(record):
            record.ReferencedFileID = [*name.split("\\"), "secret"]

    edited(folder, change)
    with pytest.raises(UnreadableError, match="a file outside"):
        dicom.studies_on(folder / "DICOMDIR")
    with pytest.raises(UnreadableError, match="a file outside"):
        read_volume(find_inputs([folder / "DICOMDIR"])[0])
    assert find_inputs([folder]) == [folder]  # its files are found by what they are
    assert "its DICOMDIR was not followed" in caplog.text


def test_a_link_that_leads_out_is_not_followed(tmp_path):
    folder = medium(tmp_path / "disc", 1)
    first = find_inputs([folder])[0][0]
    shutil.move(first, tmp_path / "elsewhere")
    first.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnreadableError, match="a file outside"):
        dicom.studies_on(folder / "DICOMDIR")


def test_a_list_in_a_circle_ends(tmp_path):
    folder = medium(tmp_path / "disc", 1)
    content = pydicom.dcmread(folder / "DICOMDIR")
    first = content.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity

    def change(record):
        record.OffsetOfTheNextDirectoryRecord = first

    edited(folder, change)
    assert [len(files) for files in dicom.studies_on(folder / "DICOMDIR").values()] == [1]


def test_damaged_lists(tmp_path, caplog):
    folder = medium(tmp_path / "disc", 1)
    whole = (folder / "DICOMDIR").read_bytes()
    for length in range(340, len(whole) - 1, 97):
        (folder / "DICOMDIR").write_bytes(whole[:length])
        try:
            dicom.studies_on(folder / "DICOMDIR")
        except UnreadableError:
            assert find_inputs([folder]) == [folder]
    assert "SECRET" not in caplog.text
    for files in dicom.studies_on(medium(tmp_path / "stale", 2) / "DICOMDIR").values():
        for file in files:
            file.rename(tmp_path / "stale" / f"moved{file.name}")
    assert search_inputs([tmp_path / "stale"]).inputs == [tmp_path / "stale"]
    assert "none of the files that it lists is here" in caplog.text
