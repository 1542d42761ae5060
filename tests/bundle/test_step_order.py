"""Steps that an overlay adds stand where it says."""

import pytest

from medseg.bundle.step_order import in_order
from medseg.errors import UsageError

NAMES = ["load", "resize", "normalize", "denoise", "contrast"]


@pytest.mark.parametrize(
    ("after", "order"),
    [
        ({}, "load resize normalize denoise contrast"),
        ({"denoise": "load"}, "load denoise resize normalize contrast"),
        ({"denoise": "resize", "contrast": "denoise"}, "load resize denoise contrast normalize"),
        ({"denoise": "resize", "contrast": "resize"}, "load resize contrast denoise normalize"),
        ({"load": "normalize"}, "resize normalize load denoise contrast"),
    ],
)
def test_the_order(after, order):
    assert in_order(NAMES, after) == order.split()


@pytest.mark.parametrize(
    ("after", "advice"),
    [
        ({"denoize": "resize"}, "Did you mean denoise"),
        ({"denoise": "resizes"}, "Did you mean resize"),
        ({"denoise": "denoise"}, "Known names"),
        ({"denoise": "contrast", "contrast": "denoise"}, "Known names"),
    ],
)
def test_unknown_steps_and_circles(after, advice):
    with pytest.raises(UsageError, match=advice):
        in_order(NAMES, after)


def test_no_mapping():
    with pytest.raises(UsageError, match="a mapping of steps"):
        in_order(NAMES, "resize")
