"""Masks that a follow-up should not be built on: rejected, or of a low predicted Dice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medseg.quality.prediction.predictor import LOW

SO = "what changed may be an error of the mask"


def doubts(case: str, quality: Any, provenance: Mapping[str, Any]) -> list[str]:
    """Warnings about the mask of one visit; none where a person accepted or corrected it.

    Args:
        case: the name of the visit.
        quality: of measurements.json; results of earlier versions have a verdict alone, or nothing.
        provenance: of measurements.json, with `review` if persons have reviewed it.
    """
    reviews = provenance.get("review")
    last = reviews[-1] if isinstance(reviews, list) and reviews else None
    decision = last.get("decision") if isinstance(last, dict) else None
    if decision == "reject":
        return [f"{case}: a reviewer rejected the mask: {SO}"]
    if decision is not None or not isinstance(quality, dict):
        return []
    if quality.get("verdict") == "reject":
        reasons = quality.get("reasons")
        why = f" ({'; '.join(map(str, reasons))})" if isinstance(reasons, list) and reasons else ""
        return [f"{case}: the mask was rejected by its quality check{why}: {SO}"]
    low = [f"{name.replace('_', ' ')} {value:.2f}" for name, value in _predicted(quality) if value < LOW]
    return [f"{case}: the predicted Dice of the mask is low ({', '.join(low)}): {SO}"] if low else []


def _predicted(quality: Mapping[str, Any]) -> list[tuple[str, float]]:
    found = quality.get("predicted_dice")
    if not isinstance(found, dict):
        return []
    values = {name: each.get("value") for name, each in found.items() if isinstance(each, dict)}
    return [(str(name), value) for name, value in values.items() if isinstance(value, int | float)]
