"""Small photographs of phantoms, and pictures as files."""

import functools

PHANTOM_PX = 240


@functools.cache
def phantom(seed):
    """Picture, vessels and field of view of a fundus phantom: read only."""
    from medseg.phantoms import fundus

    return fundus(PHANTOM_PX, seed)


def write_png(path, array):
    from PIL import Image

    Image.fromarray(array).save(path)
