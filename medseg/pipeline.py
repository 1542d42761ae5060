"""From an image file to a mask with measurements, warnings and provenance: one path for every task."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from medseg.bundle import (
    built_from,
    changed_settings,
    inference_files,
    is_monai_command,
    open_bundle,
    parse,
    read_method,
    require_trained,
    sha256,
    typed_errors,
    weights_files,
    weights_overrides,
)
from medseg.case import NOTE, WARNING, Case
from medseg.deferred import import_monai
from medseg.errors import BundleError, UnsuitableError, error_text
from medseg.io import Input, shown
from medseg.modes import SEMANTIC, ModeRules, Seed, check_mode, seed_of
from medseg.outputs import SegmentationResult
from medseg.provenance import maker_of, provenance_of
from medseg.quality.prediction import DicePredictor, judged
from medseg.quality.ranges import check_ranges, judge
from medseg.sources import remember
from medseg.volume import Mask, Volume, Window

if TYPE_CHECKING:
    import torch

# A path, or an image in memory; see medseg.transforms.load.as_volume.
Source: TypeAlias = "Input | Volume | torch.Tensor | np.ndarray"
Measures: TypeAlias = dict[str, dict[str, Any]]  # name to {"value", "unit"}

logger = logging.getLogger(__name__)


def segment(
    source: Source,
    task: str,
    device: str = "auto",
    pixel_spacing_mm: tuple[float, float] | None = None,
    method: str | None = None,
    mode: str = "semantic",
    seed_px: Sequence[float] | None = None,
    seed_mm: Sequence[float] | None = None,
) -> SegmentationResult:
    """Segment one image. To segment many, build one Segmenter and call it for each.

    Args:
        source: an image file; for DICOM also a folder, a zip archive or several files. Or an image in memory:
            a Volume, a MetaTensor, or the array of a picture.
        task: the name of a bundle (see `medseg info`), or a path to one.
        device: auto, cpu, cuda or cuda:N.
        pixel_spacing_mm: (row, column) size of a picture's pixel; None takes the size from the file, where it
            has one, such as DICOM ultrasound.
        method: the name of one of the bundle's methods (see `medseg methods`); None for the default.
        mode: what the mask's values mean. semantic: the label. object: the label, of one object alone.
            instance: a number for each object of a label, such as lesion_1. panoptic: a number for each
            object and for each label of which all is one segment. docs/how-to/modes.md shows each.
        seed_px, seed_mm: with the mode object, the place of the object: (row, column) in px of a picture, or
            (x, y, z) in mm, RAS+, of a volume. Without, the largest object of each label.

    Returns:
        The mask on the source's grid, (row, column) or (i, j, k), with its measurements.

    Raises:
        UsageError: the task, device, method or mode is unknown, or the seed hits nothing.
        InputError: the image can't be read, or is not the kind of image that the task was made for.
        WeightsError: the bundle's weights are missing, or don't have the pinned SHA-256.
    """
    return Segmenter(task, device, method=method, mode=mode)(source, pixel_spacing_mm, seed_px, seed_mm)


class Segmenter:
    """The steps of a bundle's inference.yaml, loaded once and called for each image.

    Args:
        task, device, method, mode: as for segment.
        overrides: keys of inference.yaml (nested by "::") to values, such as {"flip_axes": [2, 3]}.
        weights: replaces the method's own weights: a file, or the output_dir of a cross-validation, whose
            networks are averaged.
        weights_fold: with the output_dir of a cross-validation, the number (from 0) of one network to use.

    Raises:
        UsageError: the task, device, method, mode or a key is unknown, or the method has no weights that
            `weights` could replace.
        WeightsError: see segment.
    """

    def __init__(
        self,
        task: str,
        device: str = "auto",
        overrides: Mapping[str, Any] | None = None,
        method: str | None = None,
        mode: str = "semantic",
        weights: str | Path | None = None,
        weights_fold: int | None = None,
    ) -> None:
        import_monai()
        from medseg.inference import pick_device

        check_mode(mode)
        self.mode = mode
        self.device = pick_device(device)
        bundle = open_bundle(task)
        self.method = read_method(bundle, method)
        if weights is None and "weights" not in (overrides or {}):
            require_trained(self.method, bundle.task)
        parser = parse(
            bundle,
            *inference_files(bundle, method),
            overrides={
                "device": f"$torch.device('{self.device}')",
                **weights_overrides(self.method, weights, weights_fold),
                **(overrides or {}),
            },
        )
        with built_from(bundle):
            self.labels = {int(value): name for value, name in parser.get_parsed_content("labels").items()}
            self.weights = weights_files(*(parser.get_parsed_content(f"weights{s}") for s in ("", "_fold")))
            self._network = parser.get_parsed_content("network")
            self._preprocessing = parser.get_parsed_content("preprocessing")
            self._inferer = parser.get_parsed_content("inferer")
            self._postprocessing = parser.get_parsed_content("postprocessing")
            self._build_result = parser.get_parsed_content("result")
        self.weights_sha256 = self._build_result.weights_sha256
        self._build_result.settings = changed_settings(overrides or {})

    def __call__(
        self,
        source: Source,
        pixel_spacing_mm: tuple[float, float] | None = None,
        seed_px: Sequence[float] | None = None,
        seed_mm: Sequence[float] | None = None,
    ) -> SegmentationResult:
        """Segment one image; arguments and errors as for segment."""
        seed = seed_of(self.mode, seed_px, seed_mm)
        with typed_errors():
            case = self.case(source, pixel_spacing_mm)
            result: SegmentationResult = self._build_result(case, self.mode, seed)
        return result

    def signals(self, case: Case) -> tuple[dict[str, Any], Measures, np.ndarray | None]:
        """What the quality of the case just made is predicted from; see medseg.quality.prediction.

        Returns:
            Label to signals; the measurements; the network's features, (D,), or None.

        Raises:
            BundleError: the method has no prediction of quality in its configuration.
        """
        quality = self._build_result.quality
        if quality is None:
            raise BundleError(
                "a method with result::quality in its configuration",
                got=self.method.name,
                advice="Add it, as the bundle's other methods have it.",
            )
        measurements = self._build_result.measure(case)
        return (
            quality.signals(case, measurements, self._build_result.plausible),
            measurements,
            quality.features(),
        )

    def case(self, source: Source, pixel_spacing_mm: tuple[float, float] | None = None) -> Case:
        """The mask of one image before it is measured; arguments and errors as for segment."""
        import torch

        with typed_errors(), torch.inference_mode():
            data = self._preprocessing({"image": source})
            batch = data["image"][None].to(self.device)
            data["pred"] = self._inferer(batch, self._network)[0].cpu()
            case: Case = self._build_result.case(self._postprocessing(data), pixel_spacing_mm)
        return case


class ResultBuilder:
    """Turns the tensors of a bundle's postprocessing into a Case, and a Case into a result.

    Args:
        bundle_root: the bundle's folder.
        weights: the files that the network was loaded from: several for an ensemble, none for a method
            without weights.
        labels: value to name.
        measure: a function from a Case to its measurements.
        plausible: see medseg.quality.ranges.check_ranges.
        method: the name of the method; see medseg.bundle.read_method.
        may_be_empty: whether an empty mask is a normal result; else it is warned of.
        extras: names of data entries that are kept in the Case where a method produces them.
        window: of a volume, see medseg.volume.Window; instances, panoptic: see medseg.modes.ModeRules.
        tissues: a function from a Case and its measurements to a second mask, of what the labels hold, and
            its measurements; called only for a result that is written with it.
        quality: predicts the Dice of the mask; None where no predictor was fitted.
    """

    def __init__(
        self,
        bundle_root: str | Path,
        weights: Sequence[str | Path],
        labels: Mapping[int | str, str],
        measure: Callable[[Case], Measures],
        plausible: Mapping[str, tuple[float, float]],
        method: str,
        may_be_empty: bool = False,
        extras: Sequence[str] = (),
        window: Mapping[str, Any] | None = None,
        instances: Mapping[str, Any] | None = None,
        panoptic: Mapping[str, Any] | None = None,
        tissues: Callable[[Case, Measures], tuple[Mask, Measures]] | None = None,
        quality: DicePredictor | None = None,
    ) -> None:
        self.bundle = open_bundle(str(bundle_root))
        self.may_be_empty, self.extras = may_be_empty, tuple(extras)
        self.window = None if window is None else Window(**window)
        digests = [sha256(file) for file in weights]
        self.weights_sha256 = digests[0] if len(digests) == 1 else digests or None
        self.labels = {int(value): name for value, name in labels.items()}
        self.rules = ModeRules(self.labels, instances, panoptic)
        self.measure, self.tissues = measure, tissues
        self.plausible, self.quality = plausible, quality
        self.settings: dict[str, Any] = {}  # what a user has changed
        self.method = read_method(self.bundle, method)
        self.maker = maker_of(self.bundle, self.method, self.weights_sha256)

    def case(self, data: Mapping[str, Any], pixel_spacing_mm: tuple[float, float] | None = None) -> Case:
        """Collect the mask on the source's grid and the other outputs of the transforms.

        Args:
            data: `pred`, (1, spatial...), on the source's grid; `image`, whose meta data holds the origin;
                `source_image`, (C, spatial...); `source_field_of_view` and the extras, where they exist.
            pixel_spacing_mm: see segment.
        """
        meta = data["image"].meta
        origin, affine = meta["origin"], meta.get("source_affine")
        mask = Mask(
            _first_channel(data["pred"]).astype(np.uint8, copy=False),
            self.labels,
            affine=None if affine is None else np.asarray(affine),
            pixel_spacing_mm=pixel_spacing_mm or origin.pixel_spacing_mm,
            source=origin.source,
            headers=origin.headers,
        )
        return Case(
            mask,
            np.asarray(data["source_image"]),
            _first_channel(data["source_field_of_view"]) > 0 if "source_field_of_view" in data else None,
            {name: _first_channel(data[name]) for name in self.extras if name in data},
            origin.findings,
            self.window,
        )

    def __call__(self, case: Case, mode: str = SEMANTIC, seed: Seed | None = None) -> SegmentationResult:
        """Put a case into a mode, measure it, judge it, and record the provenance."""
        whole, case = case, self.rules.apply(case, mode, seed)
        measurements = self.measure(case)
        absent = [] if self.may_be_empty and not case.mask.array.any() else _absent(case.mask)
        found = [finding.text for finding in case.findings if finding.kind == WARNING]
        odd = [*found, *absent, *check_ranges(measurements, self.plausible)]
        quality = self._quality(odd, whole, measurements)
        notes = [finding.text for finding in case.findings if finding.kind == NOTE]
        about: dict[str, Any] = {"mode": mode, "seed": str(seed)} if seed else {"mode": mode}
        if case.mask.affine is None:  # what is measured again later takes the same size of a pixel
            about["pixel_spacing_mm"] = case.mask.pixel_spacing_mm
        made = provenance_of(self.maker, self.settings, case.mask.source, case.image)
        return SegmentationResult(
            case.segmented or case.mask,
            measurements,
            quality,
            list(quality["reasons"]),
            made | about | {"postprocessing": notes},
            case.image,
            case.field_of_view,
            case.window,
            self.bundle.metadata.get("dicom_codes", {}),
            self.bundle.metadata.get("dicom_measurements", {}),
            None if self.tissues is None else partial(self.tissues, case, measurements),
            not_assessed=tuple(self.bundle.metadata.get("not_assessed", ())),
        )

    def _quality(self, odd: Sequence[str], case: Case, measurements: Measures) -> dict[str, Any]:
        about = (self.method.name, self.weights_sha256, self.settings)
        return judged(judge(odd), self.quality, about, case, measurements, self.plausible)


def _absent(mask: Mask) -> list[str]:
    """A warning that names the labels without any voxel."""
    if not mask.array.any():
        return ["nothing was found: the mask is empty"]
    absent = [name for value, name in mask.labels.items() if value and not (mask.array == value).any()]
    missing = [name.replace("_", " ") for name in absent]
    return [f"not found: {', '.join(missing)}"] if missing else []


def _first_channel(tensor: Any) -> np.ndarray:
    return np.asarray(tensor)[0]


class SaveResults:
    """Ignite handler that writes each case of `python -m monai.bundle run` into a folder of its own.

    Args:
        output_dir: the parent of the cases' folders.
        build_result: a ResultBuilder.
        names: source path to folder name (medseg.io.case_names).
    """

    def __init__(self, output_dir: str | Path, build_result: ResultBuilder, names: Mapping[str, str]) -> None:
        self.output_dir = Path(output_dir)
        self.build_result = build_result
        self.names = names

    def attach(self, engine: Any) -> None:
        """Register the handler; MONAI's engines call this."""
        from ignite.engine import Events

        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        for batch, output in zip(engine.state.batch, engine.state.output, strict=True):
            result = self.build_result(self.build_result.case({**batch, **output}))
            directory = result.save(self.output_dir / self.names[result.mask.source])
            if os.path.exists(result.mask.source):
                remember(self.output_dir, directory.name, result.mask.source)
            logger.info("saved %s", directory)
            for warning in result.warnings:
                logger.warning("%s: %s", directory.name, warning)


