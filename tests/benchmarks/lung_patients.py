"""Lungs of real patients, each by a network that never saw the patient, beside the rules.

    python tests/benchmarks/lung_patients.py TRAININGS WEIGHTS [CASE ...]

TRAININGS is the output_dir of `medseg train lung_ct --folds 4`, WEIGHTS a file for cases that train nothing.
With - for TRAININGS that file is for all: name cases that it did not learn from. What is refused, as abdomens
and their painted lungs are, has no figure.
MEDSEG_DATA names the folder with lung_made/. A line of JSON a case and method, and a table at the end.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from lung_trials import PAINTS, agreement, lung_dice, painted, stray_ml

from medseg.data.manifests import data_root, load_items
from medseg.errors import UnsuitableError
from medseg.io import read_mask, read_volume
from medseg.pipeline import Segmenter
from medseg.volume import Volume


def trial(segment, item):
    scan = read_volume(item["image"], "CT")
    known = read_mask(item["label"], item["labels"]).array
    corrected = read_volume(data_root() / item["corrected"]).array[0]
    hu = np.maximum(scan.array[0], -1024).astype(np.int16)
    try:
        mask = segment.case(scan).mask.array
    except UnsuitableError:
        return {}
    row = {
        "stray_ml": stray_ml(mask, hu, known, scan.affine),
        **{f"dice_{name}": value for name, value in lung_dice(mask, known).items()},
        **agreement(mask, known, corrected),
    }
    if (known == 3).any():
        row["dice_airway"] = 2 * ((mask == 3) & (known == 3)).sum() / ((mask == 3).sum() + (known == 3).sum())
    for paint in PAINTS:
        diseased = painted(hu, known, scan.affine, paint)
        try:
            found = segment.case(Volume(diseased[None], scan.affine, source=item["image"])).mask.array
        except UnsuitableError:
            continue
        row[paint] = lung_dice(found, known)["lungs"]
        row[f"{paint}_stray_ml"] = stray_ml(found, hu, known, scan.affine)
    return {key: round(float(value), 4) for key, value in row.items()}


def main():
    trainings, weights, wanted = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    items = load_items("lung_silver", "training") + load_items("lung_silver", "test")
    rules = Segmenter("lung_ct", "cpu", method="classical")
    rows = {}
    for item in items:
        name = Path(item["image"]).name.removesuffix(".nii.gz")
        if wanted and name not in wanted:
            continue
        held_out = "fold" in item and str(trainings) != "-"
        own = trainings / f"fold_{item['fold'] - 1}" / "models" / "model.pt" if held_out else weights
        network = Segmenter("lung_ct", "cpu", method="residual_unet", weights=own)
        for method, segment in (("rules", rules), ("network", network)):
            rows[name, method] = trial(segment, item)
            print(json.dumps({"case": name, "method": method, **rows[name, method]}), flush=True)
    columns = ["stray_ml", "dice_lungs", "dice_airway", "right", *PAINTS]
    print("| case | " + " | ".join(columns) + " |\n|---" * (len(columns) > 0) + "|---" * len(columns) + "|")
    for name in dict.fromkeys(name for name, _ in rows):
        cells = [
            " / ".join(f"{rows[name, method].get(c, float('nan')):.3g}" for method in ("network", "rules"))
            for c in columns
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
