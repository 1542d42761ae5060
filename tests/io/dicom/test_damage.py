"""Damaged DICOM is refused, told, or read as if it were whole; never otherwise without a word."""

import pytest
from benchmarks.fuzz_dicom import run
from dicom_writer import ct_slices, save, save_compressed
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about the damage


def unexpected(told):
    return [one for one in told if one[0] in ("SILENT", "CRASH")]


@pytest.mark.seconds
def test_random_damage(tmp_path):
    counts, told = run(save(tmp_path / "series", ct_slices()), 200)
    assert unexpected(told) == []
    assert min(counts[kind] for kind in ("rejected", "equal", "warned")) >= 5


@pytest.mark.seconds
@pytest.mark.parametrize(
    "syntax",
    [JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, RLELossless],
    ids=lambda syntax: syntax.name,
)
def test_random_damage_to_compressed_slices(tmp_path, syntax):
    """A decoder that ended the process would end this test run."""
    counts, told = run(save_compressed(tmp_path / "series", ct_slices(), syntax), 60)
    assert unexpected(told) == []
    assert min(counts[kind] for kind in ("rejected", "equal")) >= 10
