"""Which masks a review in the queue's order finds, for predictions of cases that fitted nothing.

    python tests/benchmarks/quality_queue.py TASK:METHOD:FOLDER ...

FOLDER is the output_dir of `medseg fit-quality TASK --method METHOD`. A case's place in the queue is that of
its worst label, as in `medseg review`. Printed are, for each folder and for all together: the figures of
each label, of all images and of the real ones alone; the share of bad cases (Dice below 0.7 in a label)
among the first 20%; and where the cases stand that must
open first: foreign images, another part of the body, healthy breasts, each with something drawn.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from medseg.bundle import open_bundle
from medseg.console import table
from medseg.training.quality.collect import FOREIGN, REAL, read_rows
from medseg.training.quality.figures import BAD, COLUMNS, figures, found_by_review
from medseg.training.quality.figures import table as lines
from medseg.training.quality.fit import SIMPLE, left_out, with_novelty
from medseg.training.quality.plan import read_plan

SHARE = 0.2
NOTHING_RIGHT = {
    "foreign image": lambda row: row.change == FOREIGN,
    "elsewhere": lambda row: row.change == "elsewhere",
}


def queue_of(task: str, method: str, folder: Path):
    """Rows, worst true Dice and worst predicted one; printed: the figures of each label."""
    plan = read_plan(open_bundle(task), method)
    rows = with_novelty(read_rows(folder / "rows.jsonl"))
    shown, dice, signs = [], [], []
    for label in plan.labels:
        predicted, left = left_out(rows, label, plan.checked)
        own = np.array([row.dice[label] for row in left])
        simple = np.array([row.signals[label].get(SIMPLE, np.nan) for row in left])
        is_real = np.array([row.change == REAL for row in left])
        for name, chosen in (("all", is_real | True), ("real", is_real), ("changed", ~is_real)):
            sign = simple[chosen] if np.isfinite(simple[chosen]).all() else None
            about = f"{task} {method} {label}, {name}"
            shown.append({"name": about, **figures(own[chosen], predicted[chosen], sign)})
        dice.append(own)
        signs.append(predicted[:, 0])
    print(table(lines(shown), COLUMNS, right=COLUMNS[1:]))
    novelty_of(rows, plan.labels[0])
    return left, np.min(dice, axis=0), np.min(signs, axis=0)


def report(name: str, rows, dice: np.ndarray, signs: np.ndarray) -> None:
    found = found_by_review(dice, signs, SHARE)
    bad = int((dice < BAD).sum())
    most = min(1, SHARE * len(dice) / max(1, bad))
    print(f"{name}: {len(dice)} cases, {bad} with a Dice below {BAD}; the first {SHARE:.0%} of the queue")
    print(f"  hold {found:.0%} of them (a perfect order: {most:.0%}, a random one: {SHARE:.0%})")
    places = np.empty(len(signs), dtype=int)
    places[np.argsort(signs, kind="stable")] = np.arange(len(signs))
    for kind, belongs in NOTHING_RIGHT.items():
        wrong = np.array([belongs(row) for row in rows]) & (dice == 0)
        if wrong.any():
            shares = places[wrong] / len(signs)
            first, middle = np.mean(shares < 0.1), np.median(shares)
            print(f"  {kind}, drawn: {wrong.sum()}, in the first tenth {first:.0%}, median {middle:.0%}")


def novelty_of(rows, label: str) -> None:
    """Which images are further from the real ones than 99% of these are from each other."""
    found = [row for row in rows if "novelty" in row.signals[label]]
    if not found:
        return
    limits = {}
    for network in {row.network for row in found}:
        real = [
            row.signals[label]["novelty"] for row in found if row.network == network and row.change == REAL
        ]
        limits[network] = np.quantile(real, 0.99)
    kinds: dict[str, list[bool]] = {}
    for row in found:
        kinds.setdefault(row.change, []).append(row.signals[label]["novelty"] > limits[row.network])
    told = ", ".join(f"{kind} {np.mean(far):.0%} of {len(far)}" for kind, far in sorted(kinds.items()))
    print(f"  unlike the real images: {told}")


def main() -> None:
    parts = []
    for argument in sys.argv[1:]:
        task, method, folder = argument.split(":", 2)
        rows, dice, signs = queue_of(task, method, Path(folder))
        report(f"{task} {method}", rows, dice, signs)
        parts.append((rows, dice, signs))
    if len(parts) > 1:
        rows = [row for part in parts for row in part[0]]
        dice, signs = (np.concatenate([part[number] for part in parts]) for number in (1, 2))
        report("all of them", rows, dice, signs)
        # As a hospital's: real images, and one that is spoilt or foreign for each ten of them.
        real = np.array([row.change == REAL for row in rows])
        spoilt = np.random.default_rng(0).permutation(np.flatnonzero(~real))[: real.sum() // 10]
        cohort = np.concatenate([np.flatnonzero(real), spoilt])
        report("mixed cohort", [rows[number] for number in cohort], dice[cohort], signs[cohort])


if __name__ == "__main__":
    main()
