"""The scan-line RNN: how far it sees, on images of every size, and what it can learn."""

import pytest
import torch

from medseg.methods.scanline_rnn import ScanlineRNN


def network(spatial_dims=2, **options):
    torch.manual_seed(0)
    return ScanlineRNN(spatial_dims, 1, 2, **{"stem": 4, "cell": 4, "hidden": 6} | options).eval()


@pytest.mark.parametrize("shape", [(32, 40), (1, 1), (3, 50), (20, 17, 9)], ids=str)
def test_logits_for_each_pixel_of_an_image_of_any_size(shape):
    logits = network(len(shape))(torch.rand(2, 1, *shape))
    assert logits.shape == (2, 2, *shape)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("shape", [(36, 28), (12, 16, 20)], ids=str)
def test_every_cell_knows_of_the_whole_image(shape):
    image = torch.rand(1, 1, *shape, requires_grad=True)
    network(len(shape))(image)[(0, 0, *[0] * len(shape))].backward()  # one corner
    assert (image.grad != 0).all()


def test_each_line_is_read_with_the_same_weights():
    """Rows that are alike give rows that are alike, wherever they lie across the reading."""
    cells = torch.rand(1, 12, 1, 9).expand(1, 12, 7, 9)
    from medseg.methods.scanline_rnn import _swept

    written = _swept(cells, 3, network().sweeps[0])
    assert written.shape == (1, 12, 7, 9)
    assert torch.allclose(written, written[:, :, :1].expand_as(written), atol=1e-6)
    down = _swept(cells.transpose(2, 3), 2, network().sweeps[0])
    assert torch.allclose(down, written.transpose(2, 3), atol=1e-6)
    assert not torch.allclose(written[..., 0], written[..., -1])


def test_an_image_that_is_no_multiple_of_cells_is_continued():
    image = torch.rand(1, 1, 13, 18)
    continued = torch.nn.functional.pad(image, [0, 2, 0, 3], mode="replicate")
    assert torch.equal(network()(image), network()(continued)[..., :13, :18])


def test_learns_what_only_the_far_side_tells():
    """A mark at the left border decides about the right one: no patch of it holds the answer."""
    torch.manual_seed(0)
    image = torch.zeros(16, 1, 8, 48)
    image[::2, :, :, :4] = 1
    truth = torch.zeros_like(image)
    truth[::2, :, :, 40:] = 1
    learner = ScanlineRNN(2, 1, 1, stem=4, cell=4, hidden=8)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(learner(image), truth).backward()
        optimizer.step()
    found = learner.eval()(image) > 0
    assert ((found > 0) == (truth > 0.5)).float().mean() > 0.98
