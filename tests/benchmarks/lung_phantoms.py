"""The lung network beside the classical method: held-out phantoms by disease, and real scans.

    python -m monai.bundle run --config_file bundles/lung_ct/configs/data.yaml --output_dir DATA/lung_made
    python tests/benchmarks/lung_phantoms.py DATA/lung_made/test [--weights FILE]
    python tests/benchmarks/lung_phantoms.py --real

Phantoms are read from files, through the content gate and all else that a scan goes through. --weights takes
other weights than the shipped ones, such as random ones, which must fail. --real scores cip_64 and
elastix_right_lung (MEDSEG_DATA), which took no part in training, and lidc_1011 with disease painted into it,
against its silver mask; the healthy lidc_1011 is a training scan.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

import medseg
from medseg.errors import MedsegError
from medseg.grid import plan, to_grid
from medseg.io import nifti, read_mask, read_volume
from medseg.metrics import bootstrap_interval, confusion
from medseg.surface import score_labels
from medseg.transforms.lung_disease import KINDS, RandLungDiseased

LABELS = {0: "background", 1: "left_lung", 2: "right_lung", 3: "airway"}
GROUPS = {"lungs": ["left_lung", "right_lung"]}
ORGANS = ("left_lung", "right_lung", "lungs", "airway")
PAINTED_PER_KIND = 2


def segmenters(weights):
    own = {"weights": str(weights), "weights_sha256": None} if weights else {}
    return {
        "network": medseg.Segmenter("lung_ct", "cpu", own),
        "classical": medseg.Segmenter("lung_ct", "cpu", method="classical"),
    }


def scores_of(segmenter, image, truth):
    """Scores of one case; a scan that is refused has none of its lungs."""
    try:
        found = segmenter(image).mask.array
    except MedsegError as error:
        print(f"{image.name}: {error}", file=sys.stderr)
        found = np.zeros_like(truth.array)
    return score_labels(found, truth.array, LABELS, truth.spacing_mm, groups=GROUPS)


def phantoms(folder, weights, table):
    methods = segmenters(weights)
    rows = []
    for image in sorted((folder / "images").glob("*.nii.gz")):
        truth = read_mask(folder / "labels" / image.name, LABELS)
        for name, segmenter in methods.items():
            scores = scores_of(segmenter, image, truth)
            rows.append({"case": image.name, "kind": image.name.rpartition("_")[0], "method": name, **scores})
        print(
            image.name,
            *(f"{row['dice_lungs']:.3f} {row['dice_airway']:.3f}" for row in rows[-2:]),
            flush=True,
        )
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    show(rows)


def show(rows):
    """Tables by disease: means of each method, and the difference in lung Dice with its interval."""
    kinds = defaultdict(list)
    for row in rows:
        kinds[row["kind"]].append(row)
    groups = {**kinds, "diseased": [row for row in rows if row["kind"] != "healthy"], "all": rows}
    for measure in ("dice", "surface_dice", "hd95_mm"):
        print(
            f"\n{measure}: network | classical\n\n| | n | "
            + " | ".join(ORGANS)
            + " |\n|---|---|"
            + "---|" * 4
        )
        for kind, members in groups.items():
            cells = []
            for organ in ORGANS:
                pair = [mean(members, method, f"{measure}_{organ}") for method in ("network", "classical")]
                cells.append(" / ".join("-" if value is None else f"{value:.3f}" for value in pair))
            print(f"| {kind} | {len(members) // 2} | " + " | ".join(cells) + " |")
    print("\n| | n | network - classical, Dice of both lungs | 95% interval |\n|---|---|---|---|")
    for kind, members in groups.items():
        by_case = defaultdict(dict)
        for row in members:
            by_case[row["case"]][row["method"]] = row["dice_lungs"]
        differences = [pair["network"] - pair["classical"] for pair in by_case.values()]
        middle, low, high = bootstrap_interval(differences, list(by_case))
        print(f"| {kind} | {len(by_case)} | {middle:+.3f} | {low:+.3f} to {high:+.3f} |")


def mean(rows, method, name):
    values = [row[name] for row in rows if row["method"] == method and row[name] is not None]
    return float(np.mean(values)) if values else None


def real_scans(folder, weights):
    methods = segmenters(weights)
    cip, lungs = folder / "cip_64" / "ct-64.nrrd", folder / "cip_64" / "wholeLung-64.nrrd"
    both = read_volume(lungs).array[0] > 0
    crop, mask = (
        folder / "elastix_right_lung" / name for name in ("3DCT_lung.mha", "3DCT_lung_baseline_mask.mha")
    )
    right = read_volume(mask).array[0] > 0
    for name, segmenter in methods.items():
        found = segmenter(cip).mask.array
        print(f"cip_64, both lungs, {name}: {confusion(np.isin(found, (1, 2)), both).dice:.3f}")
        found = segmenter(crop).mask.array
        print(f"elastix, right lung, {name}: {confusion(found == 2, right).dice:.3f}", flush=True)
    painted(folder / "lidc_1011.zip", methods)


def painted(study, methods):
    """Disease in lidc_1011, resampled to 1.5 mm; the classical mask of the healthy scan is the reference."""
    volume = read_volume(study, "CT")
    grid = plan(volume.array.shape[1:], volume.affine, 1.5)
    hu = to_grid(torch.as_tensor(np.clip(volume.array, -1024, 1500)), grid)
    with tempfile.TemporaryDirectory() as place:
        healthy = Path(place) / "healthy.nii.gz"
        nifti.write(hu[0].numpy().astype(np.int16), grid.affine, healthy)
        truth = methods["classical"](healthy).mask
        labels = torch.as_tensor(truth.array[None].astype(np.float32))
        values = defaultdict(list)
        for kind in ("none", *KINDS):
            for seed in range(1 if kind == "none" else PAINTED_PER_KIND):
                image = paint(hu, labels, kind, seed)
                path = Path(place) / f"{kind}_{seed}.nii.gz"
                nifti.write(image, grid.affine, path)
                for name, segmenter in methods.items():
                    scores = scores_of(segmenter, path, truth)
                    values[kind, name].append(scores["dice_lungs"])
                    print(f"lidc_1011, {kind} {seed}, {name}: {scores['dice_lungs']:.3f}", flush=True)
    for name in methods:
        diseased = [
            v for (kind, method), vs in values.items() if method == name and kind != "none" for v in vs
        ]
        print(f"lidc_1011 painted, {name}: mean {np.mean(diseased):.3f}, lowest {min(diseased):.3f}")


def paint(hu, labels, kind, seed):
    if kind == "none":
        return hu[0].numpy().astype(np.int16)
    transform = RandLungDiseased("image", prob=1.0, spacing_mm=1.5, kinds=[kind])
    transform.set_random_state(90_000 + seed)
    done = transform({"image": (hu + 1024) / 1500, "label": labels})["image"]
    return np.rint(done[0].numpy() * 1500 - 1024).astype(np.int16)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--table", type=Path, default=Path("out/lung_phantoms.csv"))
    parser.add_argument("--real", action="store_true")
    options = parser.parse_args()
    if options.folder:
        options.table.parent.mkdir(parents=True, exist_ok=True)
        phantoms(options.folder, options.weights, options.table)
    if options.real:
        real_scans(Path(os.environ.get("MEDSEG_DATA", "../shared/data")) / "lung_ct", options.weights)


if __name__ == "__main__":
    main()
