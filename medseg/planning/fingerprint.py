"""The fingerprint of a data set: what its images and masks are like, in numbers.

What is measured is what nnU-Net measures (see medseg.planning), and what a check of new images needs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from medseg.console import progress_bar
from medseg.data.manifests import load_items, read_manifest
from medseg.errors import DataError, InputError
from medseg.planning.cases import CaseFigures, measure_case
from medseg.planning.figures import ClassFigures, Intensity, Triple, summarise

MEASURED = ("training", "validation")
FEW_SUBJECTS = 10  # with fewer, a network and its scores say little
TINY = 32  # pixels or voxels along the longest axis
VERY_ANISOTROPIC = 8.0
MOST_SHOWN = 5  # problems in an error
_SAMPLES_KEPT = 2_000_000  # values of all cases together, so that memory is bounded


@dataclass(frozen=True)
class Fingerprint:
    """A data set in numbers. Axes are row and column of pictures; right, anterior and superior of volumes.

    Attributes:
        name, description: of the manifest.
        cases, subjects: how many were measured: those of the splits training and validation.
        items: split to number of items.
        dimensions: 2 or 3.
        channels: of the network's input; grey pictures among colour ones are repeated to three channels.
        modality: a DICOM term such as CT or MR; None where it is not known.
        labels: value to name, 0 included.
        shape: for each axis lowest, median and highest number of pixels or voxels.
        spacing_mm: the same of their sizes; None where these are not known.
        one_size: whether all images have the same shape.
        anisotropy: median of the cases' largest size of a voxel divided by the smallest.
        median_size_mm: median extent of the images along each axis; None without spacings.
        foreground: one for each channel.
        threshold: for each channel the value that parts foreground and background best, by Youden's index
            (Cancer 3, 1950).
        brightness: for each of medseg.quality.training_ranges.PERCENTILES lowest, median and highest.
        zeros: median share of pixels or voxels that are 0.
        foreground_share: of the image, over cases.
        empty_masks: number of cases without any label.
        classes: of the labels above 0.
        warnings: sentences.
    """

    name: str
    description: str
    cases: int
    subjects: int
    items: Mapping[str, int]
    dimensions: int
    channels: int
    modality: str | None
    labels: Mapping[int, str]
    shape: tuple[Triple, ...]
    spacing_mm: tuple[Triple, ...] | None
    one_size: bool
    anisotropy: float
    median_size_mm: tuple[float, ...] | None
    foreground: tuple[Intensity, ...]
    threshold: tuple[float, ...]
    brightness: tuple[Triple, ...]
    zeros: float
    foreground_share: Triple
    empty_masks: int
    classes: tuple[ClassFigures, ...]
    warnings: tuple[str, ...] = ()

    @property
    def is_volume(self) -> bool:
        return self.dimensions == 3

    def record(self) -> dict[str, Any]:
        """The fingerprint as a dictionary for JSON."""
        return asdict(self)


def take_fingerprint(manifest: str | Path) -> Fingerprint:
    """Measure the cases of a manifest's splits training and validation; those of test are counted alone.

    One case is in memory at a time.

    Raises:
        UsageError: there is no such manifest, or no folder of data.
        DataError: the manifest, an image or a mask is at fault, images do not belong together, no case has
            foreground, or there are not two subjects.
    """
    content = read_manifest(manifest)
    labels = _labels(content, manifest)
    items = [item for split in MEASURED if content[split] for item in load_items(manifest, split)]
    subjects = _subjects(items, manifest)
    modality = _stated_modality(content)
    cases = _measured(items, modality, manifest)
    channels = _common(cases, manifest)
    modality = _modality(cases, modality, manifest)
    present = Counter(value for case in cases for value in case.labels)
    if not present:
        raise DataError(
            "a training case with a labelled structure",
            got=f"{len(cases)} cases whose masks are all background",
            advice="Draw the structure in some images, or correct the paths of the masks.",
        )
    found = summarise(cases, labels, channels)
    about: dict[str, Any] = {
        "name": str(content["name"]), "description": str(content["description"]), "subjects": len(subjects),
        "items": {split: len(content[split]) for split in (*MEASURED, "test")}, "modality": modality,
    }  # fmt: skip
    return Fingerprint(
        **about, **found, labels=labels, channels=channels,
        warnings=tuple(_warnings(cases, len(subjects), found, labels)),
    )  # fmt: skip


def _labels(content: Mapping[str, Any], manifest: str | Path) -> dict[int, str]:
    """Value to name.

    Raises:
        DataError: values that are not 0, 1, 2 and so on, no label besides the background, or names that are
            no text or are given twice.
    """
    labels = {int(value): name for value, name in sorted(content["labels"].items(), key=lambda e: int(e[0]))}
    names = list(labels.values())
    sound = all(isinstance(name, str) and name.strip() for name in names) and len(set(names)) == len(names)
    if len(labels) < 2 or list(labels) != list(range(len(labels))) or not sound:
        raise DataError(
            "labels 0 (the background), 1, 2 and so on without a gap, each with a name of its own",
            got=f"{labels} in {manifest}",
            advice="Number the labels of the masks without a gap, and name each in the manifest.",
        )
    return labels


def _subjects(items: Sequence[Mapping[str, Any]], manifest: str | Path) -> set[str]:
    nameless = sum(not item.get("subject") for item in items)
    if nameless:
        raise DataError(
            "a `subject` for each item, so that nobody is in training and validation",
            got=f"{nameless} of {len(items)} items without one in {manifest}",
            advice="Add who each image is of, such as a number.",
        )
    subjects = {item["subject"] for item in items}
    if len(subjects) < 2:
        raise DataError(
            "images of at least two subjects, one to train on and one to validate on",
            got=f"{len(subjects)} in the splits training and validation of {manifest}",
            advice="Add images of other subjects: one can't be split.",
        )
    return subjects


def _stated_modality(content: Mapping[str, Any]) -> str | None:
    """What the manifest says, where that is a DICOM term, such as CT, MR, US or MG; MRI is MR."""
    stated = content.get("modality")
    value = next(iter(stated.values()), None) if isinstance(stated, dict) else stated
    term = str(value or "").strip().upper()
    term = {"MRI": "MR"}.get(term, term)
    return term if term.isalpha() and len(term) == 2 else None


def _measured(
    items: Sequence[Mapping[str, Any]], modality: str | None, manifest: str | Path
) -> list[CaseFigures]:
    """The cases, with fewer samples where there are many.

    Raises:
        DataError: some can't be measured; the message names the first.
    """
    cases, problems = [], []
    kept = max(1, _SAMPLES_KEPT // len(items))
    with progress_bar("measuring", "cases", len(items)) as advance:
        for number, item in enumerate(items):
            try:
                case = measure_case(item, modality, seed=number)
            except KeyError as error:
                problems.append(f"item {number + 1} has no entry {error}")
            except (InputError, DataError) as error:
                problems.append(f"{Path(item['image']).name}: {error}")
            else:
                cases.append(_with_fewer_samples(case, kept))
            advance()
    if problems:
        raise DataError(
            f"images and masks that can all be used ({manifest})",
            got=f"{len(problems)} of {len(items)} that can't: {'; '.join(problems[:MOST_SHOWN])}",
            advice=f"Correct them; `medseg check-data {manifest}` shows what is wrong with the files.",
        )
    return cases


def _with_fewer_samples(case: CaseFigures, kept: int) -> CaseFigures:
    step = -(-len(case.samples) // kept)
    return replace(case, samples=case.samples[::step], sample_labels=case.sample_labels[::step])


def _common(cases: Sequence[CaseFigures], manifest: str | Path) -> int:
    """The number of channels.

    Raises:
        DataError: pictures among volumes, or channels that no network takes together.
    """
    dimensions = Counter(len(case.shape) for case in cases)
    if len(dimensions) > 1:
        raise DataError(
            "pictures alone or volumes alone",
            got=f"{dimensions[2]} pictures and {dimensions[3]} volumes in {manifest}",
            advice="Make a manifest of each: they need a network each.",
        )
    channels = Counter(case.channels for case in cases)
    if set(channels) - {1, 3}:
        counts = ", ".join(f"{count} with {number}" for number, count in sorted(channels.items()))
        raise DataError(
            "images with one channel (grey) or three (colour)",
            got=f"{counts} channels in {manifest}",
            advice="Export the images again, without transparency and with one kind of channel.",
        )
    return max(channels)


def _modality(cases: Sequence[CaseFigures], stated: str | None, manifest: str | Path) -> str | None:
    """The modality: as stated, or CT where all volumes are in Hounsfield units.

    Raises:
        DataError: the manifest says CT, and a volume is not in Hounsfield units.
    """
    if len(cases[0].shape) == 2:
        return stated
    in_hu = sum(case.is_hounsfield for case in cases)
    if stated == "CT" and in_hu < len(cases):
        raise DataError(
            "CT in Hounsfield units, as the manifest's `modality` says",
            got=f"{len(cases) - in_hu} of {len(cases)} volumes of {manifest} without air near -1000",
            advice="Export them in Hounsfield units, or correct `modality`.",
        )
    return stated or ("CT" if in_hu == len(cases) else None)


def _warnings(
    cases: Sequence[CaseFigures], subjects: int, found: Mapping[str, Any], labels: Mapping[int, str]
) -> Iterator[str]:
    if subjects < FEW_SUBJECTS:
        yield f"{subjects} subjects are few: expect a network that knows these alone, and wide intervals"
    has = {figures.value: figures for figures in found["classes"]}
    for value, name in labels.items():
        if value and value not in has:
            yield f"no case has the label {name}: nothing can learn it"
        elif value and has[value].cases < 3:
            yield f"the label {name} is in {has[value].cases} of {len(cases)} cases: too few to learn it well"
    if found["empty_masks"]:
        empty = found["empty_masks"]
        yield f"{empty} of {len(cases)} masks are empty: right for images without the structure alone"
    if {case.channels for case in cases} == {1, 3}:
        grey = sum(case.channels == 1 for case in cases)
        yield f"{grey} of {len(cases)} pictures are grey, the others in colour: the grey value is repeated"
    elif all(case.colourless for case in cases):
        yield "the pictures are stored in colour, and all are grey"
    largest = max(max(case.shape) for case in cases)
    if largest < TINY:
        yield f"the images are tiny: at most {largest} along an axis"
    if found["anisotropy"] > VERY_ANISOTROPIC:
        times = f"{found['anisotropy']:.1f} times longer than wide"
        yield f"voxels are {times}: what lies between the slices is not known"
