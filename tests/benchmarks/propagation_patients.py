"""One drawn slice carried through real CTs: Dice against the distance from it, beside simpler ways.

    python tests/benchmarks/propagation_patients.py [PICTURE.png]

MEDSEG_DATA names the folder with lung_ct/. The references are rules, not people: lungs are those of the
classical method (which goes by HU, as the carried outline does), lesions are what is denser than -400 HU
inside the closed lung. Ways: the drawn mask copied to every slice; the flow alone; the values alone, without
flow; both, which is what `medseg propagate` does. With PICTURE, the mass of cmb_crc_01068: the reference,
then each way.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from medseg.io import read_volume
from medseg.methods import optical_flow
from medseg.morphology import closing_depth_mm
from medseg.pipeline import Segmenter

LUNGS = ("lidc_1011.zip", "more/popi.nii.gz", "more/lidc_0001.nii.gz")
# File, a voxel in the lesion, the radius in mm that holds it, and the slice that is drawn.
LESIONS = (
    ("more/cmb_crc_01068.nii.gz", (180, 120, 50), 22, 50),
    ("more/rider_pilot_0117.nii.gz", (104, 100, 23), 20, 21),
)
DISTANCES_MM = (0, 5, 10, 20, 40)
WAYS = {"copy": None, "flow": (True, False), "values": (False, True), "flow and values": (True, True)}
CARRIED = optical_flow.carried


def lung_cases(folder):
    segmenter = Segmenter("lung_ct", "cpu", method="classical")
    for name in LUNGS:
        case = segmenter.case(str(folder / name))
        spacing = np.linalg.norm(case.mask.affine[:3, :3], axis=0)
        for value in (1, 2):
            there = np.flatnonzero((case.mask.array == value).any(axis=(0, 1)))
            middle = int(there[len(there) // 2])
            label = f"{Path(name).name.split('.')[0]}, {case.mask.labels[value].replace('_', ' ')}"
            yield label, case.image[0], case.mask.array == value, spacing, middle, 40


def lesion_cases(folder):
    for name, seed, radius_mm, drawn in LESIONS:
        volume = read_volume(folder / name)
        hu, spacing = volume.array[0], np.linalg.norm(volume.affine[:3, :3], axis=0)
        grid = np.ogrid[tuple(slice(0, size) for size in hu.shape)]
        away = np.sqrt(sum(((axis - at) * mm) ** 2 for axis, at, mm in zip(grid, seed, spacing, strict=True)))
        box = tuple(
            slice(max(0, int(at - 60 / mm)), int(at + 60 / mm)) for at, mm in zip(seed, spacing, strict=True)
        )
        room = np.zeros(hu.shape, bool)
        room[box] = closing_depth_mm(hu[box] < -400, 14, spacing) > 0
        dense = ndimage.binary_opening((hu > -400) & room & (away < radius_mm))
        numbers, _ = ndimage.label(dense)
        yield f"{Path(name).name.split('.')[0]}, lesion", hu, numbers == numbers[seed], spacing, drawn, 60


def carried_by(way, hu, truth, spacing, drawn, reach_mm):
    """The mask that one way makes, and its seconds."""
    found = np.zeros(truth.shape, bool)
    found[:, :, drawn] = largest(truth[:, :, drawn])
    steps = round(reach_mm / spacing[2])
    begin = time.process_time()
    for way_of_slices in (range(drawn - 1, -1, -1), range(drawn + 1, hu.shape[2])):
        slices = list(way_of_slices)[:steps]
        if WAYS[way] is None:
            found[:, :, slices] = found[:, :, drawn : drawn + 1]
            continue
        flow, values = WAYS[way]
        optical_flow.carried = CARRIED if flow else lambda levels, *_: list(levels)
        start = optical_flow.drawn(hu[:, :, drawn], found[:, :, drawn], tuple(spacing[:2]))
        levels, _ = optical_flow.follow(start, (hu[:, :, n] for n in slices), refine=values)
        for n, level in zip(slices, levels, strict=False):
            found[:, :, n] = level > 0
    return found, time.process_time() - begin


def largest(mask):
    numbers, _ = ndimage.label(mask)
    return numbers == np.bincount(numbers[mask]).argmax()


def dice(found, truth):
    total = found.sum() + truth.sum()
    return 2 * (found & truth).sum() / total if total else float("nan")


def row(found, truth, spacing, drawn, reach_mm):
    """Dice at each distance, the mean of both directions, and within the reach; how far it runs on."""
    cells = []
    for distance in DISTANCES_MM:
        steps = round(distance / spacing[2])
        slices = [n for n in {drawn - steps, drawn + steps} if 0 <= n < truth.shape[2]]
        scores = [dice(found[:, :, n], truth[:, :, n]) for n in slices]
        known = [score for score in scores if np.isfinite(score)]
        cells.append(f"{np.mean(known):.3f}" if known else "-")
    steps = round(reach_mm / spacing[2])
    near = slice(max(0, drawn - steps), drawn + steps + 1)
    ends = [np.flatnonzero(mask[:, :, near].any(axis=(0, 1)))[[0, -1]] for mask in (found, truth)]
    too_far = [(ends[1][0] - ends[0][0]) * spacing[2], (ends[0][1] - ends[1][1]) * spacing[2]]
    return [*cells, f"{dice(found[:, :, near], truth[:, :, near]):.3f}", "{:+.1f} / {:+.1f}".format(*too_far)]


def picture(hu, masks, drawn, path):
    """Each mask in a row, slice after slice."""
    from medseg.io.raster import write_picture
    from medseg.reports.picture_overlay import draw_picture_overlay
    from medseg.volume import Mask

    box = tuple(slice(int(at[0]) - 20, int(at[-1]) + 21) for at in map(np.unique, np.nonzero(masks[0])[:2]))
    scaled = np.clip((hu.astype(np.float32) + 1350) / 1600, 0, 1).repeat(3, axis=0).repeat(3, axis=1)
    box = tuple(slice(3 * part.start, 3 * part.stop) for part in box)
    rows = []
    for mask in masks:
        large = mask.astype(np.uint8).repeat(3, axis=0).repeat(3, axis=1)
        tiles = [
            draw_picture_overlay(scaled[(*box, n)].T[None], Mask(large[(*box, n)].T))
            for n in range(drawn - 6, drawn + 8)
        ]
        rows.append(np.hstack(tiles))
    write_picture(np.vstack(rows), Path(path))


def main():
    folder = Path(os.environ["MEDSEG_DATA"]) / "lung_ct"
    print(
        "| case | way | " + " | ".join(f"{mm} mm" for mm in DISTANCES_MM) + " | all | too far, mm | s/slice |"
    )
    print("|---|---|" + "---|" * (len(DISTANCES_MM) + 3))
    for name, hu, truth, spacing, drawn, reach_mm in [*lesion_cases(folder), *lung_cases(folder)]:
        masks = [truth]
        for way in WAYS:
            found, seconds = carried_by(way, hu, truth, spacing, drawn, reach_mm)
            masks.append(found)
            count = max(1, np.count_nonzero(found.any(axis=(0, 1))) - 1)
            cells = [*row(found, truth, spacing, drawn, reach_mm), f"{seconds / count:.2f}"]
            print(f"| {name} | {way} | " + " | ".join(cells) + " |", flush=True)
        if name.startswith("cmb") and len(sys.argv) > 1:
            picture(hu, masks, drawn, sys.argv[1])


if __name__ == "__main__":
    main()
