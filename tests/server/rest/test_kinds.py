"""A file's kind by its first bytes; headers that point to files of the node."""

import gzip
import io

import nibabel
import numpy as np
import pytest
from PIL import Image

from medseg.errors import UnreadableError
from medseg.server.rest.kinds import suffix_of

NRRD = b"NRRD0004\ntype: uchar\ndimension: 1\nsizes: 4\nencoding: raw\n"
META = b"ObjectType = Image\nNDims = 1\nDimSize = 4\nElementType = MET_UCHAR\n"


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("png", ".png"),
        ("jpeg", ".jpg"),
        ("tiff", ".tif"),
        ("bmp", ".bmp"),
        ("gif", ".gif"),
        ("webp", ".webp"),
        ("ppm", ".pnm"),
        ("jpeg2000", ".jp2"),
    ],
)
def test_pictures(name, suffix):
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, name)
    assert suffix_of(file.getvalue()) == suffix


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image], ids=["1", "2"])
def test_nifti(kind):
    data = kind(np.zeros((4, 4, 4), np.uint8), np.eye(4)).to_bytes()
    assert suffix_of(data) == ".nii"
    assert suffix_of(gzip.compress(data)) == ".nii.gz"


@pytest.mark.parametrize(
    ("head", "suffix"),
    [
        (NRRD + b"\n1234", ".nrrd"),
        (NRRD.replace(b"\n", b"\r\n") + b"\r\n1234", ".nrrd"),
        (META + b"ElementDataFile = LOCAL\n1234", ".mha"),
        (b"PK\x03\x04rest", ".zip"),
        (bytes(128) + b"DICM" + bytes(10), ".dcm"),
        (b"\x08\0\x05\0CS", ".dcm"),
    ],
    ids=["nrrd", "nrrd_crlf", "meta", "zip", "dicom", "old_dicom"],
)
def test_others(head, suffix):
    assert suffix_of(head) == suffix


@pytest.mark.parametrize(
    "head",
    [
        NRRD + b"data file: /etc/passwd\n\n",
        NRRD + b"datafile: ../../other/in/00001.raw\n\n",
        NRRD + b"Data File: LIST\nx\n\n",
        NRRD + b"# comment" * 9000,
        META + b"ElementDataFile = /etc/passwd\n",
        META + b"ElementDataFile = /etc/passwd\nElementDataFile = LOCAL\n",
        META + b"elementdatafile=/etc/passwd\nElementDataFile = LOCAL\n",
        META + b"ElementDataFile = LIST\n00001.raw\n",
        META,
        bytes(128) + b"DICM" + b"\x02\0\x02\0UI\x14\x001.2.840.10008.1.3.10\0" + bytes(10),
    ],
    ids=[
        "nrrd",
        "nrrd_above",
        "nrrd_list",
        "nrrd_endless",
        "meta",
        "meta_twice",
        "meta_small",
        "meta_list",
        "meta_none",
        "dicomdir",
    ],
)
def test_headers_that_name_other_files(head):
    """Or else a sender could read the files of the node, other patients' too."""
    with pytest.raises(UnreadableError, match="an image with its voxels in one file"):
        suffix_of(head)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\0" * 600,
        b"rubbish " * 100,
        b"<html>",
        b"%PDF-1.7",
        b"\x1f\x8b\x08" + b"x" * 90,
        gzip.compress(b"text" * 99),
        b"MZ" + b"\0" * 99,
        b"PK\x05\x06" + bytes(18),
    ],
    ids=["empty", "zeros", "text", "html", "pdf", "gzip_broken", "gzip_text", "program", "empty_zip"],
)
def test_no_image(head):
    with pytest.raises(UnreadableError, match="a file that begins like none of these"):
        suffix_of(head)
