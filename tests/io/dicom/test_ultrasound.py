"""An ultrasound file is read as a picture with the scanner's own pixel size, or refused with the reason."""

import numpy as np
import pytest
import torch
from dicom_writer import ct_slices, save
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)
from ultrasound_writer import write_ultrasound

from medseg import phantoms
from medseg.errors import UnreadableError, UnsuitableError
from medseg.io import find_inputs, read_volume
from medseg.quality.inspection import inspect
from medseg.transforms import FindUltrasoundRegiond, LoadVolumed

SPACING_MM = (0.08, 0.1)
SECRET = "Secret^Name"


@pytest.fixture(scope="module")
def grey():
    return phantoms.breast_ultrasound(1, (200, 180))[0]


@pytest.fixture(scope="module")
def colour(grey):
    picture = np.stack([grey] * 3, axis=-1)
    picture[60:100, 40:100] = [220, 40, 30]
    return picture


def _read(path):
    return read_volume(path, "US")


def _jpeg(picture, path, syntax):
    """Write a file as scanners do with JPEG, for which pydicom has no encoder."""
    import imagecodecs
    import pydicom

    lossless = syntax == JPEGLosslessSV1
    header = pydicom.dcmread(write_ultrasound(picture, path, tags={"PatientName": SECRET}))
    options = {"lossless": True} if lossless else {"level": 95}
    header.PixelData = encapsulate([imagecodecs.jpeg8_encode(picture, **options)])
    header["PixelData"].VR = "OB"
    header.file_meta.TransferSyntaxUID = UID(syntax)
    if picture.ndim == 3 and not lossless:
        header.PhotometricInterpretation = "YBR_FULL_422"
    header.save_as(path, enforce_file_format=True)
    return path


