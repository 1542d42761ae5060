"""Folders of results whose measurements are drawn from known distributions."""

import json

import numpy as np

WEIGHTS = "a" * 64


def record(
    area, warnings=(), *, date="2026-11-05T10:00:00+00:00", digest="", weights=WEIGHTS, task="organ", **more
):
    """measurements.json of one case; an area of None is one that could not be measured."""
    entry = {"value": area, "unit": "mm²"} | ({"reason": "no pixel size"} if area is None else {})
    return {
        "task": task,
        "labels": {"0": "background", "1": "organ"},
        "measurements": {
            "organ_area_mm2": entry,
            "organ_area_cm2": {"value": None if area is None else area / 100, "unit": "cm²"},
            "organ_count": {"value": 1, "unit": "count"},
            "side": {"value": "left" if area and area > 100 else "right", "unit": "text"},
            "organs": {"value": [{"area_mm2": area}], "unit": "per organ"},
            **more.pop("measurements", {}),
        },
        "warnings": list(warnings),
        "quality": {"verdict": "warn" if warnings else "pass", "reasons": list(warnings)}
        | more.pop("quality", {}),
        "provenance": {
            **{"task": task, "bundle_version": "1", "method": "unet", "mode": "semantic"},
            **{"weights_sha256": weights, "input_sha256": digest, "date": date},
            **more,
        },
    }


def write_case(folder, name, content):
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "measurements.json").write_text(json.dumps(content), encoding="utf-8")


def write_results(folder, seed, count=40, shift=0.0, **about):
    """Cases with areas from a normal distribution, mean 100 + shift and deviation 10; every fifth warned."""
    areas = np.random.default_rng(seed).normal(100 + shift, 10, count)
    for number, area in enumerate(areas):
        warnings = [f"area of {area:.1f} mm² is odd"] if number % 5 == 0 else []
        write_case(
            folder,
            f"{folder.name}_{number}",
            record(float(area), warnings, digest=f"{seed}-{number}", **about),
        )
    return folder
