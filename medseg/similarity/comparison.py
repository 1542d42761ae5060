"""Two images compared by measures of the literature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medseg.io import Input, case_name, read_volume
from medseg.similarity.alignment import aligned
from medseg.similarity.measures import measures
from medseg.volume import Volume


@dataclass(frozen=True)
class Similarity:
    """What the comparison of two images found.

    Attributes:
        a, b: their case names.
        measures: name to {"value": number, or None with a "reason"}; medseg.similarity.measures.MEASURES
            defines each.
        data_range: of SSIM and the peak signal-to-noise ratio.
        grid: how the second image came to the grid of the first.
        overlap: the share of the first image's voxels that both cover, above 0 to 1.
        warnings: sentences.
    """

    a: str
    b: str
    measures: Mapping[str, Mapping[str, Any]]
    data_range: float
    grid: str
    overlap: float
    warnings: Sequence[str]


def compare_images(a: Input | Volume, b: Input | Volume) -> Similarity:
    """Compare two pictures or two volumes, value by value, by histograms and by texture.

    The second is brought to the grid of the first; see medseg.similarity.alignment.aligned. No image is
    registered or corrected: a shift of some pixels lowers SSIM and correlation, and leaves histograms and
    texture alone.

    Args:
        a, b: image files, for DICOM also folders or archives; or images in memory.

    Raises:
        UnreadableError: an image can't be read.
        UnsuitableError: they can't be compared; see medseg.similarity.alignment.aligned.
    """
    first, second = (image if isinstance(image, Volume) else read_volume(image) for image in (a, b))
    pair = aligned(first, second)
    found, data_range = measures(pair)
    warnings = [*first.warnings, *second.warnings, *pair.warnings]
    return Similarity(_name(a), _name(b), found, data_range, pair.grid, pair.overlap, warnings)


def _name(image: Input | Volume) -> str:
    return case_name(image.source or "image") if isinstance(image, Volume) else case_name(image)
