"""Seconds and peak memory of medseg and of a plain MONAI pipeline, with the same network, on the same series.

    python tests/benchmarks/lung_against_monai.py FOLDER [--repeats 3] [--reader ITKReader] [--zoo]
        [--method classical] [--backend torch]

FOLDER holds DICOM files; its largest series is laid into a folder of its own first, because MONAI takes the
first one. Both write a NIfTI mask on the scan's grid. Cold is a whole process, `medseg segment` or a script
with MONAI's steps (wall seconds; peak resident memory as the kernel counts it), warm the second call in one
process, without imports. Both are repeated in turn; of each the best is taken. --zoo gives MONAI a grid of
1.5 mm and a UNet of 16 to 256 channels with random weights, as bundles of MONAI's zoo have them: the seconds
are then those of another network, and the masks say nothing.

medseg also checks the input, joins the network's labels with the classical method's, and measures; MONAI does
none of it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NETWORK = "residual_unet"
WINDOWS = {"sw_batch_size": 1, "overlap": 0.25, "mode": "gaussian"}
ZOO_CHANNELS = (16, 32, 64, 128, 256)


@contextmanager
def stage(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def parts(overrides: dict) -> dict:
    """Network and numbers of the bundle, so that both sides have the same."""
    from medseg.bundle import inference_files, load_weights, open_bundle, parse

    bundle = open_bundle("lung_ct")
    overrides = {"device": "$torch.device('cpu')", **overrides}
    parser = parse(bundle, *inference_files(bundle, NETWORK), overrides=overrides)
    return {
        "network": load_weights(
            parser.get_parsed_content("network_def"), parser.get_parsed_content("weights")
        ),
        "spacing_mm": parser.get_parsed_content("network_spacing_mm"),
        "range_hu": parser.get_parsed_content("range_hu"),
        "roi_size": parser.get_parsed_content("inferer::inferer::roi_size"),
    }


def run_medseg(series: Path, out: Path, options: argparse.Namespace) -> dict[str, float]:
    import torch

    from medseg.pipeline import Segmenter

    overrides = {"backend": options.backend} if options.method == NETWORK else {}
    segmenter = Segmenter("lung_ct", "cpu", overrides, options.method)
    for _ in range(options.calls):
        seconds: dict[str, float] = {}
        with torch.inference_mode():
            data = {"image": series}
            for transform in segmenter._preprocessing.transforms:
                with stage(seconds, type(transform).__name__):
                    data = transform(data)
            with stage(seconds, "network"):
                data["pred"] = segmenter._inferer(data["image"][None], segmenter._network)[0]
            for transform in segmenter._postprocessing.transforms:
                with stage(seconds, type(transform).__name__):
                    data = transform(data)
            with stage(seconds, "measurements"):
                result = segmenter._build_result(segmenter._build_result.case(data))
        with stage(seconds, "write"):
            result.save(out, ["nifti"])
    return seconds


def run_monai(series: Path, out: Path, options: argparse.Namespace) -> dict[str, float]:
    import torch
    from monai import transforms
    from monai.inferers import SlidingWindowInferer
    from monai.networks.nets import UNet

    bundle = parts({})
    network = bundle["network"]
    if options.zoo:
        network = UNet(3, 1, 4, ZOO_CHANNELS, (2, 2, 2, 2), num_res_units=2, norm="batch").eval()
    low, high = bundle["range_hu"]
    windows = SlidingWindowInferer((96,) * 3 if options.zoo else bundle["roi_size"], **WINDOWS)
    pixdim = (1.5 if options.zoo else bundle["spacing_mm"],) * 3
    before = [
        transforms.LoadImaged("image", reader=options.reader),
        transforms.EnsureChannelFirstd("image"),
        transforms.Orientationd("image", axcodes="RAS", labels=None),
        transforms.Spacingd("image", pixdim=pixdim, mode="bilinear"),
        transforms.ScaleIntensityRanged("image", low, high, 0.0, 1.0, clip=True),
    ]
    after = [
        transforms.Invertd("pred", transforms.Compose(before), "image", nearest_interp=False, to_tensor=True),
        transforms.AsDiscreted("pred", argmax=True),
        transforms.SaveImaged(
            "pred", output_dir=out, output_postfix="", separate_folder=False, print_log=False
        ),
    ]
    for _ in range(options.calls):
        seconds: dict[str, float] = {}
        with torch.inference_mode():
            data = {"image": str(series)}
            for transform in before:
                with stage(seconds, type(transform).__name__):
                    data = transform(data)
            with stage(seconds, "network"):
                data["pred"] = windows(data["image"][None], network)[0]
            for transform in after:
                with stage(seconds, type(transform).__name__):
                    data = transform(data)
    return seconds


SIDES = {"medseg": run_medseg, "monai": run_monai}


def child(side: str, series: Path, calls: int, options: argparse.Namespace, folder: Path):
    """Run one side in a process of its own: wall seconds, peak MB, seconds by stage and its mask's file."""
    out = folder / f"{side}_{time.monotonic_ns()}"
    command = [
        sys.executable,
        __file__,
        str(series),
        "--side",
        side,
        "--calls",
        str(calls),
        "--out",
        str(out),
    ]
    command += ["--backend", options.backend, "--method", options.method]
    command += ["--reader", options.reader] if options.reader else []
    wall, peak_mb, output = timed([*command, *(["--zoo"] if options.zoo else [])])
    return wall, peak_mb, json.loads(output.splitlines()[-1]), next(out.glob("*.nii.gz"))


def command_line(series: Path, options: argparse.Namespace, folder: Path):
    """As child, of `medseg segment`; no seconds by stage."""
    out = folder / f"cli_{time.monotonic_ns()}"
    command = [*(sys.executable, "-m", "medseg.cli", "segment", "lung_ct", str(series), "-o", str(out))]
    command += ["--device", "cpu", "--formats", "nifti", "--method", options.method]
    command += ["--set", f"backend={options.backend}"] if options.method == NETWORK else []
    wall, peak_mb, _ = timed(command)
    return wall, peak_mb, {}, next(out.rglob("*.nii.gz"))


def timed(command: list[str]) -> tuple[float, float, bytes]:
    """Wall seconds, peak MB and standard output of a process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"failed: {' '.join(command)}")
    return wall, usage.ru_maxrss / 1024, output


def largest_series(source: Path, target: Path) -> Path:
    """Links to the files of the series that has the most of them."""
    import pydicom

    series = defaultdict(list)
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"])
        except pydicom.errors.InvalidDicomError:
            continue
        series[header.get("SeriesInstanceUID")].append(file)
    target.mkdir()
    for file in max(series.values(), key=len):
        (target / f"{file.stem}.dcm").symlink_to(file.resolve())
    return target


def dice(first: Path, second: Path) -> dict[int, float]:
    import nibabel as nib
    import numpy as np

    masks = []
    for path in (first, second):
        image = nib.as_closest_canonical(nib.load(path))
        masks.append(np.squeeze(np.asarray(image.dataobj)))
    pairs = {label: [mask == label for mask in masks] for label in (1, 2, 3)}
    return {
        label: round(2 * float((one & other).sum()) / max(1, int(one.sum() + other.sum())), 4)
        for label, (one, other) in pairs.items()
    }


def compare(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        series = largest_series(options.folder, folder / "series")
        found = {side: {"cold": [], "warm": []} for side in SIDES}
        for _ in range(options.repeats):
            found["medseg"]["cold"].append(command_line(series, options, folder))
            found["monai"]["cold"].append(child("monai", series, 1, options, folder))
        for _ in range(options.repeats):
            for side in SIDES:
                found[side]["warm"].append(child(side, series, 2, options, folder))
        report(found)


def report(found: dict) -> None:
    best = {
        side: {kind: min(runs[kind], key=lambda run: run[0]) for kind in runs} for side, runs in found.items()
    }
    warm = {
        side: min((run[2] for run in runs["warm"]), key=lambda seconds: sum(seconds.values()))
        for side, runs in found.items()
    }
    print("| | medseg | MONAI | MONAI / medseg |\n|---|---|---|---|")
    rows = {
        "cold process, s": {side: best[side]["cold"][0] for side in SIDES},
        "cold process, peak MB": {side: min(run[1] for run in found[side]["cold"]) for side in SIDES},
        "warm call, s": {side: sum(warm[side].values()) for side in SIDES},
        "warm, network alone, s": {side: warm[side]["network"] for side in SIDES},
    }
    for title, row in rows.items():
        print(f"| {title} | {row['medseg']:.2f} | {row['monai']:.2f} | {row['monai'] / row['medseg']:.2f} |")
    for side in SIDES:
        print(f"\n{side}, warm, by stage:")
        for title, seconds in warm[side].items():
            print(f"  {title:26s} {seconds:6.2f}")
        walls = {kind: [round(run[0], 2) for run in found[side][kind]] for kind in ("cold", "warm")}
        print(f"  all processes, s: {walls}")
    print("\nDice of both masks by label:", dice(*(best[side]["cold"][3] for side in SIDES)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--reader", help="MONAI's reader, such as ITKReader; its own choice by default")
    parser.add_argument("--zoo", action="store_true")
    parser.add_argument("--method", default=NETWORK, help="medseg's")
    parser.add_argument("--backend", default="auto", help="of the network")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--calls", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side is None:
        compare(options)
    else:
        options.out.mkdir(parents=True)
        print(json.dumps(SIDES[options.side](options.folder, options.out, options)))


if __name__ == "__main__":
    main()
