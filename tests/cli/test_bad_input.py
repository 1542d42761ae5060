"""Bad input at the command line: the exit code, what the user reads, and nothing half-written."""

from __future__ import annotations

import errno
import os
import struct
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_faults import write_faulty_series
from PIL import Image

from medseg.phantoms import chest, dicom_series

pytestmark = pytest.mark.seconds

AFFINE = np.diag([-2.0, -2.0, 2.0, 1.0])
FAILING = "dicom_cases/failing"


@pytest.fixture(scope="module")
def phantom():
    return chest(shape=(76, 76, 68), seed=3)


@pytest.fixture(scope="module")
def good(phantom, tmp_path_factory):
    """A chest CT as DICOM, read only."""
    folder = tmp_path_factory.mktemp("study") / "good"
    dicom_series.write_series(phantom, folder)
    return folder


@pytest.fixture
def segment(run_medseg, capsys, tmp_path):
    """Segment lungs: exit code, what stands on stderr, and the files that are left."""

    def run(*sources, formats="nifti"):
        out = tmp_path / "results"
        options = ["--method", "classical", "--formats", formats, "--set", "spacing_mm=4"]  # coarse is fast
        code = run_medseg("segment", "lung_ct", *sources, "-o", out, *options)
        told = capsys.readouterr().err
        assert "Traceback" not in told
        files = [path for path in out.rglob("*") if path.is_file() and path.name != "sources.jsonl"]
        return code, told, sorted(str(path.relative_to(out)) for path in files)

    return run


def rejected(outcome, *words):
    """Whether all input was refused: with a reason of three parts that says `words`, and without a file."""
    code, told, files = outcome
    parts = all(part in told for part in ("expected ", "; got ", ". "))
    missing = [word for word in words if word not in told]
    assert (code, files, parts, missing) == (3, [], True, []), told
    return True


def test_a_good_study_passes(segment, good):
    assert segment(good)[::2] == (0, ["good/measurements.json", "good/segmentation.nii.gz"])


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("missing_slice", ["1 slice is missing between slice 34 of 67 (file 034.dcm", "instead of 4.31 mm"]),
        ("missing_slices", ["slice 17 of 65", "slice 33 of 65", "slice 49 of 65"]),
        ("duplicate_position", ["two different slices at one position, slice 35 of 69 (file 035.dcm"]),
        ("moved_slice", ["slice 35 of 68 (file 035.dcm", "lies 1.72 mm off its place"]),
        ("slid_slice", ["slice 35 of 68 (file 035.dcm", "lies 9.00 mm sideways"]),
        ("rotated_slice", ["ImageOrientationPatient (0020,0037)", "slice 35 of 68", "by 10.00 degrees"]),
        ("unequal_steps", ["missing between slice 35 of 51"]),
        ("two_studies", ["images of one patient", "Name the folder of one study"]),
        ("wrong_modality", ["the modality MR instead of CT"]),
        ("truncated_pixels", ["complete pixel data", ".dcm"]),
        ("truncated_file", ["file 035.dcm, which ends within its pixel data"]),
        ("values_0_255", ["values from 0 to 255", "an 8-bit picture"]),
        ("other_size", ["the same Rows (0028,0010)", "slice 68 of 68"]),
        ("other_pixel_spacing", ["the same PixelSpacing (0028,0030)"]),
        ("single_slice", ["at least 4 slices"]),
        ("no_position", ["ImagePositionPatient (0020,0032)"]),
        ("no_orientation", ["ImageOrientationPatient (0020,0037)"]),
        ("no_pixel_spacing", ["PixelSpacing (0028,0030)"]),
        ("no_rescale", ["RescaleSlope (0028,1053)"]),
        ("no_pixels", ["pixel data (7FE0,0010)"]),
    ],
)
def test_faults_of_a_series(segment, phantom, tmp_path, fault, words):
    write_faulty_series(phantom, tmp_path / "study", faults=[fault])
    assert rejected(segment(tmp_path / "study"), *words)


