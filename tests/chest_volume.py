"""A small chest volume whose every direction differs, in any order of its axes."""

import numpy as np

from medseg.volume import Mask, Window

LUNG_WINDOW_HU = Window("Lung window", -600, 1500, "HU")
LABELS = {0: "background", 1: "left_lung", 2: "right_lung", 3: "airway"}
SHAPE = (40, 30, 24)  # towards right, front and head
SPACING_MM = (2.0, 2.0, 5.0)


def phantom():
    """A chest in RAS+ whose every direction differs: array, labels, affine."""
    hu = np.full(SHAPE, -1000, np.int16)
    hu[3:37, 3:27] = 40
    labels = np.zeros(SHAPE, np.uint8)
    labels[6:16, 8:22, 4:20] = 1  # on the patient's left
    labels[24:35, 8:22, 4:18] = 2
    labels[19:21, 16:18, 12:23] = 3  # towards the head, in front of the middle
    hu[labels > 0] = -850
    hu[18:22, 23:26, 10] = 900  # a bone in front
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = -40, -30, 100
    return hu, labels, affine


def stored(order=(0, 1, 2), flips=(1, 1, 1), turn=None):
    """The phantom as a file of another axis order holds it: (1, i, j, k) and its mask."""
    hu, labels, affine = phantom()
    move = np.zeros((4, 4))
    move[3, 3] = 1
    for new, old in enumerate(order):
        move[old, new] = flips[new]
        move[old, 3] = SHAPE[old] - 1 if flips[new] < 0 else 0
    steps = tuple(slice(None, None, flip) for flip in flips)
    affine = (np.eye(4) if turn is None else turn) @ affine @ move
    mask = Mask(
        np.ascontiguousarray(labels.transpose(order)[steps]), LABELS, affine, source="/x/Erika Mustermann"
    )
    return np.ascontiguousarray(hu.transpose(order)[steps])[None], mask


def rotation(degrees):
    angle, turn = np.deg2rad(degrees), np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn
