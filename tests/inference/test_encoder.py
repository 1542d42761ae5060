"""The deepest features of networks of other shapes, pooled."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import AttentionUnet, SegResNet, UNet

from medseg.bundle.ensemble import Ensemble
from medseg.errors import UsageError
from medseg.inference.encoder import DeepestFeatures
from medseg.methods.networks import EfficientUNet


def unet(dimensions=2, **more):
    torch.manual_seed(0)
    return UNet(dimensions, 1, 2, channels=(4, 8, 16), strides=(2, 2), num_res_units=1, **more).eval()


def pooled(network, *images, inferer=None):
    features = DeepestFeatures(network)
    with torch.inference_mode(), features.collecting():
        for image in images:
            inferer(image, network) if inferer else network(image)
    return features.pooled()


def test_those_of_monai_are_its_bottleneck():
    """The skip connection around the bottom layer joins its input and output at the coarsest grid."""
    network, image = unet(), torch.rand(1, 1, 32, 48)
    with torch.inference_mode():
        down = network.model[1].submodule[0](network.model[0](image))
        bottom = network.model[1].submodule[1].submodule(down)
    joined = torch.cat([down, bottom], 1)[0].flatten(1).double()
    expected = torch.cat([joined.mean(1), joined.std(1, correction=0)])
    assert pooled(network, image) == pytest.approx(expected.numpy(), rel=1e-4, abs=1e-6)


def test_those_of_efficientnet_are_its_last_stage():
    torch.manual_seed(0)
    network, image = EfficientUNet(2).eval(), torch.rand(1, 1, 64, 96)
    with torch.inference_mode():
        last = network.encoder(image)[-1][0].flatten(1)
    assert pooled(network, image)[:192] == pytest.approx(last.mean(1).numpy(), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("network", "dimensions"),
    [
        (unet(3), 3),
        (AttentionUnet(2, 1, 2, channels=(4, 8, 16), strides=(2, 2)).eval(), 2),
        (SegResNet(2, 8, 1, 2).eval(), 2),
    ],
)
def test_other_networks_have_some_too(network, dimensions):
    one, two = (pooled(network, image) for image in torch.rand(2, 1, 1, *[32] * dimensions))
    assert one.ndim == 1
    assert one.dtype == np.float32
    assert np.isfinite(one).all()
    assert not np.allclose(one, two)


def test_windows_are_pooled_together():
    network = unet()
    image = torch.rand(1, 1, 64, 64)
    parts = [image[:, :, row : row + 32, column : column + 32] for row in (0, 32) for column in (0, 32)]
    windows = SlidingWindowInferer((32, 32), sw_batch_size=3, overlap=0)
    assert pooled(network, image, inferer=windows) == pytest.approx(pooled(network, *parts), rel=1e-4)


def test_of_an_ensemble_they_are_joined():
    image = torch.rand(1, 1, 32, 32)
    members = [unet(), unet(norm="batch")]
    joined = pooled(Ensemble(members).eval(), image)
    assert joined == pytest.approx(np.concatenate([pooled(member, image) for member in members]))


def test_each_collection_begins_anew_and_nothing_is_collected_after_it():
    network, images = unet(), torch.rand(2, 1, 1, 32, 32)
    features = DeepestFeatures(network)
    found = []
    for image in (images[0], images[1], images[0]):
        with torch.inference_mode(), features.collecting():
            network(image)
        found.append(features.pooled())
    assert np.array_equal(found[0], found[2])
    assert not np.allclose(found[0], found[1])
    with torch.inference_mode():
        network(images[1])
    assert np.array_equal(features.pooled(), found[2])


def test_each_thread_collects_its_own():
    network, images = unet(), torch.rand(6, 1, 1, 32, 32)
    features = DeepestFeatures(network)

    def collected(image):
        with torch.inference_mode(), features.collecting():
            network(image)
        return features.pooled()

    one_by_one = [collected(image) for image in images]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(collected, images))
    for alone, beside in zip(one_by_one, together, strict=True):
        assert np.allclose(alone, beside, atol=1e-6)


def test_a_network_of_one_resolution_has_none():
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Conv2d(4, 2, 1)).eval()
    with pytest.raises(UsageError, match="an encoder"):
        pooled(network, torch.rand(1, 1, 32, 32))
