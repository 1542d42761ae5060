"""The river: an image file in, a mask with its numbers, warnings and origin out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from medseg import __version__
from medseg.bundle import open_bundle, parse, sha256, typed_errors
from medseg.io import case_name, write_mask
from medseg.quality import check_ranges, judge
from medseg.volume import Mask

logger = logging.getLogger(__name__)


def segment(
    source: str | Path,
    task: str,
    device: str = "auto",
    pixel_spacing_mm: tuple[float, float] | None = None,
) -> SegmentationResult:
    """Segment one image. For many, make one Segmenter and call it.

    Args:
        source: an image file.
        task: the name of a bundle (see `medseg info`), or a path to one.
        device: auto, cpu, cuda or cuda:N.
        pixel_spacing_mm: (row, column) size of a picture's pixel, when it is known.

    Raises:
        UsageError: an unknown task or device.
        InputError: the image can't be read or is nothing that the task was made for.
        WeightsError: the bundle's weights are missing or not the pinned ones.
    """
    return Segmenter(task, device)(source, pixel_spacing_mm)


class Segmenter:
    """A bundle's inference.yaml, loaded once, to be called on many images.

    Args:
        task, device: as for segment.
        overrides: keys of inference.yaml (nested by "::") to values, such as {"flip_axes": [2, 3]}.

    Raises:
        UsageError: an unknown task, device or key.
        WeightsError: see segment.
    """

    def __init__(self, task: str, device: str = "auto", overrides: Mapping[str, Any] | None = None) -> None:
        from medseg.inference import pick_device

        self.device = pick_device(device)
        parser = parse(
            open_bundle(task),
            "inference.yaml",
            overrides={"device": f"$torch.device('{self.device}')", **(overrides or {})},
        )
        with typed_errors():
            self._network = parser.get_parsed_content("network")
            self._preprocessing = parser.get_parsed_content("preprocessing")
            self._inferer = parser.get_parsed_content("inferer")
            self._postprocessing = parser.get_parsed_content("postprocessing")
            self._build_result = parser.get_parsed_content("result")

    def __call__(
        self, source: str | Path, pixel_spacing_mm: tuple[float, float] | None = None
    ) -> SegmentationResult:
        """Segment one image; arguments and errors as for segment."""
        import torch

        with typed_errors(), torch.inference_mode():
            data = self._preprocessing({"image": str(source)})
            batch = data["image"][None].to(self.device)
            data["pred"] = self._inferer(batch, self._network)[0].cpu()
            return self._build_result(self._postprocessing(data), pixel_spacing_mm)


@dataclass(frozen=True, eq=False)
class SegmentationResult:
    """What medseg says about one image.

    Attributes:
        mask: on the source's grid, (row, column) or (i, j, k).
        measurements: name to {"value", "unit", "reason" when the value is None}.
        quality: {"verdict": "pass" or "warn", "reasons": [...]}.
        warnings: sentences; empty when nothing is odd.
        provenance: bundle, weights, versions, input.
        image: (C, row, column), the source as it was read.
        field: (row, column), bool, where the image was analysed; None for everywhere.
    """

    mask: Mask
    measurements: dict[str, dict[str, Any]]
    quality: dict[str, Any]
    warnings: list[str]
    provenance: dict[str, Any]
    image: np.ndarray
    field: np.ndarray | None = None

    def save(self, directory: str | Path) -> Path:
        """Write segmentation.png, overlay.png, report.html and measurements.json, the last one last.

        Args:
            directory: made when it is missing; files of these names in it are replaced.

        Returns:
            The directory.
        """
        from medseg import reports
        from medseg.io.raster import write_picture

        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        write_mask(self.mask, directory / "segmentation.png")
        write_picture(reports.draw_overlay(self.image, self.mask, self.field), directory / "overlay.png")
        shared: dict[str, Any] = {
            "measurements": self.measurements,
            "quality": self.quality,
            "warnings": self.warnings,
            "provenance": self.provenance,
        }
        reports.write_page(
            directory / "report.html", image=self.image, mask=self.mask, field=self.field, **shared
        )
        reports.write_record(
            directory / "measurements.json", task=self.provenance["task"], labels=self.mask.labels, **shared
        )
        return directory


class ResultBuilder:
    """From the tensors that a bundle's postprocessing leaves to a SegmentationResult.

    Args:
        bundle_root: the bundle's folder.
        weights: the files that the network was loaded from; several make an ensemble.
        labels: value to name.
        measure: called with the mask and the field.
        plausible: see medseg.quality.check_ranges.
    """

    def __init__(
        self,
        bundle_root: str | Path,
        weights: Sequence[str | Path],
        labels: Mapping[int | str, str],
        measure: Callable[[Mask, np.ndarray | None], dict[str, dict[str, Any]]],
        plausible: Mapping[str, tuple[float, float]],
    ) -> None:
        self.bundle = open_bundle(str(bundle_root))
        digests = [sha256(file) for file in weights]
        self.weights_sha256 = digests[0] if len(digests) == 1 else digests
        self.labels = {int(value): name for value, name in labels.items()}
        self.measure = measure
        self.plausible = plausible

    def __call__(
        self, data: Mapping[str, Any], pixel_spacing_mm: tuple[float, float] | None = None
    ) -> SegmentationResult:
        meta = data["image"].meta
        source = str(meta["filename_or_obj"])
        field = np.asarray(data["source_field"])[0] > 0
        mask = Mask(
            np.asarray(data["pred"])[0].astype(np.uint8),
            self.labels,
            pixel_spacing_mm=pixel_spacing_mm,
            source=source,
        )
        measurements = self.measure(mask, field)
        warnings = [*meta["warnings"].splitlines(), *check_ranges(measurements, self.plausible)]
        image = np.asarray(data["source_image"])
        provenance = self._provenance(source)
        return SegmentationResult(mask, measurements, judge(warnings), warnings, provenance, image, field)

    def _provenance(self, source: str) -> dict[str, Any]:
        return {
            "task": self.bundle.task,
            "bundle_version": self.bundle.metadata["version"],
            "weights_sha256": self.weights_sha256,
            "input": case_name(source),
            "input_sha256": sha256(source),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {"medseg": __version__, "monai": version("monai"), "torch": version("torch")},
        }


class SaveResults:
    """Ignite handler that writes each case of `python -m monai.bundle run` to its own folder.

    Args:
        output_dir: gets a folder a case.
        build_result: a ResultBuilder.
        names: source path to folder name (medseg.io.case_names).
    """

    def __init__(self, output_dir: str | Path, build_result: ResultBuilder, names: Mapping[str, str]) -> None:
        self.output_dir = Path(output_dir)
        self.build_result = build_result
        self.names = names

    def attach(self, engine: Any) -> None:
        """Called by MONAI's engines for each handler."""
        from ignite.engine import Events

        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        for batch, output in zip(engine.state.batch, engine.state.output, strict=True):
            result = self.build_result({**batch, **output})
            directory = result.save(self.output_dir / self.names[result.mask.source])
            logger.info("saved %s", directory)
            for warning in result.warnings:
                logger.warning("%s: %s", directory.name, warning)
