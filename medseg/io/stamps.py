"""Read the stamp in a file, where its format holds it. Voxels and pixels are not read.

NIfTI: a header extension of the kind comment. NRRD and MetaImage: an entry of the header. PNG: a text chunk.
TIFF: the description of the first page. DICOM: an item of the Contributing Equipment Sequence. OBJ: a
comment. STL: the result's number in the 80 bytes of the header. Web page: a meta element. JSON: an entry.
"""

from __future__ import annotations

import json
import re
import warnings
from html import unescape
from pathlib import Path
from typing import Any

from medseg.io.mesh import HEADER, RESULT
from medseg.stamp import FORMAT, KEY, Stamp, read_stamp_text

_HEAD_BYTES = 1 << 16  # a header in text, or the head of a page
_IN_TEXT = re.compile(rf"^(?:# )?{KEY}(?: = |:=|: )(.+)$", re.MULTILINE)
_IN_PAGE = re.compile(rf'<meta name="{KEY}" content="([^"]*)">')


def read_stamp(path: Path) -> Stamp | None:
    """The stamp in a file; None if it has none, or can't be read, or is of another format.

    Of an STL only the result's number is known.
    """
    reader = next((read for ending, read in _READERS.items() if path.name.lower().endswith(ending)), None)
    if reader is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged files: pydicom's and Pillow's
            return reader(path)
    except Exception:  # a damaged file: its libraries raise a dozen kinds
        return None


def _in_nifti(path: Path) -> Stamp | None:
    import nibabel as nib

    header: Any = nib.load(path).header
    texts = (extension.get_content() for extension in header.extensions)
    # nibabel gives the padding of an extension too.
    return _first(text.rstrip(b"\0") if isinstance(text, bytes) else text for text in texts)


def _in_png(path: Path) -> Stamp | None:
    from PIL import Image

    with Image.open(path, formats=["PNG"]) as picture:
        return read_stamp_text(picture.info.get(KEY))


def _in_tiff(path: Path) -> Stamp | None:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        return read_stamp_text(tiff.pages.first.description)


def _in_dicom(path: Path) -> Stamp | None:
    import pydicom

    from medseg.io.dicom.equipment import stamp_in

    tags = ["ContributingEquipmentSequence"]
    with pydicom.config.disable_value_validation():
        return stamp_in(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags))


def _in_stl(path: Path) -> Stamp | None:
    with path.open("rb") as file:
        header = file.read(80)
    _, _, result = header.partition(HEADER + RESULT)
    return read_stamp_text(json.dumps({"format": FORMAT, "result": result.decode("ascii").strip()}))


def _in_text(path: Path) -> Stamp | None:
    found = _IN_TEXT.search(_head(path))
    return read_stamp_text(found[1].strip()) if found else None


def _in_page(path: Path) -> Stamp | None:
    found = _IN_PAGE.search(_head(path))
    return read_stamp_text(unescape(found[1])) if found else None


def _in_json(path: Path) -> Stamp | None:
    content = json.loads(path.read_text("utf-8"))
    return read_stamp_text(json.dumps(content.get("info", content).get(KEY)))


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES).decode("utf-8", "replace")


def _first(texts: Any) -> Stamp | None:
    return next((stamp for stamp in map(read_stamp_text, texts) if stamp is not None), None)


_READERS = {
    **dict.fromkeys((".nii", ".nii.gz"), _in_nifti),
    **dict.fromkeys((".nrrd", ".mha", ".obj"), _in_text),
    **dict.fromkeys((".tif", ".tiff"), _in_tiff),
    **dict.fromkeys((".dcm", ".dcm.rejected"), _in_dicom),
    ".png": _in_png,
    ".stl": _in_stl,
    ".html": _in_page,
    ".json": _in_json,
}
