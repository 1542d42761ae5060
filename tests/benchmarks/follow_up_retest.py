"""Chest CTs taken twice by simulation, with nothing changed: what a follow-up says of them.

    python tests/benchmarks/follow_up_retest.py pairs FOLDER [SCAN ...] [--takes N] [--strength S]
    python tests/benchmarks/follow_up_retest.py limits FOLDER [--write]

`pairs` takes each real scan N times again (medseg.follow_up.repeatability.scan), segments and registers all
pairs of takes, and notes the differences in FOLDER/pairs.jsonl; scans that are there already are left out.
`limits` prints how far dense regions, lungs and the map differ, and in how many pairs a change is called, and
with --write puts the limits of regions and of the map into medseg/follow_up/repeatability.json.
MEDSEG_DATA names the real data.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from datetime import date
from itertools import combinations
from pathlib import Path

import numpy as np

from medseg.errors import MedsegError
from medseg.follow_up import dense
from medseg.follow_up.chest import MAP, MAP_LIMIT, Chest, ChestRules, compare_chests, prepared, rules_of
from medseg.follow_up.record import Visit
from medseg.follow_up.repeatability.scan import draw_retake, retake_scan
from medseg.io import read_volume
from medseg.pipeline import Segmenter
from medseg.volume import Volume

DATA = Path(os.environ.get("MEDSEG_DATA", "../shared/data")) / "lung_ct"
TABLE = Path(__file__).parents[2] / "medseg" / "follow_up" / "repeatability.json"
SCANS = {
    "popi": "more/popi.nii.gz",
    "lidc_0001": "more/lidc_0001.nii.gz",
    "cmb_crc_01068": "more/cmb_crc_01068.nii.gz",
    "lungfcp_0001": "more/lungfcp_0001.nii.gz",
    "acrin_flt_breast_013": "more/acrin_flt_breast_013.nii.gz",
    "rider_pilot_0117": "more/rider_pilot_0117.nii.gz",
    "lidc_1011": "lidc_1011.zip",
}


def taken(segmenter: Segmenter, rules: ChestRules, volume: Volume, day: date) -> Chest:
    """A volume segmented and prepared."""
    result = segmenter(volume)
    visit = Visit("take", day, result.mask, volume, result.measurements, result.provenance, result.window)
    return prepared(visit, rules)


def pairs(folder: Path, names: list[str], takes: int, strength: float, seed: int) -> None:
    segmenter, rules = Segmenter("lung_ct", device="cpu"), rules_of("lung_ct", None)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "pairs.jsonl"
    there = {json.loads(line)["scan"] for line in file.read_text().splitlines()} if file.exists() else set()
    for name in names or SCANS:
        if name in there:
            continue
        random = np.random.default_rng((seed, len(name) + sum(map(ord, name))))
        volume = read_volume(DATA / SCANS[name], "CT")
        chests = []
        for take in range(takes):
            retake = draw_retake(random, strength)
            try:
                again = retake_scan(volume, retake, random)
                chests.append((retake, taken(segmenter, rules, again, date(2025, 1 + take, 1))))
            except MedsegError as error:
                print(name, take, error)
        for (one, earlier), (two, later) in combinations(chests, 2):
            with file.open("a") as lines:
                lines.write(json.dumps(noted(name, strength, one, two, earlier, later, rules)) + "\n")


def noted(name, strength, one, two, earlier, later, rules) -> dict:
    start, found = time.perf_counter(), None
    about = {"scan": name, "strength": strength, "kernels": [one.kernel, two.kernel]}
    about["thickness"] = [one.thickness, two.thickness]
    try:
        found = compare_chests(earlier, later, rules)
    except MedsegError as error:
        return about | {"error": str(error)}
    change = np.abs(found.maps[MAP].array[0][later.visit.mask.array > 0])
    print(name, about["kernels"], [each.kind for each in found.objects], flush=True)
    return about | {
        "seconds": time.perf_counter() - start,
        "registration": {key: entry["value"] for key, entry in found.registration.items()},
        "changes": [[each.measure, each.earlier, each.later] for each in found.changes],
        "objects": [[each.kind, each.earlier_size, each.later_size] for each in found.objects],
        "attached": [
            max(
                [earlier.regions[n - 1].attached for n in each.earlier]
                + [later.regions[n - 1].attached for n in each.later]
            )
            for each in found.objects
        ],
        "map_hu": {str(rank): float(np.percentile(change, rank)) for rank in (50, 95, 99, 99.9)},
        "warnings": list(found.warnings),
    }


def limits(folder: Path, write: bool) -> None:
    rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    failed = [row for row in rows if "error" in row]
    rows = [row for row in rows if "error" not in row]
    about = f"{len(rows)} pairs of {len({row['scan'] for row in rows})} real chest CTs"
    print(f"{about}; {len(failed)} not registered")
    alone = [kind for row in rows for kind, a, b in row["objects"] if not (a and b)]
    print(f"regions at one time: { {kind: alone.count(kind) for kind in sorted(set(alone))} }")
    source = f"{about}, each taken twice by simulation with other noise, kernel, slice thickness and pose"
    entries = {
        dense.FREE: region_limit(rows, False, f"measured as well: {source}"),
        dense.ATTACHED: region_limit(rows, True, f"measured on {source}"),
        MAP_LIMIT: map_limit(rows, f"99.9% of the lungs differ by less in 95% of {source}"),
    }
    print(f"pairs without a changed region: {np.mean([unchanged(row, entries) for row in rows]):.1%}")
    for name in [measure for measure, *_ in rows[0]["changes"]]:
        values = [
            (a, b) for row in rows for own, a, b in row["changes"] if own == name and None not in (a, b)
        ]
        if values:
            away = np.abs([b - a for a, b in values])
            print(
                f"{name}: {len(away)} pairs, 95% within {np.percentile(away, 95):.3g}, most {away.max():.3g}"
            )
    if write:
        table = json.loads(TABLE.read_text()) | entries
        TABLE.write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n")


def region_limit(rows: list[dict], attached: bool, source: str) -> dict:
    """The limit within which 95% of regions stay, and of scans with several all in 95%; 25% at least."""
    worst, ratios = [], []
    for row in rows:
        own = [
            abs(math.log(b / a))
            for (_, a, b), share in zip(row["objects"], row["attached"], strict=True)
            if a and b and share < dense.UNCLEAR and (share >= dense.LEAST_ATTACHED) == attached
        ]
        ratios += own
        worst += [max(own)] if own else []
    name = "attached" if attached else "free"
    print(f"{name} regions: {len(ratios)} in {len(worst)} pairs")
    if not ratios:
        return json.loads(TABLE.read_text()).get(dense.FREE)
    for what, values in (("one", ratios), ("all of a pair", worst)):
        shares = [f"{rank}%: {math.expm1(np.percentile(values, rank)):.1%}" for rank in (50, 90, 95, 100)]
        print(f"  {what} within {', '.join(shares)}")
    rank = min(math.ceil((len(worst) + 1) * 0.95), len(worst))
    limit = max(0.25, math.expm1(sorted(worst)[rank - 1]))
    cited = json.loads(TABLE.read_text())[dense.FREE]["source"].split("; measured")[0]
    text = source if attached else f"{cited}; {source}"
    return {"kind": "relative", "limit": rounded_up(limit), "source": text, "pairs": len(worst)}


def rounded_up(limit: float) -> float:
    """To two digits after the point, so that what was measured stays within."""
    return math.ceil(100 * limit - 1e-9) / 100


def map_limit(rows: list[dict], source: str) -> dict:
    for rank in ("50", "95", "99", "99.9"):
        values = [row["map_hu"][rank] for row in rows]
        middle, most = np.percentile(values, (50, 95))
        print(f"map, {rank}% of the lungs: median {middle:.0f} HU, 95% of pairs {most:.0f} HU")
    return {"kind": "absolute", "limit": float(math.ceil(most)), "source": source, "pairs": len(rows)}


def unchanged(row: dict, entries: dict) -> bool:
    """Whether no region of a pair is called changed, new or gone, with these limits."""
    for (kind, a, b), share in zip(row["objects"], row["attached"], strict=True):
        if not (a and b):
            if kind in ("new", "gone"):
                return False
            continue
        if share >= dense.UNCLEAR:
            continue
        measure = dense.ATTACHED if share >= dense.LEAST_ATTACHED else dense.FREE
        if abs(math.log(b / a)) > math.log1p(entries[measure]["limit"]):
            return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("pairs", "limits"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("scans", nargs="*", choices=[[], *SCANS])
    parser.add_argument("--takes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--strength", type=float, default=1.0)
    options = parser.parse_args()
    if options.what == "pairs":
        pairs(options.folder, options.scans, options.takes, options.strength, options.seed)
    else:
        limits(options.folder, options.write)


if __name__ == "__main__":
    main()
