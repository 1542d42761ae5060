"""The limits of change, measured on real images that are taken twice by simulation.

    python tests/benchmarks/repeatability.py pairs FOLDER [TASK ...]
    python tests/benchmarks/repeatability.py limits FOLDER [--write]
    python tests/benchmarks/repeatability.py eyes FOLDER

`pairs` takes each real image again as several other days' settings would show it, segments each with the
shipped weights, and notes in FOLDER/TASK.jsonl what a follow-up would compare; images that are there already
are left out. `limits` fits the limits on every other subject, shows how many pairs of the rest stay
within all of them, and with --write puts them into medseg/follow_up/repeatability.json. `eyes` tries to
register photographs of two eyes (CHASE_DB1: left against right, and each with the next subject's), which must
be refused. MEDSEG_DATA names the real data.
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
    simultaneous_factor,
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
PAIRS = {"lung_ct": 6, "retinal_vessel": 2, "breast_ultrasound": 2}
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
    "of view and pose, but the same breath; classical method",
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
    """Measure to its differences, (pairs,); NaN where one of the two has no value.

    Pictures of lesions count where each shows one: only then does a follow-up take them for the same.
    """
    pairs = [
        pair["values"]
        for image in images
        for pair in image["pairs"]
        if task != "breast_ultrasound" or pair["objects"] == [1, 1]
    ]
    return {
        name: np.array(
            [np.nan if None in (a[name], b[name]) else difference(kind, a[name], b[name]) for a, b in pairs]
        )
        for name, kind in KINDS[task].items()
    }


def usable(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Only pairs with finite differences of all measures that both have, and with any."""
    finite = np.all([np.isfinite(values) | np.isnan(values) for values in found.values()], axis=0)
    some = np.any([np.isfinite(values) for values in found.values()], axis=0)
    return {name: values[finite & some] for name, values in found.items()}


def halves(images: list[dict]) -> tuple[list[dict], list[dict]]:
    """Images of every other subject, and of the rest: both eyes or breasts of a subject are in one half."""
    subject = {image["image"]: re.sub(r"(?<=\d)(-[lrs]|[LR])$", "", image["image"]) for image in images}
    place = {name: number for number, name in enumerate(dict.fromkeys(subject.values()))}
    parts: tuple[list[dict], list[dict]] = ([], [])
    for image in images:
        parts[place[subject[image["image"]]] % 2].append(image)
    return parts


def limits(task: str, folder: Path) -> dict[str, dict]:
    images = [json.loads(line) for line in (folder / f"{task}.jsonl").read_text().splitlines()]
    fitted_on, held_out = halves(images)
    fit, held = (usable(differences(task, half)) for half in (fitted_on, held_out))
    coefficients = {name: max(repeatability_coefficient(values), 1e-9) for name, values in fit.items()}
    factor = simultaneous_factor(fit, coefficients)
    within = {name: ~(np.abs(values) > factor * coefficients[name]) for name, values in held.items()}
    pairs = len(next(iter(fit.values())))
    joint, count = np.all(list(within.values()), axis=0), len(next(iter(held.values())))
    refused = sum(len(image["refused"]) for image in images)
    print(
        f"\n{task}: fitted on {pairs} pairs of {len(fitted_on)} images, factor {factor:.2f}; "
        f"{refused} refused"
    )
    print(f"held out: {joint.sum()} of {count} pairs of {len(held_out)} images within all limits")
    alone = {name: np.nanmean(np.abs(v) <= coefficients[name]) for name, v in held.items()}
    entries = {}
    print(
        "| measure | coefficient | limit | held out within the limit | within the coefficient |"
        "\n|---|---|---|---|---|"
    )
    for name, kind in KINDS[task].items():
        limit = limit_of_difference(kind, factor * coefficients[name])
        own = limit_of_difference(kind, coefficients[name])
        print(
            f"| {name} ({kind}) | {own:.3g} | {limit:.3g} | {within[name].mean():.3f} | {alone[name]:.3f} |"
        )
        source = f"measured on {pairs} pairs of {len(fitted_on)} real {HOW[task]}"
        entries[name] = {"kind": kind, "limit": float(f"{limit:.3g}"), "source": source, "pairs": pairs}
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
