"""Dice of the classical lungs and airway on held-out phantoms, healthy and diseased apart, and on real scans.

    python tests/benchmarks/lung_phantoms.py [COUNT]

Half of the phantoms are healthy; the others have one disease each, in turn. Position, size, spacing, noise,
kernel and field of view are drawn from the seed. The seeds took no part in choosing thresholds.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from medseg.classical import ClassicalLungs
from medseg.grid import plan, to_grid, to_source
from medseg.io import read_volume
from medseg.metrics import confusion
from medseg.phantoms import Chest, chest
from medseg.phantoms.disease import DISEASES

FIRST_SEED = 5000
SPACING_MM = 1.5
NAMES = {1: "left lung", 2: "right lung", 3: "airway"}


def segment(array_hu, affine):
    """(i, j, k) labels of the classical method, the way that the bundle goes."""
    grid = plan(array_hu.shape, affine, SPACING_MM)
    image = torch.as_tensor(np.maximum(array_hu, -1024))[None]
    with torch.inference_mode():
        scores = ClassicalLungs(SPACING_MM)(to_grid(image, grid)[None])[0]
    return to_source(scores, grid)[0].numpy()


def dice(found, truth):
    """Label name to Dice, lungs together too; without what neither has."""
    pairs = {name: (found == label, truth == label) for label, name in NAMES.items()}
    pairs["both lungs"] = (np.isin(found, (1, 2)), np.isin(truth, (1, 2)))
    return {name: confusion(a, b).dice for name, (a, b) in pairs.items() if a.any() or b.any()}


def phantoms(count):
    scores = defaultdict(lambda: defaultdict(list))
    kinds = list(DISEASES)
    for number in range(count):
        kind = None if number % 2 == 0 else kinds[number // 2 % len(kinds)]
        disease = {kind: 0.7} if kind else {}
        case = chest(Chest(seed=FIRST_SEED + number, disease=disease))
        values = dice(segment(case.array, case.affine), case.labels)
        print(number, kind, {name: round(value, 3) for name, value in values.items()}, flush=True)
        for group in ("diseased", kind) if kind else ("healthy",):
            for name, value in values.items():
                scores[group][name].append(value)
    return scores


def real_scans(folder):
    ct = read_volume(folder / "cip_64" / "ct-64.nrrd")
    lungs = read_volume(folder / "cip_64" / "wholeLung-64.nrrd").array[0] > 0
    found = segment(ct.array[0], ct.affine)
    print(f"cip_64, both lungs: {confusion(np.isin(found, (1, 2)), lungs).dice:.3f}")
    ct = read_volume(folder / "elastix_right_lung" / "3DCT_lung.mha")
    right = read_volume(folder / "elastix_right_lung" / "3DCT_lung_baseline_mask.mha").array[0] > 0
    print(f"elastix, right lung: {confusion(segment(ct.array[0], ct.affine) == 2, right).dice:.3f}")


def main():
    scores = phantoms(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
    print("| phantoms | n | " + " | ".join([*NAMES.values(), "both lungs"]) + " |")
    for group, values in scores.items():
        cells = [f"{np.mean(values[name]):.3f}" for name in (*NAMES.values(), "both lungs")]
        print(f"| {group} | {len(values['both lungs'])} | " + " | ".join(cells) + " |")
    data = Path(os.environ.get("MEDSEG_DATA", "../shared/data")) / "lung_ct"
    if data.is_dir():
        real_scans(data)


if __name__ == "__main__":
    main()
