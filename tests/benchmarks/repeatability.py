"""The limits of change, measured on real images that are taken twice by simulation.

    python tests/benchmarks/repeatability.py pairs FOLDER [TASK ...]
    python tests/benchmarks/repeatability.py limits FOLDER [--write]
    python tests/benchmarks/repeatability.py eyes FOLDER

`pairs` takes each real image again as several other days' settings would show it, segments each with the
shipped weights, and notes in FOLDER/TASK.jsonl what a follow-up would compare; images that are there already
are left out. `limits` makes limits of all pairs, shows how many pairs stay within limits of other subjects'
pairs, and with --write puts the limits into medseg/follow_up/repeatability.json. `eyes` tries to
register photographs of two eyes (CHASE_DB1: left against right, and each with the next subject's), which must
be refused. MEDSEG_DATA names the real data. FOLDER/retest*.jsonl are pairs.jsonl of follow_up_retest.py,
whose pairs of lungs count too.
"""

from __future__ import annotations

import argparse
import collections
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np

from medseg.data.manifests import load_items
from medseg.errors import InputError
from medseg.follow_up import lungs, vessels
from medseg.follow_up.chest import rules_of
from medseg.follow_up.photographs import Photograph, register_photographs
from medseg.follow_up.record import Visit
from medseg.follow_up.repeatability.coefficients import (
    difference,
    limit_of_difference,
    repeatability_coefficient,
    simultaneous_limits,
)
from medseg.follow_up.repeatability.photograph import retake_photograph
from medseg.follow_up.repeatability.scan import draw_retake, retake_scan
from medseg.follow_up.repeatability.ultrasound import retake_ultrasound
from medseg.io import read_mask, read_volume
from medseg.outputs import SegmentationResult
from medseg.pipeline import Segmenter
from medseg.quality.fundus import find_field_of_view
from medseg.volume import Volume

DATA = Path(os.environ.get("MEDSEG_DATA", "../shared/data"))
TABLE = Path(__file__).parents[2] / "medseg" / "follow_up" / "repeatability.json"
# More than half of both lungs is seen in these; the others of lung_ct/more are slabs and a head.
SCANS = (
    *("more/popi.nii.gz", "cip_64", "more/lidc_0001.nii.gz", "more/cmb_crc_01068.nii.gz"),
    *("more/acrin_flt_breast_013.nii.gz", "more/lungfcp_0001.nii.gz", "lidc_1011.zip"),
)
CUT = {"acrin_flt_breast_013", "lungfcp_0001"}  # the apices, the lower half
PAIRS = {"lung_ct": 6, "retinal_vessel": 2, "breast_ultrasound": 2}
FOLDS = 10
# The least of 1, 1.25 and 1.5 with which 95% of pairs stay within limits of other subjects. For lungs none is
# enough: there are too few scans.
MARGINS = {"lung_ct": 1.5, "retinal_vessel": 1.5, "breast_ultrasound": 1.25}
PICTURES = 50  # of each of two hospitals
PIXEL_MM = 0.1  # any size will do: changes of lesions are relative
LESIONS = ("area_mm2", "longest_diameter_mm", "perpendicular_diameter_mm", "depth_mm", "width_mm")
KINDS = {
    "lung_ct": {
        f"{region}_{measure}": "relative" if unit in ("ml", "g") else "absolute"
        for region in lungs.NAMES
        for measure, unit in lungs.MEASURES.items()
    },
    "retinal_vessel": {
        **dict.fromkeys(vessels.MEASURES, "relative"),
        **dict.fromkeys(("tortuosity", "fractal_dimension", vessels.UNMATCHED), "absolute"),
    },
    "breast_ultrasound": {f"largest_lesion_{name}": "relative" for name in LESIONS},
}
HOW = {
    "lung_ct": "chest CTs, each taken twice by simulation with other noise, kernel, slice thickness, field "
    "of view and pose, but the same breath; classical method. Other scanners may differ more",
    "retinal_vessel": "photographs, each taken twice by simulation with other light, focus, colours, bend "
    "and part of the retina; shipped network",
    "breast_ultrasound": "ultrasound pictures, each taken twice by simulation with other gain, contrast, "
    "depth, cut and speckle, but the same plane, where both show one lesion; shipped network, which was "
    "trained on them",
}


