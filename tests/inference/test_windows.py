"""Windows over a volume: as MONAI blends them, without those that hold nothing but air."""

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer

from medseg.errors import MedsegError, UsageError
from medseg.inference import FlipInferer, WindowInferer, windows

AIR = 0.08  # -904 HU where 0 is -1024 HU and 1 is 476 HU


@pytest.fixture(scope="module")
def network():
    """Convolutions whose kernels have no symmetry."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv3d(4, 3, 3, padding=1)
    ).eval()


@pytest.fixture(scope="module")
def chest(chest_phantom):
    """The phantom scaled as a network wants it, (1, 1, x, y, z), and its labels, (x, y, z)."""
    hu, labels = chest_phantom.array, chest_phantom.labels
    scaled = torch.as_tensor((np.clip(hu, -1024, 476) + 1024) / 1500, dtype=torch.float32)
    return scaled[None, None], torch.as_tensor(labels)


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.inference_mode():
        yield


class Watched:
    """A network that remembers its windows: background, light and dense are its labels.

    Args:
        width: voxels along each axis whose mean decides; the mean knows a window's border.
    """

    def __init__(self, width=1):
        self.windows, self.width = [], width

    def __call__(self, windows):
        self.windows += list(windows.clone())
        mean = torch.nn.functional.avg_pool3d(windows, self.width, 1, self.width // 2)
        return torch.cat([60 * (0.1 - mean), mean, 20 * (mean - 0.4)], dim=1)


def volume(*shape):
    return torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(1))


class TestAsMonai:
    @pytest.mark.parametrize(
        ("shape", "roi", "overlap", "mode", "batch"),
        [
            ((40, 40, 40), (16, 16, 16), 0.25, "gaussian", 1),
            ((37, 18, 41), (16, 18, 24), 0.25, "gaussian", 3),
            ((20, 33, 17), (16, 16, 16), 0.6, "constant", 2),
            ((9, 40, 11), (16, 16, 16), 0.25, "gaussian", 4),
            ((5, 6, 7), (16, 16, 16), 0.0, "gaussian", 1),
        ],
    )
    def test_the_same_logits(self, network, shape, roi, overlap, mode, batch):
        image = volume(*shape)
        expected = SlidingWindowInferer(roi, 1, overlap, mode)(image, network)
        found = WindowInferer(roi, overlap, batch, mode, dtype=torch.float32)(image, network)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        assert torch.equal(found.argmax(1), expected.argmax(1))

    def test_float16_differs_where_two_labels_are_equal_to_a_thousandth(self, network):
        image = volume(40, 40, 40)
        expected = SlidingWindowInferer((16, 16, 16), 1, 0.25, "gaussian")(image, network)
        found = WindowInferer((16, 16, 16))(image, network)
        assert found.dtype == torch.float16
        first, second = expected.topk(2, dim=1).values.unbind(1)
        differs = found.argmax(1) != expected.argmax(1)
        assert ((first - second)[differs] <= first.abs()[differs] / 1000).all()

    def test_several_volumes_and_channels_and_what_is_known_of_them(self):
        images = MetaTensor(torch.rand(2, 3, 20, 20, 20))

        def network(windows):
            return windows[:, :2]

        # MONAI Deploy gives further tensors of the data, which no network takes.
        found = WindowInferer((16, 16, 16), dtype=torch.float32)(images, network, source_image=images)
        torch.testing.assert_close(found, images.as_tensor()[:, :2])
        assert type(found) is torch.Tensor

    def test_inside_flips(self, network):
        image = volume(24, 24, 24)
        inner = WindowInferer((24, 24, 24), dtype=torch.float32)
        found = FlipInferer(inner, (2,))(image, network)
        torch.testing.assert_close(
            found, (network(image) + network(image.flip(2)).flip(2)) / 2, rtol=1e-5, atol=1e-6
        )

    def test_leaves_its_input_alone(self, network):
        image = volume(20, 20, 20)
        before = image.clone()
        WindowInferer((16, 16, 16), air=AIR)(image, network)
        assert torch.equal(image, before)


@pytest.mark.seconds
class TestAir:
    def test_the_same_mask_with_fewer_windows(self, chest):
        """Of voxels, wherever windows lie."""
        image, every, fewer = self.with_air(chest), Watched(), Watched()
        expected = WindowInferer((32, 32, 32))(image, every).argmax(1)
        found = WindowInferer((32, 32, 32), air=AIR)(image, fewer).argmax(1)
        assert torch.equal(found, expected)
        assert expected.unique().tolist() == [0, 1, 2]
        assert sum(map(torch.numel, fewer.windows)) < 0.7 * sum(map(torch.numel, every.windows))

    def test_the_same_mask_without_the_windows_of_air(self, chest, monkeypatch):
        """Of a network that sees around a voxel, with windows in the same places."""
        image, every, fewer = self.with_air(chest), Watched(9), Watched(9)
        inferer = WindowInferer((16, 16, 16), air=AIR, margin=4)
        found = inferer(image, fewer).argmax(1)
        wanted = windows._wanted
        monkeypatch.setattr(
            windows, "_wanted", lambda layout, cells, margin: wanted(layout, torch.ones_like(cells), margin)
        )
        assert torch.equal(inferer(image, every).argmax(1), found)
        assert len(fewer.windows) < len(every.windows)

    def test_windows_stay_where_monai_lays_them_if_the_box_saves_none(self, network):
        image = torch.nn.functional.pad(volume(34, 40, 40), (0, 0, 0, 0, 4, 2))
        expected = SlidingWindowInferer((16, 16, 16), 1, 0.25, "gaussian")(image, network)
        found = WindowInferer((16, 16, 16), air=AIR, margin=0, dtype=torch.float32)(image, network)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)

    def test_what_is_left_out_is_air(self, chest):
        """Also beyond the margin, and also where noise is in the air."""
        image = self.with_air(chest)
        image += 0.02 * torch.rand(image.shape, generator=torch.Generator().manual_seed(0))
        seen = self.seen(image, WindowInferer((32, 32, 32), air=AIR, margin=8))
        assert 0.2 < seen.float().mean() < 0.9
        around = torch.nn.functional.max_pool3d((image > 0.3).float(), 9, 1, 4)
        assert seen[around > 0].all()

    @pytest.mark.parametrize("hu", [-1024, -1000, -850, -300, 40, 100])
    def test_a_lung_is_looked_at_whatever_is_in_it(self, chest, hu):
        """Air by a pneumothorax, light, or white."""
        image, labels = chest
        image = image.clone()
        image[0, 0][labels > 0] = (hu + 1024) / 1500
        assert self.seen(image, WindowInferer((40, 40, 40), air=AIR))[0, 0][labels > 0].all()

    def test_a_lung_that_the_field_of_view_cuts(self):
        """Nothing but lung, without a wall: what is lighter than water is no air for that."""
        image = torch.full((1, 1, 40, 40, 40), (-850 + 1024) / 1500)
        assert self.seen(image, WindowInferer((16, 16, 16), air=AIR)).all()

    def test_values_that_are_no_numbers_are_looked_at(self):
        image = torch.zeros(1, 1, 64, 16, 16)
        image[..., 50, 3, 3] = torch.nan
        watched = Watched()
        with pytest.raises(MedsegError, match="finite outputs"):
            WindowInferer((16, 16, 16), air=AIR)(image, watched)
        assert any(window.isnan().any() for window in watched.windows)

    def test_nothing_but_air_is_background(self):
        watched = Watched()
        found = WindowInferer((16, 16, 16), air=AIR)(torch.zeros(1, 1, 40, 40, 40), watched)
        assert found.shape == (1, 3, 40, 40, 40)
        assert not found.argmax(1).any()
        assert len(watched.windows) == 1

    @staticmethod
    def with_air(chest):
        return torch.nn.functional.pad(chest[0], (0, 0, 40, 0, 60, 30))

    @staticmethod
    def seen(image, inferer):
        """Which voxels were in a window."""
        numbers = torch.arange(image.numel(), dtype=torch.float64).reshape(image.shape)
        windows = []

        def network(both):
            windows.append(both[:, 1])
            return both

        # A second channel of negative numbers, one for each voxel: below any threshold.
        marks = -1 - numbers
        inferer(torch.cat([image.double(), marks], dim=1), network)
        found = torch.zeros(image.numel(), dtype=torch.bool)
        for window in windows:
            found[(-1 - window[window < 0]).long()] = True
        return found.reshape(image.shape)


class TestArguments:
    def test_an_image_without_three_axes(self, network):
        with pytest.raises(UsageError, match="volumes"):
            WindowInferer((16, 16, 16))(torch.rand(1, 1, 20, 20), network)

    @pytest.mark.parametrize("arguments", [{"roi_size": (16, 16)}, {"roi_size": (16,) * 3, "overlap": 1.0}])
    def test_windows_that_cannot_be(self, arguments):
        with pytest.raises(UsageError):
            WindowInferer(**arguments)

    def test_from_a_configuration(self, network):
        parser = ConfigParser(
            {"inferer": {"_target_": "medseg.inference.WindowInferer", "roi_size": [16, 16, 16], "air": 0.08}}
        )
        assert parser.get_parsed_content("inferer")(volume(20, 20, 20), network).shape == (1, 3, 20, 20, 20)
