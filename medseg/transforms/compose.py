"""Steps with names, in order: how a configuration lists transforms so that an overlay can address one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.transforms import Compose

from medseg.bundle.step_order import in_order


def steps(after: Mapping[str, str] | None = None, **named: Any) -> Compose:
    """MONAI's Compose of the transforms in the order in which they are given.

    A configuration lists them by name, and an overlay changes one by that name:
    `preprocessing::intensity::_disabled_: true`. What an overlay adds comes last, unless `after` says of it
    which step it follows: `preprocessing::after: {denoise: resize}`.

    Raises:
        UsageError: `after` names a step that there is not.
    """
    return Compose([named[name] for name in in_order(named, after or {})])
