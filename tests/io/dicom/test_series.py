"""Which series is read, and what is said of the others."""

import json

import numpy as np
import pytest
from dicom_writer import SEG, STEP_MM, body_hu, ct_slices, save

from medseg.errors import UnsuitableError
from medseg.io.dicom import inspect, read, to_json, to_table
from medseg.io.dicom.series import is_sharp


def study(folder, **series):
    """A folder for each series: name=slices."""
    for name, slices in series.items():
        save(folder / name, slices)
    return folder


def thin(series, **tags):
    """Half the step, twice the slices."""
    slices = ct_slices(body_hu(16), series, **tags)
    for k, one in enumerate(slices):
        one.ImagePositionPatient[2] = -100 + STEP_MM / 2 * k
    return slices


def chosen(folder, modality="CT"):
    return [one.index for one in inspect(folder, modality) if one.chosen]


def test_thin_before_thick(tmp_path):
    study(tmp_path, a=ct_slices(), b=thin(2))
    assert chosen(tmp_path) == [2]
    volume = read(tmp_path, "CT")
    assert volume.array.shape[3] == 16
    assert "series 2 (CT, 16 slices at 1.25 mm" in volume.warnings[0]
    assert "not read: series 1 (CT, 8 slices at 2.50 mm" in volume.warnings[0]


def test_original_before_derived_even_if_thicker(tmp_path):
    study(tmp_path, a=thin(1, ImageType=["DERIVED", "PRIMARY", "AXIAL"]), b=ct_slices(series=2))
    assert chosen(tmp_path) == [2]


def test_derived_alone_is_read_with_a_word(tmp_path):
    study(tmp_path, a=ct_slices(ImageType=["DERIVED", "SECONDARY", "AXIAL"]))
    assert "DERIVED" in read(tmp_path, "CT").warnings[0]


def test_axial_before_thinner_coronal(tmp_path):
    coronal = thin(1)
    for k, one in enumerate(coronal):
        one.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        one.ImagePositionPatient = [0, 1.25 * k, 0]
    study(tmp_path, a=coronal, b=ct_slices(series=2))
    assert chosen(tmp_path) == [2]


def test_whole_before_thin_part(tmp_path):
    study(tmp_path, a=ct_slices(), b=thin(2)[:10])
    assert chosen(tmp_path) == [1]


def test_soft_before_sharp_kernel(tmp_path):
    study(tmp_path, a=ct_slices(ConvolutionKernel="LUNG"), b=ct_slices(body_hu() + 1, 2))
    assert chosen(tmp_path) == [2]


@pytest.mark.parametrize(
    ("kernel", "sharp"),
    [
        ("STANDARD", False),
        ("SOFT", False),
        ("BONEPLUS", True),
        ("B31f", False),
        ("B70f", True),
        ("Br64d", True),
        ("FC08", False),
        ("FC51", True),
        ("C", False),
        ("L", True),
        ("", False),
    ],
)
def test_kernel_names(kernel, sharp):
    assert is_sharp(kernel) is sharp


def test_equally_good_series_are_told(tmp_path):
    study(tmp_path, a=ct_slices(body_hu() + 1, 3), b=ct_slices(series=2))
    volume = read(tmp_path, "CT")
    assert "2 series fit equally well" in volume.warnings[0]
    np.testing.assert_array_equal(volume.array[0], body_hu().transpose(2, 1, 0))


@pytest.mark.seconds
def test_a_series_sent_twice_is_read_once(tmp_path):
    study(tmp_path, a=ct_slices(), b=ct_slices(series=2))
    first, second = inspect(tmp_path, "CT")
    assert first.chosen
    assert second.reason == "a duplicate of series 1"
    assert read(tmp_path, "CT").warnings == ()


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a localizer"),
        ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "MIP"]}, "maximum intensity projection"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, "a reformat"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "Secondary Capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2", "Modality": "MG"}, "Mammography"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.6", "Modality": "SM"}, "Whole Slide"),
        ({"SOPClassUID": SEG, "Modality": "SEG"}, "Segmentation"),
        ({"Modality": "SEG"}, "the modality SEG under the SOP class CT"),
        ({"SegmentSequence": []}, "a segmentation under the SOP class CT"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": "MR"}, "the modality MR instead of CT"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour"),
        ({"SOPClassUID": "1.2.3.4"}, "unknown SOP class"),
        ({"RescaleType": "MGML"}, "spectral"),
        ({"Rows": 21}, "bytes of pixels"),
    ],
    ids=str,
)
def test_what_can_not_be_read_and_why(tmp_path, tags, reason):
    study(tmp_path, a=ct_slices(**tags), b=ct_slices(series=2))
    first, second = inspect(tmp_path, "CT")
    assert reason in first.reason
    assert not first.usable
    assert second.chosen
    assert read(tmp_path, "CT").array.shape[3] == 8


