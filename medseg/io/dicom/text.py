"""Text of source images for what is written about them: decoded, and in UTF-8 whatever it was in.

Archives hold character sets that are old, misspelt, empty or wrong. One that every reader knows keeps the
names readable.
"""

from __future__ import annotations

import contextlib
from typing import Any

UTF_8 = "ISO_IR 192"
# Representations of text that SpecificCharacterSet (0008,0005) concerns (PS3.5 6.1.2.2).
_TEXT = {"LO", "LT", "PN", "SH", "ST", "UC", "UT"}
# One item a frame, and no text of a patient in it.
_FRAMES = {"SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"}


def in_utf_8(header: Any) -> Any:
    """A copy of a data set with its text decoded; elements whose values can't be read are left out."""
    from pydicom.dataset import Dataset

    copy = Dataset()
    for tag in list(header.keys()):
        with contextlib.suppress(Exception):  # pydicom raises whatever a damaged byte leads to
            copy[tag] = _decoded(header, tag)
    copy.SpecificCharacterSet = UTF_8
    return copy


def _decoded(header: Any, tag: Any) -> Any:
    from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element

    element, original = header.get_item(tag), None
    if isinstance(element, RawDataElement):
        # Not by header[tag], which would drop the bytes.
        original = element.value
        element = convert_raw_data_element(element, encoding=header.original_character_set, ds=header)
    if element.VR == "SQ" and element.keyword not in _FRAMES:
        items = [in_utf_8(item) for item in element.value]
        for item in items:
            del item.SpecificCharacterSet  # that of the data set around it
        return DataElement(element.tag, "SQ", items)
    if element.VR not in _TEXT or element.is_empty:
        return element
    if element.VM > 1:
        return DataElement(element.tag, element.VR, [_readable(str(value)) for value in element.value])
    return DataElement(element.tag, element.VR, _readable(str(element.value), original))


def _readable(text: str, original: bytes | None = None) -> str:
    """A text put right where it was written in another character set than the declared one."""
    with contextlib.suppress(UnicodeError):
        # What one byte a character makes of UTF-8; real text never looks so.
        return text.encode("latin-1").decode("utf-8")
    if original and "\ufffd" in text and b"\x1b" not in original:
        return original.rstrip(b"\0 ").decode("latin-1")
    return text