def test_axial_reformats_alone(segment, phantom, tmp_path):
    write_faulty_series(phantom, tmp_path / "study", faults=["derived"])
    code, told, _ = segment(tmp_path / "study")
    assert code == 0
    assert "warning: a reformat was read" in told


def test_doubled_slices_with_equal_pixels(segment, good, phantom, tmp_path):
    _, _, files = segment(good)
    whole = np.asarray(nib.load(tmp_path / "results" / files[1]).dataobj)
    write_faulty_series(phantom, tmp_path / "doubled", faults=["duplicate_slice"])
    code, told, _ = segment(tmp_path / "doubled")
    assert code == 0
    assert "duplicate slices were read once (file 069.dcm)" in told
    again = np.asarray(nib.load(tmp_path / "results/doubled/segmentation.nii.gz").dataobj)
    assert np.array_equal(again, whole)


@pytest.mark.parametrize(
    ("fault", "warning"),
    [
        ("mixed_series", "series 1 (CT, 68 slices at 4.31 mm, kernel phantom) was read; not read: series 2"),
        ("two_acquisitions", "its series holds 2 acquisitions; one of them was read"),
        ("interleaved_acquisitions", "its series holds 2 acquisitions; one of them was read"),
        ("localizer", ""),
    ],
)
def test_other_images_beside_a_series(segment, phantom, tmp_path, fault, warning):
    """The mask is that of one whole series, and a warning names what else there is."""
    write_faulty_series(phantom, tmp_path / "study", faults=[fault])
    code, told, files = segment(tmp_path / "study")
    assert code == 0
    assert warning in told
    mask = nib.load(tmp_path / "results" / files[1])
    assert mask.shape == (76, 76, 68)
    assert np.allclose(mask.affine, phantom.affine, atol=1e-3)


@pytest.mark.parametrize(
    ("case", "modality", "words"),
    [
        ("gantrytilting/001", "CT", ["tilted by 14.00 degrees"]),
        ("notavolume/001", "CT", ["all 4 slices at one position"]),
        ("sliceincrement/001", "CT", ["1 slice is missing between slice 3 of 4 (file IM-0001-0009-0001.dcm"]),
        ("sliceincrement/002", "CT", ["1 slice is missing between slice 3 of 4 (file IM-0001-0003.dcm"]),
        ("slicecount/001", "MR", ["at least 4 slices; got 2"]),
        ("sliceorientation/001", "mr", ["slice 3 of 4 (file IM-0001-0002-0001.dcm", "by 90.00 degrees"]),
    ],
)
def test_failing_series(segment, run_medseg, capsys, data_root, case, modality, words):
    study = data_root / FAILING / case
    assert rejected(segment(study), *([] if modality == "CT" else ["the modality MR instead of CT"]))
    assert run_medseg("inspect", study, "--modality", modality) == 3
    told = capsys.readouterr().out
    assert [word for word in words if word not in told] == []
    assert "verdict: reject" in told


def test_an_abdomen_and_a_photograph(segment, data_root):
    assert rejected(segment(data_root / "lung_ct/totalseg_crops/abdomen.nii.gz"), "a CT of the chest")
    photograph = next((data_root / "retina").rglob("*.jpg"))
    assert rejected(segment(photograph), "a volume (3 axes) with 1 channel; got a picture")


def head():
    """(i, j, k) HU: a head of 240 mm from the crown down to the neck, with noise; AFFINE leads to mm."""
    x, y, z = np.ogrid[:120, :120, :120]
    radius = np.sqrt(((x - 60) / 38) ** 2 + ((y - 60) / 48) ** 2 + ((z - 64) / 52) ** 2)
    hu = np.where(np.hypot(x - 60, y - 64) + 1000 * (z > 39) < 28, 45, -1000)
    hu[radius < 1] = 45
    hu[radius < 0.94] = 900
    hu[radius < 0.89] = 35
    hu[np.broadcast_to((np.hypot(x - 60, y - 55) < 5) & (z < 40), hu.shape)] = -1000
    noise = np.random.default_rng(0).normal(0, 12, hu.shape)
    return np.maximum(hu + noise, -1024).astype(np.int16)


