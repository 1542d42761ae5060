"""Where a method looks."""

import numpy as np

from medseg.methods.regions import body


def test_the_body_is_a_cylinder_with_its_lungs():
    """Not the air around it, nor the table below."""
    i, j, _ = np.mgrid[:60, :60, :20]
    tissue, lung = (i - 30) ** 2 + (j - 32) ** 2 < 18**2, (i - 30) ** 2 + (j - 32) ** 2 < 8**2
    hu = np.where(tissue, 40, -1000)
    hu[lung] = -850
    hu[10:50, 4] = 60
    assert (body(hu[None].astype(np.float32), 3.0) == tissue).all()