def test_none_usable_lists_every_reason(tmp_path):
    study(
        tmp_path,
        a=ct_slices(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        b=ct_slices(body_hu(3), 2),
        c=[one for k, one in enumerate(ct_slices(series=3)) if k != 4],
    )
    with pytest.raises(UnsuitableError) as caught:
        read(tmp_path, "CT")
    for words in ("series 1 (CT, 8 files: a localizer)", "3: too few slices", "1 slice is missing"):
        assert words in str(caught.value)


def test_the_other_series_is_read_when_the_better_one_is_broken(tmp_path):
    study(tmp_path, a=ct_slices(), b=[one for k, one in enumerate(thin(2)) if k != 4])
    volume = read(tmp_path, "CT")
    assert volume.array.shape[3] == 8
    assert "1 slice is missing" in volume.warnings[0]


SPIRAL = ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"]


@pytest.mark.parametrize("others", [range(3, 16), (7, 8), (5,), (1, 2, 6, 11), (0, 15)], ids=str)
@pytest.mark.parametrize(
    "tags",
    [{"ImageType": SPIRAL}, {"ConvolutionKernel": "B31f"}, {"AcquisitionNumber": 2}, {"KVP": 80}],
    ids=lambda tags: next(iter(tags)),
)
def test_what_may_vary_within_one_stack(tmp_path, tags, others):
    slices = thin(1)
    for k in others:
        for keyword, value in tags.items():
            setattr(slices[k], keyword, value)
    volume = read(save(tmp_path, slices), "CT")
    np.testing.assert_array_equal(volume.array[0], body_hu(16).transpose(2, 1, 0))
    assert volume.warnings == ()


@pytest.mark.parametrize("lost", [(6,), (7, 8)])
def test_a_slice_lost_between_two_image_types_is_missing(tmp_path, lost):
    slices = thin(1)
    for one in slices[7:]:
        one.ImageType = SPIRAL
    with pytest.raises(UnsuitableError, match=r"slices? (is|are) missing between"):
        read(save(tmp_path, [one for k, one in enumerate(slices) if k not in lost]), "CT")


@pytest.mark.parametrize("offset", [0.0, 0.5, 0.3])
@pytest.mark.parametrize("tags", [{"ImageType": SPIRAL}, {"ConvolutionKernel": "LUNG"}], ids=str)
def test_interleaved_stacks_are_parted(tmp_path, tags, offset):
    """Even where the slices of both make one even stack together."""
    second = ct_slices(body_hu() + 5, **tags)
    for k, one in enumerate(second):
        one.ImagePositionPatient[2] += offset * STEP_MM
        one.SOPInstanceUID = f"1.2.3.1.{100 + k}"
    study(tmp_path, a=ct_slices(), b=second)
    volume = read(tmp_path, "CT")
    np.testing.assert_array_equal(volume.array[0], body_hu().transpose(2, 1, 0))
    assert "its series holds 2" in volume.warnings[0]


def test_stacks_of_two_regions_and_image_types_are_parted(tmp_path):
    second = thin(1, ImageType=SPIRAL)
    for k, one in enumerate(second):
        one.ImagePositionPatient[2] += 100
        one.SOPInstanceUID = f"1.2.3.1.{100 + k}"
    study(tmp_path, a=ct_slices(), b=second)
    assert sorted(one.slices for one in inspect(tmp_path, "CT")) == [8, 16]


@pytest.mark.seconds
@pytest.mark.parametrize("words", [["REFORMATTED", "AVERAGE"], ["AXIAL", "MPR"], ["CSA MPR", "MPR"]])
def test_axial_reformats_are_read_where_there_is_nothing_better(tmp_path, words):
    reformats = thin(1, ImageType=["DERIVED", "SECONDARY", *words])
    study(tmp_path, a=reformats)
    volume = read(tmp_path, "CT")
    assert volume.array.shape[3] == 16
    assert "a reformat was read" in volume.warnings[0]
    assert inspect(tmp_path, "CT")[0].usable
    study(tmp_path, b=ct_slices(series=2))
    assert read(tmp_path, "CT").warnings == ()
    assert chosen(tmp_path) == [2]
    assert inspect(tmp_path, "CT")[0].reason == "a reformat"


@pytest.mark.parametrize(
    "tags",
    [
        {"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED", "MIP"]},
        {"ImageType": ["DERIVED", "SECONDARY", "CPR"]},
        {"ImageType": ["DERIVED", "SECONDARY", "MPR"], "ImageOrientationPatient": [1, 0, 0, 0, 0, -1]},
    ],
    ids=["projection", "curved", "coronal"],
)
def test_other_reformats_are_refused(tmp_path, tags):
    slices = ct_slices(**tags)
    for k, one in enumerate(slices):
        one.ImagePositionPatient = [0, STEP_MM * k, STEP_MM * k]
    with pytest.raises(UnsuitableError, match=r"a reformat|a curved reformat|a maximum intensity"):
        read(save(tmp_path, slices), "CT")


