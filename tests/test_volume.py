"""Windows in which volumes are shown."""

import pytest

from medseg.errors import BundleError
from medseg.volume import Window


def test_a_window_says_what_it_shows():
    assert str(Window("Lung window", -600, 1500, "HU")) == "Lung window: centre -600 HU, width 1500 HU"
    assert str(Window("Window", 0.5, 1)) == "Window: centre 0.5, width 1"


@pytest.mark.parametrize(("centre", "width"), [(0, 0), (0, -5), (0, "wide"), (None, 4)])
def test_a_window_without_width(centre, width):
    with pytest.raises(BundleError, match="width above 0"):
        Window("Window", centre, width)
