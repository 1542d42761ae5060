"""A label has one colour, wherever it is shown."""

import re

import dicom_phantom
import numpy as np
import pydicom
import pytest
from dicom_phantom import LABELS
from skimage.color import lab2rgb

from medseg.bundle import open_bundle, tasks
from medseg.colours import COLOURS_RGB, colour_rgb
from medseg.io.dicom.rtstruct import write_rtstruct
from medseg.io.dicom.seg import write_seg
from medseg.reports import draw_overlay, write_page
from medseg.volume import Mask


@pytest.fixture
def mask():
    """Without a left lung, so that the number of a segment is not the value of its label."""
    array = dicom_phantom.labels()
    array[array == 1] = 0
    headers = tuple(dicom_phantom.headers("axial"))
    return Mask(array, LABELS, affine=dicom_phantom.ras_affine("axial"), headers=headers)


@pytest.fixture
def image(mask):
    return np.full((1, *mask.array.shape), -800, np.int16)


def rgb_of_segment(item):
    """DICOM's CIELab, 16 bits a channel (PS3.3 C.10.7.1.1), as red, green and blue."""
    lightness, a, b = (np.array(item.RecommendedDisplayCIELabValue) / 65535) * (100, 255, 255) - (0, 128, 128)
    return np.round(lab2rgb([lightness, a, b]) * 255)


@pytest.mark.seconds
def test_seg_rtstruct_page_and_overlay_agree(mask, image, tmp_path):
    codes = open_bundle("lung_ct").metadata["dicom_codes"]
    seg = pydicom.dcmread(write_seg(mask, tmp_path / "seg.dcm", codes))
    regions = pydicom.dcmread(write_rtstruct(mask, tmp_path / "rt.dcm"))
    overlay = draw_overlay(image, mask)
    page = tmp_path / "report.html"
    write_page(page, image=image, mask=mask, measurements={}, quality={}, warnings=[], provenance={})
    legend = dict(re.findall(r"(#[0-9a-f]{6})[^#]*?(Left lung|Right lung|Airway)", page.read_text("utf-8")))
    pairs = zip(seg.SegmentSequence, regions.ROIContourSequence, strict=True)
    for value, (segment, region) in zip((2, 3), pairs, strict=True):
        colour = COLOURS_RGB[value - 1]
        assert segment.SegmentLabel == LABELS[value]
        np.testing.assert_allclose(rgb_of_segment(segment), colour, atol=2)
        assert tuple(map(int, region.ROIDisplayColor)) == colour
        assert (overlay == colour).all(axis=-1).any()
        assert legend["#" + bytes(colour).hex()] == LABELS[value].replace("_", " ").capitalize()


def test_no_bundle_has_colours_of_its_own():
    for task in tasks():
        assert "colour" not in str(open_bundle(task).metadata.get("dicom_codes"))


def test_the_table_begins_anew_after_its_end():
    assert colour_rgb(1 + len(COLOURS_RGB)) == colour_rgb(1) != colour_rgb(2)
