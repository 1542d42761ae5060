"""Studies that a program named as it names them all stay apart, and nobody is named."""

import re
import zipfile

import pytest
from dicom_writer import ct_slices, save

from medseg.io import case_name
from medseg.io.dicom import files


@pytest.fixture
def study(tmp_path):
    """Writes the first slice of a study under a name, and returns its path."""

    def write(name, uid):
        folder = tmp_path / "slices"
        slices = ct_slices()[:1]
        slices[0].StudyInstanceUID = uid
        slices[0].PatientName, slices[0].PatientID = "Doe^Jane", "4711"
        content = save(folder, slices) and next(folder.iterdir()).read_bytes()
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("Doe Jane/readme.txt", "made by an archive")
                archive.writestr("Doe Jane/CT/1", content)
        else:
            path.mkdir()
            (path / "1").write_bytes(content)
        return path

    return write


@pytest.mark.parametrize(
    "name", ["archive.zip", "Archive (2).ZIP", "study.zip", "DICOM.zip", "dicom", "download-1", "exports"]
)
def test_one_of_no_ones_choice_tells_studies_apart(study, name):
    names = [case_name(study(f"{uid}/{name}", uid)) for uid in ("1.2.3", "1.2.4")]
    stem = name.removesuffix(".zip").removesuffix(".ZIP")
    assert all(re.fullmatch(rf"{re.escape(stem)}-[0-9a-f]{{8}}", found) for found in names)
    assert names[0] != names[1]
    assert names[0] == case_name(study(f"again/{name}", "1.2.3"))


def test_the_files_of_a_folder_are_called_as_the_folder_is(study):
    folder = study("dicom", "1.2.3")
    assert case_name(tuple(folder.iterdir())) == case_name(folder)


@pytest.mark.parametrize("name", ["study", "series", "scan", "123", "lidc_1011", "archive_of_lungs.zip"])
def test_a_name_that_somebody_chose_stays(study, name):
    assert case_name(study(name, "1.2.3")) == name.removesuffix(".zip")


def test_what_is_no_study_keeps_its_name(tmp_path):
    (tmp_path / "archive.zip").write_bytes(b"PK")
    (tmp_path / "dicom").mkdir()
    paths = [tmp_path / "archive.zip", tmp_path / "dicom", tmp_path / "gone" / "archive.zip", "archive.png"]
    assert [case_name(path) for path in paths] == ["archive", "dicom", "archive", "archive"]


def test_one_header_is_read(study, monkeypatch):
    folder = study("dicom", "1.2.3")
    for number in range(2, 9):
        (folder / str(number)).write_bytes((folder / "1").read_bytes())
    read, examine = [], files._examine
    monkeypatch.setattr(files, "_examine", lambda entry: read.append(entry) or examine(entry))
    case_name(folder)
    assert len(read) == 1
