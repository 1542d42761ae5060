"""Random pairs of instance maps, the same in every version of NumPy that this project meets."""

import numpy as np

SEEDS = range(24)


def instance_maps(seed):
    """A reference of ellipses and a prediction of it: moved, grown, lost, split and invented ones.

    Returns:
        prediction, reference: (row, column) uint16, or (i, j, k) for every third seed; 0 is background.
    """
    random = np.random.default_rng(seed)
    shape = (24, 30, 28) if seed % 3 == 2 else (96, 128)
    places = np.stack(np.indices(shape), axis=-1)
    reference, prediction = np.zeros(shape, np.uint16), np.zeros(shape, np.uint16)
    for number in range(1, int(random.integers(2, 14))):
        centre = [random.integers(3, size - 3) for size in shape]
        radii = random.integers(3, 11, len(shape))
        reference[_ellipse(places, centre, radii)] = number
        fate = random.random()
        if fate < 0.15:
            continue  # missed
        moved = np.array(centre) + random.integers(-2, 3, len(shape))
        found = _ellipse(places, moved, np.maximum(radii + random.integers(-2, 3, len(shape)), 1))
        prediction[found] = 2 * number
        if fate < 0.3:  # split
            prediction[found & (places[..., 0] > moved[0])] = 2 * number + 1
    for number in range(100, 100 + int(random.integers(0, 4))):
        centre = [random.integers(3, size - 3) for size in shape]
        prediction[_ellipse(places, centre, random.integers(2, 8, len(shape)))] = number
    return prediction, reference


def _ellipse(places, centre, radii):
    return (((places - centre) / radii) ** 2).sum(axis=-1) <= 1
