"""Figures of the breast network from what it said of cases that it did not learn from.

    python tests/benchmarks/breast_figures.py FILE.jsonl.gz [--threshold T]

FILE is of breast_out_of_fold.py. First, offsets and temperatures of both probabilities are fitted (Platt
scaling); each fold takes those of the others, for all figures. Prints, by hospital and scanner with 95%
intervals over subjects: Dice, the area under the ROC curve of malignancy, lesions kept (touched by the mask)
and pictures without a lesion that are marked, at the threshold T, or at the one that marks 13% of BUS-BRA's
parts without a lesion of the other folds; and the same at other thresholds. Then the logistic regression of
malignancy on the network's logit and the mask's shape.
"""

from __future__ import annotations

import argparse
import gzip
import json

import numpy as np

from medseg.case import Case
from medseg.measurements import measure_lesions
from medseg.metrics.calibration import brier_score, expected_calibration_error
from medseg.metrics.roc import roc_area
from medseg.volume import Mask

MOST_PARTS_MARKED = 0.13
SHAPE = ("solidity", "depth_to_width_ratio", "margin_irregularity", "circularity", "log_area_share")


def read(path: str) -> list[dict]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def decoded(row: dict) -> np.ndarray:
    """(row, column) bool, of its run lengths."""
    values = np.arange(len(row["counts"])) % 2
    return np.repeat(values, row["counts"]).reshape(row["size"]).astype(bool)


def interval(values: np.ndarray, subjects: np.ndarray, statistic=np.mean, times: int = 1000) -> tuple:
    """The statistic, and the 2.5th and 97.5th percentile over draws of subjects."""
    draw = np.random.default_rng(0)
    places = [np.flatnonzero(subjects == subject) for subject in np.unique(subjects)]
    found = []
    for _ in range(times):
        chosen = draw.integers(len(places), size=len(places))
        found.append(statistic(values[np.concatenate([places[number] for number in chosen])]))
    return statistic(values), *np.nanpercentile(found, [2.5, 97.5])


def shape_of(mask: np.ndarray) -> list[float]:
    """SHAPE of the largest lesion; of an even disc where there is none."""
    measures = measure_lesions(Case(Mask(mask.astype(np.uint8), {0: "background", 1: "lesion"}), None))
    values = [measures[f"largest_lesion_{name}"]["value"] for name in SHAPE[:-1]]
    usual = [1.0, 0.7, 1.02, 0.8]
    area = measures["largest_lesion_area_px"]["value"] or 0.05 * mask.size
    values = [default if value is None else value for value, default in zip(values, usual, strict=True)]
    return [*values, float(np.log(area / mask.size))]


def logit(probability) -> np.ndarray:
    clipped = np.clip(np.asarray(probability, float), 1e-5, 1 - 1e-5)
    return np.log(clipped / (1 - clipped))


def column(rows: list[dict], name: str) -> np.ndarray:
    return np.array([row[name] for row in rows])


def print_line(title: str, values, subjects) -> None:
    if len(values):
        mean, low, high = interval(np.asarray(values, float), subjects)
        print(f"| {title} | {len(values)} | {mean:.3f} ({low:.3f} to {high:.3f}) |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--threshold", type=float)
    options = parser.parse_args()
    rows = read(options.file)
    print(
        sum("refused" in row for row in rows), "refused:", {row["case"] for row in rows if "refused" in row}
    )
    rows = [row for row in rows if "refused" not in row]
    for row in rows:
        row["is_lesion"] = row["pathology"] != "normal" and "part" not in row
        row["drawn"] = sum(row["counts"][1::2]) > 0
    whole = [row for row in rows if row["is_lesion"]]
    print("\n| probability of | offset | temperature | cases | calibration error | Brier |")
    print("|---|---|---|---|---|---|")
    calibrate("malignancy", whole, [row["pathology"] == "malignant" for row in whole])
    calibrate("lesion_probability", rows, [row["is_lesion"] for row in rows])
    mark(rows, options.threshold)
    groups = [("all", whole)]
    for key in ("data_set", "device", "pathology"):
        for value in sorted({row.get(key) for row in whole} - {None}):
            groups.append((value, [row for row in whole if row.get(key) == value]))
    tables = {
        "Dice of lesions, before the threshold": lambda row: row["dice"],
        "Dice, emptied below it": lambda row: row["dice"] * row["marked"],
        "lesions kept": lambda row: row["marked"] * row["touched"],
    }
    for name, value in tables.items():
        print(f"\n| {name} | n | mean |\n|---|---|---|")
        for title, members in groups:
            print_line(title, [value(row) for row in members], column(members, "subject"))
    print("\n| marked without a lesion | n | share |\n|---|---|---|")
    for title in ("busi", "bus_bra"):
        for kind, parts in (("healthy", False), ("part without a lesion", True)):
            members = [
                row for row in rows
                if not row["is_lesion"] and row["data_set"] == title and ("part" in row) == parts
            ]  # fmt: skip
            print_line(f"{title}: {kind}", column(members, "marked"), column(members, "subject"))
    told = [row for row in rows if "part" not in row and row["data_set"] == "busi"]
    print("\nAUC of 'a lesion', lesions against healthy pictures:", end=" ")
    print(roc_area(*(column(told, key).tolist() for key in ("lesion_probability", "is_lesion", "subject"))))
    grid(rows)
    malignancy(groups)


