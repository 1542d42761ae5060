"""Steps with names, in order: how a configuration lists transforms so that an overlay can address one."""

from __future__ import annotations

from typing import Any

from monai.transforms import Compose


def steps(**named: Any) -> Compose:
    """MONAI's Compose of the transforms in the order in which they are given.

    A configuration lists them by name, and an overlay changes one by that name:
    `preprocessing::intensity::_disabled_: true`.
    """
    return Compose(list(named.values()))
