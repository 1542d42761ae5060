"""Who a patient is stays in DICOM: nothing else that medseg writes or says tells it."""

import json
import logging

import pydicom
import pytest
from dicom_faults import write_faulty_series

from medseg.phantoms.dicom_series import write_series

PLANTED = {
    "PatientName": "Zwetschgenknoedel^Hildegunde^Xaveria",
    "PatientID": "QX-7731902-Z",
    "PatientBirthDate": "19371104",
    "AccessionNumber": "ACC55512398",
    "OtherPatientIDs": "ALT-99127",
    "PatientAddress": "Nebelhornweg 999",
    "ReferringPhysicianName": "Quacksalvaro^Ottokar",
    "InstitutionName": "Klinikum Hinterdupfing",
    "StudyDescription": "Thorax Zwetschgenknoedel",
    "SeriesDescription": "Hildegunde 2mm",
    "StudyID": "ST-4471",
    "PatientComments": "wife of Archibaldus",
}
SECRETS = (
    *("Zwetschgenknoedel", "Hildegunde", "Xaveria", "QX-7731902", "19371104", "ACC55512398", "ALT-99127"),
    *("Nebelhornweg", "Quacksalvaro", "Hinterdupfing", "ST-4471", "Archibaldus"),
)
FORMATS = "nifti,nrrd,dicom-seg,rtstruct,mesh,png,html"


def assert_silent(text):
    """No secret, in any case, as it is or as a date is written."""
    folded = text.casefold()
    for secret in (*SECRETS, "1937-11-04", "04.11.1937"):
        assert secret.casefold() not in folded, secret


@pytest.fixture
def said(capfd, caplog):
    """All that reached the terminal and the log."""
    caplog.set_level(logging.DEBUG)

    def collect():
        out, err = capfd.readouterr()
        return out + err + caplog.text

    return collect


@pytest.mark.seconds
def test_a_result_tells_nothing(chest_phantom, run_medseg, said, tmp_path):
    write_series(chest_phantom, tmp_path / "study", patient=PLANTED)
    done = run_medseg(
        *("segment", "lung_ct", tmp_path / "study", "-o", tmp_path / "out", "--device", "cpu"),
        *("--method", "classical", "--formats", FORMATS),
    )
    assert done == 0
    assert_silent(said())
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) == 11
    for path in written:
        assert_silent(str(path.relative_to(tmp_path)))
        if path.suffix == ".dcm":  # an archive files it under the patient
            assert pydicom.dcmread(path).PatientName == PLANTED["PatientName"]
            continue
        content = path.read_bytes()
        if path.suffix == ".gz":
            import gzip

            content = gzip.decompress(content)
        assert_silent(content.decode("latin-1"))


@pytest.mark.seconds
def test_inspection_tells_nothing(chest_phantom, run_medseg, said, tmp_path):
    write_series(chest_phantom, tmp_path / "study", patient=PLANTED)
    for more in ([], ["--json"]):
        assert run_medseg("inspect", tmp_path / "study", *more) == 0
        text = said()
        assert "CT" in text
        assert_silent(text)
    assert json.loads(text)["verdict"] == "pass"


@pytest.mark.seconds
@pytest.mark.parametrize(
    "fault",
    [
        "missing_slice", "duplicate_position", "moved_slice", "rotated_slice", "two_acquisitions",
        "mixed_series", "two_studies", "wrong_modality", "truncated_pixels", "truncated_file",
        "values_0_255", "single_slice",
        "no_position", "no_pixel_spacing",
    ],
)  # fmt: skip
def test_refusals_tell_nothing(small_volume, run_medseg, said, tmp_path, fault):
    write_faulty_series(small_volume, tmp_path / "study", patient=PLANTED, faults=[fault])
    run_medseg("inspect", tmp_path / "study")
    text = said()
    assert "verdict" in text
    assert_silent(text)


def test_values_that_no_standard_allows_are_not_quoted(small_volume, run_medseg, said, tmp_path):
    """pydicom warns of such values, and shows them."""
    write_series(small_volume, tmp_path / "study", patient=PLANTED)
    for path in (tmp_path / "study").iterdir():
        content = path.read_bytes()
        path.write_bytes(content.replace(b"19371104", b"1937/Zwe").replace(b"QX-7731902-Z", b"QX-7731902\\Z"))
    run_medseg("inspect", tmp_path / "study")
    text = said()
    assert "1937/Zwe" not in text
    assert_silent(text)


def test_an_unforeseen_error_is_not_quoted(run_medseg, said, tmp_path, monkeypatch):
    def fail(self, *arguments):
        raise ValueError("invalid value for VR PN: 'Zwetschgenknoedel'")

    monkeypatch.setattr("medseg.pipeline.Segmenter.__call__", fail)
    (tmp_path / "study.nii.gz").write_bytes(b"x")
    assert run_medseg("segment", "lung_ct", tmp_path / "study.nii.gz", "-o", tmp_path / "out") == 3
    text = said()
    assert "could not process it (ValueError in test_privacy.py" in text
    assert_silent(text)
