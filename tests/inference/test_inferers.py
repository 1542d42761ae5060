"""Flips are averaged as said, autocast gives float32 back, a device that isn't there is refused."""

import pytest
import torch
from monai.inferers import Inferer, SimpleInferer, SlidingWindowInferer

from medseg.inference import AutocastInferer, FlipInferer


@pytest.fixture
def network():
    """Convolutions whose kernels have no symmetry."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 2, 3, padding=1)
    ).eval()


@pytest.fixture
def image():
    return torch.randn(1, 3, 40, 56, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.inference_mode():
        yield


WINDOWS = SlidingWindowInferer(roi_size=(32, 32), overlap=0.25, mode="gaussian")


class TestFlipInferer:
    @pytest.mark.parametrize("inner", [SimpleInferer(), WINDOWS], ids=["simple", "windows"])
    def test_no_axes_pass_the_answer_through(self, network, image, inner):
        assert torch.equal(FlipInferer(inner)(image, network), inner(image, network))

    @pytest.mark.parametrize(
        ("axes", "flips"),
        [
            ([2], [(), (2,)]),
            ([3], [(), (3,)]),
            ([2, 3], [(), (2,), (3,), (2, 3)]),
        ],
    )
    def test_axes_give_the_mean_of_all_mirrored_copies(self, network, image, axes, flips):
        copies = [torch.flip(network(torch.flip(image, flip)), flip) for flip in flips]
        found = FlipInferer(SimpleInferer(), axes)(image, network)
        torch.testing.assert_close(found, torch.stack(copies).mean(dim=0))
        assert not torch.allclose(found, copies[0], atol=1e-3)

    def test_three_axes_give_eight_copies(self):
        seen = []

        def network(volume):
            seen.append(volume.clone())
            return volume[:, :1]

        volume = torch.randn(1, 2, 4, 5, 6)
        found = FlipInferer(SimpleInferer(), (2, 3, 4))(volume, network)
        assert len({copy.numpy().tobytes() for copy in seen}) == 8
        torch.testing.assert_close(found, volume[:, :1])

    def test_nothing_changes_for_an_equivariant_network(self, image):
        def network(pixels):
            return pixels.square().sum(dim=1, keepdim=True)

        torch.testing.assert_close(FlipInferer(SimpleInferer(), (2, 3))(image, network), network(image))

    def test_the_result_mirrors_as_the_image_does(self, network, image):
        infer = FlipInferer(SimpleInferer(), (2, 3))
        mirrored = torch.flip(infer(torch.flip(image, (3,)), network), (3,))
        torch.testing.assert_close(mirrored, infer(image, network))

    def test_leaves_its_input_alone(self, network, image):
        before = image.clone()
        FlipInferer(WINDOWS, (2, 3))(image, network)
        assert torch.equal(image, before)

    @pytest.mark.parametrize("outer", [FlipInferer, AutocastInferer])
    def test_keeps_further_tensors_from_the_network(self, image, outer):
        """MONAI Deploy gives all others of the data, by name."""
        found = outer(SimpleInferer())(image, lambda pixels: pixels[:, :1], source_image=image)
        torch.testing.assert_close(found, image[:, :1], rtol=1e-2, atol=1e-2)


class _Watched(Inferer):
    """Remembers what it was given and the type that a convolution gives in it."""

    def __call__(self, inputs, network, *args, **kwargs):
        self.inputs, answer = inputs, network(inputs)
        self.dtype = answer.dtype
        return answer


class TestAutocastInferer:
    def test_computes_in_bfloat16_and_returns_float32(self, network, image):
        watched = _Watched()
        found = AutocastInferer(watched)(image, network)
        assert (watched.dtype, found.dtype) == (torch.bfloat16, torch.float32)
        torch.testing.assert_close(found, network(image), rtol=0.05, atol=0.05)
        assert not torch.equal(found, network(image))

    def test_disabled_it_changes_nothing(self, network, image):
        watched = _Watched()
        found = AutocastInferer(watched, enabled=False)(image, network)
        assert (watched.dtype, found.dtype) == (torch.float32, torch.float32)
        torch.testing.assert_close(found, network(image))

    def test_channels_come_last_in_memory(self, network, image):
        watched = _Watched()
        AutocastInferer(watched)(image, network)
        assert watched.inputs.is_contiguous(memory_format=torch.channels_last)
        torch.manual_seed(0)
        found = AutocastInferer(watched)(torch.randn(1, 2, 4, 5, 6), torch.nn.Conv3d(2, 3, 3))
        assert watched.inputs.is_contiguous(memory_format=torch.channels_last_3d)
        assert (found.shape, found.dtype) == ((1, 3, 2, 3, 4), torch.float32)

    def test_around_flips_around_windows(self, network, image):
        found = AutocastInferer(FlipInferer(WINDOWS, (2, 3)))(image, network)
        plain = FlipInferer(WINDOWS, (2, 3))(image, network)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, plain, rtol=0.05, atol=0.05)
