"""Pictures and chest volumes of phantoms for cohort_thousand.py, one in twenty broken, in ten ways."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from medseg import phantoms
from medseg.phantoms import Chest, Scan, chest

_SCAN = Scan((104, 84, 120), spacing_mm=(3.6, 3.6, 3.2), thickness_mm=3.2, centre_mm=(0, -12, -75))


def make_pictures(folder: Path, count: int) -> dict[str, str]:
    """Pictures, and cases.csv with all of them; the broken ones by name, with what is wrong."""
    folder.mkdir()
    broken = {}
    paths = []
    for number in range(count):
        ways = list(BROKEN_PICTURES.items())
        path = folder / f"p{number:04}.png"
        write_picture(path, number)
        if number % 20 == 7:
            way, spoil = ways[number // 20 % len(ways)]
            path = spoil(path) or path
            broken[path.name.split(".")[0]] = way
        paths.append(path)
    _list(folder, paths)
    return broken


def make_scans(folder: Path, count: int) -> dict[str, str]:
    """Chest volumes, of eight bodies with noise of their own; see make_pictures."""
    folder.mkdir()
    bodies = [
        chest(Chest(seed=seed, disease={}, position="supine", scan=_SCAN)) for seed in range(min(8, count))
    ]
    broken, paths = {}, []
    for number in range(count):
        ways = list(BROKEN_SCANS.items())
        body, noise = bodies[number % len(bodies)], np.random.default_rng(number)
        hu = np.asarray(body.array, np.float32) + noise.normal(0, 5, body.array.shape)
        path = folder / f"s{number:04}.nii.gz"
        nib.save(nib.Nifti1Image(np.round(hu).astype(np.int16), body.affine), path)
        if number % 20 == 7:
            way, spoil = ways[number // 20 % len(ways)]
            path = spoil(path) or path
            broken[path.name.split(".")[0]] = way
        paths.append(path)
    _list(folder, paths)
    return broken


def write_picture(path: Path, seed: int) -> None:
    Image.fromarray(phantoms.breast_ultrasound(seed, (200, 180))[0]).save(path)


def _list(folder: Path, paths: Sequence[Path]) -> None:
    with (folder / "cases.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "case"])
        writer.writerows([path.name, path.name.split(".")[0]] for path in paths)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _folder(path: Path) -> Path:
    path.unlink()
    folder = path.with_name(path.name.split(".")[0])
    folder.mkdir()
    (folder / "notes.txt").write_text("nothing to see")
    return folder


def _bomb(path: Path) -> Path:
    """A zip archive whose files are a thousand times as large, 400 MiB together."""
    path.unlink()
    bomb = path.with_name(path.name.split(".")[0] + ".zip")
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(6400):
            archive.writestr(f"{number}.dcm", bytes(1 << 16))
    return bomb


def _saved(values: np.ndarray) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(values).save(path)


def _nan_picture(path: Path) -> Path:
    path.unlink()
    target = path.with_suffix(".tif")
    Image.fromarray(np.full((200, 180), np.nan, np.float32)).save(target)
    return target


def _volume(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        image = nib.load(path)
        nib.save(nib.Nifti1Image(change(np.asarray(image.dataobj, np.float32)), image.affine), path)

    return spoil


BROKEN_PICTURES: dict[str, Callable[[Path], Path | None]] = {
    "empty file": lambda path: path.write_bytes(b"") and None,
    "truncated PNG": _cut,
    "text as PNG": lambda path: path.write_text("no picture") and None,
    "folder without images": _folder,
    "photograph of a retina": _saved(phantoms.fundus(240, 1)[0]),
    "zip bomb": _bomb,
    "file that is missing": lambda path: path.unlink(),
    "one grey": _saved(np.full((200, 180), 90, np.uint8)),
    "NaN": _nan_picture,
    "four pixels": _saved(np.eye(2, dtype=np.uint8) * 255),
}
BROKEN_SCANS: dict[str, Callable[[Path], Path | None]] = {
    "NaN volume": _volume(lambda hu: np.full_like(hu, np.nan)),
    "truncated NIfTI": _cut,
    "one value": _volume(lambda hu: np.zeros_like(hu)),
    "grey values, not HU": _volume(lambda hu: (hu + 1024) / 2048),
    "zip bomb": _bomb,
}
