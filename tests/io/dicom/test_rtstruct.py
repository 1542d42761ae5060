"""An RTSTRUCT's contours enclose the voxels of the mask, as other programs read them too."""

import resource
import shutil
import subprocess

import dicom_phantom
import numpy as np
import pydicom
import pytest
from dicom_phantom import GEOMETRIES, LABELS
from scipy import ndimage
from skimage.measure import grid_points_in_poly

from medseg.errors import UnsuitableError
from medseg.io import read_volume
from medseg.io.dicom.rtstruct import rings, write_rtstruct
from medseg.volume import Mask

SIDE = 64  # rt-utils takes square slices of square pixels alone


def phantom(name, array=None, pixel_mm=dicom_phantom.PIXEL_MM):
    array = dicom_phantom.labels() if array is None else array
    headers = tuple(dicom_phantom.headers(name, array.shape, pixel_mm))
    return Mask(array, LABELS, affine=dicom_phantom.ras_affine(name, pixel_mm), headers=headers)


def changed(mask, **changes):
    return Mask(
        **{"array": mask.array, "labels": LABELS, "affine": mask.affine, "headers": mask.headers} | changes
    )


def balls():
    """(64, 64, 12): two balls with holes and an island in one of them, and noise."""
    i, j, k = np.indices((SIDE, SIDE, 12))
    array = np.zeros(i.shape, dtype=np.uint8)

    def within(centre, radius):
        return (i - centre[0]) ** 2 + (j - centre[1]) ** 2 + (3 * (k - centre[2])) ** 2 < radius**2

    array[within((20, 30, 5), 17)] = 1
    array[within((16, 26, 5), 7) | within((27, 36, 5), 5)] = 0
    array[within((16, 26, 5), 3)] = 1
    array[within((48, 33, 6), 14)] = 2
    array[np.random.default_rng(3).random(array.shape) < 0.005] = 3
    return array


def area(ring):
    """The area inside a ring (n, 2), by the shoelace formula."""
    x, y = ring.T
    return abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2


def read_by_pydicom(path, made, shape):
    """Label to voxels (i, j, k): the pixels whose centres the contours enclose, by the even-odd rule."""
    structure_set, number = pydicom.dcmread(path), {h.SOPInstanceUID: k for k, h in enumerate(made)}
    names = {roi.ROINumber: roi.ROIName for roi in structure_set.StructureSetROISequence}
    masks = {}
    for region in structure_set.ROIContourSequence:
        mask = masks.setdefault(names[region.ReferencedROINumber], np.zeros(shape, dtype=bool))
        for contour in region.ContourSequence:
            k = number[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            pixels, off_mm = to_pixels(np.array(contour.ContourData, dtype=float).reshape(-1, 3), made[k])
            assert off_mm < 2e-3  # on the plane of its slice
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            assert contour.NumberOfContourPoints == len(pixels)
            fill(mask[..., k], pixels)
    return masks


def fill(region, ring):
    """Turn the pixels whose centres a ring encloses, by the even-odd rule."""
    first, last = np.floor(ring.min(axis=0)).astype(int), np.ceil(ring.max(axis=0)).astype(int)
    first = np.maximum(first, 0)
    part = region[first[0] : last[0] + 1, first[1] : last[1] + 1]
    part ^= grid_points_in_poly(part.shape, ring - first, binarize=True)


def to_pixels(points_mm, header):
    """(column, row) of points in LPS mm on a slice, and how far off the slice they lie in mm."""
    cosines = np.array(header.ImageOrientationPatient, dtype=float).reshape(2, 3)
    from_start = points_mm - np.array(header.ImagePositionPatient, dtype=float)
    row_step, column_step = map(float, header.PixelSpacing)
    off = np.abs(from_start @ np.cross(*cosines)).max()
    return from_start @ cosines.T / [column_step, row_step], off


def same(found, array):
    return {LABELS[v] for v in np.unique(array) if v} == set(found) and all(
        np.array_equal(mask, array == value)
        for value, name in LABELS.items()
        if (mask := found.get(name)) is not None
    )


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("name", "make"),
    [*((name, dicom_phantom.labels) for name in GEOMETRIES), ("oblique", balls), ("tilted", balls)],
)
def test_the_enclosed_pixels_are_those_of_the_mask(tmp_path, name, make):
    mask = phantom(name, make())
    write_rtstruct(mask, tmp_path / "a.dcm")
    assert same(read_by_pydicom(tmp_path / "a.dcm", mask.headers, mask.array.shape), mask.array)


