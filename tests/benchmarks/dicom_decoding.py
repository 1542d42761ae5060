"""Slices of 512x512 that are decoded in a second, by transfer syntax and number of threads.

    PYTHONPATH=tests python tests/benchmarks/dicom_decoding.py [COUNT]

The slices are a noisy body, about as compressible as a chest CT. Each figure is the best of three runs:
others may use the machine.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
from dicom_writer import ct_slices, save, save_compressed
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from medseg.io.dicom import pixels
from medseg.io.dicom.files import opened
from medseg.io.dicom.stacks import stacks_of

SIZE = 512
WORKERS = (1, 2)


def body(count, seed=0):
    """(slice, row, column) int16 HU: a disc of noisy tissue with two noisy lungs."""
    random = np.random.default_rng(seed)
    row, column = np.indices((SIZE, SIZE)) / SIZE - 0.5
    flesh, lungs = np.hypot(row, column * 0.8) < 0.33, np.hypot(row, abs(column) - 0.17) < 0.12
    mean = np.where(lungs, -850, np.where(flesh, 40, -1000))
    return (mean + random.normal(0, 25, (count, SIZE, SIZE))).clip(-1024, 3071).astype(np.int16)


def slices_a_second(folder, workers):
    """The best of three runs over the slices of a folder, whose files are in the cache by then."""
    with opened(folder) as found:
        (stack,) = stacks_of(found.files, "CT")
        seconds = []
        for _ in range(3):
            with mock.patch.object(pixels, "worker_count", return_value=workers):
                start = time.perf_counter()
                pixels.read_pixels(stack.grid.slices, "CT")
                seconds.append(time.perf_counter() - start)
    return len(stack.grid.slices) / min(seconds)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 32
    hu = body(count)
    print(f"{'transfer syntax':30}" + "".join(f"{n:>4} threads" for n in WORKERS))
    for syntax in (
        ExplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEGLossless,
        JPEGLosslessSV1,
        JPEGLSLossless,
        JPEG2000Lossless,
    ):
        native = syntax in (ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
        with tempfile.TemporaryDirectory() as temporary:
            folder = (save if native else save_compressed)(Path(temporary) / "s", ct_slices(hu), syntax)
            speeds = [slices_a_second(folder, workers) for workers in WORKERS]
        print(f"{syntax.keyword:30}" + "".join(f"{speed:12.0f}" for speed in speeds))


if __name__ == "__main__":
    main()
