"""From an image to the numbers that it is compared by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medseg.bundle import (
    Bundle,
    Method,
    built_from,
    inference_files,
    method_names,
    open_bundle,
    parse,
    read_method,
    sha256,
    typed_errors,
    weights_files,
)
from medseg.deferred import import_monai
from medseg.errors import UsageError, WeightsError, did_you_mean
from medseg.io import Input
from medseg.volume import Window

if TYPE_CHECKING:
    import torch

    from medseg.inference.encoder import DeepestFeatures

ENCODER, INTENSITY = "encoder", "intensity"
KINDS = (ENCODER, INTENSITY)


@dataclass(frozen=True)
class Recipe:
    """What determines a descriptor, apart from the image. Two images can be compared only by the same.

    Attributes:
        task, bundle_version: the bundle whose preprocessing prepares the image.
        method: whose configuration is used.
        descriptor: encoder or intensity.
        weights_sha256: of the network's files; empty for the descriptor intensity.
    """

    task: str
    bundle_version: str
    method: str
    descriptor: str
    weights_sha256: tuple[str, ...] = ()


class Describer:
    """Describes images of one task: bundle, preprocessing and network are loaded once.

    Args:
        task: the name of a bundle, or a path to one.
        method: the name of one of its methods; None for the default.
        descriptor: encoder, the deepest features of the method's network; or intensity, brightness and
            texture of the preprocessed image, which need no network.
        weights, weights_fold: as for medseg.pipeline.Segmenter; for the descriptor encoder alone.
        device: auto, cpu, cuda or cuda:N.

    Attributes:
        recipe: what determines the descriptor.
        window: how a volume of this task is shown; None where the bundle names none.
        modality: the DICOM modality that it reads; None for any.

    Raises:
        UsageError: task, method, descriptor or device is unknown, or the method has no network.
        WeightsError: weights are missing, or don't fit.
    """

    def __init__(
        self,
        task: str,
        method: str | None = None,
        descriptor: str = ENCODER,
        weights: str | Path | None = None,
        weights_fold: int | None = None,
        device: str = "auto",
    ) -> None:
        import_monai()
        from medseg.inference import pick_device

        _require_kind(descriptor)
        self.device = pick_device(device)
        bundle = open_bundle(task)
        declared = read_method(bundle, method)
        overrides: dict[str, Any] = {"device": f"$torch.device('{self.device}')"}
        if descriptor == ENCODER:
            _require_network(declared, bundle, weights)
            if weights is not None:
                overrides |= {"weights": str(weights), "weights_sha256": None}
            overrides |= {} if weights_fold is None else {"weights_fold": weights_fold}
        elif weights is not None:
            raise UsageError(
                "no weights with the descriptor intensity", got=str(weights), advice="Leave them out."
            )
        parser = parse(bundle, *inference_files(bundle, method), overrides=overrides)
        content: Any = parser.config
        if "backend" in content:  # OpenVINO shows no features
            parser["backend"] = "torch"
        with built_from(bundle):
            self._preprocessing = parser.get_parsed_content("preprocessing")
            loading = content["preprocessing"].get("load", {})
            window = content["result"].get("window")
            self._features: DeepestFeatures | None = None
            files: list[Path] = []
            if descriptor == ENCODER:
                from medseg.inference.encoder import DeepestFeatures

                files = weights_files(*(parser.get_parsed_content(f"weights{s}") for s in ("", "_fold")))
                self._network = parser.get_parsed_content("network")
                self._inferer = parser.get_parsed_content("inferer")
                self._features = DeepestFeatures(self._network)
        self.window = Window(**window) if window else None
        self.modality = loading.get("modality")
        self.recipe = Recipe(
            bundle.task,
            str(bundle.metadata["version"]),
            declared.name,
            descriptor,
            tuple(sha256(file) for file in files),
        )

    def __call__(self, source: Input) -> np.ndarray:
        """The descriptor of one image; (D,) float32, the same D for all images of a task.

        Raises:
            InputError: the image can't be read, or the task's checks refuse it.
            UsageError: the method's network has no encoder.
        """
        import torch

        with typed_errors(), torch.inference_mode():
            image = self._preprocessing({"image": source})["image"]
            if self._features is None:
                return _described(image)
            return _encoded(self._features, image[None].to(self.device), self._inferer, self._network)


def _encoded(features: DeepestFeatures, image: torch.Tensor, inferer: Any, network: Any) -> np.ndarray:
    with features.collecting():
        inferer(image, network)
    return features.pooled()


def _described(image: torch.Tensor) -> np.ndarray:
    from medseg.similarity.intensity import intensity_descriptor

    return intensity_descriptor(np.asarray(image.cpu()))


def _require_kind(descriptor: str) -> None:
    if descriptor not in KINDS:
        raise UsageError(
            f"one of the descriptors {', '.join(KINDS)}",
            got=descriptor,
            advice=did_you_mean(descriptor, KINDS),
        )


def _require_network(method: Method, bundle: Bundle, weights: str | Path | None) -> None:
    """Refuse a method without a network, and one whose network was not trained."""
    if method.weights is None:
        named = [read_method(bundle, name) for name in method_names(bundle)]
        trained = [other.name for other in named if other.is_trained]
        raise UsageError(
            "a method with a trained network for the descriptor encoder",
            got=f"{method.name}, which has none",
            advice=f"Name one by --method ({', '.join(trained) or 'none is trained yet'}), "
            "or take --descriptor intensity.",
        )
    if weights is None and not method.is_trained:
        raise WeightsError(
            f"the trained weights of {method.name}",
            got=f"no file {method.weights}",
            advice=f"Run `medseg train {bundle.task} --method {method.name}`, "
            "and give its model.pt by --weights.",
        )
