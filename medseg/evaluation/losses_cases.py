"""What networks with different losses find: their best thresholds, and pictures side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from medseg.evaluation.ladder_cases import cases_to_show
from medseg.evaluation.ladder_table import SCORE, number
from medseg.evaluation.losses_table import Scored
from medseg.evaluation.references import read_reference
from medseg.io import case_names
from medseg.metrics.overlap import best_threshold
from medseg.pipeline import Segmenter
from medseg.reports.ladder import Strip, draw_panels
from medseg.volume import Mask


def threshold_on(segmenter: Segmenter, items: Sequence[Mapping[str, Any]]) -> float | None:
    """The threshold with the best mean Dice on some cases; None for a method whose masks have none.

    Args:
        segmenter: makes the masks.
        items: cases that trained the method, as medseg.data.manifests.load_items gives them. Chosen on the
            cases that are scored, a threshold would favour the method that it varies most for.
    """
    found = []
    for item in items:
        case = segmenter.case(item["image"])
        if "probability" not in case.extras:
            return None
        reference = read_reference(item, case)
        found.append((case.extras["probability"], reference.mask.array, reference.field_of_view))
    threshold, _ = best_threshold(*(list(part) for part in zip(*found, strict=True)))
    return threshold


def strips(
    scored: Sequence[Scored],
    items: Sequence[Mapping[str, Any]],
    segmenter_of: Callable[[Scored], Segmenter],
) -> list[Strip]:
    """Cases to look at, with the errors of every loss at its own threshold.

    Args:
        scored: the losses.
        items: the cases that were scored.
        segmenter_of: the segmenter of a loss at its own threshold.
    """
    images = {name: image for image, name in case_names(sorted(str(item["image"]) for item in items)).items()}
    by_image = {str(item["image"]): item for item in items}
    shown = cases_to_show({each.loss: each.own_rows for each in scored}, "losses")
    masks: dict[str, dict[str, Mask]] = {case: {} for case in shown}
    cases: dict[str, Any] = {}
    for each in scored:
        segmenter = segmenter_of(each)
        for name in shown:
            cases[name] = segmenter.case(images[name])
            masks[name][each.loss] = cases[name].mask
    found = []
    for name, why in shown.items():
        case = cases[name]
        truth = read_reference(by_image[images[name]], case).mask
        part, panels = draw_panels(case.image, truth, masks[name], case.window)
        dice = {each.loss: row.scores[SCORE] for each in scored for row in each.own_rows if row.case == name}
        captions = [
            (f"{panel}: {number(dice[panel])}" if panel in dice else panel, picture)
            for panel, picture in panels.items()
        ]
        found.append(Strip(name, why, part, tuple(captions)))
    return found
