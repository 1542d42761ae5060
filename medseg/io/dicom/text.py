"""Convert the text of source images to UTF-8 for the files that refer to them.

The declared character set of archived images may be old, misspelt, empty or wrong. Every reader knows UTF-8,
so that names stay readable.
"""

from __future__ import annotations

import contextlib
from typing import Any

UTF_8 = "ISO_IR 192"
# Value representations to which SpecificCharacterSet (0008,0005) applies (PS3.5 6.1.2.2).
_TEXT = {"LO", "LT", "PN", "SH", "ST", "UC", "UT"}
# Sequences with one item per frame and no text of a patient, which are not searched.
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
        # header[tag] would discard the original bytes.
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
    """The text, corrected where its true character set is evidently not the declared one."""
    with contextlib.suppress(UnicodeError):
        # UTF-8 that was decoded as ISO 8859-1; real text hardly ever has such byte sequences.
        return text.encode("latin-1").decode("utf-8")
    if original and "\ufffd" in text and b"\x1b" not in original:
        return original.rstrip(b"\0 ").decode("latin-1")
    return text
