"""What networks say of breasts that they did not learn from, kept in a file that later work learns from.

    python tests/benchmarks/breast_out_of_fold.py TRAININGS OUT.jsonl.gz [MANIFEST ...]

TRAININGS is the output_dir of `medseg train breast_ultrasound --folds 4`; a file of weights answers for all
cases, which it should not have learnt from. A line of JSON a case: data set, case, subject, device,
pathology, fold, `lesion_probability` and `malignancy` (before offsets and temperatures), the scores of the
mask, and the mask before the picture's own answer empties it, run-length coded: `size` (rows, columns) and
`counts`, lengths of 0s and 1s in turn, row by row. For each picture with a lesion, a line more for the
largest square part of its scan that has none (`part`: first row and column, and side; at least 128 px).
MEDSEG_DATA names the folder with breast/.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import numpy as np

from medseg.data.manifests import load_items
from medseg.errors import UnsuitableError
from medseg.evaluation.object_scores import score_objects
from medseg.evaluation.references import read_reference
from medseg.pipeline import Segmenter
from medseg.quality.ultrasound import find_region

LEAST_PX, MARGIN_PX = 128, 6
RAW = {"temperatures": [1.0, 1.0], "offsets": [0.0, 0.0], "lesion_threshold": 0.0}


def run_lengths(mask: np.ndarray) -> list[int]:
    """Lengths of the runs of 0 and 1 in turn, row by row; the first may be 0."""
    flat = np.concatenate([[0], np.asarray(mask).ravel() != 0, [0]]).astype(np.int8)
    edges = np.flatnonzero(np.diff(flat))
    return np.diff([0, *edges, mask.size]).tolist()


def largest_square(free: np.ndarray) -> tuple[int, int, int]:
    """First row and column, and side, of the largest square of True in (row, column) bool."""
    sides = np.zeros(free.shape, int)
    for row in range(free.shape[0]):
        for column in range(free.shape[1]):
            if free[row, column]:
                near = min(sides[row - 1, column - 1], sides[row - 1, column], sides[row, column - 1])
                sides[row, column] = 1 + (near if row and column else 0)
    side = int(sides.max())
    row, column = np.unravel_index(sides.argmax(), sides.shape)
    return int(row) - side + 1, int(column) - side + 1, side


def part_without(picture: np.ndarray, lesion: np.ndarray) -> tuple[int, int, int] | None:
    """The largest square of the scan without the lesion, on a grid of 4 px; of (C, row, column)."""
    from scipy.ndimage import binary_dilation

    free = find_region(picture).mask & ~binary_dilation(lesion, iterations=MARGIN_PX)
    rows, columns = (size // 4 for size in free.shape)
    blocks = free[: 4 * rows, : 4 * columns].reshape(rows, 4, columns, 4).all(axis=(1, 3))
    part = tuple(4 * value for value in largest_square(blocks))
    return part if part[2] >= LEAST_PX else None


def answers(segment: Segmenter, source) -> dict:
    case = segment.case(source)
    numbers = {name: round(float(case.extras[name]), 5) for name in ("lesion_probability", "malignancy")}
    return {**numbers, "size": list(case.mask.array.shape), "counts": run_lengths(case.mask.array)}, case


def lines(trainings: Path, manifests: list[str]):
    segmenters: dict = {}
    items = [item for split in ("training", "validation") for item in load_items(manifests, split)]
    for item in items:
        fold = item["fold"] - 1 if trainings.is_dir() else None
        if fold not in segmenters:
            segmenters[fold] = Segmenter(
                "breast_ultrasound", "cpu", RAW, weights=trainings, weights_fold=fold
            )
        segment = segmenters[fold]
        about = {
            key: item[key] for key in ("data_set", "subject", "device", "pathology", "fold") if key in item
        }
        about["case"] = Path(item["image"]).stem
        try:
            found, case = answers(segment, item["image"])
        except UnsuitableError as error:
            yield {**about, "refused": str(error)}
            continue
        reference = read_reference(item, case)
        scores = score_objects(case, reference)[""]
        kept = ("dice", "iou", "hd95_px", "lesion_sensitivity", "touched", "false_positives")
        yield {**about, **{name: scores[name] for name in kept}, **found}
        lesion = reference.mask.array == 1
        picture = np.asarray(case.image)
        part = part_without(picture, lesion) if lesion.any() else None
        if part is not None:
            row, column, side = part
            cut = np.moveaxis(picture[:, row : row + side, column : column + side], 0, -1).squeeze()
            try:
                found, _ = answers(segment, np.ascontiguousarray(cut))
            except UnsuitableError as error:
                found = {"refused": str(error)}
            yield {**about, "part": list(part), **found}


def main() -> None:
    trainings, out = Path(sys.argv[1]), Path(sys.argv[2])
    with gzip.open(out, "wt", encoding="utf-8") as file:
        for number, line in enumerate(lines(trainings, sys.argv[3:] or ["bus_bra", "busi"])):
            file.write(json.dumps(line) + "\n")
            if number % 100 == 0:
                print(number, line["case"], flush=True)


if __name__ == "__main__":
    main()
