"""Damage one file of a DICOM series at random, many times, and count what the reader makes of it.

    PYTHONPATH=tests python tests/benchmarks/fuzz_dicom.py [COUNT] [FOLDER]

FOLDER holds one series of single slices; without it, a phantom is damaged. Each copy ends as

    rejected     an error with a reason
    equal        read, and the same as before
    warned       read otherwise, and a warning says that something is odd
    pixels       read otherwise without a word, where the damage lies in pixel data: nothing can tell
    SILENT       read otherwise without a word: must not happen
    CRASH        another exception than medseg's: must not happen
"""

from __future__ import annotations

import random
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
from dicom_writer import ct_slices, save

from medseg.errors import MedsegError
from medseg.io.dicom import read

# Corners of a volume that move by less are where they were: the tolerance of positions.
SAME_PLACE_MM = 0.15


def flip_bytes(content, choice):
    """Up to three bytes anywhere become others."""
    for _ in range(choice.choice([1, 1, 2, 3])):
        content[choice.randrange(len(content))] = choice.randrange(256)


def flip_header_bytes(content, choice):
    """Bytes before the pixels become others."""
    end = _pixel_start(content)
    for _ in range(choice.choice([1, 1, 2, 3])):
        content[choice.randrange(end)] = choice.randrange(256)


def change_digit(content, choice):
    """A digit in the header becomes another: the number still reads well."""
    digits = [p for p in range(_pixel_start(content)) if chr(content[p]).isdigit()]
    content[choice.choice(digits)] = ord(choice.choice("0123456789"))


def cut(content, choice):
    """The file ends early."""
    del content[choice.randrange(len(content)) :]


def blank(content, choice):
    """A stretch becomes zeros, as a lost sector does."""
    start = choice.randrange(len(content))
    stretch = choice.choice([4, 64, 512])
    content[start : start + stretch] = bytes(len(content[start : start + stretch]))


def drop_tag(content, choice):
    """An element is taken out of the data set, or emptied."""
    data_set = pydicom.dcmread(pydicom.filebase.DicomBytesIO(bytes(content)), force=True)
    element = choice.choice([e for e in data_set if e.keyword != "PixelData"])
    if choice.random() < 0.5:
        del data_set[element.tag]
    else:
        element.value = None
    stream = pydicom.filebase.DicomBytesIO()
    data_set.save_as(stream)
    content[:] = stream.getvalue()


DAMAGES = [flip_bytes, flip_header_bytes, change_digit, cut, blank, drop_tag]


def outcome(folder, whole, path, original):
    """What the reader makes of a folder in which `path` is damaged; `original` is what it was."""
    try:
        volume = read(folder, "CT")
    except MedsegError as error:
        return "rejected", str(error)
    except Exception as error:
        return "CRASH", repr(error)
    if _same(volume, whole):
        return "equal", ""
    if volume.warnings:
        return "warned", volume.warnings[0]
    # With the pixels as they were, is it the same again?
    start, damaged = _pixel_start(original), path.read_bytes()
    path.write_bytes(damaged[:start] + original[start:])
    if len(damaged) == len(original) and _same(read(folder, "CT"), whole):
        return "pixels", ""
    return "SILENT", f"{volume.array.shape} {volume.affine.tolist()}"


def run(folder, count, seed=0):
    """Damage `count` copies of the series in a folder; returns outcomes and (outcome, damage, text)."""
    files = sorted(folder.iterdir())
    whole = read(folder, "CT")
    choice = random.Random(seed)
    counts, told = Counter(), []
    for _ in range(count):
        path, damage = choice.choice(files), choice.choice(DAMAGES)
        original = path.read_bytes()
        content = bytearray(original)
        damage(content, choice)
        path.write_bytes(content)
        kind, text = outcome(folder, whole, path, original)
        counts[kind] += 1
        told.append((kind, damage.__name__, path.name, text))
        path.write_bytes(original)
    return counts, told


def _same(volume, whole):
    if volume.array.shape != whole.array.shape or not np.array_equal(volume.array, whole.array):
        return False
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in whole.array.shape[1:]])).reshape(3, -1)
    corners = np.vstack([corners, np.ones(corners.shape[1])])
    return bool(np.abs((volume.affine - whole.affine) @ corners).max() < SAME_PLACE_MM)


def _pixel_start(content):
    return bytes(content).index(b"\xe0\x7f\x10\x00")


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "series"
        if len(sys.argv) > 2:
            folder.mkdir()
            for path in Path(sys.argv[2]).iterdir():
                (folder / path.name).write_bytes(path.read_bytes())
        else:
            save(folder, ct_slices())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            counts, told = run(folder, count)
    for kind, number in counts.most_common():
        print(f"{kind:10} {number}")
    for one in told:
        if one[0] in ("SILENT", "CRASH"):
            print(*one)


if __name__ == "__main__":
    main()
