"""The colour of each label, the same on the overlay and the page, in DICOM SEG and in RTSTRUCT.

A label's value decides, so that a new task gets its colours from here without a line of its own.
"""

from __future__ import annotations

# Cyan, pale yellow, violet, blue. Chosen by search: they keep the largest CIELAB distance (30 or more) from
# each other and from orange-red and dark grey, for normal, protan, deutan and tritan vision (Machado 2009).
COLOURS_RGB = ((0, 230, 255), (255, 255, 190), (190, 0, 255), (0, 130, 190))


def colour_rgb(value: int) -> tuple[int, int, int]:
    """Red, green and blue (0 to 255) of a label from 1; the table is used again after its end."""
    return COLOURS_RGB[(value - 1) % len(COLOURS_RGB)]
