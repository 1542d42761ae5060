"""An answer as files, as a record for programs, and as sentences."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from medseg.io import Input, case_name
from medseg.io.atomic import atomic_files, require_folder
from medseg.reports.page import readable
from medseg.reports.similarity import Card, write_similarity_page
from medseg.similarity.descriptors import ENCODER
from medseg.similarity.search import EXACT, Neighbour, SimilarCases
from medseg.volume import Window

RECORD, PAGE = "similar.json", "report.html"


def record_of(found: SimilarCases) -> dict[str, Any]:
    """The answer as plain values, as similar.json has it."""
    return {
        "query": found.query,
        "distance": "1 - cosine of the descriptors, centred and scaled over the index",
        "search": found.search,
        "compared_exactly": found.compared,
        "cases": found.cases,
        "notes": list(found.notes),
        "recipe": dataclasses.asdict(found.recipe),
        "neighbours": [
            {"rank": each.rank, "distance": each.distance, **dataclasses.asdict(each.case)}
            for each in found.neighbours
        ],
    }


def save_similar(
    found: SimilarCases,
    source: Input,
    folder: str | Path,
    window: Window | None = None,
    modality: str | None = None,
) -> Path:
    """Write similar.json and report.html, both or none; returns the folder.

    Args:
        found: the answer.
        source: the image that was asked about.
        folder: created if it is missing.
        window, modality: see medseg.reports.similarity.write_similarity_page.

    Raises:
        MedsegError: the folder can't be written to.
    """
    folder = Path(folder)
    require_folder(folder)
    with atomic_files(folder, (), RECORD) as stage:
        write_similarity_page(
            stage / PAGE,
            query=Card(case_name(source), source),
            neighbours=[_card(each) for each in found.neighbours],
            how=how(found),
            notes=[f"{note[:1].upper()}{note[1:]}." for note in found.notes],
            window=window,
            modality=modality,
        )
        (stage / RECORD).write_text(json.dumps(record_of(found), indent=2) + "\n", encoding="utf-8")
    return folder


def how(found: SimilarCases) -> list[str]:
    """Sentences on how the images were compared."""
    recipe = found.recipe
    if recipe.descriptor == ENCODER:
        what = f"the deepest features of the network of {recipe.method} ({recipe.task})"
    else:
        what = f"brightness and texture after the preprocessing of {recipe.method} ({recipe.task})"
    compared = (
        f"The image was compared exactly with all {found.cases} cases."
        if found.search == EXACT
        else f"Locality-sensitive hashing chose {found.compared} candidates among {found.cases} cases, "
        "which were then compared exactly; it may miss a near case."
    )
    return [
        f"Descriptors: {what}. Each number is centred and scaled over the index.",
        "The distance is 1 - the cosine of the angle between two descriptors: "
        "0 is alike, 1 unrelated, 2 opposite.",
        compared,
    ]


def _card(neighbour: Neighbour) -> Card:
    case = neighbour.case
    facts = [("Data set", case.data_set), ("Subject", case.subject)]
    facts += [(readable(name), text) for name, text in case.groups.items()]
    return Card(case.name, located(case.path), neighbour.distance, tuple(fact for fact in facts if fact[1]))


def located(path: str) -> Path:
    """Where a case's image is: as MEDSEG_DATA says, if the index has no absolute path."""
    return Path(os.environ.get("MEDSEG_DATA", ""), path)
