"""Seconds and peak memory of each stage, from a study to a DICOM SEG.

    python tests/benchmarks/lung_stages.py STUDY [FORMAT,...]

The peak is that of the process so far, imports included.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def stage(name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds = time.perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"| {name} | {seconds:.2f} | {peak_mb:.0f} |", flush=True)


def main():
    study, formats = Path(sys.argv[1]), (sys.argv[2] if len(sys.argv) > 2 else "dicom-seg").split(",")
    print("| stage | seconds | peak MB |\n|---|---|---|")
    with stage("import monai, torch"):
        import torch

        from medseg.pipeline import Segmenter
    with stage("open the bundle"):
        segmenter = Segmenter("lung_ct", "cpu", method="classical")
    load, gate, to_grid = segmenter._preprocessing.transforms
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        with stage("read the series"):
            data = load({"image": study})
        with stage("content gate"):
            data = gate(data)
        with stage("to the grid of 1.5 mm"):
            data = to_grid(data)
        with stage("classical method"):
            data["pred"] = segmenter._inferer(data["image"][None], segmenter._network)[0]
        with stage("labels on the scan's voxels"):
            data = segmenter._postprocessing(data)
        with stage("measurements"):
            result = segmenter._build_result(segmenter._build_result.case(data))
        for name in formats:
            with stage(f"write {name}"):
                result.save(folder, [name])


if __name__ == "__main__":
    main()
