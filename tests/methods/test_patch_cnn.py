"""The patch CNN: what decides about a pixel, on images of every size, and its training to the end."""

import pytest
import torch

from medseg.methods.patch_cnn import PatchCNN


def network(spatial_dims=2, **options):
    torch.manual_seed(0)
    return PatchCNN(spatial_dims, 1, 2, **{"width": 4, "dilations": [1, 2, 4]} | options).eval()


@pytest.mark.parametrize("shape", [(30, 40), (1, 1), (3, 50), (20, 17, 18)], ids=str)
def test_logits_for_each_pixel_of_an_image_of_any_size(shape):
    logits = network(len(shape))(torch.rand(2, 1, *shape))
    assert logits.shape == (2, 2, *shape)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_pixel_is_judged_by_its_patch_alone(spatial_dims):
    """The whole image at once gives what a classifier of this one patch gives."""
    judge = network(spatial_dims)
    size = judge.patch_size
    assert size == 15
    image = torch.rand(1, 1, *[24] * spatial_dims)
    middle = (..., *[12] * spatial_dims)
    patch = image[(..., *[slice(12 - size // 2, 12 + size // 2 + 1)] * spatial_dims)]
    expected = judge.layers(patch)  # a single pixel is left
    assert expected.shape[2:] == (1,) * spatial_dims
    assert torch.allclose(judge(image)[middle], expected.flatten(1), atol=1e-6)

    elsewhere = torch.rand_like(image)
    elsewhere[(..., *[slice(12 - size // 2, 12 + size // 2 + 1)] * spatial_dims)] = patch
    assert torch.allclose(judge(elsewhere)[middle], judge(image)[middle], atol=1e-6)


def test_every_pixel_of_the_patch_counts():
    image = torch.rand(1, 1, 31, 31, requires_grad=True)
    network()(image)[0, :, 15, 15].sum().backward()
    rows, columns = torch.nonzero(image.grad[0, 0], as_tuple=True)
    assert (int(rows.min()), int(rows.max())) == (8, 22)
    assert (int(columns.min()), int(columns.max())) == (8, 22)


def test_no_edge_is_seen_at_the_border():
    """An image that goes on as it ends gives the same logits up to its last pixel."""
    logits = network()(torch.full((1, 1, 20, 20), 0.7))
    assert torch.allclose(logits, logits[:, :, 10:11, 10:11].expand_as(logits), atol=1e-6)


def test_learns_dots_that_are_dark():
    torch.manual_seed(0)
    image = torch.rand(4, 1, 32, 32)
    truth = (torch.nn.functional.avg_pool2d(image, 3, 1, 1) < 0.42).float()
    learner = PatchCNN(2, 1, 1, width=8, dilations=[1, 1])
    optimizer = torch.optim.AdamW(learner.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(learner(image), truth).backward()
        optimizer.step()
    right = ((learner.eval()(image) > 0) == (truth > 0.5)).float().mean()
    assert right > max(float(truth.mean()), 1 - float(truth.mean())) + 0.1