def grid(rows: list[dict]) -> None:
    """Lesions kept, and what is marked without one, threshold by threshold."""
    kinds = {
        f"{data_set}: {title}": [
            row for row in rows
            if (row["data_set"], row["is_lesion"], "part" in row) == (data_set, there, part)
        ]
        for data_set in ("bus_bra", "busi")
        for title, there, part in (
            ("lesions kept", True, False), ("healthy marked", False, False), ("parts marked", False, True)
        )
    }  # fmt: skip
    kinds = {title: members for title, members in kinds.items() if members}
    print("\n| threshold |", " | ".join(kinds), "|\n|---" + "|---" * len(kinds) + "|")
    for threshold in (0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 0.9):
        shares = [
            np.mean([
                row["drawn"]
                and row["lesion_probability"] >= threshold
                and (not row["is_lesion"] or row["touched"])
                for row in members
            ])
            for members in kinds.values()
        ]  # fmt: skip
        print(f"| {threshold} |", " | ".join(f"{share:.3f}" for share in shares), "|")


def mark(rows: list[dict], threshold: float | None) -> None:
    """Say of each row whether a mask is left at the threshold, or at that of the other folds."""
    parts = [row for row in rows if "part" in row and row["data_set"] == "bus_bra"]
    values, folds = column(parts, "lesion_probability") * column(parts, "drawn"), column(parts, "fold")
    thresholds = {
        fold: threshold or float(np.quantile(values[folds != fold], 1 - MOST_PARTS_MARKED))
        for fold in np.unique(folds).tolist()
    }
    print("\nthresholds by fold:", {fold: round(value, 3) for fold, value in thresholds.items()})
    for row in rows:
        row["marked"] = row["drawn"] and row["lesion_probability"] >= thresholds[row["fold"]]


def calibrate(name: str, rows: list[dict], truths: list[bool]) -> None:
    """Replace a probability by the one after the offset and temperature that the other folds give."""
    from sklearn.linear_model import LogisticRegression

    values, folds, truth = logit(column(rows, name)), column(rows, "fold"), np.array(truths)

    def fitted(chosen: np.ndarray) -> LogisticRegression:
        return LogisticRegression(C=1e6).fit(values[chosen, None], truth[chosen])

    of_all = fitted(folds > 0)
    temperature = 1 / of_all.coef_[0, 0]
    before, after = column(rows, name), np.zeros(len(rows))
    for fold in np.unique(folds):
        after[folds == fold] = fitted(folds != fold).predict_proba(values[folds == fold, None])[:, 1]
    errors = [
        f"{score(before.tolist(), truths):.3f} -> {score(after.tolist(), truths):.3f}"
        for score in (expected_calibration_error, brier_score)
    ]
    offset = temperature * of_all.intercept_[0]
    print(f"| {name} | {offset:.2f} | {temperature:.2f} | {len(rows)} |", " | ".join(errors), "|")
    for row, value in zip(rows, after, strict=True):
        row[name] = float(value)


def malignancy(groups: list[tuple[str, list[dict]]]) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = groups[0][1]
    network = logit(column(rows, "malignancy"))
    shape = np.array([shape_of(decoded(row)) for row in rows])
    truth = column(rows, "pathology") == "malignant"
    folds, subjects = column(rows, "fold"), column(rows, "subject")
    joined = np.column_stack([network, shape])

    def held_out(features: np.ndarray) -> np.ndarray:
        scores = np.zeros(len(features))
        for fold in np.unique(folds):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
            model.fit(features[folds != fold], truth[folds != fold])
            scores[folds == fold] = model.predict_proba(features[folds == fold])[:, 1]
        return scores

    answers = {"network": 1 / (1 + np.exp(-network))}
    if len(np.unique(folds)) > 1:
        answers |= {"shape": held_out(shape), "network and shape": held_out(joined)}
    print("\n| AUC of malignancy |", " | ".join(answers), "|\n|---" + "|---" * len(answers) + "|")
    for title, members in groups:
        own = np.isin(column(rows, "case"), column(members, "case"))
        if len(set(truth[own])) == 2:
            areas = [roc_area(list(a[own]), list(truth[own]), list(subjects[own])) for a in answers.values()]
            print(
                f"| {title} |", " | ".join(f"{a.area:.3f} ({a.low:.3f} to {a.high:.3f})" for a in areas), "|"
            )
    model = LogisticRegression(C=1.0, max_iter=1000).fit(joined, truth)
    names = ("logit", *SHAPE)
    print(
        "coefficients:",
        dict(zip(names, model.coef_[0].round(4).tolist(), strict=True)),
        model.intercept_.round(4),
    )


if __name__ == "__main__":
    main()
