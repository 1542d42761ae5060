"""Dice of methods on real pictures that were changed by known amounts.

    python tests/benchmarks/robustness.py TASK METHOD... [--images 8] [--manifest NAME] [--split NAME]
                                          [--weights METHOD=FILE]... [--pictures FOLDER]

TASK is breast_ultrasound or retinal_vessel. Every method sees the same changed pictures. Sizes are in px of
the task's grid, amounts of noise are shares of the picture's contrast (99th minus 1st percentile). A refused
picture has no Dice; the table counts it.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion, gaussian_filter

from medseg.data.manifests import load_items
from medseg.errors import InputError
from medseg.io import read_mask, read_volume
from medseg.pipeline import Segmenter

# Of each task: a manifest, a split that it has, and the width of the task's grid in px.
TASKS = {"breast_ultrasound": ("busi", "validation", 288), "retinal_vessel": ("chase_db1", "test", 832)}


@dataclass(frozen=True)
class Picture:
    """A picture (row, column, channel) from 0 to 255, its reference, and how many px one of the grid has."""

    values: np.ndarray
    mask: np.ndarray
    px: float

    @property
    def contrast(self) -> float:
        return float(np.subtract(*np.percentile(self.values, (99, 1))))

    def but(self, values: np.ndarray, mask: np.ndarray | None = None) -> Picture:
        return Picture(np.clip(values, 0, 255), self.mask if mask is None else mask, self.px)


# A change of a picture: with random numbers that are those of the picture, and the next picture.
Change = Callable[[Picture, np.random.Generator, Picture], Picture]


def uneven_light(strength: float) -> Change:
    """Brightness from 1 - strength at the left to 1 + strength at the right."""

    def change(picture: Picture, _: np.random.Generator, __: Picture) -> Picture:
        factor = np.linspace(1 - strength, 1 + strength, picture.values.shape[1])
        return picture.but(picture.values * factor[:, None])

    return change


def gaussian_noise(share: float) -> Change:
    def change(picture: Picture, random: np.random.Generator, _: Picture) -> Picture:
        noise = random.normal(0, share * picture.contrast, picture.values.shape)
        return picture.but(picture.values + noise)

    return change


def speckle(share: float) -> Change:
    """Noise that multiplies, the same in all channels, with a grain of one px of the grid."""

    def change(picture: Picture, random: np.random.Generator, _: Picture) -> Picture:
        noise = gaussian_filter(random.normal(size=picture.mask.shape), picture.px)
        return picture.but(picture.values * (1 + share * noise / noise.std())[..., None])

    return change


def blur(sigma: float) -> Change:
    def change(picture: Picture, _: np.random.Generator, __: Picture) -> Picture:
        width = sigma * picture.px
        return picture.but(gaussian_filter(picture.values, (width, width, 0)))

    return change


def drawn(draw: Callable[[ImageDraw.ImageDraw, Picture, np.random.Generator], None]) -> Change:
    def change(picture: Picture, random: np.random.Generator, _: Picture) -> Picture:
        image = Image.fromarray(picture.values.astype(np.uint8).squeeze())
        draw(ImageDraw.Draw(image), picture, random)
        return picture.but(np.asarray(image, float).reshape(picture.values.shape))

    return change


def calipers(draw: ImageDraw.ImageDraw, picture: Picture, random: np.random.Generator) -> None:
    """Crosses on the four ends of the object, and a dotted line between two of them."""
    places = np.argwhere(picture.mask)
    ends = [places[chosen(places[:, axis])] for axis in (0, 1) for chosen in (np.argmin, np.argmax)]
    arm, width = round(4 * picture.px), max(1, round(picture.px))
    for row, column in ends:
        draw.line((column - arm, row, column + arm, row), fill=white(draw), width=width)
        draw.line((column, row - arm, column, row + arm), fill=white(draw), width=width)
    for share in np.linspace(0, 1, 20):
        row, column = ends[2] * (1 - share) + ends[3] * share
        draw.rectangle((column, row, column + width, row + width), fill=white(draw))


def text(draw: ImageDraw.ImageDraw, picture: Picture, random: np.random.Generator) -> None:
    """Three lines of writing, anywhere."""
    font = ImageFont.load_default(size=14 * picture.px)
    rows, columns = picture.mask.shape
    for line in ("1 D 23.4 mm", "RT BREAST 10:00", "GAIN 62 MI 0.9"):
        place = (random.uniform(0, 0.6) * columns, random.uniform(0.1, 0.85) * rows)
        draw.text(place, line, fill=white(draw), font=font)


def table_line(draw: ImageDraw.ImageDraw, picture: Picture, random: np.random.Generator) -> None:
    """A bright, slightly tilted line across the picture, as the edge of a table."""
    rows, columns = picture.mask.shape
    row = random.uniform(0.3, 0.7) * rows
    tilt = random.uniform(-0.05, 0.05) * rows
    draw.line((0, row, columns, row + tilt), fill=white(draw), width=max(1, round(3 * picture.px)))


def white(draw: ImageDraw.ImageDraw) -> int | tuple[int, int, int]:
    return 255 if draw.mode == "L" else (255, 255, 255)


def overlap(picture: Picture, _: np.random.Generator, other: Picture) -> Picture:
    """The next picture's object, moved so that it covers the right half of this one."""
    rows, columns = np.nonzero(picture.mask)
    places = np.argwhere(other.mask)
    begin = np.array([places[:, 0].mean(), places[:, 1].min()])
    moved = places + np.round(np.array([rows.mean(), columns.mean()]) - begin).astype(int)
    inside = ((moved >= 0) & (moved < picture.mask.shape)).all(axis=1)
    values, mask = picture.values.copy(), picture.mask.copy()
    values[tuple(moved[inside].T)] = other.values[tuple(places[inside].T)]
    mask[tuple(moved[inside].T)] = True
    return picture.but(values, mask)


