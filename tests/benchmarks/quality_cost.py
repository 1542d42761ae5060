"""What the prediction of quality costs: processor time of a loaded Segmenter with and without it, in turn.

python tests/benchmarks/quality_cost.py TASK IMAGE [METHOD] [REPEATS]
"""

from __future__ import annotations

import sys
import time

import numpy as np

from medseg.inference import ObservingInferer
from medseg.pipeline import Segmenter


def without(segmenter: Segmenter) -> Segmenter:
    """The same segmenter, which neither observes nor predicts."""
    segmenter._build_result.quality = None
    holder = segmenter._inferer
    if isinstance(holder, ObservingInferer):
        segmenter._inferer = holder.inferer
    elif isinstance(getattr(holder, "inferer", None), ObservingInferer):
        holder.inferer = holder.inferer.inferer
    return segmenter


def main() -> None:
    task, image = sys.argv[1:3]
    method = sys.argv[3] if len(sys.argv) > 3 else None
    pair = [Segmenter(task, "cpu", method=method), without(Segmenter(task, "cpu", method=method))]
    seconds: list[list[float]] = [[], []]
    for _ in range(1 + int(sys.argv[4] if len(sys.argv) > 4 else 5)):
        for segmenter, own in zip(pair, seconds, strict=True):
            start = time.process_time()
            segmenter(image)
            own.append(time.process_time() - start)
    with_, plain = (float(np.median(own[1:])) for own in seconds)  # the first warms up
    share = 1 - plain / with_
    print(f"{task} {method or ''}: {with_:.2f} s with, {plain:.2f} s without: {share:.0%} of the case's time")


if __name__ == "__main__":
    main()
