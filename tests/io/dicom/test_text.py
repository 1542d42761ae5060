"""Names stay readable in SEG and RTSTRUCT, in whatever character set the source is or says that it is."""

import numpy as np
import pydicom
import pytest
from dicom_phantom import CODES, LABELS
from dicom_writer import ct_slices, save
from pydicom.charset import python_encoding
from seg_reader import read_seg

from medseg.io.dicom import read
from medseg.io.dicom.rtstruct import write_rtstruct
from medseg.io.dicom.seg import write_seg
from medseg.volume import Mask

pytestmark = [
    pytest.mark.seconds,
    pytest.mark.filterwarnings("ignore::UserWarning"),
]  # pydicom's, about the character set
MUELLER = "Müller^Jörg"
NAME, IMAGE_TYPE, CHARACTER_SET = b"\x10\0\x10\0PN", b"\x08\0\x08\0CS", b"\x08\0\5\0CS"


def element(tag, value):
    value += b" " * (len(value) % 2)
    return tag + len(value).to_bytes(2, "little") + value


def written_about(folder, character_set, name):
    """The SEG, the RTSTRUCT and the source of a series with these bytes in its headers."""
    save(folder / "ct", ct_slices())
    for path in (folder / "ct").iterdir():
        content = path.read_bytes()
        start, at = content.index(IMAGE_TYPE), content.index(NAME)
        end = at + 8 + int.from_bytes(content[at + 6 : at + 8], "little")
        declared = element(CHARACTER_SET, character_set.encode())
        path.write_bytes(content[:start] + declared + content[start:at] + element(NAME, name) + content[end:])
    volume = read(folder / "ct", "CT")
    array = np.zeros(volume.array.shape[1:], np.uint8)
    array[5:15, 5:12, 2:6] = 1
    mask = Mask(array, LABELS, affine=volume.affine, headers=volume.headers)
    write_seg(mask, folder / "seg.dcm", CODES)
    write_rtstruct(mask, folder / "rtstruct.dcm")
    assert np.array_equal(read_seg(folder / "seg.dcm", LABELS, volume).array, array)
    return [pydicom.dcmread(folder / name) for name in ("seg.dcm", "rtstruct.dcm")]


def require_name(files, name):
    assert [str(file.PatientName) for file in files] == [name, name]
    assert [file.SpecificCharacterSet for file in files] == ["ISO_IR 192"] * 2


@pytest.mark.parametrize("character_set", sorted(set(python_encoding) - {""}))
def test_every_character_set_of_the_standard(tmp_path, character_set):
    require_name(written_about(tmp_path, character_set, b"Doe^Jo"), "Doe^Jo")


@pytest.mark.parametrize(
    ("character_set", "name", "expected"),
    [
        ("\\ISO 2022 IR 87", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "Yamada^Tarou=山田^太郎"),
        (
            "\\ISO 2022 IR 149",
            b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7",
            "Hong^Gildong=洪^吉洞",
        ),
        ("GB18030", "王^小东".encode("gb18030"), "王^小东"),
        ("ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ".encode("shift_jis"), "ﾔﾏﾀﾞ^ﾀﾛｳ"),
        ("ISO_IR 144", b"\xb6\xe3\xda\xde\xd2", "\u0416\u0443\u043a\u043e\u0432"),
        ("ISO 2022 IR 100", MUELLER.encode("latin-1"), MUELLER),
        ("ISO_IR 192", MUELLER.encode(), MUELLER),
    ],
)
def test_what_is_declared_rightly(tmp_path, character_set, name, expected):
    require_name(written_about(tmp_path, character_set, name), expected)


@pytest.mark.parametrize("name", [MUELLER.encode(), MUELLER.encode("latin-1")], ids=["utf-8", "latin-1"])
@pytest.mark.parametrize(
    "character_set",
    ["", "\\", "ISO_IR 6", "ISO_IR 100", "ISO_IR 999", "UTF8", "latin1", "utf-16", "hex", "0"],
)
def test_what_is_declared_wrongly_or_not(tmp_path, character_set, name):
    require_name(written_about(tmp_path, character_set, name), MUELLER)


@pytest.mark.parametrize("character_set", ["ISO IR 192", "ISO_IR_192", "ISO-IR 192\\ISO 2022 IR 87"])
def test_what_is_misspelt(tmp_path, character_set):
    require_name(written_about(tmp_path, character_set, MUELLER.encode()), MUELLER)


def test_latin_1_under_utf_8(tmp_path):
    require_name(written_about(tmp_path, "ISO_IR 192", MUELLER.encode("latin-1")), MUELLER)
