"""Values are what the scanner meant, in every encoding; half a slice is never read as a whole one."""

import base64
import itertools

import numpy as np
import pytest
from dicom_writer import ROWS, as_file, body_hu, ct_slices, enhanced_ct, save, save_compressed
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from medseg.errors import MedsegError, UnreadableError, UnsuitableError
from medseg.io.dicom import read

COMPRESSED = [JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, RLELossless]


def values_of(folder, modality="CT"):
    """(slice, row, column) of the volume in a folder."""
    return read(folder, modality).array[0].transpose(2, 1, 0)


def stored(slices, numbers, **tags):
    """The slices with other stored numbers and tags."""
    for one, image in zip(slices, numbers, strict=True):
        one.PixelData = np.ascontiguousarray(image).tobytes()
        for keyword, value in tags.items():
            setattr(one, keyword, value)
    return slices


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian],
    ids=lambda syntax: syntax.name,
)
def test_native_syntaxes(tmp_path, syntax):
    np.testing.assert_array_equal(values_of(save(tmp_path, ct_slices(), syntax)), body_hu())


def test_big_endian(tmp_path):
    slices = stored(ct_slices(), (body_hu().astype(np.int32) + 1024).astype(">u2"))
    np.testing.assert_array_equal(values_of(save(tmp_path, slices, ExplicitVRBigEndian)), body_hu())


@pytest.mark.seconds
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.name)
def test_compressed_syntaxes(tmp_path, syntax, signed):
    slices = ct_slices()
    if signed:
        slices = stored(slices, body_hu(), PixelRepresentation=1, RescaleIntercept=0)
    folder = save_compressed(tmp_path, slices, syntax)
    np.testing.assert_array_equal(values_of(folder), body_hu())


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.name)
def test_twelve_signed_bits(tmp_path, syntax):
    slices = stored(
        ct_slices(), body_hu(), BitsStored=12, HighBit=11, PixelRepresentation=1, RescaleIntercept=0
    )
    np.testing.assert_array_equal(values_of(save_compressed(tmp_path, slices, syntax)), body_hu())


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.name)
def test_cut_compressed_slice_is_refused(tmp_path, syntax):
    folder = save_compressed(tmp_path, ct_slices(), syntax)
    path = folder / "004.dcm"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(UnreadableError, match=r"004\.dcm"):
        read(folder, "CT")


@pytest.mark.parametrize("syntax", [*COMPRESSED, JPEGExtended12Bit], ids=lambda syntax: syntax.name)
def test_compressed_stream_that_stops_early_is_refused(tmp_path, syntax):
    """The file is whole, but its stream is not: an interrupted encoder."""
    slices = ct_slices()
    frames = [b"\xff\xd8" + bytes(60)] * len(slices)
    with pytest.raises(UnreadableError, match=r"001\.dcm"):
        read(save_frames(tmp_path, slices, frames, syntax), "CT")


def save_frames(folder, slices, frames, syntax):
    folder.mkdir(exist_ok=True)
    for number, (one, frame) in enumerate(zip(slices, frames, strict=True), start=1):
        file = as_file(one, syntax)
        file.PixelData = encapsulate([frame])
        file["PixelData"].VR, file["PixelData"].is_undefined_length = "OB", True
        file.save_as(folder / f"{number:03}.dcm", enforce_file_format=True)
    return folder


@pytest.mark.parametrize(
    ("offset", "value"), [(4, 0), (4, 99), (6, 99), (8, 99), (9, 3), (13, 0), (14, 0), (14, 9)]
)
def test_jpeg_whose_header_lies_is_refused(tmp_path, offset, value):
    """GDCM ends the process on some of these, so nothing of them may reach it."""
    folder = save_compressed(tmp_path, ct_slices(), JPEGLossless)
    path = folder / "003.dcm"
    content = bytearray(path.read_bytes())
    start = content.index(b"\xff\xd8\xff") + 2
    assert content[start + 1] == 0xC3
    content[start + offset] = value
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match=r"003\.dcm"):
        read(folder, "CT")


