"""How often `medseg drift` calls equal samples drift, and how often it sees another device or a shift.

    MEDSEG_DATA=... python tests/benchmarks/drift_alarms.py FOLDER

Segments one picture of each of 120 women with one device of BUS-BRA and of 60 women with each of two others,
and the photographs of CHASE DB1, HRF and FIVES, into FOLDER/<set>, where `medseg drift` may be called by hand
with FOLDER/subjects.csv; what is there already is not segmented again. Prints false alarms of 200 comparisons
each, with cases of one device and with synthetic ones, and how many of 100 comparisons find a difference.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
from pathlib import Path

import numpy as np

from medseg.data.manifests import SPLITS, read_manifest
from medseg.drift.comparison import compare_samples
from medseg.drift.records import read_cases
from medseg.drift.sample import Sample, sample_of
from medseg.pipeline import Segmenter

DEVICES = {"ge7": ("GE Logiq 7", 120), "ge5": ("GE Logiq 5", 60), "toshiba": ("Toshiba Aplio 300", 60)}
RETINAS = ("chase_db1", "hrf", "fives")
RATES = (0.02, 0.05, 0.1, 0.3)  # of synthetic warnings
MEASURES = 30


def pictures():
    """Name of a set to its task and items."""
    rng, by_device = random.Random(5), {}
    for item in all_items("bus_bra"):
        subjects = by_device.setdefault(item["device"].partition(" @")[0], {})
        subjects.setdefault(item["subject"], []).append(item)
    for name, (device, count) in DEVICES.items():
        subjects = sorted(by_device[device])
        rng.shuffle(subjects)
        yield name, "breast_ultrasound", [rng.choice(by_device[device][each]) for each in subjects[:count]]
    for name in RETINAS:
        yield name, "retinal_vessel", all_items(name)


def all_items(manifest):
    content = read_manifest(manifest)
    return [item for split in SPLITS for item in content[split]]


def segment_all(folder):
    segmenters, lines = {}, []
    for name, task, items in pictures():
        segmenter = segmenters.setdefault(task, Segmenter(task, "cpu"))
        for item in items:
            image = Path(os.environ["MEDSEG_DATA"], item["image"])
            lines.append((f"{name}/{image.stem}", item["subject"]))
            if not (folder / name / image.stem / "measurements.json").is_file():
                segmenter(image).save(folder / name / image.stem, ["png"])
    with (folder / "subjects.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("case", "subject"), *lines])


def called(draw, count):
    """How many of so many comparisons call anything."""
    return sum(bool(compare_samples(*draw()).called) for _ in range(count))


def drawn(rng, cases, count):
    return [cases[index] for index in rng.permutation(len(cases))[:count]]


def synthetic(rng, persons, correlation=0.0, shift=0.0):
    shared, own = rng.normal(size=(persons, 1)), rng.normal(size=(persons, MEASURES))
    values = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
    values[:, 0] += shift
    numbers = {f"measure {number}": np.exp(column) for number, column in enumerate(values.T)}
    events = {("warning", str(rate)): (rng.random(persons) < rate).astype(float) for rate in RATES}
    return Sample(numbers, events, {"warning": np.zeros(persons)}, {}, persons)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    segment_all(folder)
    rng = np.random.default_rng(1)
    devices = {name: list(read_cases([folder / name]).cases) for name in DEVICES}

    def split(first, second):
        chosen = drawn(rng, devices["ge7"], first + second)
        return sample_of(chosen[:first]), sample_of(chosen[first:])

    for sizes in ((40, 40), (80, 40)):
        print(f"one device, {sizes}: {called(lambda sizes=sizes: split(*sizes), 200)} of 200")
    for before, together in ((40, 0.0), (40, 0.7), (400, 0.0)):
        pair = lambda b=before, t=together: (synthetic(rng, b, t), synthetic(rng, 40, t))  # noqa: E731
        print(f"synthetic, {before} and 40, correlation {together}: {called(pair, 200)} of 200")
    for shift in (0.5, 0.8, 1.0, 1.5):
        for before in (400, 40):
            pair = lambda b=before, s=shift: (synthetic(rng, b), synthetic(rng, 40, shift=s))  # noqa: E731
            print(f"one measure moved by {shift}, {before} and 40: {called(pair, 100)} of 100")
    for name in ("ge5", "toshiba"):
        for count in (20, 40, 60):
            pair = lambda n=name, c=count: tuple(  # noqa: E731
                sample_of(drawn(rng, devices[which], size)) for which, size in (("ge7", 60), (n, c))
            )
            print(f"60 of ge7 and {count} of {name}: {called(pair, 100)} of 100")


if __name__ == "__main__":
    main()