class TestPixels:
    @pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
    def test_grey(self, grey, tmp_path, photometric):
        volume = _read(write_ultrasound(grey, tmp_path / "a.dcm", photometric=photometric))
        np.testing.assert_array_equal(volume.array, grey[None])
        assert volume.affine is None
        assert len(volume.warnings) == (photometric == "MONOCHROME1")

    def test_palette_becomes_8_bit_colours(self, grey, tmp_path):
        volume = _read(write_ultrasound(grey, tmp_path / "a.dcm", photometric="PALETTE COLOR"))
        np.testing.assert_array_equal(volume.array, np.stack([grey] * 3))
        assert volume.array.dtype == np.uint8

    @pytest.mark.parametrize(("photometric", "error"), [("RGB", 0), ("YBR_FULL", 3), ("YBR_FULL_422", 3)])
    def test_colour(self, colour, tmp_path, photometric, error):
        volume = _read(write_ultrasound(colour, tmp_path / "a.dcm", photometric=photometric))
        difference = np.abs(volume.array.astype(int) - colour.transpose(2, 0, 1))
        assert difference.max() <= error

    @pytest.mark.parametrize("kind", ["grey", "colour"])
    @pytest.mark.parametrize(("syntax", "error"), [(JPEGLosslessSV1, 0), (JPEGBaseline8Bit, 8)])
    def test_jpeg(self, grey, colour, tmp_path, syntax, error, kind):
        picture = {"grey": grey, "colour": colour}[kind]
        volume = _read(_jpeg(picture, tmp_path / "a.dcm", syntax))
        difference = np.abs(volume.array.astype(int) - np.atleast_3d(picture).transpose(2, 0, 1))
        assert np.percentile(difference, 95) <= error  # JPEG halves the colours

    @pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
    @pytest.mark.parametrize("kind", ["grey", "colour"])
    def test_compressed(self, grey, colour, tmp_path, syntax, kind):
        picture = {"grey": grey, "colour": colour}[kind]
        volume = _read(write_ultrasound(picture, tmp_path / "a.dcm", transfer_syntax=syntax))
        expected = np.atleast_3d(picture).transpose(2, 0, 1)
        np.testing.assert_array_equal(volume.array, expected)

    @pytest.mark.parametrize("syntax", [None, RLELossless])
    def test_of_a_clip_the_first_frame_with_a_warning(self, grey, tmp_path, syntax):
        more = {"transfer_syntax": syntax} if syntax else {}
        volume = _read(write_ultrasound(grey, tmp_path / "a.dcm", frames=5, **more))
        np.testing.assert_array_equal(volume.array, grey[None])
        assert volume.warnings == (
            "the file is a clip of 5 frames and only the first was read; to segment another frame, "
            "export it as a still",
        )

    @pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
    @pytest.mark.parametrize("dark", [1, 3])
    def test_of_a_clip_that_begins_black_the_first_frame_that_shows_something(
        self, grey, tmp_path, syntax, dark
    ):
        frames = np.stack([grey // 64 if k < dark else grey - k for k in range(5)])
        import pydicom

        header = pydicom.dcmread(write_ultrasound(grey, tmp_path / "a.dcm", frames=5))
        header.PixelData = frames.tobytes()
        if syntax == RLELossless:
            header.compress(syntax)
        header.save_as(tmp_path / "a.dcm")
        volume = _read(tmp_path / "a.dcm")
        np.testing.assert_array_equal(volume.array, frames[dark][None])
        assert f"only frame {dark + 1}, the first that is not blank, was read" in volume.warnings[0]

    @pytest.mark.parametrize("scale", [1, 256, 257])
    def test_palettes_of_16_bits_that_hold_8(self, grey, tmp_path, scale):
        import pydicom

        path = write_ultrasound(grey, tmp_path / "a.dcm", photometric="PALETTE COLOR")
        header = pydicom.dcmread(path)
        for colour in ("Red", "Green", "Blue"):
            setattr(header, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
            table = (np.arange(256) * scale).astype("<u2").tobytes()
            setattr(header, f"{colour}PaletteColorLookupTableData", table)
        header.save_as(path)
        np.testing.assert_array_equal(_read(path).array, np.stack([grey] * 3))


class TestCapture:
    """A picture of a screen whose modality is ultrasound is one."""

    @pytest.mark.parametrize("end", ["", ".2", ".4"])
    def test_of_ultrasound(self, grey, colour, tmp_path, end):
        picture = colour if end == ".4" else grey
        kind = f"1.2.840.10008.5.1.4.1.1.7{end}"
        path = write_ultrasound(picture, tmp_path / "a.dcm", tags={"SOPClassUID": kind}, spacing_mm=None)
        assert find_inputs([tmp_path]) == [path]
        expected = np.atleast_3d(picture).transpose(2, 0, 1)
        np.testing.assert_array_equal(_read(path).array, expected)
        assert inspect(path, "breast_ultrasound").series[0].usable

    def test_of_something_else_is_named(self, grey, tmp_path):
        tags = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "OT"}
        path = write_ultrasound(grey, tmp_path / "a.dcm", tags=tags)
        with pytest.raises(UnsuitableError, match=r"\(Secondary Capture Image Storage, modality OT\)"):
            _read(path)


class TestCalibration:
    def test_row_and_column(self, grey, tmp_path):
        volume = _read(write_ultrasound(grey, tmp_path / "a.dcm", spacing_mm=SPACING_MM))
        assert volume.pixel_spacing_mm == pytest.approx(SPACING_MM)
        assert (volume.region_box, volume.warnings) == ((0, 0, 200, 180), ())

    def test_none(self, grey, tmp_path):
        volume = _read(write_ultrasound(grey, tmp_path / "a.dcm", spacing_mm=None))
        assert (volume.pixel_spacing_mm, volume.region_box, volume.warnings) == (None, None, ())

    def test_two_alike_give_a_size_and_no_box(self, grey, tmp_path):
        boxes = [(0, 0, 200, 90), (0, 90, 200, 90)]
        volume = _read(write_ultrasound(grey, tmp_path / "a.dcm", spacing_mm=SPACING_MM, boxes=boxes))
        assert volume.pixel_spacing_mm == pytest.approx(SPACING_MM)
        assert (volume.region_box, volume.warnings) == (None, ())

    def _changed(self, grey, path, number, **tags):
        import pydicom

        boxes = [(0, 0, 200, 90), (0, 90, 200, 90)]
        data_set = pydicom.dcmread(write_ultrasound(grey, path, spacing_mm=SPACING_MM, boxes=boxes))
        for keyword, value in tags.items():
            setattr(data_set.SequenceOfUltrasoundRegions[number], keyword, value)
        data_set.save_as(path)
        return _read(path)

    def test_two_that_differ_give_none_and_a_warning(self, grey, tmp_path):
        volume = self._changed(grey, tmp_path / "a.dcm", 1, PhysicalDeltaX=0.02)
        assert volume.pixel_spacing_mm is None
        assert "differ in the size of a pixel" in volume.warnings[0]

    @pytest.mark.parametrize("tags", [{"PhysicalUnitsXDirection": 4}, {"PhysicalDeltaY": 0.0}])
    def test_no_centimetres_give_none_and_a_warning(self, grey, tmp_path, tags):
        volume = self._changed(grey, tmp_path / "a.dcm", 0, **tags)
        assert volume.pixel_spacing_mm is None
        assert "gives no plausible size of a pixel in cm" in volume.warnings[0]

    def test_a_doppler_trace_does_not_count(self, grey, tmp_path):
        volume = self._changed(
            grey, tmp_path / "a.dcm", 1, RegionSpatialFormat=3, RegionDataType=3, PhysicalDeltaX=0.5
        )
        assert volume.pixel_spacing_mm == pytest.approx(SPACING_MM)
        assert (volume.region_box, volume.warnings) == ((0, 0, 200, 90), ())


class TestFilesAndFolders:
    def test_folder_with_one(self, grey, tmp_path):
        write_ultrasound(grey, tmp_path / "IM0001")
        assert find_inputs([tmp_path]) == [tmp_path / "IM0001"]
        np.testing.assert_array_equal(_read(tmp_path).array, grey[None])

    def test_each_is_an_input(self, grey, tmp_path):
        """In folders, beside other pictures, and named one by one; a damaged one is kept, to say so."""
        paths = [write_ultrasound(grey, tmp_path / name, seed=n) for n, name in enumerate(("a.dcm", "c.dcm"))]
        (tmp_path / "deeper").mkdir()
        paths += [write_ultrasound(grey, tmp_path / "deeper" / "IM1", seed=3), tmp_path / "b.png"]
        Image.fromarray(grey).save(paths[-1])
        paths.append(tmp_path / "deeper" / "IM2")
        paths[-1].write_bytes(paths[0].read_bytes()[:140])
        assert find_inputs([tmp_path]) == sorted(paths)
        assert find_inputs(paths[:3]) == paths[:3]

    def test_beside_slices_it_is_part_of_the_study(self, grey, tmp_path, caplog):
        folder = save(tmp_path / "ct", ct_slices())
        write_ultrasound(grey, folder / "us.dcm")
        Image.fromarray(grey).save(folder / "note.png")
        assert find_inputs([folder]) == [folder]
        assert "1 other image files were skipped" in caplog.text

    def test_several_as_one_are_refused(self, grey, tmp_path):
        for number in range(3):
            write_ultrasound(grey, tmp_path / f"{number}.dcm", seed=number)
        with pytest.raises(UnsuitableError, match="one ultrasound picture; got 3 among 3 DICOM files"):
            _read(tmp_path)

    def test_ct_is_refused(self, tmp_path):
        with pytest.raises(UnsuitableError, match="one ultrasound picture; got none among 8 DICOM files"):
            _read(save(tmp_path / "ct", ct_slices()))

    @pytest.mark.parametrize("modality", [None, "CT"])
    def test_other_tasks_refuse_it_as_before(self, grey, tmp_path, modality):
        path = write_ultrasound(grey, tmp_path / "a.dcm")
        with pytest.raises(UnsuitableError, match="no slices of a volume: Ultrasound Image Storage"):
            read_volume(path, modality)


class TestDamage:
    @pytest.mark.parametrize(
        "tags",
        [
            {"PhotometricInterpretation": "CMYK"},
            {"SamplesPerPixel": 3},
            {"Rows": 0},
            {"Columns": 60000},
            {"BitsAllocated": 32},
        ],
    )
    def test_impossible_headers(self, grey, tmp_path, tags):
        path = write_ultrasound(grey, tmp_path / "a.dcm", tags={**tags, "PatientName": SECRET})
        with pytest.raises(UnsuitableError) as error:
            _read(path)
        assert "Secret" not in str(error.value)

    @pytest.mark.parametrize("syntax", [None, RLELossless, JPEG2000Lossless])
    def test_truncated(self, grey, tmp_path, syntax):
        more = {"transfer_syntax": syntax} if syntax else {}
        self._refused(write_ultrasound(grey, tmp_path / "a.dcm", tags={"PatientName": SECRET}, **more))

    @pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGBaseline8Bit])
    def test_truncated_jpeg(self, grey, tmp_path, syntax):
        self._refused(_jpeg(grey, tmp_path / "a.dcm", syntax))

    def _refused(self, path):
        path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
        with pytest.raises(UnreadableError, match="truncated") as error:
            _read(path)
        assert "Secret" not in str(error.value)

    def test_another_picture_size(self, grey, tmp_path):
        with pytest.raises(UnreadableError):
            _read(write_ultrasound(grey, tmp_path / "a.dcm", tags={"Rows": 400}))


class TestOnwards:
    def test_region_and_size_reach_the_transforms(self, tmp_path):
        picture, _, scan = phantoms.breast_ultrasound(2, framed=True)
        box = (66, 90, 400, 360)
        path = write_ultrasound(picture, tmp_path / "a.dcm", spacing_mm=SPACING_MM, boxes=[box])
        item = LoadVolumed("image", channels=1, passed_channels=[3], modality="US")({"image": path})
        assert item["image"].meta["origin"].pixel_spacing_mm == pytest.approx(SPACING_MM)
        found = FindUltrasoundRegiond("image")(item)
        assert torch.equal(found["field_of_view"][0].bool().as_tensor(), torch.as_tensor(scan))

    def test_inspect(self, colour, tmp_path):
        path = write_ultrasound(colour, tmp_path / "a.dcm", spacing_mm=SPACING_MM)
        found = inspect(path, "breast_ultrasound")
        assert (found.verdict, found.shape) == ("warn", (200, 180))
        assert found.spacing_mm == pytest.approx(SPACING_MM)
        assert found.reasons[0].startswith("colours, as of colour Doppler")
        assert "200 x 180 px, 0.08 x 0.1 mm" in str(found)
        assert [series.chosen for series in found.series] == [True]
