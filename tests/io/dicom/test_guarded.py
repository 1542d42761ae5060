"""Zeros in place of elements are damage, told at once."""

import time

import pytest

from medseg.errors import UnreadableError
from medseg.io import search_inputs
from medseg.io.dicom.files import opened
from medseg.io.dicom.guarded import guarded
from medseg.io.dicom.identity import identity_of

ZEROS = bytes(128) + b"DICM" + bytes(40_000_000)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("zeros") / "zeros.dcm"
    path.write_bytes(ZEROS)
    return path


def test_zeros_are_damage(file):
    began = time.process_time()
    with pytest.raises(UnreadableError, match="1 damaged"), opened(file):
        pass
    with pytest.raises(UnreadableError):
        identity_of(file)
    assert search_inputs([file]).inputs == [file]
    assert time.process_time() - began < 3  # read as elements they take a quarter of a minute


def test_values_may_be_zeros():
    stream = guarded(bytes(8) + (b"\x08\0\x05\0UI\x08\0" + bytes(8)) * 3000)
    while stream.read(8):
        pass
