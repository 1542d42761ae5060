"""A CT goes to an archive, is fetched, segmented and sent back: filed under its study, as it was made."""

from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from orthanc_server import OrthancServer
from seg_reader import read_seg
from skimage.draw import polygon2mask

from medseg.archive import archive_at, fetch, send
from medseg.cli import main
from medseg.io import read_mask, read_volume
from medseg.phantoms.dicom_series import write_series

pytestmark = pytest.mark.slow
LABELS = {0: "background", 1: "left_lung", 2: "right_lung", 3: "airway"}
PATIENT = {"PatientName": "Round^Trip", "PatientID": "TRIP-1", "AccessionNumber": "A1", "StudyID": "7"}
FILES = {"segmentation.dcm": "SEG", "rtstruct.dcm": "RTSTRUCT", "report.dcm": "SR"}


@pytest.fixture(scope="module")
def orthanc():
    with OrthancServer() as server:
        yield server


@pytest.fixture(scope="module")
def sent(orthanc, chest_phantom, tmp_path_factory):
    """A study in the archive: its UID and its files."""
    folder = tmp_path_factory.mktemp("sent") / "study"
    files = write_series(chest_phantom, folder, patient=PATIENT, names="random")
    send([folder], dimse_of(orthanc))
    return str(pydicom.dcmread(files[0]).StudyInstanceUID), files


@pytest.fixture(scope="module")
def result(orthanc, sent, tmp_path_factory):
    """The folder of the fetched study, and that of its result."""
    study = fetch(sent[0], web_of(orthanc), tmp_path_factory.mktemp("fetched")).folder
    out = tmp_path_factory.mktemp("out")
    words = ["segment", "lung_ct", str(study), "-o", str(out), "--method", "classical", "--device", "cpu"]
    assert main([*words, "--formats", "nifti,dicom-seg,rtstruct,dicom-sr"]) == 0
    return study, out / study.name


def dimse_of(orthanc):
    return archive_at(f"dicom://ORTHANC@127.0.0.1:{orthanc.dicom_port}")


def web_of(orthanc):
    return archive_at(orthanc.dicomweb_url)


@pytest.fixture(scope="module", params=[dimse_of, web_of], ids=["dimse", "dicomweb"])
def returned(request, orthanc, sent, result, tmp_path_factory):
    """What an archive holds of the result, by modality, sent and fetched in one way. It forgets it then."""
    archive = request.param(orthanc)
    for found in orthanc.rest("/series"):
        if orthanc.rest(f"/series/{found}")["MainDicomTags"]["Modality"] != "CT":
            orthanc.rest(f"/series/{found}", method="DELETE")
    assert send([result[1]], archive).count == len(FILES)
    folder = fetch(sent[0], archive, tmp_path_factory.mktemp("returned")).folder
    found = {path: pydicom.dcmread(path) for path in folder.rglob("*.dcm")}
    assert sum(one.Modality == "CT" for one in found.values()) == len(sent[1])
    return {str(one.Modality): path for path, one in found.items() if one.Modality != "CT"}


def test_the_fetched_study_is_the_one_that_was_sent(sent, result):
    before, after = (read_volume(Path(folder), "CT") for folder in (sent[1][0].parent, result[0]))
    assert np.array_equal(before.array, after.array)
    assert np.array_equal(before.affine, after.affine)


def test_the_results_come_back_as_they_were_made(orthanc, sent, result, returned):
    assert set(returned) == set(FILES.values())
    for name, modality in FILES.items():
        made, back = pydicom.dcmread(result[1] / name), pydicom.dcmread(returned[modality])
        assert made == back
    (study,) = orthanc.rest("/studies")
    assert orthanc.rest(f"/studies/{study}")["MainDicomTags"]["StudyInstanceUID"] == sent[0]
    filed = [orthanc.rest(f"/series/{one}")["MainDicomTags"]["Modality"] for one in orthanc.rest("/series")]
    assert sorted(filed) == ["CT", "RTSTRUCT", "SEG", "SR"]


def test_the_seg_is_equal_voxel_for_voxel(result, returned):
    image = read_volume(result[0], "CT")
    wanted = read_mask(result[1] / "segmentation.nii.gz", LABELS)
    assert set(np.unique(wanted.array)) == {0, 1, 2, 3}
    found = read_seg(returned["SEG"], LABELS, image)
    assert np.array_equal(found.array, wanted.array)
    # And by highdicom, in the order of the slices.
    volume = hd.seg.segread(returned["SEG"]).get_volume(combine_segments=True)
    values = {number + 1: value for number, value in enumerate((1, 2, 3))}
    assert {v: int((volume.array == n).sum()) for n, v in values.items()} == {
        v: int((wanted.array == v).sum()) for v in (1, 2, 3)
    }


def test_the_contours_enclose_the_voxels_of_the_mask(result, returned):
    """Filled by scikit-image; rt-utils takes square images alone."""
    image = read_volume(result[0], "CT")
    mask = read_mask(result[1] / "segmentation.nii.gz", LABELS).array
    slices = {str(header.SOPInstanceUID): k for k, header in enumerate(image.headers)}
    to_voxels = np.linalg.inv(image.affine) @ np.diag([-1, -1, 1, 1])  # LPS to RAS to (i, j, k)
    structures = pydicom.dcmread(returned["RTSTRUCT"])
    names = {item.ROINumber: item.ROIName for item in structures.StructureSetROISequence}
    for region in structures.ROIContourSequence:
        found = np.zeros(mask.shape, bool)
        for contour in region.ContourSequence:
            k = slices[str(contour.ContourImageSequence[0].ReferencedSOPInstanceUID)]
            points = np.reshape(contour.ContourData, (-1, 3)).astype(float)
            places = (to_voxels @ np.c_[points, np.ones(len(points))].T)[:2].T
            found[..., k] ^= polygon2mask(mask.shape[:2], places)
        value = {name: value for value, name in LABELS.items()}[names[region.ReferencedROINumber]]
        assert np.array_equal(found, mask == value)


def test_the_report_refers_to_what_is_in_the_archive(result, returned):
    report = hd.sr.srread(returned["SR"])
    seg = pydicom.dcmread(returned["SEG"])
    named = {
        str(item.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert str(seg.SOPInstanceUID) in named


def test_another_client_finds_the_same(orthanc, sent, result, returned):
    client = DICOMwebClient(orthanc.dicomweb_url)
    seg = pydicom.dcmread(returned["SEG"])
    (back,) = client.iter_series(sent[0], str(seg.SeriesInstanceUID))
    assert back.PixelData == seg.PixelData