@pytest.mark.filterwarnings("ignore")  # rt-utils' own
@pytest.mark.parametrize("name", ["axial", "feet_first", "prone", "sagittal", "oblique"])
def test_rt_utils_reads_the_same_to_half_a_pixel(tmp_path, name):
    """It rounds contours to whole pixels and fills the pixels on them too; it does not know of tilt."""
    rt_utils = pytest.importorskip("rt_utils")
    mask = phantom(name, np.where(balls() == 3, 0, balls()).astype(np.uint8), (0.7, 0.7))
    write_rtstruct(mask, tmp_path / "a.dcm")
    folder = dicom_phantom.write(mask.headers, tmp_path / "ct")
    read = rt_utils.RTStructBuilder.create_from(str(folder), str(tmp_path / "a.dcm"))
    order = {header.SOPInstanceUID: number for number, header in enumerate(read.series_data)}
    places = [order[header.SOPInstanceUID] for header in mask.headers]
    for value in (1, 2):
        found = read.get_roi_mask_by_name(LABELS[value]).transpose(1, 0, 2)[..., places]
        wanted = mask.array == value
        assert not (wanted & ~found).any()
        assert not (found & ~ndimage.binary_dilation(wanted, np.ones((3, 3, 1)))).any()
        assert 2 * wanted.sum() / (found.sum() + wanted.sum()) > 0.935  # Dice, of balls 34 pixels wide


@pytest.mark.parametrize("name", ["axial", "feet_first", "oblique"])
def test_plastimatch_reads_the_same_voxels(tmp_path, name):
    if not shutil.which("plastimatch"):
        pytest.skip("plastimatch (apt: plastimatch) is not installed")
    mask = phantom(name, balls())
    write_rtstruct(mask, tmp_path / "a.dcm")
    dicom_phantom.write(mask.headers, tmp_path / "ct")
    command = [
        "plastimatch",
        "convert",
        "--input",
        "a.dcm",
        "--referenced-ct",
        "ct",
        "--output-prefix",
        "out",
    ]
    subprocess.run([*command, "--prefix-format", "nrrd"], cwd=tmp_path, check=True, capture_output=True)
    for value in (1, 2, 3):
        found = read_volume(tmp_path / "out" / f"{LABELS[value]}.nrrd")
        places = np.argwhere(found.array[0]) @ found.affine[:3, :3].T + found.affine[:3, 3]
        index = np.linalg.solve(mask.affine[:3, :3], (places - mask.affine[:3, 3]).T).T
        assert np.abs(index - index.round()).max() < 0.01
        again = np.zeros(mask.array.shape, bool)
        again[tuple(index.round().astype(int).T)] = True
        assert np.array_equal(again, mask.array == value)


class TestRings:
    def test_a_rectangle_keeps_its_area_but_for_the_corners(self):
        region = np.zeros((12, 9), bool)
        region[3:9, 2:6] = True
        (ring,) = rings(region)
        assert ring.min(axis=0).tolist() == [2.5, 1.5]
        assert ring.max(axis=0).tolist() == [8.5, 5.5]
        assert area(ring) == pytest.approx(24 - 4 / 8)
        assert len(ring) == 8  # no points on straight lines

    def test_holes_are_cut_out_by_one_line(self):
        region = np.zeros((30, 30), bool)
        region[2:28, 2:28] = True
        region[5:9, 5:9] = region[5:9, 15:20] = region[15:25, 8:20] = False
        (ring,) = rings(region)
        assert area(ring) == pytest.approx(region.sum() - 4 / 8 + 3 * 4 / 8)

    def test_an_island_in_a_hole_is_a_ring_of_its_own(self):
        region = np.ones((11, 11), bool)
        region[3:8, 3:8] = False
        region[5, 5] = True
        assert sorted(round(area(ring), 1) for ring in rings(region)) == [0.5, 121 - 25 - 0.5 + 0.5]

    def test_corners_do_not_join(self):
        region = np.eye(4, dtype=bool)
        assert [area(ring) for ring in rings(region)] == [0.5] * 4

    @pytest.mark.seconds
    def test_noise(self):
        for seed, share in enumerate(np.linspace(0.05, 0.95, 30)):
            region = np.random.default_rng(seed).random((25, 31)) < share
            found = np.zeros_like(region)
            for ring in rings(region):
                fill(found, ring)
            assert np.array_equal(found, region)


