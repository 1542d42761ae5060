"""The gate for chest CTs on phantoms of persons and on real scans; test_chest.py has simple shapes."""

import pytest

from medseg.errors import UnsuitableError
from medseg.io import read_volume
from medseg.phantoms import Scan
from medseg.phantoms import chest as phantom
from medseg.phantoms.disease import DISEASES
from medseg.quality.chest_ct import check_chest_ct

pytestmark = pytest.mark.seconds

PART = "only part of the chest is covered"
SIDE = "cut by the field of view at the "
SPINE = "the spine seems to lie in front"
SHOULDERS = "the shoulders seem to lie below"
LITTLE = "little aerated lung was found"


class TestPhantoms:
    """Phantoms of a whole person: none is refused, none seems turned; sick ones pass."""

    SCAN = Scan(shape=(84, 72, 76), spacing_mm=(5.0, 5.0, 5.0))

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "disease", [{}, *({name: 1.0} for name in DISEASES), dict.fromkeys(DISEASES, 1.0)]
    )
    def test_disease(self, disease):
        found = phantom(seed=2, disease=disease, scan=self.SCAN)
        texts = check_chest_ct(found.array, found.affine)
        assert not {text for text in texts if text.startswith((SPINE, SHOULDERS)) or SIDE in text}
        if len(disease) != 1:
            assert any(text.startswith(LITTLE) for text in texts) == bool(disease)

    @pytest.mark.parametrize("position", ["prone", "right_side"])
    def test_position(self, position):
        found = phantom(seed=1, position=position, scan=self.SCAN)
        texts = check_chest_ct(found.array, found.affine)
        assert all(text.startswith(PART) for text in texts)


@pytest.mark.data
class TestRealScans:
    @pytest.fixture
    def lung_ct(self, data_root):
        return data_root / "lung_ct"

    @pytest.mark.parametrize("name", ["lidc_1011.zip", "cip_64/ct-64.nrrd"])
    def test_whole_chests(self, lung_ct, name):
        array, affine = _read(lung_ct / name)
        assert check_chest_ct(array, affine) == []
        turned = check_chest_ct(array[:, ::-1, ::-1], affine)
        assert [text.split(":")[0] for text in turned] == [SPINE, SHOULDERS]
        half = array.shape[0] // 3
        assert any(SIDE in text for text in check_chest_ct(array[half:-half], affine))

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("lidc_partial/LIDC-IDRI-0001", ["at the top and bottom,"]),
            ("lidc_partial/LIDC-IDRI-0002", ["at the top and bottom,"]),
            ("lidc_partial/LIDC-IDRI-0003", ["at the top and bottom,"]),
            ("totalseg_crops/thorax_1.nii.gz", ["at the top,", "at the left, right and back,"]),
            ("totalseg_crops/thorax_2.nii.gz", ["at the top and bottom,", "at the left, right and back,"]),
            ("elastix_right_lung/3DCT_lung.mha", ["on one side only:"]),
        ],
    )
    def test_parts_of_chests(self, lung_ct, name, expected):
        texts = check_chest_ct(*_read(lung_ct / name))
        assert [part in text for text, part in zip(texts, expected, strict=True)] == [True] * len(expected)

    @pytest.mark.parametrize("slices", [112, 100, 60])
    def test_abdomen(self, lung_ct, slices):
        """With and without the bases of the lungs, and the pelvis alone."""
        array, affine = _read(lung_ct / "totalseg_crops/abdomen.nii.gz")
        with pytest.raises(UnsuitableError, match="probably an abdomen or pelvis"):
            check_chest_ct(array[:, :, :slices], affine)

    @pytest.mark.parametrize("name", ["cip_64/lm-64.nrrd", "elastix_right_lung/3DCT_lung_baseline_mask.mha"])
    def test_masks(self, lung_ct, name):
        with pytest.raises(UnsuitableError, match="a mask"):
            check_chest_ct(*_read(lung_ct / name))

    @pytest.mark.parametrize(
        ("series", "match"),
        [("compressed/compressed/001", "8-bit picture"), ("failing/gantrytilting/001", "a body in it")],
    )
    def test_no_chests(self, data_root, series, match):
        """Series whose pixels were replaced by noise."""
        with pytest.raises(UnsuitableError, match=match):
            check_chest_ct(*_read(data_root / "dicom_cases" / series))


def _read(path):
    volume = read_volume(path)
    return volume.array[0], volume.affine