CHANGES: dict[str, Change] = {
    "unchanged": lambda picture, _, __: picture,
    **{f"uneven light {s:.0%}": uneven_light(s) for s in (0.2, 0.4, 0.6)},
    **{f"Gaussian noise {s:.0%}": gaussian_noise(s) for s in (0.05, 0.1, 0.2)},
    **{f"speckle {s:.0%}": speckle(s) for s in (0.1, 0.2, 0.4)},
    **{f"blur {s} px": blur(s) for s in (1, 2, 4)},
    "calipers": drawn(calipers),
    "text": drawn(text),
    "table line": drawn(table_line),
    "overlapping objects": overlap,
}
OF_OBJECTS = {"calipers", "overlapping objects"}  # vessels are one tree: no ends, no second object


def pictures(manifest: str, split: str, count: int, grid_px: int) -> list[Picture]:
    """The first pictures of a split, evenly over it, of those with an object."""
    found = []
    for item in load_items(manifest, split):
        mask = read_mask(item["label"], item["labels"]).array > 0
        if mask.any():
            values = np.moveaxis(read_volume(item["image"]).array, 0, -1).astype(float)
            found.append(Picture(values, mask, max(mask.shape) / grid_px))
    return found[:: max(1, len(found) // count)][:count]


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


def changed(cases: list[Picture], name: str) -> Iterator[Picture]:
    for number, picture in enumerate(cases):
        random = np.random.default_rng((number, list(CHANGES).index(name)))
        yield CHANGES[name](picture, random, cases[(number + 1) % len(cases)])


def cell(segmenter: Segmenter, cases: list[Picture]) -> str:
    """The mean Dice, and how many pictures were refused."""
    scores, refused = [], 0
    for picture in cases:
        try:
            values = np.moveaxis(np.round(picture.values).astype(np.uint8), -1, 0)
            found = segmenter.case(np.ascontiguousarray(values)).mask.array > 0
        except InputError:
            refused += 1
        else:
            scores.append(dice(found, picture.mask))
    mean = f"{np.mean(scores):.3f}" if scores else "-"
    return f"{mean} ({refused} refused)" if refused else mean


def save(folder: Path, name: str, picture: Picture) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    outline = picture.mask & ~binary_erosion(picture.mask, iterations=max(1, round(picture.px)))
    shown = np.broadcast_to(picture.values, (*picture.mask.shape, 3)).astype(np.uint8).copy()
    shown[outline] = (255, 160, 0)
    Image.fromarray(shown).save(folder / f"{name.replace(' ', '_')}.jpg")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("methods", nargs="+")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--manifest")
    parser.add_argument("--split")
    parser.add_argument("--weights", action="append", default=[], metavar="METHOD=FILE")
    parser.add_argument("--pictures", type=Path, help="save the first picture under each change here")
    return parser.parse_args()


def main() -> None:
    given = options()
    logging.disable(logging.WARNING)
    manifest, split, grid_px = TASKS[given.task]
    manifest, split = given.manifest or manifest, given.split or split
    cases = pictures(manifest, split, given.images, grid_px)
    weights = dict(pair.split("=", 1) for pair in given.weights)
    segmenters = [
        Segmenter(given.task, "cpu", method=name, weights=weights.get(name)) for name in given.methods
    ]
    print(f"Dice, mean of {len(cases)} pictures of {manifest}, {split}\n")
    print("| change | " + " | ".join(given.methods) + " |")
    print("|---" * (1 + len(given.methods)) + "|")
    for name in CHANGES:
        if given.task == "retinal_vessel" and name in OF_OBJECTS:
            continue
        inputs = list(changed(cases, name))
        if given.pictures:
            save(given.pictures, name, inputs[0])
        cells = [cell(segmenter, inputs) for segmenter in segmenters]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