def run_each(evaluator: Any, items: Sequence[Mapping[str, Any]]) -> None:
    """Run a bundle's evaluator on each item; continue after an item that can't be segmented.

    Args:
        evaluator: the evaluator of inference.yaml; its handlers save the results.
        items: the items of its data list.

    Raises:
        SystemExit: under `python -m monai.bundle run`: code 3 if all items were rejected, 4 if some were.
        UnsuitableError: items were rejected, under any other program.
        OSError: a result can't be written.
    """
    from monai.data import DataLoader, Dataset

    transform, rejected = evaluator.data_loader.dataset.transform, 0
    evaluator.logger.setLevel(logging.CRITICAL)  # the warning below replaces Ignite's own message
    evaluator.state.epoch_length = 1  # else each image would run as often as there are images
    evaluator.interrupt_resume_enabled = False  # else Ignite would skip the items after an error
    for item in items:
        evaluator.data_loader = DataLoader(Dataset([item], transform), batch_size=1)
        try:
            with typed_errors():
                evaluator.run()
        except OSError:
            raise  # a full or broken disk: the next case would fail too
        except Exception as error:
            rejected += 1
            logger.warning("%s: %s", shown(item["image"]), error_text(error))
    if rejected:
        logger.warning("medseg: %d of %d rejected", rejected, len(items))
        if is_monai_command():
            raise SystemExit(3 if rejected == len(items) else 4)
        raise UnsuitableError(
            "images that can all be segmented",
            got=f"{rejected} of {len(items)} that can't be",
            advice="See the log for the reason of each.",
        )