def scans() -> Iterator[tuple[str, Callable]]:
    for name in SCANS:
        folder = DATA / "lung_ct" / name
        if folder.is_dir():
            folder = next(
                p for p in sorted(folder.iterdir()) if "ct" in p.name.lower() and "mask" not in p.name
            )
        yield name, lambda path=folder: read_volume(path, "CT")


def take_scan(segmenter: Segmenter, volume, random: np.random.Generator) -> SegmentationResult:
    return segmenter(retake_scan(volume, draw_retake(random), random))


def photographs() -> Iterator[tuple[str, Callable]]:
    for manifest in ("chase_db1", "hrf", "fives"):
        for item in load_items(manifest, "test"):
            yield f"{manifest} {Path(item['image']).stem}", lambda path=item["image"]: read_volume(path)


def take_photograph(segmenter: Segmenter, volume, random: np.random.Generator) -> SegmentationResult:
    field = find_field_of_view(volume.array).mask
    return segmenter(retake_photograph(volume.array, field, random).picture)


def ultrasound() -> Iterator[tuple[str, Callable]]:
    for manifest in ("busi", "bus_bra"):
        items = [item for item in load_items(manifest, "validation") if item.get("label")]
        masked = (item for item in items if read_mask(item["label"], item["labels"]).array.any())
        for item, _ in zip(masked, range(PICTURES), strict=False):
            yield (
                f"{manifest} {Path(item['image']).stem}",
                lambda item=item: (
                    read_volume(item["image"]),
                    read_mask(item["label"], item["labels"]).array > 0,
                ),
            )


def take_ultrasound(segmenter: Segmenter, image, random: np.random.Generator) -> SegmentationResult:
    volume, lesion = image
    rows, columns = (np.flatnonzero(lesion.any(axis=axis)) for axis in (1, 0))
    keep = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    taken = retake_ultrasound(volume.array, random, keep=keep)
    size = PIXEL_MM * taken.pixel_size
    return segmenter(taken.picture, pixel_spacing_mm=(size, size))


def values_of(result: SegmentationResult, task: str) -> dict[str, float | None]:
    measures = result.measurements
    if task == "lung_ct":
        image = Volume(result.image, affine=result.mask.affine)
        visit = Visit("", date.min, result.mask, image, measures, result.provenance)
        measures = lungs.lung_measures(visit, rules_of(task, None).tissues)
    return {name: measures[name]["value"] for name in KINDS[task]}


def compared(task: str, first: SegmentationResult, second: SegmentationResult) -> dict:
    if task != "retinal_vessel":
        pair = [values_of(result, task) for result in (first, second)]
        return {
            "values": pair,
            "objects": [
                result.measurements.get("lesion_count", {}).get("value") for result in (first, second)
            ],
        }
    photos = [
        Photograph(result.image, result.mask.array == vessels.VESSEL, result.field_of_view.astype(bool))
        for result in (first, second)
    ]
    registered = register_photographs(*photos)
    before, after = vessels.measured_in_shared(*photos, registered)
    moved = registered.to_later.warped(photos[1].vessels, photos[0].field.shape, order=0)
    pieces = [
        vessels.piece_lengths(each, photos[0].diameter_px)
        for each in vessels.unmatched(photos[0], moved, registered.shared)
    ]
    longest = max([length for each in pieces for length in each], default=0.0)
    before[vessels.UNMATCHED], after[vessels.UNMATCHED] = 0.0, longest
    return {"values": [before, after], "overlap": registered.overlap, "inliers": registered.inliers}


IMAGES = {"lung_ct": scans, "retinal_vessel": photographs, "breast_ultrasound": ultrasound}
TAKE = {"lung_ct": take_scan, "retinal_vessel": take_photograph, "breast_ultrasound": take_ultrasound}