def test_localizer_within_the_series_is_left_out(tmp_path):
    scout = ct_slices(body_hu(1), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    scout[0].ImageOrientationPatient, scout[0].SOPInstanceUID = [0, 1, 0, 0, 0, -1], "1.2.3.77"
    study(tmp_path, a=ct_slices(), b=scout)
    volume = read(tmp_path, "CT")
    assert volume.array.shape[3] == 8
    assert volume.warnings == ()


def test_two_acquisitions_over_one_region_are_parted(tmp_path):
    second = ct_slices(body_hu() + 5, AcquisitionNumber=2)
    for k, one in enumerate(second):
        one.ImagePositionPatient[2] += 0.7
        one.SOPInstanceUID = f"1.2.3.1.{100 + k}"
    study(tmp_path, a=ct_slices(), b=second)
    volume = read(tmp_path, "CT")
    np.testing.assert_array_equal(volume.array[0], body_hu().transpose(2, 1, 0))
    assert "2 acquisitions" in volume.warnings[0]


def test_two_planes_in_one_series_are_parted(tmp_path):
    coronal = ct_slices(body_hu() + 5)
    for k, one in enumerate(coronal):
        one.ImageOrientationPatient, one.ImagePositionPatient = [1, 0, 0, 0, 0, -1], [0, STEP_MM * k, 0]
    study(tmp_path, a=ct_slices(), b=coronal)
    volume = read(tmp_path, "CT")
    np.testing.assert_array_equal(volume.array[0], body_hu().transpose(2, 1, 0))
    assert "2 planes" in " ".join(volume.warnings)


def test_a_slice_of_the_series_that_is_of_another_class_is_told(tmp_path):
    slices = ct_slices()
    slices[-1].SOPClassUID = "1.2.3.4"
    volume = read(save(tmp_path, slices), "CT")
    assert volume.array.shape[3] == 7
    assert "unknown SOP class" in volume.warnings[0]


def test_two_patients_are_refused(tmp_path):
    study(tmp_path, a=ct_slices(), b=ct_slices(body_hu() + 1, 2, PatientID="ANOTHER"))
    with pytest.raises(UnsuitableError, match="2 patients") as caught:
        read(tmp_path, "CT")
    assert "ANOTHER" not in str(caught.value)


def test_table_and_json(tmp_path):
    study(tmp_path, a=ct_slices(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), b=ct_slices(series=2))
    found = inspect(tmp_path, "CT")
    lines = to_table(found).splitlines()
    assert lines[1].endswith("a localizer")
    assert lines[2].startswith("*  2   CT    8       20x24  0.7x0.8x2.5  2.5")
    rows = json.loads(json.dumps(to_json(found)))
    assert rows[1]["spacing_mm"] == [0.7, 0.8, 2.5]
    assert [row["chosen"] for row in rows] == [False, True]


def test_free_text_is_never_shown(tmp_path):
    study(tmp_path, a=ct_slices(SeriesDescription="Secret", ConvolutionKernel="\x1b[31mB\n30"))
    text = to_table(inspect(tmp_path)) + json.dumps(to_json(inspect(tmp_path)))
    assert "ecret" not in text
    assert "\x1b" not in text


@pytest.mark.slow
def test_many_slices(tmp_path):
    slices = ct_slices(body_hu(1500))
    volume = read(save(tmp_path, slices, name="{:05}"), "CT")
    assert volume.array.shape[3] == 1500