@pytest.mark.parametrize("offset", [8, 12, 20, 41])
def test_jpeg_2000_whose_header_lies_is_refused(tmp_path, offset):
    """OpenJPEG would take gigabytes for the size that it is told."""
    folder = save_compressed(tmp_path, ct_slices(), JPEG2000Lossless)
    path = folder / "003.dcm"
    content = bytearray(path.read_bytes())
    content[content.index(b"\xff\x4f\xff\x51") + offset] ^= 7
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match=r"003\.dcm"):
        read(folder, "CT")


def test_high_throughput_jpeg_2000(tmp_path):
    """An 8x8 frame that OpenJPH wrote: value = 100 * row + column."""
    folder = save_frames(tmp_path, _small(), [base64.b64decode(HTJ2K_FRAME)] * 8, HTJ2KLossless)
    np.testing.assert_array_equal(values_of(folder)[0], SMALL - 1024)


def test_twelve_bit_jpeg(tmp_path):
    """An 8x8 frame that libjpeg-turbo wrote at 12 bits: value = 100 * row + column, with loss."""
    folder = save_frames(tmp_path, _small(), [base64.b64decode(JPEG_12_FRAME)] * 8, JPEGExtended12Bit)
    assert np.abs(values_of(folder)[0] - (SMALL - 1024)).max() <= 4


SMALL = 100 * np.arange(8)[:, None] + np.arange(8)
HTJ2K_FRAME = (
    "/0//UQApQAAAAAAIAAAACAAAAAAAAAAAAAAACAAAAAgAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBE"
    "AB/1wAEyCIkJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAFEAAf+TwAAmMf4F"
    "B3QAAADAABLAABKA+ABHdACOAgd0AMAAEkAAEwD8EnMAwIEAY1QAwAAlgABVAPCgC+QAxkaj8cAhAey2AP/Z"
)
JPEG_12_FRAME = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAEBAQEBAQEBAQEBAQEBAQIBAQEBAQIBAQECAgICAgICAgIDAwQDAwMDAw"
    "ICAwQDAwQEBAQEAgMFBQQEBQQEBAT/wQALDAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAADv/EABoQAAAHAAAA"
    "AAAAAAAAAAAAAAAFCygypuP/2gAIAQEAAD8AFhZahwxaBRsh/9k="
)


def _small():
    return ct_slices(np.zeros((8, 8, 8)), BitsStored=12, HighBit=11)


@pytest.mark.parametrize("cut", [1, 50, 700])
def test_cut_native_slice_is_refused(tmp_path, cut):
    folder = save(tmp_path, ct_slices())
    path = folder / "003.dcm"
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(UnreadableError, match=r"003\.dcm"):
        read(folder, "CT")


@pytest.mark.parametrize("rows", [ROWS - 1, ROWS + 1])
def test_pixels_that_do_not_fit_the_size_are_refused(tmp_path, rows):
    with pytest.raises(UnreadableError, match=r"declares 960 bytes"):
        read(save(tmp_path, ct_slices(Rows=rows)), "CT")


@pytest.mark.parametrize("count", [2, 48, 128, 512])
def test_zeros_after_native_pixels_are_padding(tmp_path, count):
    slices = ct_slices()
    slices[2].PixelData += bytes(count)
    np.testing.assert_array_equal(read(save(tmp_path, slices), "CT").array[0], body_hu().transpose(2, 1, 0))


def test_multi_frame_file_that_is_cut(tmp_path):
    folder = save(tmp_path, [enhanced_ct()])
    path = folder / "001.dcm"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UnreadableError, match=r"001\.dcm"):
        read(folder, "CT")


@pytest.mark.parametrize("syntax", [JPEGLSLossless, RLELossless], ids=lambda syntax: syntax.name)
def test_compressed_multi_frame_file(tmp_path, syntax):
    folder = save_compressed(tmp_path, [enhanced_ct()], syntax)
    np.testing.assert_array_equal(values_of(folder), body_hu())


