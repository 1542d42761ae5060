"""The colour of each label, the same on the overlay, on the page, in DICOM SEG and in RTSTRUCT.

The colour follows from the label's value, so that a new task needs no colours of its own.
"""

from __future__ import annotations

# Cyan, pale yellow, violet, blue. Chosen by search: they keep the largest CIELAB distance (30 or more) from
# each other and from orange-red and dark grey, for normal, protan, deutan and tritan vision (Machado 2009).
COLOURS_RGB = ((0, 230, 255), (255, 255, 190), (190, 0, 255), (0, 130, 190))


def colour_rgb(value: int) -> tuple[int, int, int]:
    """(red, green, blue), each 0 to 255, of a label value from 1; the table repeats after its last colour."""
    return COLOURS_RGB[(value - 1) % len(COLOURS_RGB)]


# Of regions that fill a structure, in transparent colours: blue, grey, yellow, orange, pink, cyan.
REGIONS_RGB = ((60, 110, 255), (70, 90, 90), (255, 210, 0), (255, 70, 0), (255, 90, 255), (0, 230, 255))


def region_rgb(value: int) -> tuple[int, int, int]:
    """(red, green, blue), each 0 to 255, of a region's value from 1; the table repeats."""
    return REGIONS_RGB[(value - 1) % len(REGIONS_RGB)]
