"""Nodules of known volume, painted into a phantom or a real scan at two times, and what a follow-up finds.

    python tests/benchmarks/follow_up_growth.py FOLDER [BASE ...] [--seeds N]

At the second time the chest has another breath (8% longer lungs, less dense), pose, noise, kernel and
slice thickness (medseg.follow_up.repeatability.scan). Nodules are painted after the breath, so that their
true volume is known: those that stay, grow, shrink, are new, are gone, merge and split. FOLDER/growth.jsonl
notes each; the table shows true and found changes. A BASE is phantom or a name of follow_up_retest.SCANS.
"""

from __future__ import annotations

import argparse
import json
import math
from datetime import date
from pathlib import Path

import numpy as np
from follow_up_retest import DATA, SCANS, taken

from medseg.errors import MedsegError
from medseg.follow_up.chest import compare_chests, rules_of
from medseg.follow_up.repeatability.scan import draw_retake, retake_scan
from medseg.io import read_volume
from medseg.phantoms.chest_ct import Chest, chest
from medseg.phantoms.scanner import Scan
from medseg.pipeline import Segmenter
from medseg.volume import Volume

HU = 35.0
BREATH = 1.08
# Fate to the volumes in ml at each time; of merged and split ones each part.
FATES = {
    "unchanged": ([0.6], [0.6]),
    "unchanged large": ([3.0], [3.0]),
    "grown by 20%": ([1.0], [1.2]),  # within the repeatability: no change to be called
    "grown by 60%": ([0.8], [1.28]),
    "grown twofold": ([0.5], [1.0]),
    "grown fivefold": ([0.5], [2.5]),
    "shrunk by half": ([1.6], [0.8]),
    "new": ([], [0.7]),
    "gone": ([0.7], []),
    "merged": ([0.7, 0.7], [2.6, 2.6]),
    "split": ([2.6, 2.6], [0.7, 0.7]),
}
EXPECTED = {
    **{"unchanged": "unchanged", "unchanged large": "unchanged", "grown by 20%": "unchanged"},
    **dict.fromkeys(("grown by 60%", "grown twofold", "grown fivefold"), "grown"),
    **{"shrunk by half": "shrunk", "new": "new", "gone": "gone", "merged": "merged", "split": "split"},
}
APART_MM = 14.0  # of the centres of two parts: 0.7 ml has a radius of 5.5 mm, 2.6 ml of 8.5 mm


def base_of(name: str, seed: int) -> Volume:
    if name != "phantom":
        return read_volume(DATA / SCANS[name], "CT")
    scan = Scan(shape=(176, 176, 150), spacing_mm=(2.0, 2.0, 2.0), noise_hu=0.0, kernel="standard")
    made = chest(Chest(seed=seed, disease={}, scan=scan, contrast_hu=0.0))
    return Volume(made.array[None], affine=made.affine, source=f"phantom {seed}")


def places(labels: np.ndarray, image: np.ndarray, affine: np.ndarray, random: np.random.Generator) -> dict:
    """Fate to a place in mm: in aerated lung, away from the border, the airway and each other."""
    import edt

    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    depth = edt.edt(np.ascontiguousarray(np.isin(labels, (1, 2)) & (image < -500)), anisotropy=tuple(spacing))
    near = edt.edt(np.ascontiguousarray(labels != 3), anisotropy=tuple(spacing))
    deep = edt.edt(np.ascontiguousarray(np.isin(labels, (1, 2))), anisotropy=tuple(spacing))
    where = np.argwhere((depth > 3) & (near > 32) & (deep > 12))
    random.shuffle(where)
    found: dict[str, np.ndarray] = {}
    for voxel in where:
        place = affine[:3, :3] @ voxel + affine[:3, 3]
        if all(np.linalg.norm(place - other) > 36 for other in found.values()):
            found[next(fate for fate in FATES if fate not in found)] = place
        if len(found) == len(FATES):
            break
    return found


def breathed(volume: Volume, factor: float) -> Volume:
    """Longer lungs: the axis towards the head is stretched, and air added at the same mass."""
    affine = np.asarray(volume.affine).copy()
    affine[2, :] *= factor
    hu = volume.array.astype(np.float32)
    lung = (hu > -1000) & (hu < -500)
    return Volume(np.where(lung, (hu + 1000) / factor - 1000, hu).astype(np.int16), affine=affine)


def paint(volume: Volume, balls: list[tuple[np.ndarray, float]]) -> Volume:
    """Balls of a volume in ml, with the share of each voxel that they fill (5 x 5 x 5 places in a voxel)."""
    array, affine = volume.array[0].astype(np.float32), np.asarray(volume.affine)
    to_voxel = np.linalg.inv(affine)
    fine = (np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), -1).reshape(-1, 3) - 2) / 5
    offsets = fine @ affine[:3, :3].T
    share = np.zeros(array.shape, np.float32)
    for centre, volume_ml in balls:
        radius = (3000 * volume_ml / (4 * math.pi)) ** (1 / 3)
        middle = to_voxel[:3, :3] @ centre + to_voxel[:3, 3]
        reach = np.ceil((radius + 3) / np.linalg.norm(affine[:3, :3], axis=0)).astype(int)
        box = tuple(slice(max(0, int(m) - r), int(m) + r + 2) for m, r in zip(middle, reach, strict=True))
        voxels = np.stack(np.mgrid[box], -1)
        mm = voxels @ affine[:3, :3].T + affine[:3, 3] - centre
        inside = np.zeros(mm.shape[:-1], np.float32)
        for offset in offsets:
            inside += np.linalg.norm(mm + offset, axis=-1) <= radius
        share[box] = np.maximum(share[box], inside / len(offsets))
    painted = array + share * (HU - array)
    return Volume(np.rint(painted).astype(np.int16)[None], affine=affine, source=volume.source)


