"""N4 by ITK."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from medseg.errors import UnsuitableError, UsageError
from medseg.transforms import CorrectBiasFieldd


def applied(image, region=None, **options):
    item = {"image": torch.as_tensor(image[None])}
    if region is not None:
        item["region"], options["region_key"] = torch.as_tensor(region[None]), "region"
    return CorrectBiasFieldd("image", **options)(item)["image"].numpy()[0]


def shaded(shape):
    """Two tissues with noise, and the same under a field that varies by a factor of about 3."""
    place = np.indices(shape).reshape(len(shape), -1) / np.reshape(shape, (-1, 1)) - 0.5
    inner = ((place**2).sum(axis=0) < 0.07).reshape(shape)
    truth = np.where(inner, 60, 120) + np.random.default_rng(0).normal(size=shape) * 2
    field = np.exp(0.6 * place[0] + 0.5 * place[1]).reshape(shape)
    return truth, (truth * field).astype(np.float32), ~inner


@pytest.mark.slow  # Python loads ITK's filters in 10 s and more
class TestWithITK:
    @pytest.mark.parametrize("shape", [(160, 170), (44, 40, 36)])
    def test_the_field_goes(self, shape):
        pytest.importorskip("itk", reason="needs medseg[bias]")
        truth, image, outer = shaded(shape)
        found = applied(image)
        assert image[outer].std() > 15
        assert found[outer].std() < 1.5 * truth[outer].std()
        assert found.mean() == pytest.approx(image.mean(), rel=1e-4)
        ratio = found / truth
        assert ratio.std() < 0.03 * ratio.mean()

    def test_a_region(self):
        truth, image, outer = shaded((160, 170))
        region = np.zeros(image.shape, bool)
        region[10:150, 10:160] = True
        image[~region] = 0
        found = applied(image, region)
        assert not found[~region].any()
        assert found[outer & region].std() < 1.5 * truth[outer].std()

    @pytest.mark.parametrize("shape", [(1, 2), (5, 6), (9, 60), (20, 3, 20)])
    def test_small_images(self, shape):
        image = np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)
        found = applied(image)
        assert found.shape == shape
        assert np.isfinite(found).all()

    def test_zeros_have_no_part(self):
        _, image, _ = shaded((80, 80))
        image[:20] = 0
        found = applied(image)
        assert not found[:20].any()
        assert np.isfinite(found).all()


def test_values_below_0():
    with pytest.raises(UnsuitableError, match="Hounsfield"):
        applied(np.random.default_rng(0).normal(size=(20, 20)).astype(np.float32))


@pytest.mark.parametrize("itk", [None, SimpleNamespace()], ids=["no itk", "itk-io alone"])
def test_without_the_filters_of_itk(monkeypatch, itk):
    monkeypatch.setitem(sys.modules, "itk", itk)
    with pytest.raises(UsageError, match=r'pip install "medseg\[bias\]"'):
        applied(shaded((40, 40))[1])


@pytest.mark.parametrize("options", [{"shrink": 0}, {"steps": []}, {"steps": [10, 0]}])
def test_wrong_parameters(options):
    with pytest.raises(UsageError, match="above 0"):
        CorrectBiasFieldd("image", **options)
