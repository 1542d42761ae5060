"""The identity of DICOM files: damage at random gives an error of medseg's own, or an answer."""

import random

import dicom_writer
import pytest

from medseg.errors import UnreadableError
from medseg.io.dicom.identity import identity_of


def damaged(content, chance):
    """Bytes replaced, left out or put in."""
    content = bytearray(content)
    for _ in range(chance.choice((1, 2, 5, 20))):
        place = chance.randrange(len(content) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            content[place : place + 1] = chance.randbytes(1)
        elif kind == 1:
            del content[place : place + chance.randrange(1, 60)]
        elif kind == 2:
            content[place:place] = chance.randbytes(chance.randrange(1, 20))
        else:
            content = content[:place]
    return bytes(content)


def test_the_identity_of_damaged_files(tmp_path, caplog, recwarn):
    (path,) = dicom_writer.save(tmp_path, dicom_writer.ct_slices()[:1]).iterdir()
    whole = path.read_bytes()
    right, chance, told = identity_of(path), random.Random(5), []
    for _ in range(300):
        content = damaged(whole[:1500], chance)
        path.write_bytes(content)
        for source in (content, path):
            try:
                identity_of(source)
            except UnreadableError as error:
                told.append(str(error))
    assert identity_of(whole) == right
    assert 50 < len(told) < 600
    assert not any("SECRET" in text.upper() for text in told)
    assert caplog.text == ""
    assert not recwarn.list


@pytest.mark.parametrize("content", [b"", b"DICM", b"<html>" * 50, bytes(128) + b"DICM"])
def test_what_is_no_dicom(content):
    with pytest.raises(UnreadableError, match="UIDs of its study"):
        identity_of(content)


def test_a_missing_file_is_told_as_such(tmp_path):
    with pytest.raises(FileNotFoundError):
        identity_of(tmp_path / "none")
