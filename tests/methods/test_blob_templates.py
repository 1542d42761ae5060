"""Template matching of dark blobs, on pictures in which there is one."""

import pytest
import torch
import yaml
from doc_pages import ROOT

from medseg.errors import UnsuitableError
from medseg.methods.blob_templates import Blob, BlobTemplates, blob_template

CENTRE, SEMI_AXES = (90.0, 140.0), (24.0, 40.0)


@pytest.fixture(scope="module")
def method():
    """As its configuration says."""
    text = (ROOT / "bundles/breast_ultrasound/configs/methods/blob_templates.yaml").read_text()
    settings = yaml.safe_load(text)["network_def"]
    del settings["_target_"]
    return BlobTemplates(**settings)


def speckled(dark=None):
    """(1, 1, 288, 288) of speckle around 0.5, darker inside an ellipse."""
    picture = 0.5 + 0.1 * torch.randn(288, 288, generator=torch.Generator().manual_seed(0))
    if dark is not None:
        picture[dark] -= 0.35
    return picture.clamp(0.01, 1)[None, None]


def lesion():
    return Blob(CENTRE, SEMI_AXES, 1.0).radius((288, 288)) <= 1


def test_a_template_has_sum_zero_and_a_dark_inside():
    template = blob_template((6, 9), rim=1.5)
    assert template.shape == (19, 29)
    assert template.sum() == pytest.approx(0, abs=1e-12)
    assert template[9, 14] < 0 < template[9, 2]
    assert template[0, 0] == 0


def test_a_dark_ellipse_is_found(method):
    truth = lesion()
    found = (method(speckled(torch.as_tensor(truth)))[0, 0] > 0).numpy()
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.9


def test_the_prior_chooses_between_two(method):
    truth = lesion()
    deep = Blob((240.0, 40.0), SEMI_AXES, 1.0).radius((288, 288)) <= 1
    found = (method(speckled(torch.as_tensor(truth | deep)))[0, 0] > 0).numpy()
    assert (found & truth).any()
    assert not (found & deep).any()


def test_speckle_alone_is_no_lesion(method):
    assert not (method(speckled()) > 0).any()


def test_black_bars_of_the_square_are_no_lesion(method):
    picture = speckled(torch.as_tensor(lesion()))
    picture[..., 200:, :] = 0
    found = (method(picture)[0, 0] > 0).numpy()
    assert found.any()
    assert not found[200:].any()


@pytest.mark.parametrize("value", [0.0, 0.5, float("nan")])
def test_a_constant_picture_is_refused(method, value):
    with pytest.raises(UnsuitableError):
        method(torch.full((1, 1, 288, 288), value))


def test_a_volume_is_refused(method):
    with pytest.raises(UnsuitableError, match="works on pictures only"):
        method(torch.zeros(1, 1, 8, 8, 8))


def test_a_picture_smaller_than_all_templates_has_no_lesion(method):
    assert not (method(speckled()[..., :24, :24]) > 0).any()
