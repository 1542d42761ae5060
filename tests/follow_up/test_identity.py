"""Images that are the same, and dates that no study can have."""

from datetime import date

import numpy as np
import pytest

from medseg.errors import UsageError
from medseg.follow_up.identity import digest_of, require_different_images, require_possible_date
from medseg.volume import Volume


def image(value):
    return Volume(np.full((1, 2, 3), value, np.int16), None)


def test_one_image_twice_is_refused():
    require_different_images(["a", "b"], [image(1), image(2)])
    with pytest.raises(UsageError, match="the same image in a and c"):
        require_different_images(["a", "b", "c"], [image(1), image(2), image(1)])


def test_a_digest_is_of_the_shape_too():
    assert digest_of(image(1)) != digest_of(Volume(image(1).array.reshape(1, 3, 2), None))


@pytest.mark.parametrize("day", [date(1899, 12, 31), date.max], ids=["old", "future"])
def test_impossible_dates_are_refused(day):
    require_possible_date(date.today(), "a")
    with pytest.raises(UsageError, match="from 1900 to today"):
        require_possible_date(day, "a")
