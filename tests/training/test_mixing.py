"""The mean of the weights before and after a fine-tuning."""

import pytest
import torch
from ignite.engine import Engine, Events

from medseg.training.mixing import MixWithStart


@pytest.mark.parametrize(("share", "kept"), [(0.0, 3.0), (0.25, 2.5), (1.0, 1.0)])
def test_weights_after_the_last_epoch(share, kept):
    network = torch.nn.BatchNorm1d(1)  # weights and a count
    seen = []

    def step(*_):
        with torch.no_grad():
            network.weight += 1
            network.num_batches_tracked += 1

    trainer = Engine(step)
    MixWithStart(network, share).attach(trainer)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _: seen.append(float(network.weight)))
    trainer.run([0], max_epochs=2)
    assert seen == [2.0, pytest.approx(kept)]
    assert int(network.num_batches_tracked) == 2
