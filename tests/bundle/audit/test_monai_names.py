"""The table of MONAI's classes is that of the installed MONAI."""

import inspect
import sys

import pytest

from medseg.bundle.audit import monai_names


@pytest.mark.seconds
def test_every_public_class_is_allowed_or_denied():
    import monai

    assert monai.__version__ == "1.6.1"
    found = set()
    for name, module in list(sys.modules.items()):
        if name.startswith("monai.") and name.split(".")[1] in monai_names.PACKAGES and module is not None:
            members = inspect.getmembers(module, inspect.isclass)
            found |= {own for own, value in members if value.__module__ == name and own[0].isupper()}
    assert len(found) > 900
    unknown = {name for name in found if not monai_names.is_known(name)} - monai_names.DENIED
    bases = {f"{name.removesuffix('Dict').removesuffix('D')}d" for name in unknown}
    assert bases <= monai_names.DENIED
    assert not any(monai_names.is_known(name) for name in monai_names.DENIED)