def test_what_the_file_says(tmp_path):
    mask = phantom(
        "tilted", np.where(dicom_phantom.labels() == 2, 0, dicom_phantom.labels()).astype(np.uint8)
    )
    write_rtstruct(mask, tmp_path / "a.dcm")
    found, header = pydicom.dcmread(tmp_path / "a.dcm"), mask.headers[0]
    assert [(r.ROINumber, r.ROIName) for r in found.StructureSetROISequence] == [
        (1, "left_lung"),
        (2, "airway"),
    ]
    assert {r.ROIGenerationAlgorithm for r in found.StructureSetROISequence} == {"AUTOMATIC"}
    assert found.ApprovalStatus == "UNAPPROVED"
    frame = found.ReferencedFrameOfReferenceSequence[0]
    assert frame.FrameOfReferenceUID == header.FrameOfReferenceUID
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == header.SeriesInstanceUID
    assert [i.ReferencedSOPInstanceUID for i in series.ContourImageSequence] == [
        h.SOPInstanceUID for h in mask.headers
    ]
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID"):
        assert found[keyword].value == header[keyword].value != ""
    assert found.SeriesInstanceUID != header.SeriesInstanceUID
    assert (found.SeriesDescription, found.StructureSetLabel) == ("medseg segmentation", "SEGMENTATION")
    assert found.SeriesDate
    assert found.SeriesTime


def test_multi_frame_source(tmp_path):
    header = dicom_phantom.enhanced_header("axial", (3, 0, 8, 1, 2, 7, 6, 5, 4))
    mask = Mask(
        dicom_phantom.labels(),
        LABELS,
        affine=dicom_phantom.ras_affine("axial"),
        headers=(header,),
    )
    write_rtstruct(mask, tmp_path / "a.dcm")
    found = pydicom.dcmread(tmp_path / "a.dcm")
    contours = found.ROIContourSequence[0].ContourSequence
    assert len({float(contour.ContourData[2]) for contour in contours}) == 6  # slices with a left lung
    for contour in contours:
        image = contour.ContourImageSequence[0]
        frame = header.PerFrameFunctionalGroupsSequence[image.ReferencedFrameNumber - 1]
        assert image.ReferencedSOPInstanceUID == header.SOPInstanceUID
        assert float(contour.ContourData[2]) == frame.PlanePositionSequence[0].ImagePositionPatient[2]


@pytest.mark.parametrize("change", [{"array": np.zeros(dicom_phantom.SHAPE, np.uint8)}, {"headers": ()}])
def test_what_can_t_be_written(tmp_path, change):
    mask = phantom("axial")
    with pytest.raises(UnsuitableError):
        write_rtstruct(changed(mask, **change), tmp_path / "a.dcm")
    assert not list(tmp_path.iterdir())


def test_odd_values_of_the_patient_are_copied_and_not_quoted(tmp_path, recwarn, caplog, capfd):
    made = dicom_phantom.headers("axial")
    with pydicom.config.disable_value_validation():
        for header in made:
            dicom_phantom.plant_odd_values(header)
        files = sorted(dicom_phantom.write(made, tmp_path / "ct").iterdir())
    mask = changed(phantom("axial"), headers=tuple(pydicom.dcmread(file) for file in files))
    for said in (recwarn, caplog):
        said.clear()
    capfd.readouterr()
    write_rtstruct(mask, tmp_path / "a.dcm")
    said = "".join([*(str(warning.message) for warning in recwarn), caplog.text, *capfd.readouterr()])
    assert "PLANTED" not in said
    with pydicom.config.disable_value_validation():
        assert str(pydicom.dcmread(tmp_path / "a.dcm").PatientName) == "Müller^PLANTED=a=b=c=d"


def test_a_full_disk_leaves_the_earlier_file(tmp_path):
    mask, path = phantom("axial"), tmp_path / "a.dcm"
    path.write_bytes(b"earlier")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        with pytest.raises(OSError, match="large"):
            write_rtstruct(mask, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["axial", "tilted"])
def test_dciodvfy_finds_no_error(tmp_path, name):
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy (apt: dicom3tools) is not installed")
    write_rtstruct(phantom(name), tmp_path / "a.dcm")
    found = subprocess.run(
        ["dciodvfy", "-new", tmp_path / "a.dcm"], capture_output=True, text=True, check=False
    )
    assert "RTStructureSet" in found.stderr + found.stdout
    assert "Error" not in found.stderr + found.stdout
