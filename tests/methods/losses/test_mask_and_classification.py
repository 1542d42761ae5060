"""The loss of mask and classes."""

import numpy as np
import pytest
import torch

from medseg.methods.losses import MaskAndClassificationLoss


def test_loss_leaves_out_what_is_not_known():
    loss = MaskAndClassificationLoss(torch.nn.BCEWithLogitsLoss(), weight=1.0, smoothing=0.0)
    pred = torch.zeros(2, 3, 4, 4)
    label = torch.zeros(2, 3, 4, 4)
    label[:, 1:] = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])[..., None, None]
    assert float(loss(pred, label)) == pytest.approx(2 * np.log(2), rel=1e-5)
    label[:, 1:] = -1
    assert float(loss(pred, label)) == pytest.approx(np.log(2), rel=1e-5)
    pred[1, 1] = 100  # of an image whose answer is not known
    assert float(loss(pred, label)) == pytest.approx(np.log(2), rel=1e-5)
