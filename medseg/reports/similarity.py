"""report.html of a search for similar cases: the image beside its nearest cases."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medseg.errors import MedsegError
from medseg.io import Input, read_volume
from medseg.io.atomic import atomic_path
from medseg.reports.page import data_url, render
from medseg.reports.picture_overlay import to_display
from medseg.reports.volume_overlay import three_views
from medseg.reports.volume_views import to_displayed
from medseg.volume import Mask, Volume, Window

PICTURE_PX = 480  # long side of an embedded picture
SLICES_PX = 900  # of three slices side by side
_GAP_PX = 6


@dataclass(frozen=True)
class Card:
    """One image of the page.

    Attributes:
        name: of the case.
        image: where to read it; a path that can't be read leaves a note in the picture's place.
        distance: to the query; None for the query itself.
        facts: name to text, such as the data set and the groups.
    """

    name: str
    image: Input
    distance: float | None = None
    facts: tuple[tuple[str, str], ...] = ()


def write_similarity_page(
    path: str | os.PathLike[str],
    *,
    query: Card,
    neighbours: Sequence[Card],
    how: Sequence[str],
    notes: Sequence[str],
    window: Window | None = None,
    modality: str | None = None,
) -> None:
    """Write the page, in full or not at all.

    Args:
        path: the file; its folder must exist.
        query: the image that cases were searched for.
        neighbours: the nearest first.
        how: sentences on how the images were compared.
        notes: sentences on this answer.
        window: the range of a volume's values that is shown; None for all but the extremes.
        modality: the DICOM modality to read.
    """
    cards = [_card(card, window, modality) for card in (query, *neighbours)]
    html = render(
        "similarity.html.j2",
        query=cards[0],
        neighbours=cards[1:],
        how=how,
        notes=notes,
        wide=any(card["wide"] for card in cards),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def draw_case(volume: Volume, window: Window | None = None) -> np.ndarray:
    """A picture in its own colours, or the central slices of a volume; (row, column, 3) uint8.

    The axial, coronal and sagittal slice through the middle of a volume stand side by side, as a radiologist
    views them.
    """
    if volume.affine is None:
        return to_display(volume.array)
    labels = Mask(np.zeros(volume.array.shape[1:], np.uint8), {}, affine=volume.affine)
    views = [view.grey for view in three_views(to_displayed(volume.array, labels, window), {}, PICTURE_PX)]
    height = max(view.shape[0] for view in views)
    above = [(height - view.shape[0]) // 2 for view in views]
    padded = [
        np.pad(view, ((top, height - view.shape[0] - top), (0, _GAP_PX)))
        for view, top in zip(views, above, strict=True)
    ]
    return np.repeat(np.hstack(padded)[:, :-_GAP_PX, None], 3, axis=2)


def _card(card: Card, window: Window | None, modality: str | None) -> dict[str, object]:
    picture, problem, wide = "", "", False
    try:
        volume = read_volume(card.image, modality)
        wide = volume.affine is not None
        picture = data_url(draw_case(volume, window), SLICES_PX if wide else PICTURE_PX)
    except MedsegError:
        name = card.image.name if isinstance(card.image, Path) else Path(str(card.image)).name
        problem = f"{name} can't be read here"
    return {
        "name": card.name,
        "picture": picture,
        "problem": problem,
        "wide": wide,
        "distance": None if card.distance is None else f"{card.distance:.3f}",
        "facts": card.facts,
    }
