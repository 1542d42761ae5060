"""Seconds, GPU memory and masks of the lung network on a GPU, beside the CPU's and MONAI's stock inferer.

    python tests/benchmarks/lung_on_gpu.py [--slices 600]

The scan is a chest phantom of 512 x 512 in the plane, its slices and pixels repeated: enough work, and the
anatomy of a chest. The GPU computes in float16 (AMP), the CPU in float32. MONAI's SlidingWindowInferer gets
the same windows, weights and precision, on the same prepared image.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer

import medseg
from medseg.io import nifti
from medseg.metrics.overlap import confusion
from medseg.phantoms import Chest, chest

LABELS = {1: "left_lung", 2: "right_lung", 3: "airway"}
SIDE = 512


def write_phantom(path: Path, slices: int) -> None:
    """A phantom of 256 x 256 voxels, each made four, and as many slices as are wanted, of one height."""
    phantom = chest(Chest(seed=41000, shape=(SIDE // 2, SIDE // 2, 150), disease={}))
    repeats = (2, 2, slices // 150)
    array = phantom.array
    for axis, count in enumerate(repeats):
        array = np.repeat(array, count, axis)
    affine = phantom.affine @ np.diag([*(1 / np.array(repeats)), 1])
    nifti.write(array.astype(np.int16), affine, path)
    print("scan", array.shape, "spacing in mm", np.linalg.norm(affine[:3, :3], axis=0).round(3).tolist())


def timed(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """Result, seconds, and peak GPU memory in MB."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    result = call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return result, seconds, torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else 0.0


def report(name: str, seconds: float, peak_mb: float) -> None:
    print(f"{name:<34}{seconds:8.2f} s {peak_mb:9.0f} MB of GPU memory", flush=True)


def compare_networks(segmenter: medseg.Segmenter, path: Path) -> None:
    """The network alone: medseg's windows and MONAI's on the same image."""
    image = segmenter._preprocessing({"image": str(path)})["image"][None].to(segmenter.device)
    inferer = segmenter._inferer
    stock = SlidingWindowInferer(
        inferer.roi_size, sw_batch_size=1, overlap=inferer.overlap, mode=inferer.mode
    )

    def monai() -> torch.Tensor:
        with torch.autocast("cuda", torch.float16, enabled=image.is_cuda):
            return stock(image.as_tensor(), segmenter._network)

    with torch.inference_mode():
        for name, call in (("medseg", lambda: inferer(image, segmenter._network)), ("MONAI", monai)):
            call()
            scores, *figures = timed(call)
            report(f"network, {name}", *figures)
            print("   scores", tuple(scores.shape), scores.dtype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=600)
    options = parser.parse_args()
    print(torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU: nothing to compare")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.nii"
        write_phantom(path, options.slices)
        masks = {}
        for device in ("cuda", "cpu") if torch.cuda.is_available() else ("cpu",):
            segmenter = medseg.Segmenter("lung_ct", device, {"backend": "torch"}, "residual_unet")
            for turn in ("first", "second") if device == "cuda" else ("only",):
                result, *figures = timed(lambda segmenter=segmenter: segmenter(path))
                report(f"medseg, {device}, {turn} call", *figures)
            masks[device] = result.mask.array
            if device == "cuda":
                compare_networks(segmenter, path)
        if len(masks) == 2:
            for label, name in LABELS.items():
                dice = confusion(masks["cuda"] == label, masks["cpu"] == label).dice
                print(f"Dice of the GPU's mask against the CPU's, {name}: {dice:.6f}")


if __name__ == "__main__":
    main()
