"""The data that medseg makes for itself: files that the training reads, the same for the same seed."""

import numpy as np
import pytest

from medseg.data import made as made_data
from medseg.data.made import varied_chest, write_diseased, write_phantoms
from medseg.io import read_mask, read_volume
from medseg.phantoms import Chest

LABELS = {0: "background", 1: "left_lung", 2: "right_lung", 3: "airway"}
REAL_CHEST = made_data.chest


@pytest.fixture
def settings(monkeypatch):
    """Phantoms of a tenth of the voxels; the settings that they were asked for."""
    asked = []

    def small_chest(settings):
        asked.append(settings)
        return REAL_CHEST(Chest(seed=settings.seed, shape=(48, 48, 32), disease=settings.disease))

    monkeypatch.setattr(made_data, "chest", small_chest)
    return asked


@pytest.mark.seconds
def test_phantoms_are_images_with_labels(settings, tmp_path):
    write_phantoms(tmp_path, 7, 2)
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["7.nii.gz", "8.nii.gz"]
    image = read_volume(tmp_path / "images" / "7.nii.gz")
    mask = read_mask(tmp_path / "labels" / "7.nii.gz", LABELS)
    phantom = REAL_CHEST(Chest(seed=7, shape=(48, 48, 32)))
    assert np.array_equal(image.array[0], phantom.array)
    assert np.array_equal(mask.array, phantom.labels)
    assert np.allclose(image.affine, phantom.affine, atol=1e-4)
    assert all(asked.disease is None for asked in settings)


@pytest.mark.seconds
def test_what_is_there_is_left(settings, tmp_path):
    write_phantoms(tmp_path, 7, 1)
    (tmp_path / "labels" / "7.nii.gz").write_bytes(b"corrected by hand")
    write_phantoms(tmp_path, 7, 1)
    assert len(settings) == 1
    assert (tmp_path / "labels" / "7.nii.gz").read_bytes() == b"corrected by hand"


@pytest.mark.seconds
def test_diseased_are_named_by_their_disease(settings, tmp_path):
    write_diseased(tmp_path, 30, {"healthy": 1, "effusion": 2}, 0.7)
    names = sorted(path.name for path in (tmp_path / "labels").iterdir())
    assert names == ["effusion_31.nii.gz", "effusion_32.nii.gz", "healthy_30.nii.gz"]
    assert [asked.disease for asked in settings] == [{}, {"effusion": 0.7}, {"effusion": 0.7}]


@pytest.mark.seconds
def test_seed_gives_matrix_and_people(settings):
    first, same = (varied_chest(5).array for _ in range(2))
    varied_chest(6)
    assert np.array_equal(first, same)
    assert settings[0].shape == settings[1].shape != settings[2].shape
