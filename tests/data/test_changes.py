"""Images made worse: nothing at strength 0, more with more of it, and labels that stay with the image."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from medseg.data.changes import OF_PHOTOGRAPHS, OF_ULTRASOUND
from medseg.data.foreign import LOOKS
from medseg.data.volume_changes import OF_CHESTS, on_grid
from medseg.volume import Volume

PICTURES = {**OF_PHOTOGRAPHS, **OF_ULTRASOUND}


def picture(channels=1):
    rows, columns = np.indices((90, 120))
    disc = (rows - 40) ** 2 + (columns - 60) ** 2 < 400
    grey = 60 + 40 * np.sin(rows / 5) + 80 * disc
    return np.repeat(grey[None], channels, axis=0).astype(np.uint8), disc.astype(np.uint8)


def chest():
    labels = np.zeros((60, 50, 40), dtype=np.uint8)
    labels[8:26, 10:40, 12:36], labels[34:52, 10:40, 12:36] = 2, 1
    hu = np.where(labels > 0, -800, 40).astype(np.int16)
    return hu[None], labels


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_a_picture_gets_worse_with_the_strength(name):
    image, labels = picture(3)
    mild, strong = (
        PICTURES[name](image, labels, strength, np.random.default_rng(3)) for strength in (0.15, 0.9)
    )
    for changed, known in (mild, strong):
        assert changed.dtype == image.dtype
        assert changed.shape[1:] == known.shape
    if name == "cut":
        assert strong[1].size < mild[1].size < labels.size
        return
    likeness = [structural_similarity(image, changed, channel_axis=0) for changed, _ in (mild, strong)]
    assert 1 > likeness[0] > likeness[1]
    np.testing.assert_array_equal(strong[1], labels)


def test_the_same_numbers_make_the_same_change():
    image, labels = picture()
    first, second = (
        OF_ULTRASOUND["speckled"](image, labels, 0.5, np.random.default_rng(1))[0] for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", sorted(OF_CHESTS))
def test_a_chest(name):
    image, labels = chest()
    changed, known = OF_CHESTS[name](image, labels, 0.8, np.random.default_rng(5))
    assert changed.dtype == np.int16
    assert changed.shape[1:] == known.shape
    assert -1024 <= changed.min() <= changed.max() <= 3071
    assert changed.shape != image.shape or not np.array_equal(changed, image)


def test_consolidation_is_dense_inside_the_lungs_alone():
    image, labels = chest()
    changed, _ = OF_CHESTS["consolidated"](image, labels, 1.0, np.random.default_rng(0))
    dense = (changed[0] > -100) & (labels > 0)
    assert dense.sum() >= 0.45 * (labels > 0).sum()
    np.testing.assert_array_equal(changed[0][labels == 0], image[0][labels == 0])


def test_the_wrong_part_of_the_body_holds_no_lung():
    image, labels = chest()
    labels[..., :20] = 0
    _, known = OF_CHESTS["elsewhere"](image, labels, 0.5, np.random.default_rng(0))
    assert known.size
    assert not known.any()


def test_a_chest_on_a_grid():
    image, labels = chest()
    affine = np.diag([-1.5, -1.5, 3.0, 1.0])
    volume, known = on_grid(Volume(image, affine), labels)
    np.testing.assert_allclose(np.diag(volume.affine)[:3], 2.0, atol=0.1)
    for label in (1, 2):
        expected = (labels == label).sum() * 1.5 * 1.5 * 3
        assert (known == label).sum() * np.prod(np.diag(volume.affine)[:3]) == pytest.approx(
            expected, rel=0.1
        )
    # RAS order: the right lung, label 2, now lies at the higher first index.
    assert np.argwhere(known == 2)[:, 0].mean() > np.argwhere(known == 1)[:, 0].mean()


@pytest.mark.parametrize(("look", "channels"), [("ultrasound", 1), ("photograph", 3)])
def test_looks(look, channels):
    found = LOOKS[look](picture(3)[0])
    assert found.shape[0] == channels
    assert found.dtype == np.uint8