def test_unused_bits_hold_anything(tmp_path):
    numbers = (body_hu().astype(np.int32) + 1024).astype("<u2") | 0xA000
    folder = save(tmp_path, stored(ct_slices(), numbers, BitsStored=12, HighBit=11))
    np.testing.assert_array_equal(values_of(folder), body_hu())


def test_bits_that_end_below_the_top(tmp_path):
    numbers = ((body_hu().astype(np.int32) + 1024) << 3).astype("<u2")
    folder = save(tmp_path, stored(ct_slices(), numbers, BitsStored=12, HighBit=14))
    np.testing.assert_array_equal(values_of(folder), body_hu())


def test_eight_bits(tmp_path):
    numbers = (np.clip(body_hu() // 4, -64, 127) + 128).astype(np.uint8)
    tags = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "RescaleIntercept": -512, "RescaleSlope": 4}
    folder = save(tmp_path, stored(ct_slices(), numbers, **tags))
    np.testing.assert_array_equal(values_of(folder), numbers.astype(int) * 4 - 512)


def test_fractional_slope_gives_float(tmp_path):
    folder = save(tmp_path, ct_slices(RescaleSlope=0.5, RescaleIntercept=-1000.25))
    found = values_of(folder)
    assert found.dtype == np.float32
    expected = np.maximum((body_hu() + 1024) * 0.5 - 1000.25, -1024)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_scale_that_varies_from_slice_to_slice(tmp_path):
    slices = ct_slices()
    for k, one in enumerate(slices):
        one.RescaleIntercept = -1024 - k
        one.PixelData = (body_hu()[k].astype(np.int32) + 1024 + k).astype("<u2").tobytes()
    volume = read(save(tmp_path, slices), "CT")
    np.testing.assert_array_equal(volume.array[0], body_hu().transpose(2, 1, 0))
    assert "vary: 7 slices differ" in volume.warnings[0]


@pytest.mark.parametrize(("keyword", "value"), [("RescaleIntercept", 0), ("RescaleSlope", 2)])
def test_scale_damaged_in_one_slice(tmp_path, keyword, value):
    slices = ct_slices()
    setattr(slices[6], keyword, value)
    with pytest.raises(UnsuitableError) as caught:
        read(save(tmp_path, slices), "CT")
    assert "slice 7 of 8 (file 007.dcm, at z = -85.0 mm)" in str(caught.value)
    assert "(0028,1052)" in str(caught.value)


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_ct_without_scale_is_refused(tmp_path, keyword):
    slices = ct_slices()
    for one in slices:
        delattr(one, keyword)
    with pytest.raises(UnsuitableError, match=r"no known unit"):
        read(save(tmp_path, slices), "CT")


def test_zero_slope_and_another_unit_are_refused(tmp_path):
    for number, tags in enumerate([{"RescaleSlope": 0}, {"RescaleType": "MGML"}]):
        with pytest.raises(UnsuitableError, match=r"\(0028,10"):
            read(save(tmp_path / str(number), ct_slices(**tags)), "CT")


def test_below_air_is_air(tmp_path):
    hu = body_hu()
    hu[2, 5, 5] = -1024
    slices = stored(ct_slices(), hu - 2000, PixelRepresentation=1, RescaleIntercept=0)
    assert values_of(save(tmp_path, slices)).min() == -1024


@pytest.mark.parametrize(
    ("number", "declared", "signed"),
    [(-2000, 63536, 1), (-2000, -2000, 1), (5000, 5000, 0), (63536, 63536, 0)],
)
def test_padding_is_air(tmp_path, number, declared, signed):
    hu = body_hu()
    numbers = (hu.astype(np.int32) + (0 if signed else 1024)).astype(np.int32)
    numbers[:, :2] = number
    dtype = "<i2" if signed else "<u2"
    tags = {"PixelRepresentation": signed, "RescaleIntercept": 0 if signed else -1024}
    slices = stored(ct_slices(), numbers.astype(dtype), **tags)
    for one in slices:
        one.add_new("PixelPaddingValue", "SS" if declared < 0 else "US", declared)
    hu[:, :2] = -1024
    volume = read(save(tmp_path, slices), "CT")
    np.testing.assert_array_equal(volume.array[0], hu.transpose(2, 1, 0))
    assert volume.warnings == ()


def test_padding_that_needs_more_than_the_stored_bits(tmp_path):
    numbers = (body_hu().astype(np.int32) + 1024).astype("<u2")
    numbers[:, :2] = 63536
    slices = stored(ct_slices(BitsStored=12, HighBit=11), numbers)
    for one in slices:
        one.add_new("PixelPaddingValue", "US", 63536)
    found = values_of(save(tmp_path, slices))
    assert (found[:, :2] == -1024).all()
    np.testing.assert_array_equal(found[:, 2:], body_hu()[:, 2:])


def test_padding_range_and_padding_like_tissue(tmp_path):
    hu = body_hu()
    slices = ct_slices(hu)
    for one in slices:
        one.add_new("PixelPaddingValue", "US", 1024 + 100)
        one.add_new("PixelPaddingRangeLimit", "US", 1024 + 110)
    volume = read(save(tmp_path, slices), "CT")
    expected = np.where((hu >= 100) & (hu <= 110), -1024, hu)
    np.testing.assert_array_equal(volume.array[0], expected.transpose(2, 1, 0))
    assert "padding" in volume.warnings[0]


@pytest.mark.parametrize("inverted", [False, True])
def test_monochrome1(tmp_path, inverted):
    slices = ct_slices(PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11)
    numbers = body_hu().astype(np.int32) + 1024
    slices = stored(slices, (4095 - numbers if inverted else numbers).astype("<u2"))
    volume = read(save(tmp_path, slices), "CT")
    np.testing.assert_array_equal(volume.array[0], body_hu().transpose(2, 1, 0))
    assert "MONOCHROME1" in volume.warnings[0]
    assert ("inverted back" in volume.warnings[0]) is inverted


def test_mr_values_stay_as_they_are(tmp_path):
    slices = ct_slices(SOPClassUID="1.2.840.10008.5.1.4.1.1.4", Modality="MR")
    for one in slices:
        del one.RescaleSlope, one.RescaleIntercept, one.RescaleType
    found = values_of(save(tmp_path, slices), "MR")
    np.testing.assert_array_equal(found, body_hu().astype(int) + 1024)
    assert found.dtype == np.float32  # 16 unsigned bits do not fit into int16


@pytest.mark.parametrize(
    "tags",
    [
        {"BitsAllocated": 12},
        {"BitsStored": 17},
        {"BitsStored": 0},
        {"HighBit": 16},
        {"PixelRepresentation": 2},
    ],
    ids=str,
)
def test_impossible_number_formats(tmp_path, tags):
    with pytest.raises(MedsegError, match=r"\(0028,010"):
        read(save(tmp_path, ct_slices(**tags)), "CT")


@pytest.mark.data
def test_real_compressed_series_agree(data_root):
    """One MR series in several encodings is one volume: the one that its publisher converted it to."""
    import nibabel as nib

    root = data_root / "dicom_cases/compressed"
    folders = sorted(path for path in root.iterdir() if (path / "001").is_dir())
    assert len(folders) >= 4
    volumes = [read(folder / "001") for folder in folders]
    for one, other in itertools.pairwise(volumes):
        np.testing.assert_array_equal(one.array, other.array)
    truth = nib.as_closest_canonical(nib.load(folders[0] / "001_ground_truth.nii.gz"))
    own = nib.as_closest_canonical(nib.Nifti1Image(volumes[0].array[0], volumes[0].affine))
    np.testing.assert_array_equal(own.get_fdata(), truth.get_fdata())
    np.testing.assert_allclose(own.affine, truth.affine, atol=1e-3)
