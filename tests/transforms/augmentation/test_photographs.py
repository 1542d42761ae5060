"""Blobs and mixed colours: random by their seed, and never in the label."""

import numpy as np
import pytest
import torch
from fundus_items import meta_of
from monai.data import MetaTensor

from medseg.transforms import (
    RandBlobsd,
    RandColourMixd,
)

RANDOM = {
    "lesions": lambda prob: RandBlobsd("image", prob=prob),
    "colours": lambda prob: RandColourMixd("image", prob=prob, grey=0.0),
    "grey": lambda prob: RandColourMixd("image", prob=prob, grey=1.0),
}


@pytest.mark.parametrize("name", RANDOM)
class TestRandom:
    def _item(self):
        random = np.random.default_rng(0)
        image = torch.as_tensor(random.normal(size=(3, 64, 96)).astype(np.float32))
        label = torch.as_tensor(random.integers(0, 2, (1, 64, 96)).astype(np.float32))
        return {"image": MetaTensor(image, meta=meta_of()), "label": MetaTensor(label)}

    def _run(self, name, seed, prob=1.0):
        return RANDOM[name](prob).set_random_state(seed)(self._item())

    def test_the_same_seed_gives_the_same(self, name):
        first, again, other = (self._run(name, seed)["image"] for seed in (4, 4, 5))
        np.testing.assert_array_equal(first, again)
        assert not torch.equal(first, other)

    def test_each_call_gives_another(self, name):
        transform = RANDOM[name](1.0).set_random_state(4)
        assert not torch.equal(transform(self._item())["image"], transform(self._item())["image"])

    def test_prob_is_the_share_of_changed_images(self, name):
        before = self._item()["image"]
        transform = RANDOM[name](0.3).set_random_state(4)
        changed = [not torch.equal(transform(self._item())["image"], before) for _ in range(100)]
        assert 15 <= sum(changed) <= 45
        never = RANDOM[name](0.0).set_random_state(4)
        assert all(torch.equal(never(self._item())["image"], before) for _ in range(20))

    def test_shape_type_and_meta_stay_and_the_label_too(self, name):
        before, source = self._item(), self._item()
        after = RANDOM[name](1.0).set_random_state(4)(source)
        assert isinstance(after["image"], MetaTensor)
        assert (after["image"].shape, after["image"].dtype) == ((3, 64, 96), torch.float32)
        assert after["image"].meta["filename_or_obj"] == "eye.png"
        assert torch.isfinite(after["image"]).all()
        np.testing.assert_array_equal(after["label"], before["label"])
        np.testing.assert_array_equal(source["image"], before["image"])


def test_grey_mix_makes_the_channels_equal():
    image = torch.as_tensor(np.random.default_rng(0).normal(size=(3, 8, 9)).astype(np.float32))
    item = {"image": MetaTensor(image, meta=meta_of())}
    mixed = RandColourMixd("image", prob=1.0, grey=1.0).set_random_state(0)(item)["image"]
    np.testing.assert_allclose(mixed[0], mixed[2], atol=1e-6)
    assert float(mixed.max()) <= float(image.max())


def test_lesions_are_blobs_of_one_sign_and_bounded_strength():
    item = {"image": MetaTensor(torch.zeros(3, 200, 200), meta=meta_of())}
    lesions = RandBlobsd("image", prob=1.0, most=1, radius_px=(5, 8), strength=2.0)
    areas = []
    for seed in range(20):
        blob = np.asarray(lesions.set_random_state(seed)(item)["image"])
        assert blob.min() >= 0 or blob.max() <= 0
        assert 0 < np.abs(blob).max() <= 2.0
        areas.append((np.abs(blob[0]) > np.abs(blob[0]).max() / 2).sum())
    assert 60 < np.median(areas) < 260
