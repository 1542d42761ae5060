"""The cases of a comparison of methods that a reader should see, as strips of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medseg.bundle import inference_files, parse
from medseg.evaluation.ladder_plan import Plan
from medseg.evaluation.ladder_run import MASKS, names_of
from medseg.evaluation.ladder_table import SCORE, number
from medseg.evaluation.past_runs import CaseRow
from medseg.io import read_mask, read_volume
from medseg.reports.ladder import Strip, draw_panels
from medseg.volume import Mask, Window


def cases_to_show(rows: Mapping[str, Sequence[CaseRow]], of_what: str = "methods") -> dict[str, str]:
    """Case to the reason: the worst, median and best by the mean over methods, and the most disputed one.

    An undefined score counts as 0. The most disputed case has the largest difference between two methods
    among those that aren't shown already.

    Args:
        rows: method to its cases, for all methods in the same order.
        of_what: what a reader calls those that are compared.
    """
    scores: dict[str, list[float]] = {}
    for found in rows.values():
        for row in found:
            scores.setdefault(row.case, []).append(row.scores[SCORE] or 0.0)
    if len(scores) == 1:
        return dict.fromkeys(scores, "the only case")
    ranked = sorted(scores, key=lambda case: sum(scores[case]))
    places = {ranked[-1]: "best", ranked[len(ranked) // 2]: "median", ranked[0]: "worst"}
    shown = {case: f"the {why} mean over the {of_what}" for case, why in reversed(places.items())}
    spread = {case: max(values) - min(values) for case, values in scores.items() if case not in shown}
    if spread and max(spread.values()) > 0:
        shown[max(spread, key=lambda case: spread[case])] = f"here the {of_what} differ most"
    return shown


def strips(plan: Plan, rows: Mapping[str, Sequence[CaseRow]]) -> list[Strip]:
    """The pictures of these cases, from the masks that the methods have written."""
    window = _window(plan)
    images = {case: image for image, case in names_of(plan).items()}
    items = {str(item["image"]): item for item in plan.items}
    found = []
    for case, why in cases_to_show(rows).items():
        item = items[images[case]]
        truth = read_mask(item["label"], item["labels"])
        masks = {name: _mask(plan, name, case) for name in rows}
        part, panels = draw_panels(read_volume(item["image"]).array, truth, masks, window)
        scores = {
            name: row.scores[SCORE] for name, of_it in rows.items() for row in of_it if row.case == case
        }
        captions = [(_caption(name, scores), picture) for name, picture in panels.items()]
        found.append(Strip(case, why, part, tuple(captions)))
    return found


def _caption(name: str, scores: Mapping[str, float | None]) -> str:
    return f"{name}: {number(scores[name])}" if name in scores else name


def _mask(plan: Plan, method: str, case: str) -> Mask:
    """A mask as the method's process has written it, with the labels that it has."""
    (path,) = (
        path
        for ending in (".png", ".nii.gz")
        if (path := plan.folder / method / MASKS / f"{case}{ending}").is_file()
    )
    labels = parse(plan.bundle, *inference_files(plan.bundle, method)).get_parsed_content("labels")
    return read_mask(path, {int(value): str(name) for value, name in labels.items()})


def _window(plan: Plan) -> Window | None:
    """The range of a volume's values that the bundle shows."""
    result: Any = parse(plan.bundle, "inference.yaml")["result"]
    window = result.get("window")
    return None if window is None else Window(**window)


def same_cases(plan: Plan) -> list[str]:
    """Up to three cases, spread over the alphabet: the same for every method, whatever their scores are."""
    names = sorted(names_of(plan).values())
    return sorted({names[0], names[len(names) // 2], names[-1]})
