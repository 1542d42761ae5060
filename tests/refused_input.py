"""What an error says of an input that is refused."""

import pytest

from medseg.errors import UnreadableError
from medseg.io import read_volume


def refused(path, reader=read_volume, match=None, **arguments):
    with pytest.raises(UnreadableError, match=match) as caught:
        reader(path, **arguments)
    assert all(len(part) > 3 for part in (caught.value.expected, caught.value.got, caught.value.advice))
    assert caught.value.exit_code == 3