def measure(task: str, folder: Path) -> None:
    """Append the pairs of each image to FOLDER/TASK.jsonl, one line an image."""
    file = folder / f"{task}.jsonl"
    done = {json.loads(line)["image"] for line in file.read_text().splitlines()} if file.exists() else set()
    segmenter = Segmenter(task, "cpu")
    for number, (name, load) in enumerate(IMAGES[task]()):
        if name in done:
            continue
        begin, pairs, refused = time.process_time(), [], []
        for pair in range(PAIRS[task]):
            random = np.random.default_rng((number, pair))
            image = load()
            try:
                pairs.append(compared(task, *(TAKE[task](segmenter, image, random) for _ in range(2))))
            except InputError as error:
                refused.append(str(error))
        line = {"image": name, "pairs": pairs, "refused": refused, "seconds": time.process_time() - begin}
        with file.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        print(
            f"{task} {name}: {len(pairs)} pairs, {len(refused)} refused, {line['seconds']:.0f} s", flush=True
        )


def differences(task: str, images: list[dict]) -> dict[str, np.ndarray]:
    """Measure to its differences, (pairs,); NaN where one of the two has no value."""
    pairs = [pair["values"] for image in images for pair in counted(task, image)]
    return {
        name: np.array(
            [np.nan if None in (a[name], b[name]) else difference(kind, a[name], b[name]) for a, b in pairs]
        )
        for name, kind in KINDS[task].items()
    }


