"""One channel of logits as two."""

import torch

from medseg.methods.with_background import WithBackground


def test_softmax_is_the_sigmoid_of_the_target():
    target = torch.nn.Conv2d(1, 1, 1)
    image = torch.randn(2, 1, 4, 5)
    found = WithBackground(target)(image)
    assert found.shape == (2, 2, 4, 5)
    torch.testing.assert_close(found.softmax(1)[:, 1:], target(image).sigmoid())