def test_a_head(segment, tmp_path):
    nib.save(nib.Nifti1Image(head(), AFFINE), tmp_path / "head.nii.gz")
    assert rejected(segment(tmp_path / "head.nii.gz"), "a CT of the chest", "a head or a limb")


def volume(content, affine=AFFINE):
    return nib.Nifti1Image(content, affine)


def without_affine():
    image = volume(np.full((60, 60, 60), -1000, np.int16))
    image.set_sform(np.zeros((4, 4)), 1)
    image.header["qform_code"] = 0
    return image


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda hu: volume(np.stack([hu] * 3, axis=-1)), "three axes"),
        (lambda hu: volume(np.where(hu > 100, np.nan, hu).astype(np.float32)), "finite values"),
        (lambda hu: volume(np.zeros_like(hu)), "a blank volume"),
        (lambda hu: without_affine(), "linearly dependent axes"),
        (lambda hu: volume((hu > 0).astype(np.uint8)), "a mask (2 different values)"),
        (lambda hu: volume(hu[:, :, :1]), "a volume large enough for a lung"),
    ],
    ids=["4D", "NaN", "zeros", "affine", "mask", "slice"],
)
def test_volumes_that_are_none(segment, phantom, tmp_path, make, word):
    nib.save(make(phantom.array), tmp_path / "scan.nii.gz")
    assert rejected(segment(tmp_path / "scan.nii.gz"), word)


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nii", "scan.nrrd", "scan.mha", "scan.dcm", "scan.jpg"])
@pytest.mark.parametrize("content", [b"", b"dear reader, " * 99], ids=["empty", "text"])
def test_files_that_are_not_what_they_are_called(segment, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert rejected(segment(tmp_path / name), name)


def test_a_folder_a_path_and_a_pipe_without_an_image(segment, tmp_path):
    (tmp_path / "empty").mkdir()
    assert rejected(segment(tmp_path / "empty"), "none in")
    assert rejected(segment(tmp_path / "nothing"), "which does not exist")
    os.mkfifo(tmp_path / "pipe.nii.gz")
    assert rejected(segment(tmp_path / "pipe.nii.gz"))


def test_pictures_for_lungs_and_a_chest_for_vessels(segment, run_medseg, capsys, good, tmp_path):
    (tmp_path / "pictures").mkdir()
    for number in range(2):
        picture = Image.fromarray(np.full((90, 90, 3), 100, np.uint8))
        picture.save(tmp_path / f"pictures/{number}.png")
    assert rejected(segment(tmp_path / "pictures"), "a volume (3 axes) with 1 channel", "2 of 2 rejected")
    assert run_medseg("segment", "retinal_vessel", good, "-o", tmp_path / "out") == 3
    assert "a picture (2 axes) with 1 or 3 channels; got a volume" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def zipped(path, folder, name="{}"):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            info = zipfile.ZipInfo("x")
            info.filename = name.format(file.name)  # the constructor would correct it
            archive.writestr(info, file.read_bytes())
    return path


def test_archives_with_dangerous_names(segment, good, tmp_path):
    for name in ("../{}", "a/../../{}", "/etc/{}", "C:\\{}"):
        assert rejected(segment(zipped(tmp_path / "study.zip", good, name)), "stay in their folder")


def test_an_archive_that_is_larger_than_it_says(segment, good, tmp_path):
    path, size = tmp_path / "study.zip", 20 * 2**20
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        beginning = next(good.iterdir()).read_bytes()
        archive.writestr("1.dcm", beginning + bytes(size - len(beginning)))
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", size), struct.pack("<I", 1000)))
    assert rejected(segment(path), "1 damaged")


def test_archives_that_are_encrypted_damaged_or_without_images(segment, good, tmp_path):
    path = zipped(tmp_path / "study.zip", good)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert rejected(segment(path), "a complete zip archive", "damaged")
    encrypted = bytearray(content)
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        position = -1
        while (position := encrypted.find(signature, position + 1)) >= 0:
            encrypted[position + offset] |= 1
    path.write_bytes(encrypted)
    assert rejected(segment(path), "68 encrypted")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("letter.txt", "dear reader")
    assert rejected(segment(path), "1 not DICOM")


def test_files_that_are_no_images_beside_good_ones(segment, good, tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    for file in good.iterdir():
        os.link(file, folder / file.name)
    (folder / "notes.txt").write_text("dear reader")
    (folder / "encrypted").write_bytes(np.random.default_rng(0).bytes(5000))
    assert segment(folder)[0] == 0
    lost = folder / "035.dcm"
    lost.unlink()
    lost.write_bytes(np.random.default_rng(0).bytes(5000))
    code, told, _ = segment(folder)
    assert code == 3
    assert "1 slice is missing between slice 34 of 67" in told
    assert "1 damaged" in told
    assert "An earlier result in its folder was left as it was" in told


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"SegmentSequence": [pydicom.Dataset()]}, "a segmentation under the SOP class CT"),
        ({"Modality": "MG"}, "the modality MG under the SOP class CT"),
        ({"Modality": "MG", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2"}, "Digital Mammography"),
        ({"Modality": "SM", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.6"}, "Whole Slide Microscopy"),
    ],
)
def test_other_kinds_of_images(segment, phantom, tmp_path, change, word):
    slices = dicom_series.data_sets(phantom.array[:, :, :6], phantom.affine)
    for header in slices:
        header.update(change)
    dicom_series.save(slices, tmp_path / "study")
    assert rejected(segment(tmp_path / "study"), word)


def test_one_bad_file_of_two(segment, phantom, tmp_path):
    (tmp_path / "bad.nii").write_text("dear reader")
    nib.save(volume(phantom.array, phantom.affine), tmp_path / "good.nii")
    code, told, files = segment(tmp_path / "bad.nii", tmp_path / "good.nii")
    assert code == 4
    assert "1 of 2 rejected" in told
    assert files == ["good/measurements.json", "good/segmentation.nii.gz"]


@pytest.mark.parametrize("place", ["results", "results/good"])
def test_a_file_in_the_place_of_the_results(segment, good, tmp_path, place, monkeypatch):
    monkeypatch.setattr("medseg.pipeline.Segmenter", None)  # it is told before there is work to lose
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("mine")
    code, told, _ = segment(good)
    assert code == 1
    assert "expected a folder for the results; got " in told
    assert (tmp_path / place).read_text() == "mine"


def test_rights_that_are_missing(segment, good, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    code, told, _ = segment(good)
    assert code == 1
    assert "a folder for the results with the right to write to it" in told
    assert not (tmp_path / "results").exists()


def test_a_folder_that_may_not_be_opened(segment, good, tmp_path, monkeypatch):
    """Its slices would be missing at the end of the stack, where no step tells."""

    def walk(folder, onerror=None, followlinks=False):
        onerror(PermissionError(errno.EACCES, "Permission denied", str(Path(folder, "part"))))
        yield str(folder), [], [file.name for file in good.iterdir()]

    monkeypatch.setattr("medseg.io.dicom.files.os.walk", walk)
    assert rejected(segment(good), "got part, which can't be opened (Permission denied)")


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nrrd", "scan.jpg"])
def test_files_that_may_not_be_read(segment, tmp_path, monkeypatch, name):
    (tmp_path / name).write_text("dear reader")
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.R_OK)
    assert rejected(segment(tmp_path / name), f"an image file with the right to read it; got {name}")


def test_a_slice_that_may_not_be_read(segment, good, monkeypatch):
    """The last one: no step tells that it is missing."""

    def refuse(path, *arguments):
        if str(path).endswith("068.dcm"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open(path, *arguments)

    monkeypatch.setattr("medseg.io.dicom.files.open", refuse, raising=False)
    code, told, _ = segment(good)
    assert code == 0
    assert "warning: files were skipped: 1 not allowed to be read" in told


def test_a_full_disk(segment, good, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    for formats in ("nifti", "dicom-seg"):
        code, told, files = segment(good, formats=formats)
        assert (code, files) == (1, [])
        assert "got No space left on device: " in told
        assert "results/good/segmentation." in told
        assert "Check the path, the rights and the free space." in told