def usable(task: str, images: list[dict]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Measure to its differences, and the subject of each pair.

    Pairs with an infinite difference, or without any, are left out.
    """
    found = differences(task, images)
    subjects = np.array([subject_of(image["image"]) for image in images for _ in counted(task, image)])
    finite = np.all([~np.isinf(values) for values in found.values()], axis=0)
    some = np.any([np.isfinite(values) for values in found.values()], axis=0)
    keep = finite & some
    return {name: values[keep] for name, values in found.items()}, subjects[keep].tolist()


def counted(task: str, image: dict) -> list[dict]:
    """The pairs of an image that a follow-up would compare.

    Pictures of lesions count where each shows one: only then does a follow-up take them for the same.
    """
    return [pair for pair in image["pairs"] if task != "breast_ultrasound" or pair["objects"] == [1, 1]]


def subject_of(name: str) -> str:
    """Both eyes or breasts of a person have one name."""
    return re.sub(r"(?<=\d)(-[lrs]|[LR])$", "", name.removeprefix("more/").removesuffix(".nii.gz"))


def of_retests(folder: Path) -> list[dict]:
    """Pairs of whole follow-ups, from tests/benchmarks/follow_up_retest.py, in the form of `measure`."""
    images: dict[str, list[dict]] = {}
    for file in sorted(folder.glob("retest*.jsonl")):
        for row in map(json.loads, file.read_text().splitlines()):
            changes = {measure: values for measure, *values in row["changes"]}
            pair = [{name: changes.get(name, (None, None))[n] for name in KINDS["lung_ct"]} for n in (0, 1)]
            images.setdefault(row["scan"], []).append({"values": pair})
    return [{"image": name, "pairs": pairs, "refused": []} for name, pairs in images.items()]


def without_cut(images: list[dict]) -> list[dict]:
    """Volumes and masses of lungs that a scan does not hold whole are none, whether or not that was seen."""
    for image in images:
        if subject_of(image["image"]) in CUT:
            for values in (values for pair in image["pairs"] for values in pair["values"]):
                values.update({name: None for name in values if name.endswith(("_ml", "_g"))})
    return images


def within_all(values: dict[str, np.ndarray], limit: dict[str, float]) -> dict[str, np.ndarray]:
    """Measure to whether each pair stays within its limit; a missing difference does."""
    return {name: ~(np.abs(each) > limit[name]) for name, each in values.items()}


def left_out(found: dict[str, np.ndarray], groups: list, margin: float) -> dict[str, np.ndarray]:
    """within_all of each pair, by limits of the pairs of other folds of groups."""
    names = list(dict.fromkeys(groups))
    fold = np.array([names.index(group) % FOLDS for group in groups])
    within = {name: np.zeros(len(fold), bool) for name in found}
    for number in np.unique(fold):
        limit = simultaneous_limits({name: values[fold != number] for name, values in found.items()}, margin)
        held = within_all({name: values[fold == number] for name, values in found.items()}, limit)
        for name, each in held.items():
            within[name][fold == number] = each
    return within


def limits(task: str, folder: Path) -> dict[str, dict]:
    images = [json.loads(line) for line in (folder / f"{task}.jsonl").read_text().splitlines()]
    if task == "lung_ct":
        images = without_cut(images + of_retests(folder))
    (found, subjects), margin = usable(task, images), MARGINS[task]
    limit, within = simultaneous_limits(found, margin), left_out(found, subjects, margin)
    of_subjects, of_pairs = (
        np.all(list(each.values()), axis=0)
        for each in (within, left_out(found, list(range(len(subjects))), margin))
    )
    people, pairs = len(set(subjects)), len(subjects)
    refused = sum(len(image["refused"]) for image in images)
    print(f"\n{task}, margin {margin}: {pairs} pairs of {people} subjects; {refused} refused")
    print(f"within all limits of other subjects: {of_subjects.sum()} ({of_subjects.mean():.1%})")
    print(f"within all limits of other pairs: {of_pairs.sum()} ({of_pairs.mean():.1%})")
    failed = [subject for subject, kept in zip(subjects, of_subjects, strict=True) if not kept]
    print(f"beyond those of other subjects: {dict(collections.Counter(failed))}")
    entries = {}
    print("| measure | repeatability coefficient | limit | left out: within it |\n|---|---|---|---|")
    for name, kind in KINDS[task].items():
        bound = limit_of_difference(kind, limit[name])
        own = limit_of_difference(kind, repeatability_coefficient(found[name]))
        print(f"| {name} ({kind}) | {own:.3g} | {bound:.3g} | {within[name].mean():.3f} |")
        names = {Path(image["image"]).name.split(".")[0] for image in images}  # with and without an ending
        source = f"measured on {pairs} pairs of {len(names)} real {HOW[task]}"
        entries[name] = {"kind": kind, "limit": float(f"{bound:.3g}"), "source": source, "pairs": pairs}
    lesions = [pair["objects"] for image in images for pair in image["pairs"] if "objects" in pair]
    if lesions and lesions[0][0] is not None:
        counts = collections.Counter(
            "the same" if a == b else "none and some" if 0 in (a, b) else "unlike" for a, b in lesions
        )
        print(f"lesions in the {len(lesions)} pairs: {dict(counts)}")
    return entries


def eyes() -> None:
    """How many pairs of two eyes are refused, and the most features of one that agree by chance."""
    items = {
        Path(item["image"]).stem: item
        for split in ("training", "validation", "test")
        for item in load_items("chase_db1", split)
    }
    names = sorted(items)  # Image_01L, Image_01R, Image_02L, ...
    loaded = {}
    for name in names:
        picture = read_volume(items[name]["image"]).array
        vessel = read_mask(items[name]["label"], items[name]["labels"]).array > 0
        loaded[name] = Photograph(picture, vessel, find_field_of_view(picture).mask)
    pairs = list(zip(names[::2], names[1::2], strict=True)) + list(pairwise(names[::2]))
    reasons = []
    for pair in pairs:
        try:
            found = register_photographs(*(loaded[name] for name in pair))
            print(pair, "registered", found.inliers, found.overlap)
        except InputError as error:
            reasons.append(error.got)
    print(f"{len(reasons)} of {len(pairs)} pairs of two eyes refused: {sorted(reasons)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("pairs", "limits", "eyes"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("tasks", nargs="*", default=[])
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.step == "eyes":
        eyes()
        return
    tasks = given.tasks or list(PAIRS)
    if given.step == "pairs":
        for task in tasks:
            measure(task, given.folder)
        return
    table = json.loads(TABLE.read_text())
    for task in tasks:
        table |= limits(task, given.folder)
    if given.write:
        TABLE.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
