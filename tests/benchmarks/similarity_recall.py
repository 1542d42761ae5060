"""Similar cases: what hashing misses and saves, and whether neighbours share more than chance.

    medseg index bus_bra busi --task breast_ultrasound -o INDEX
    python tests/benchmarks/similarity_recall.py INDEX [--queries MANIFEST] [--sheet SHEET.png]

Recall at 10: the share of the 10 nearest cases by exact search that hashing finds, over all cases as queries.
Speed: one query at 1,000 real cases and at 100,000, which are real descriptors with noise. In memory: all has
been read and prepared before. From the disk: index opened, then one query. Attributes: how often a neighbour
has the query's value, against how often any case of another subject has; 95% bootstrap intervals over
subjects. With --queries only cases of that manifest's validation split are queries, and only others are
neighbours, for networks that were not trained on them. MEDSEG_DATA names the data for sheet and splits.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from medseg.data.manifests import load_items
from medseg.io import read_volume
from medseg.reports.picture_overlay import to_display
from medseg.similarity.hashing import BITS, CANDIDATES, hashed
from medseg.similarity.index import IndexedCase, add_cases, read_index
from medseg.similarity.results import located
from medseg.similarity.search import nearest

K = 10
QUERIES = 100  # of which times are taken
MANY = 100_000
NOISE = 0.5  # length of the noise that is added to a unit vector
RESAMPLES = 2000


def recall_table(units):
    print(
        f"\nRecall at {K} over {len(units)} queries: bits of a code by candidates that are compared exactly"
    )
    counts = (25, 50, 100, 200, 400)
    truth = _nearest_of_all(units)
    print("bits  " + "".join(f"{count:>8}" for count in counts))
    for bits in (64, 128, 256, 512, 1024):
        hashes = hashed(units, bits)
        _, found = hashes.search(units, max(counts) + 1)
        shares = [_recall(units, truth, found[:, : count + 1]) for count in counts]
        print(f"{bits:>4}  " + "".join(f"{share:>8.3f}" for share in shares))


def _nearest_of_all(units):
    cosines = units @ units.T
    np.fill_diagonal(cosines, -2)
    return np.argpartition(-cosines, K, axis=1)[:, :K]


def _recall(units, truth, found):
    shares = []
    for query, (wanted, candidates) in enumerate(zip(truth, found, strict=True)):
        candidates = candidates[candidates != query]
        best = candidates[np.argsort(-(units[candidates] @ units[query]), kind="stable")[:K]]
        shares.append(len(set(best) & set(wanted)) / K)
    return np.mean(shares)


def speed_table(index):
    print(
        f"\nOne query, ms of processor time, median of {QUERIES} in memory and of 5 from the disk; "
        f"{BITS} bits, {CANDIDATES} candidates"
    )
    print(f"{'cases':>8} {'recall':>7} | {'in memory: exact':>17} {'hashing':>8} {'gain':>6}", end="")
    print(f" | {'from the disk: exact':>21} {'hashing':>8} {'gain':>6}")
    random = np.random.default_rng(0)
    for count in (1000, len(index.cases), MANY):
        with tempfile.TemporaryDirectory() as folder:
            large = _resampled(index, count, random, Path(folder))
            chosen = random.choice(count, QUERIES, replace=False)
            recall, *times = _times(large, Path(folder), chosen)
        exact, fast, cold_exact, cold_fast = (1000 * seconds for seconds in times)
        print(f"{count:>8} {recall:>7.3f} | {exact:>17.2f} {fast:>8.2f} {exact / fast:>6.1f}", end="")
        print(f" | {cold_exact:>21.1f} {cold_fast:>8.1f} {cold_exact / cold_fast:>6.1f}")


def _resampled(index, count, random, folder):
    """An index of `count` cases: real ones, or, where there are not so many, real ones with noise."""
    if count <= len(index.cases):
        rows = np.asarray(index.vectors[np.sort(random.choice(len(index.cases), count, replace=False))])
    else:
        units = index.all_units[random.integers(len(index.cases), size=count)]
        noise = random.normal(size=units.shape).astype(np.float32)
        rows = units + NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    add_cases(folder, index.recipe, [IndexedCase(str(n), str(n), str(n)) for n in range(count)], rows)
    return read_index(folder)


def _times(index, folder, queries):
    import faiss

    hashes = faiss.read_index(str(index.hashes))
    units = index.all_units
    ways = {"exact": None, "hashing": hashes}
    found = {way: [] for way in ways}
    seconds = {way: [] for way in ways}
    for query in queries:
        for way, codes in ways.items():
            begin = time.process_time()
            numbers = [number for number, _ in nearest(index, units[query], K + 1, codes)]
            seconds[way].append(time.process_time() - begin)
            found[way].append({number for number in numbers if number != query})
    recall = np.mean([len(a & b) / K for a, b in zip(found["exact"], found["hashing"], strict=True)])
    cold = [_from_disk(folder, units[queries[0]], way == "hashing") for way in ways]
    return recall, *(np.median(seconds[way]) for way in ways), *cold


def _from_disk(folder, unit, by_hashing):
    import faiss

    seconds = []
    for _ in range(5):
        begin = time.process_time()
        index = read_index(folder)
        nearest(index, unit, K + 1, faiss.read_index(str(index.hashes)) if by_hashing else None)
        seconds.append(time.process_time() - begin)
    return np.median(seconds)


def attribute_table(index, queries):
    subjects = np.array([f"{case.data_set} {case.subject or case.name}" for case in index.cases])
    values = {"data_set": np.array([case.data_set for case in index.cases])}
    for name in sorted({name for case in index.cases for name in case.groups}):
        values[name] = np.array([case.groups.get(name, "") for case in index.cases])
    asked = np.flatnonzero(queries)
    allowed = ~queries if not queries.all() else queries
    print(
        f"\n{len(asked)} queries, {K} nearest of other subjects: share with the query's value [95% interval]"
    )
    cosines = index.all_units[asked] @ index.all_units.T
    own = subjects[asked][:, None] == subjects[None]
    others = np.argsort(np.where(own | ~allowed, -2, cosines), axis=1)[:, ::-1][:, :K]
    for name, column in values.items():
        known = column[asked] != ""
        same = (column[others] == column[asked][:, None]).mean(1)
        eligible = ~own & allowed & (column != "")
        chance = ((column[None] == column[asked][:, None]) & eligible).sum(1) / eligible.sum(1)
        _print_row(name, same[known], chance[known], subjects[asked][known])
    _same_subject(cosines, own, asked, subjects)


def _same_subject(cosines, own, asked, subjects):
    """The nearest other picture is of the same subject: of queries whose subject has another picture."""
    cosines, own = cosines.copy(), own.copy()
    rows = np.arange(len(asked))
    cosines[rows, asked], own[rows, asked] = -2, False
    there = own.any(1)
    same = own[rows, cosines.argmax(1)].astype(float)
    chance = own.sum(1) / (own.shape[1] - 1)
    _print_row("nearest is the same subject", same[there], chance[there], subjects[asked][there])


def _print_row(name, same, chance, subjects):
    _, groups = np.unique(subjects, return_inverse=True)
    sizes = np.bincount(groups)
    sums = np.stack([np.bincount(groups, values) for values in (same, chance, same - chance)])
    drawn = np.random.default_rng(0).integers(len(sizes), size=(RESAMPLES, len(sizes)))
    means = sums[:, drawn].sum(2) / sizes[drawn].sum(1)
    low, high = np.percentile(means, (2.5, 97.5), axis=1)
    texts = [
        f"{values.mean():.3f} [{low[n]:.3f}, {high[n]:.3f}]"
        for n, values in enumerate((same, chance, same - chance))
    ]
    print(f"{name:>28}: neighbours {texts[0]}, chance {texts[1]}, difference {texts[2]}")


def sheet(index, queries, path, count=6, columns=7, side=220):
    """Queries in the first column, each with its nearest cases of other subjects; a picture for the eye."""
    from PIL import Image, ImageDraw

    chosen = np.random.default_rng(3).choice(np.flatnonzero(queries), count, replace=False)
    page = Image.new("RGB", (columns * side, count * (side + 18)), "white")
    draw = ImageDraw.Draw(page)
    for row, query in enumerate(chosen):
        order = np.argsort(-(index.all_units @ index.all_units[query]), kind="stable")
        mine = index.cases[query]
        others = [n for n in order if index.cases[n].subject != mine.subject][: columns - 1]
        for column, number in enumerate([query, *others]):
            case = index.cases[number]
            picture = Image.fromarray(to_display(read_volume(located(case.path)).array))
            picture.thumbnail((side - 4, side - 4))
            left, top = column * side, row * (side + 18)
            page.paste(picture, (left, top))
            distance = 1 - float(index.all_units[query] @ index.all_units[number])
            text = (
                f"{'query ' * (column == 0)}{case.name} {case.groups.get('pathology', '')[:4]} {distance:.2f}"
            )
            draw.text((left, top + side - 2), text, "black")
    page.save(path)


def main():
    reader = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    reader.add_argument("index", type=Path)
    reader.add_argument("--queries")
    reader.add_argument("--sheet", type=Path)
    options = reader.parse_args()
    index = read_index(options.index)
    print(index.recipe)
    queries = np.ones(len(index.cases), bool)
    if options.queries:
        held_out = {item["image"] for item in load_items(options.queries, "validation")}
        queries = np.array([str(located(case.path)) in held_out for case in index.cases])
    else:
        recall_table(index.all_units)
        speed_table(index)
    attribute_table(index, queries)
    if options.sheet:
        sheet(index, queries, options.sheet)


if __name__ == "__main__":
    main()
