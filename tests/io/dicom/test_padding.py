"""What follows the end of a compressed frame is padding, whatever it is; one without its end is damaged."""

import imagecodecs
import numpy as np
import pytest
from dicom_writer import as_file, body_hu, ct_slices, enhanced_ct, save
from pydicom.encaps import encapsulate, itemize_fragment
from pydicom.pixels.encoders import RLELosslessEncoder

from medseg.errors import UnreadableError
from medseg.io.dicom import read

pytestmark = [
    pytest.mark.seconds,
    pytest.mark.filterwarnings("ignore::UserWarning"),
]  # pydicom's, about the damage
PADDINGS = [
    b"",
    b"\0",
    b"\0" * 5,
    b"\xff",
    b"\xff" * 4,
    b"\x63" * 3,
    b"\xff\xd9\x63",
    b"\x00\x63" * 20,
    b"\x80",
]


def rle(pixels):
    options = {"rows": pixels.shape[0], "columns": pixels.shape[1], "samples_per_pixel": 1}
    options |= {"bits_allocated": 16, "bits_stored": 16, "pixel_representation": 0, "number_of_frames": 1}
    return RLELosslessEncoder.encode(pixels, photometric_interpretation="MONOCHROME2", **options)


def jpeg_2000(codecformat):
    return lambda pixels: imagecodecs.jpeg2k_encode(pixels, level=0, codecformat=codecformat, reversible=True)


STORAGE = "1.2.840.10008.1.2.4."
CODECS = {
    "JPEG Lossless": (f"{STORAGE}70", imagecodecs.ljpeg_encode),
    "JPEG-LS": (f"{STORAGE}80", imagecodecs.jpegls_encode),
    "JPEG 2000": (f"{STORAGE}90", jpeg_2000("j2k")),
    "JPEG 2000 in JP2": (f"{STORAGE}90", jpeg_2000("jp2")),
    "HTJ2K": (f"{STORAGE}201", imagecodecs.htj2k_encode),
    "RLE": ("1.2.840.10008.1.2.5", rle),
}


def encoded(codec):
    """(frame) streams of body_hu() as stored."""
    return [CODECS[codec][1](image) for image in (body_hu() + 1024).astype(np.uint16)]


def series(folder, codec, frames):
    """A folder of slices whose pixel data are these items."""
    files = [as_file(values, CODECS[codec][0]) for values in ct_slices()]
    folder.mkdir()
    for number, (file, items) in enumerate(zip(files, frames, strict=True)):
        file.PixelData = items
        file["PixelData"].VR, file["PixelData"].is_undefined_length = "OB", True
        file.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


def require_read(folder):
    np.testing.assert_array_equal(read(folder, "CT").array[0], body_hu().transpose(2, 1, 0))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("padding", PADDINGS, ids=lambda padding: padding.hex()[:12])
def test_padding(tmp_path, codec, padding):
    require_read(series(tmp_path / "ct", codec, [encapsulate([one + padding]) for one in encoded(codec)]))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("padding", [b"", b"\x63" * 3])
def test_a_frame_in_fragments(tmp_path, codec, padding):
    frames = [encapsulate([one + padding], fragments_per_frame=4) for one in encoded(codec)]
    require_read(series(tmp_path / "ct", codec, frames))


@pytest.mark.parametrize("codec", sorted(set(CODECS) - {"RLE"}))
@pytest.mark.parametrize("padding", [b"", b"\x63" * 30])
@pytest.mark.parametrize("has_offsets", [True, False])
@pytest.mark.parametrize("fragments", [1, 3])
def test_several_frames_in_fragments(tmp_path, codec, padding, has_offsets, fragments):
    frames = [one + padding for one in encoded(codec)]
    values = as_file(enhanced_ct(), CODECS[codec][0])
    values.PixelData = encapsulate(frames, fragments_per_frame=fragments, has_bot=has_offsets)
    values["PixelData"].VR, values["PixelData"].is_undefined_length = "OB", True
    (tmp_path / "ct").mkdir()
    values.save_as(tmp_path / "ct" / "a.dcm", enforce_file_format=True)
    require_read(tmp_path / "ct")


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("lost", [3, 10, 200])
@pytest.mark.parametrize("padding", [b"", b"\0", b"\x63" * 3, b"\x63" * 300])
def test_a_stream_that_ends_early_is_refused(tmp_path, codec, lost, padding):
    streams = encoded(codec)
    streams[3] = streams[3][:-lost] + padding
    frames = [b"".join([itemize_fragment(b""), itemize_fragment(one)]) for one in map(even, streams)]
    with pytest.raises(UnreadableError, match=r"file 3\.dcm, damaged"):
        read(series(tmp_path / "ct", codec, frames), "CT")


def even(stream):
    return stream + b"\0" * (len(stream) % 2)


def test_lossy_jpeg(tmp_path):
    """Values differ by what the compression lost, and by nothing for the padding."""
    arrays = []
    for name, padding in (("a", b""), ("b", b"\x63" * 3)):
        slices = ct_slices(BitsAllocated=8, BitsStored=8, HighBit=7, RescaleIntercept=-1024, RescaleSlope=8)
        save(tmp_path / name, slices)
        for k, one in enumerate(slices):
            file = as_file(one, f"{STORAGE}50")
            image = ((body_hu()[k] + 1024) // 8).clip(0, 255).astype(np.uint8)
            file.PixelData = encapsulate([imagecodecs.jpeg8_encode(image, level=95) + padding])
            file["PixelData"].VR, file["PixelData"].is_undefined_length = "OB", True
            file.save_as(tmp_path / name / f"{k + 1:03}.dcm", enforce_file_format=True)
        arrays.append(read(tmp_path / name, "CT").array)
    np.testing.assert_array_equal(*arrays)