def balls_at(spots: dict, time: int, factor: float) -> list[tuple[np.ndarray, float]]:
    balls = []
    for fate, place in spots.items():
        volumes = FATES[fate][time]
        middle = place * (1, 1, factor)
        shifts = [0.0] if len(volumes) == 1 else [-APART_MM / 2, APART_MM / 2]
        balls += [(middle + np.array([0, shift, 0]), ml) for shift, ml in zip(shifts, volumes, strict=False)]
    return balls


def union_ml(volumes: list[float]) -> float:
    """Volume of the balls of one fate: two that overlap by less than their lens."""
    if len(volumes) < 2:
        return sum(volumes)
    radius = (3000 * volumes[0] / (4 * math.pi)) ** (1 / 3)
    overlap = max(0.0, 2 * radius - APART_MM)
    lens = math.pi * overlap**2 * (3 * radius - overlap / 2) / 6 if overlap else 0.0
    return 2 * volumes[0] - lens / 1000


def followed(name: str, seed: int, segmenter: Segmenter, rules) -> list[dict]:
    random = np.random.default_rng(seed)
    base = base_of(name, seed)
    first = segmenter.case(base)
    spots = places(first.mask.array, base.array[0], np.asarray(base.affine), random)
    chests, moves = [], []
    for take, factor in enumerate((1.0, BREATH)):
        retake = draw_retake(random)
        volume = paint(breathed(base, factor), balls_at(spots, take, factor))
        moves.append((retake, volume))
        chests.append(
            taken(segmenter, rules, retake_scan(volume, retake, random), date(2025, 1 + 6 * take, 1))
        )
    found = compare_chests(*chests, rules)
    rows = []
    for fate, place in spots.items():
        rows.append(_judged(fate, place, chests, moves, found) | {"base": name, "seed": seed})
    for row in rows:
        row["registration"] = {key: entry["value"] for key, entry in found.registration.items()}
        row["takes"] = [[retake.kernel, round(retake.thickness, 2)] for retake, _ in moves]
    own = [n for row in rows for n in row["objects"]]
    others = [each.kind for n, each in enumerate(found.objects) if n not in own]
    rows[0]["others"] = others
    return rows


def _judged(fate: str, place: np.ndarray, chests, moves, found) -> dict:
    """The changes whose regions lie where the fate was painted."""
    from medseg.follow_up.repeatability import scan

    numbers = []
    for take, factor in enumerate((1.0, BREATH)):
        retake, volume = moves[take]
        moved = scan._moved(retake, np.asarray(volume.affine), volume.array.shape[1:])
        spot = moved[:3, :3] @ (place * (1, 1, factor)) + moved[:3, 3]
        regions = chests[take].regions
        numbers.append(
            {
                n + 1
                for n, each in enumerate(regions)
                if np.linalg.norm(each.places_mm - spot, axis=1).min() < 10
            }
        )
    hits = [
        n
        for n, each in enumerate(found.objects)
        if set(each.earlier) & numbers[0] or set(each.later) & numbers[1]
    ]
    truth = [union_ml(volumes) for volumes in FATES[fate]]
    row = {"fate": fate, "true_ml": truth, "kinds": [found.objects[n].kind for n in hits], "objects": hits}
    sizes = [(found.objects[n].earlier_size, found.objects[n].later_size) for n in hits]
    return row | {"found_ml": sizes[0] if len(sizes) == 1 else None, "sizes": sizes}


def table(rows: list[dict], limit: float) -> None:
    print("| painted | true change | cases | called as painted | change found, median | largest error |")
    print("|---|---|---|---|---|---|")
    for fate, expected in EXPECTED.items():
        own = [row for row in rows if row["fate"] == fate]
        right = sum(row["kinds"] == [expected] for row in own)
        errors, founds = [], []
        for row in own:
            (before, after), pair = row["true_ml"], row["found_ml"]
            if before and after and pair and all(pair):
                founds.append(pair[1] / pair[0] - 1)
                errors.append(abs(math.log(pair[1] / pair[0] / (after / before))))
        before, after = own[0]["true_ml"] if own else (0, 0)
        true = f"{after / before - 1:+.0%}" if before and after else ""
        text = f"{np.median(founds):+.0%} | {math.expm1(max(errors)):.0%}" if errors else "| "
        print(f"| {fate} | {true} | {len(own)} | {right} | {text} |")
    others = [kind for row in rows for kind in row.get("others", [])]
    print(f"regions that were not painted: { {kind: others.count(kind) for kind in sorted(set(others))} }")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("bases", nargs="*", default=["phantom"])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    file = options.folder / "growth.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    there = {(row["base"], row["seed"]) for row in rows}
    segmenter, rules = Segmenter("lung_ct", device="cpu"), rules_of("lung_ct", None)
    for base in options.bases:
        for seed in range(options.seeds):
            if (base, seed) in there:
                continue
            try:
                more = followed(base, seed, segmenter, rules)
            except MedsegError as error:
                print(base, seed, error)
                continue
            rows += more
            with file.open("a") as lines:
                lines.writelines(json.dumps(row) + "\n" for row in more)
    table(rows, 0.25)


if __name__ == "__main__":
    main()
